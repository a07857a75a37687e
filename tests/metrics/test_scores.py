# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice

from scripts.evaluation.descriptions import METRICS as DESCRIBED
from scripts.metrics.regions import region_masks
from scripts.metrics.scores import METRICS, CaseScorer, ScoreSettings
from scripts.metrics.surfaces import Surface

REGIONS = {"wt": [1, 2, 3], "tc": [1, 3], "et": [3]}
CLASSES = {"ncr": [1], "ed": [2], "et": [3]}
ONE = {"lesion": [1]}
VOXELS = (1.0, 1.0, 1.0)
SMALL_ET = {"region": "et", "voxels": 500}
GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "metrics.npz")
GOLDEN_CASES = sorted({key.split("/")[0] for key in GOLDEN if key.endswith("/gt")})


def _golden(case):
    return torch.from_numpy(GOLDEN[f"{case}/pred"]), torch.from_numpy(GOLDEN[f"{case}/gt"])


def _scores(prediction, truth, regions=REGIONS, spacing=VOXELS, policy="brats", **settings):
    return CaseScorer(truth, regions, spacing, ScoreSettings(policy, **settings)).score(prediction)


def _score(prediction, truth, spacing=None, policy="brats", **settings):
    """Score one lesion of class 1: (dice, hd95), or the metrics that are asked for."""
    return tuple(_scores(prediction, truth, ONE, spacing or (1.0,) * truth.ndim, policy, **settings).values())


def _voxels(shape, *places):
    labels = torch.zeros(shape, dtype=torch.uint8)
    for place in places:
        labels[place] = 1
    return labels


# ---- parity with the published evaluation ----


