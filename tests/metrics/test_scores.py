# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.metrics import compute_hausdorff_distance

from scripts.metrics.regions import region_masks, remove_small_region
from scripts.metrics.scores import score_case, score_masks

REGIONS = {"wt": [1, 2, 3], "tc": [1, 3], "et": [3]}
CLASSES = {"ncr": [1], "ed": [2], "et": [3]}
ONE = {"lesion": [1]}
VOXELS = (1.0, 1.0, 1.0)
GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "metrics.npz")
GOLDEN_CASES = sorted({key.split("/")[0] for key in GOLDEN if key.endswith("/gt")})


def _golden(case):
    return torch.from_numpy(GOLDEN[f"{case}/pred"]), torch.from_numpy(GOLDEN[f"{case}/gt"])


def _score(prediction, truth, spacing=None, policy="brats", surface="monai"):
    """Score one lesion of class 1: (dice, hd95)."""
    spacing = spacing or (1.0,) * truth.ndim
    scores = score_case(prediction, truth, ONE, spacing, policy, surface)
    return scores["lesion", "dice"], scores["lesion", "hd95"]


def _voxels(shape, *places):
    labels = torch.zeros(shape, dtype=torch.uint8)
    for place in places:
        labels[place] = 1
    return labels


# ---- parity with the published evaluation ----


@pytest.mark.parametrize("case", GOLDEN_CASES)
def test_published_scores_are_reproduced_under_the_passion_policy(case):
    prediction, truth = _golden(case)
    scores = score_case(prediction, truth, REGIONS, VOXELS, "passion", "pooled")
    masks = remove_small_region(region_masks(prediction, REGIONS), REGIONS, "et", threshold=500)
    removed = score_masks(masks, region_masks(truth, REGIONS), tuple(REGIONS), VOXELS, "passion", "pooled")
    for metric in ("dice", "hd95"):
        found = [scores[region, metric] for region in REGIONS] + [removed["et", metric]]
        np.testing.assert_allclose(found, GOLDEN[f"{case}/{metric}_wt_tc_et_etpp"], rtol=1e-5, atol=1e-6)
        # the rule is about et alone
        assert [removed[region, metric] for region in ("wt", "tc")] == found[:2]


@pytest.mark.parametrize("case", GOLDEN_CASES)
def test_published_dice_of_single_classes_is_reproduced(case):
    scores = score_case(*_golden(case), CLASSES, VOXELS, "passion", "pooled")
    found = [scores[name, "dice"] for name in CLASSES]
    np.testing.assert_allclose(found, GOLDEN[f"{case}/dice_ncr_ed_et"], rtol=1e-5, atol=1e-6)


# ---- parity with MONAI ----


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
@pytest.mark.parametrize("spacing", [VOXELS, (0.5, 1.0, 3.0)])
@pytest.mark.parametrize("case", ["normal", "noisy"])
def test_the_default_is_the_hausdorff_distance_of_monai(case, spacing):
    prediction, truth = _golden(case)
    scores = score_case(prediction, truth, REGIONS, spacing, "brats")
    masks = [region_masks(labels, REGIONS)[None] for labels in (prediction, truth)]
    expected = compute_hausdorff_distance(*masks, include_background=True, percentile=95, spacing=spacing)[0]
    assert [scores[region, "hd95"] for region in REGIONS] == pytest.approx(expected.tolist(), rel=1e-6)


# ---- by hand ----


def test_dice_of_a_few_pixels_by_hand():
    # 2 predicted, 3 true, 1 in common: 2 * 1 / (2 + 3)
    prediction = _voxels((4, 4), (0, 0), (0, 1))
    truth = _voxels((4, 4), (0, 1), (0, 2), (0, 3))
    assert _score(prediction, truth)[0] == pytest.approx(2 / 5)