@pytest.mark.parametrize("case", GOLDEN_CASES)
def test_published_scores_are_reproduced_under_the_passion_policy(case):
    scores = _scores(*_golden(case), policy="passion", surface="pooled", small_region=SMALL_ET)
    for metric in ("dice", "hd95"):
        found = [scores[region, metric] for region in (*REGIONS, "et_min500")]
        np.testing.assert_allclose(found, GOLDEN[f"{case}/{metric}_wt_tc_et_etpp"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", GOLDEN_CASES)
def test_published_dice_of_single_classes_is_reproduced(case):
    scores = _scores(*_golden(case), CLASSES, policy="passion", surface="pooled")
    found = [scores[name, "dice"] for name in CLASSES]
    np.testing.assert_allclose(found, GOLDEN[f"{case}/dice_ncr_ed_et"], rtol=1e-5, atol=1e-6)


# ---- parity with MONAI ----


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
@pytest.mark.parametrize("spacing", [VOXELS, (0.5, 1.0, 3.0)])
@pytest.mark.parametrize("case", ["normal", "noisy"])
def test_scores_are_those_of_monai(case, spacing):
    labels = _golden(case)
    masks = [region_masks(each, REGIONS)[None] for each in labels]
    per_metric = {
        "dice": compute_dice(*masks),
        "hd95": compute_hausdorff_distance(*masks, include_background=True, percentile=95, spacing=spacing),
    }
    for tolerance in (0.5, 1.0, 2.5):
        thresholds = [tolerance] * len(REGIONS)
        per_metric["nsd"] = compute_surface_dice(*masks, thresholds, include_background=True, spacing=spacing)
        scores = _scores(*labels, spacing=spacing, metrics=tuple(per_metric), tolerance_mm=tolerance)
        for metric, expected in per_metric.items():
            found = [scores[region, metric] for region in REGIONS]
            assert found == pytest.approx(expected[0].tolist(), rel=1e-6)
            assert 0 < min(found), "or little is tested"


# ---- by hand ----


def test_dice_of_a_few_pixels_by_hand():
    # 2 predicted, 3 true, 1 in common: 2 * 1 / (2 + 3)
    prediction = _voxels((4, 4), (0, 0), (0, 1))
    truth = _voxels((4, 4), (0, 1), (0, 2), (0, 3))
    assert _score(prediction, truth)[0] == pytest.approx(2 / 5)


@pytest.mark.parametrize(
    ("predicted", "true", "spacing", "error"),
    [(3, 1, (2.0, 1.0, 5.0), 0.02), (1, 3, (2.0, 1.0, 5.0), -0.02), (0, 2, VOXELS, -0.002), (0, 0, VOXELS, 0)],
)
@pytest.mark.parametrize("policy", ["brats", "passion", "nan"])
def test_volume_error_is_predicted_minus_true_in_millilitres(predicted, true, spacing, error, policy):
    # two voxels of 10 mm^3 are 0.02 mL; a policy has no say
    labels = (_voxels((3, 3, 3), *[(0, 0, z) for z in range(n)]) for n in (predicted, true))
    assert _score(*labels, spacing, policy, metrics=["volume_error"]) == pytest.approx((error,))


def test_the_volume_of_an_image_is_that_of_a_slice_of_1_mm():
    # one pixel of 2 x 3 mm
    found = _score(_voxels((2, 2), (0, 0)), _voxels((2, 2)), (2.0, 3.0), metrics=["volume_error"])
    assert found == pytest.approx((0.006,))


# ---- small regions ----


@pytest.mark.parametrize(("voxels", "emptied"), [(4, False), (5, False), (6, True)])
def test_a_small_region_is_reported_emptied_beside_the_plain_one(voxels, emptied):
    # 5 predicted voxels of class 3 where there are 2
    prediction, truth = torch.zeros(2, 6, 6, 6, dtype=torch.uint8)
    prediction[0, 0, :5], truth[0, 0, :2] = 3, 3
    settings = {"spacing": (2.0, 1.0, 1.0), "metrics": METRICS}
    plain = _scores(prediction, truth, **settings)
    scores = _scores(prediction, truth, **settings, small_region={"region": "et", "voxels": voxels})
    name = f"et_min{voxels}"
    assert list(scores) == [*plain, *((name, metric) for metric in METRICS)]
    assert {key: scores[key] for key in plain} == plain, "the plain regions stay as they are"
    kept = {metric: scores[name, metric] for metric in METRICS}
    if not emptied:
        assert kept == {metric: plain["et", metric] for metric in METRICS}
    else:  # nothing is left of 2 true voxels of 2 mm^3, which are too little to count as a lesion
        expected = {"dice": 0, "hd95": 373.13, "nsd": 0, "volume_error": -0.004, "lesion_dice": 1, "lesion_hd95": 0}
        assert kept == pytest.approx(expected)


# ---- lesion by lesion (the rules are tested in test_lesions) ----


@pytest.mark.parametrize("policy", ["brats", "passion", "nan"])
@pytest.mark.parametrize("surface", ["monai", "pooled"])
def test_lesions_have_their_own_convention_and_penalty(policy, surface):
    def found(prediction, truth):
        settings = {"surface": surface, "metrics": ["lesion_dice", "lesion_hd95"]}
        return _score(prediction, truth, (5.0, 5.0, 5.0), policy, **settings)

    # one voxel is 125 mm^3, a lesion
    nothing, one, two = _voxels((3, 3, 9)), _voxels((3, 3, 9), (1, 1, 1)), _voxels((3, 3, 9), (1, 1, 1), (1, 1, 2))
    assert found(nothing, nothing) == (1, 0)
    assert found(nothing, one) == found(one, nothing) == (0, 374)
    # 0 and 5 mm from two to one: 0.95 * 5, and never pooled
    assert found(two, one) == pytest.approx((2 / 3, 4.75))


# ---- properties ----


def test_one_scorer_scores_each_prediction_as_if_it_were_the_only_one():
    prediction, truth = _golden("noisy")
    predictions = [prediction, torch.zeros_like(truth), truth, _golden("normal")[0], prediction]
    settings = ScoreSettings("brats", metrics=METRICS, small_region=SMALL_ET)
    scorer = CaseScorer(truth, REGIONS, (1.0, 2.0, 0.7), settings)
    found = [scorer.score(each) for each in predictions]
    assert found == [CaseScorer(truth, REGIONS, (1.0, 2.0, 0.7), settings).score(each) for each in predictions]
    assert found[0] == found[-1] != found[3]
    assert all(math.isfinite(value) for scores in found for value in scores.values())


def test_dice_alone_looks_for_no_surface(monkeypatch):
    def refuse(*_):
        raise AssertionError("a surface was looked for")

    monkeypatch.setattr(Surface, "of", refuse)
    _scores(*_golden("normal"), metrics=["dice", "volume_error"], small_region=SMALL_ET)
    with pytest.raises(AssertionError, match="a surface was looked for"):
        _scores(*_golden("normal"), metrics=["nsd"])


def test_background_around_the_masks_changes_nothing():
    prediction, truth = _golden("noisy")
    padded = [torch.nn.functional.pad(x, (4, 1, 0, 7, 2, 3)) for x in (prediction, truth)]
    spacing = (1.0, 2.0, 0.7)
    assert _scores(*padded, spacing=spacing, metrics=METRICS) == pytest.approx(
        _scores(prediction, truth, spacing=spacing, metrics=METRICS), rel=1e-6
    )


def test_dice_of_an_image_is_that_of_a_volume_of_one_slice():
    prediction, truth = (labels[:, :, 18] for labels in _golden("normal"))
    flat = _scores(prediction, truth, spacing=(1.0, 2.0))
    slab = _scores(prediction[..., None], truth[..., None], spacing=(1.0, 2.0, 9.0))
    for region in REGIONS:  # not HD95: in the slab every voxel is on the border, hence surface
        assert 0 < flat[region, "dice"] < 1
        assert flat[region, "dice"] == pytest.approx(slab[region, "dice"])


def test_meta_tensors_and_other_number_types_score_the_same():
    prediction, truth = _golden("normal")
    expected = _scores(prediction, truth, metrics=METRICS)
    assert _scores(MetaTensor(prediction).long(), MetaTensor(truth).float(), metrics=METRICS) == expected


def test_scores_come_region_by_region_in_the_configured_order():
    scores = _scores(*_golden("normal"), {"et": [3], "wt": [1, 2, 3]}, metrics=METRICS)
    assert list(scores) == [(region, metric) for region in ("et", "wt") for metric in METRICS]
    assert all(type(value) is float for value in scores.values())


def test_metrics_may_be_chosen_without_changing_their_values():
    prediction, truth = _golden("normal")
    everything = _scores(prediction, truth, metrics=METRICS)
    for metric in METRICS:
        chosen = _scores(prediction, truth, metrics=[metric])
        assert chosen == {key: value for key, value in everything.items() if key[1] == metric}


def test_a_region_may_include_the_background_class():
    prediction, truth = _voxels((4, 4), (0, 0)), _voxels((4, 4), (0, 1))
    # 15 pixels of background each, 14 in common
    assert _scores(prediction, truth, {"outside": [0]}, (1, 1))["outside", "dice"] == pytest.approx(28 / 30)


# ---- empty masks ----


@pytest.mark.parametrize("surface", ["monai", "pooled"])
@pytest.mark.parametrize(
    ("policy", "both", "one"),
    [
        ("brats", (1, 0, 1), (0, 373.13, 0)),
        ("passion", (1, 0, 1), (0, 1, 0)),
        ("nan", (math.nan,) * 3, (0, math.nan, 0)),
    ],
)
def test_empty_masks_are_scored_by_the_policy(policy, both, one, surface):
    nothing, something = _voxels((3, 3, 3)), _voxels((3, 3, 3), (1, 1, 1))
    for prediction, truth, expected in [(nothing, nothing, both), (nothing, something, one), (something, nothing, one)]:
        found = _score(prediction, truth, policy=policy, surface=surface, metrics=["dice", "hd95", "nsd"])
        assert found == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("policy", ["brats", "passion", "nan"])
def test_a_policy_has_no_say_where_no_mask_is_empty(policy):
    prediction, truth = _voxels((1, 5), (0, 0), (0, 3)), _voxels((1, 5), (0, 0))
    assert _score(prediction, truth, policy=policy) == pytest.approx((2 / 3, 2.85))


# ---- refusals ----


def test_lesion_wise_scores_of_other_rules_have_a_name_of_their_own():
    truth = _voxels((8, 8), *[(k, k) for k in range(4)])  # 8-connected: one lesion of 2023, four of 2025
    prediction = _voxels((8, 8), (0, 0))
    metrics = ("dice", "lesion_dice", "lesion_hd95")
    of_2023, of_2025 = (
        _scores(prediction, truth, ONE, (10.0, 10.0), metrics=metrics, lesion_rules=rules)
        for rules in ("brats2023", "brats2025")
    )
    assert {metric for _, metric in of_2023} == set(metrics)
    assert {metric for _, metric in of_2025} == {"dice", "lesion_dice_brats2025", "lesion_hd95_brats2025"}
    assert of_2023["lesion", "lesion_dice"] == 0.4
    assert of_2025["lesion", "lesion_dice_brats2025"] == 1
    assert {metric for _, metric in of_2025} <= set(DESCRIBED)


def test_unknown_settings_and_misfits_are_refused():
    labels = _voxels((3, 3), (1, 1))
    with pytest.raises(ValueError, match="policy `mean` is unknown"):
        _score(labels, labels, policy="mean")
    with pytest.raises(ValueError, match=r"`surface` is `medpy`; expected one of \['monai', 'pooled'\]"):
        _score(labels, labels, surface="medpy")
    with pytest.raises(ValueError, match=r"`metrics` is \['iou'\]; expected one or more of \['dice', 'hd95', 'nsd', "):
        _score(labels, labels, metrics=["iou"])
    with pytest.raises(ValueError, match=r"`lesion_rules` is `2025`; expected one of \['brats2023', 'brats2025'\]"):
        _score(labels, labels, lesion_rules="2025")
    with pytest.raises(ValueError, match="`tolerance_mm` is -1; expected a distance in mm"):
        _score(labels, labels, tolerance_mm=-1)
    with pytest.raises(ValueError, match="expected the name of a `region` and a number of `voxels`"):
        _score(labels, labels, small_region={"et": 500})
    with pytest.raises(ValueError, match="expected the name of a `region` and a number of `voxels`"):
        _score(labels, labels, small_region={"region": "lesion", "voxels": "500"})
    with pytest.raises(ValueError, match=r"`small_region` is about `et`, which is not among \['lesion'\]"):
        _score(labels, labels, small_region=SMALL_ET)
    with pytest.raises(ValueError, match=r"prediction has shape \(3, 3\) but truth has \(1, 3, 3\)"):
        _score(labels, labels[None])
    with pytest.raises(ValueError, match="one positive voxel size in mm for each of the 2 spatial axes"):
        _score(labels, labels, (1.0, 1.0, 1.0))