def test_the_two_conventions_of_hd95_by_hand():
    prediction, truth = _voxels((1, 5), (0, 0), (0, 3)), _voxels((1, 5), (0, 0))
    # prediction to truth: 0, 3 -> 95th percentile between them: 0.95 * 3; truth to prediction: 0 -> 0
    assert _score(prediction, truth, surface="monai")[1] == pytest.approx(0.95 * 3)
    # pooled 0, 0, 3: place 0.95 * 2 = 1.9, nine tenths of the way from 0 to 3
    assert _score(prediction, truth, surface="pooled")[1] == pytest.approx(0.9 * 3)


@pytest.mark.parametrize("surface", ["monai", "pooled"])
@pytest.mark.parametrize(
    ("step", "distance"), [((2, 0, 0), 6), ((0, 2, 0), 2), ((0, 0, 2), 1), ((1, 1, 2), math.sqrt(11))]
)
def test_distances_are_in_millimetres_along_each_axis(step, distance, surface):
    # voxels of 3 x 1 x 0.5 mm: (1, 1, 2) steps are (3, 1, 1) mm, that is sqrt(9 + 1 + 1)
    prediction, truth = _voxels((5, 5, 5), step), _voxels((5, 5, 5), (0, 0, 0))
    assert _score(prediction, truth, (3, 1, 0.5), surface=surface)[1] == pytest.approx(distance)


def test_the_nearest_voxel_is_found_in_millimetres_not_in_voxels():
    # from (0, 0): (1, 0) is 1 voxel = 5 mm away, (0, 3) is 3 voxels = 3 mm away
    prediction, truth = _voxels((2, 4), (0, 0)), _voxels((2, 4), (1, 0), (0, 3))
    # prediction to truth: 3; truth to prediction: 3 and 5 -> 3 + 0.95 * 2
    assert _score(prediction, truth, (5, 1))[1] == pytest.approx(3 + 0.95 * 2)


@pytest.mark.parametrize("margin", [0, 3])
def test_mask_voxels_on_the_border_of_the_volume_are_surface(margin):
    # truth fills a 3 x 3 image: 8 ring pixels are surface (outside counts as background), the centre is not
    prediction, truth = _voxels((3, 3), (1, 1)), torch.ones(3, 3, dtype=torch.uint8)
    prediction, truth = (torch.nn.functional.pad(x, (margin,) * 4) for x in (prediction, truth))
    # centre to ring: 1; ring to centre: four times 1, four times sqrt(2) -> sqrt(2) at place 0.95 * 7 = 6.65 of 0..7
    assert _score(prediction, truth)[1] == pytest.approx(math.sqrt(2))
    # pooled: 1 five times, sqrt(2) four times, place 0.95 * 8 = 7.6 of 0..8 -> sqrt(2)
    assert _score(prediction, truth, surface="pooled")[1] == pytest.approx(math.sqrt(2))


def test_inner_voxels_are_not_surface():
    # truth 5 x 5, prediction its centre: the nearest of the 16 ring pixels is 2 away, and nothing is nearer
    prediction, truth = _voxels((5, 5), (2, 2)), torch.ones(5, 5, dtype=torch.uint8)
    # ring to centre: 2 (4x), sqrt(5) (8x), sqrt(8) (4x); place 0.95 * 15 = 14.25 is among the largest
    assert _score(prediction, truth)[1] == pytest.approx(math.sqrt(8))
    swapped = _score(truth, prediction)[1]
    assert swapped == pytest.approx(math.sqrt(8)), "the measure is symmetric"


# ---- properties ----


def test_background_around_the_masks_changes_nothing():
    prediction, truth = _golden("noisy")
    padded = [torch.nn.functional.pad(x, (4, 1, 0, 7, 2, 3)) for x in (prediction, truth)]
    spacing = (1.0, 2.0, 0.7)
    assert score_case(*padded, REGIONS, spacing, "brats") == score_case(prediction, truth, REGIONS, spacing, "brats")


def test_dice_of_an_image_is_that_of_a_volume_of_one_slice():
    prediction, truth = (labels[:, :, 18] for labels in _golden("normal"))
    flat = score_case(prediction, truth, REGIONS, (1.0, 2.0), "brats")
    slab = score_case(prediction[..., None], truth[..., None], REGIONS, (1.0, 2.0, 9.0), "brats")
    for region in REGIONS:  # not HD95: in the slab every voxel is on the border, hence surface
        assert 0 < flat[region, "dice"] < 1
        assert flat[region, "dice"] == pytest.approx(slab[region, "dice"])


def test_meta_tensors_and_other_number_types_score_the_same():
    prediction, truth = _golden("normal")
    expected = score_case(prediction, truth, REGIONS, VOXELS, "brats")
    assert score_case(MetaTensor(prediction).long(), MetaTensor(truth).float(), REGIONS, VOXELS, "brats") == expected


def test_scores_come_region_by_region_in_the_configured_order():
    scores = score_case(*_golden("normal"), {"et": [3], "wt": [1, 2, 3]}, VOXELS, "brats")
    assert list(scores) == [("et", "dice"), ("et", "hd95"), ("wt", "dice"), ("wt", "hd95")]
    assert all(type(value) is float for value in scores.values())


def test_metrics_may_be_chosen_without_changing_their_values():
    prediction, truth = _golden("normal")
    everything = score_case(prediction, truth, REGIONS, VOXELS, "brats")
    for metric in ("dice", "hd95"):
        chosen = score_case(prediction, truth, REGIONS, VOXELS, "brats", metrics=[metric])
        assert chosen == {key: value for key, value in everything.items() if key[1] == metric}


def test_a_region_may_include_the_background_class():
    prediction, truth = _voxels((4, 4), (0, 0)), _voxels((4, 4), (0, 1))
    # 15 pixels of background each, 14 in common
    assert score_case(prediction, truth, {"outside": [0]}, (1, 1), "brats")["outside", "dice"] == pytest.approx(28 / 30)


# ---- empty masks ----


@pytest.mark.parametrize("surface", ["monai", "pooled"])
@pytest.mark.parametrize(
    ("policy", "both", "one"),
    [("brats", (1, 0), (0, 373.13)), ("passion", (1, 0), (0, 1)), ("nan", (math.nan, math.nan), (0, math.nan))],
)
def test_empty_masks_are_scored_by_the_policy(policy, both, one, surface):
    nothing, something = _voxels((3, 3, 3)), _voxels((3, 3, 3), (1, 1, 1))
    for prediction, truth, expected in [(nothing, nothing, both), (nothing, something, one), (something, nothing, one)]:
        found = _score(prediction, truth, policy=policy, surface=surface)
        assert found == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("policy", ["brats", "passion", "nan"])
def test_a_policy_has_no_say_where_no_mask_is_empty(policy):
    prediction, truth = _voxels((1, 5), (0, 0), (0, 3)), _voxels((1, 5), (0, 0))
    assert _score(prediction, truth, policy=policy) == pytest.approx((2 / 3, 2.85))


# ---- refusals ----


def test_unknown_settings_and_misfits_are_refused():
    labels = _voxels((3, 3), (1, 1))
    with pytest.raises(ValueError, match="policy `mean` is unknown"):
        _score(labels, labels, policy="mean")
    with pytest.raises(ValueError, match=r"`surface` is `medpy`; expected one of \['monai', 'pooled'\]"):
        _score(labels, labels, surface="medpy")
    with pytest.raises(ValueError, match=r"`metrics` is \['iou'\]; expected one or more of \['dice', 'hd95'\]"):
        score_case(labels, labels, ONE, (1, 1), "brats", metrics=["iou"])
    with pytest.raises(ValueError, match=r"prediction has shape \(3, 3\) but truth has \(1, 3, 3\)"):
        _score(labels, labels[None])
    with pytest.raises(ValueError, match="one positive voxel size in mm for each of the 2 spatial axes"):
        _score(labels, labels, (1.0, 1.0, 1.0))
