# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from importlib import resources
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from monai.metrics import compute_hausdorff_distance
from scipy.ndimage import binary_dilation, gaussian_filter, label

from scripts.metrics.lesions import Lesions, MatchedLesions
from scripts.metrics.scores import CaseScorer, ScoreSettings

VOXELS = (1.0, 1.0, 1.0)
BLOCK = np.s_[4:8, 4:8, 4:8]  # 64 voxels, 56 of them surface (all but the 2 x 2 x 2 inside)


def mask(*places, shape=(26, 16, 16)):
    volume = np.zeros(shape, dtype=bool)
    for place in places:
        volume[place] = True
    return volume


def score(prediction, truth, spacing=VOXELS):
    return Lesions(truth, spacing).score(prediction)


# ---- nothing there ----


def test_nothing_there_and_nothing_predicted_is_perfect():
    assert score(mask(), mask()) == (1, 0)


@pytest.mark.parametrize("strays", [[np.s_[0, 0, 0]], [np.s_[0, 0, 0], np.s_[9, 9, 9], np.s_[20:25]]])
def test_anything_predicted_where_nothing_is_there_is_false(strays):
    # no lesion; 1 or 3 false positives, each 0 and 374, and so their mean
    assert score(mask(*strays), mask()) == (0, 374)


def test_a_missed_lesion_costs_the_penalty():
    assert score(mask(), mask(BLOCK)) == (0, 374)


# ---- matching ----


def test_one_stray_voxel_halves_a_perfect_score():
    # the lesion: Dice 1, HD95 0; the stray voxel, although 1 mm^3 only: Dice 0, HD95 374; divided by 1 + 1
    assert score(mask(BLOCK, np.s_[20, 0, 0]), mask(BLOCK)) == (0.5, 187)


def test_stray_voxels_that_touch_at_a_corner_are_one_false_positive():
    # 26-connected: one component, so 1 lesion + 1 false positive, not + 2
    assert score(mask(BLOCK, np.s_[20, 0, 0], np.s_[21, 1, 1]), mask(BLOCK)) == (0.5, 187)


@pytest.mark.parametrize(("second", "lesions"), [(np.s_[14:18, 4:8, 4:8], 1), (np.s_[15:19, 4:8, 4:8], 2)])
def test_parts_that_nearly_touch_after_dilation_are_one_lesion(second, lesions):
    # the first block ends at x = 7 and is dilated to x = 10. The second begins at 14 or 15, dilated at 11 or 12: at 11
    # it is a neighbour of 10, at 12 it is not. Only the first block is predicted, exactly.
    found = score(mask(BLOCK), mask(BLOCK, second))
    if lesions == 1:
        # 64 common voxels, 64 predicted, 128 true: 2 * 64 / 192
        assert found.dice == pytest.approx(2 / 3)
        # truth to prediction, 112 surface voxels: the first block's 56 are 0 away, the second's 16, 12, 12, 16 in
        # x = 14, 15, 16, 17 are 7, 8, 9, 10 mm from the face x = 7; place 0.95 * 111 = 105.45 is among the last 16
        assert found.hd95 == pytest.approx(10)
    else:
        assert found == (0.5, 187)  # one is perfect, one is missed


@pytest.mark.parametrize(
    ("offset", "matched"), [((3, 3, 0), True), ((2, 2, 2), True), ((4, 0, 0), False), ((3, 3, 3), False)]
)
def test_dilation_takes_three_steps_to_18_neighbours(offset, matched):
    # a step moves along at most two axes: (3, 3, 0) and (2, 2, 2) take three, (4, 0, 0) takes four; (3, 3, 3) is 9
    # single moves, that is five steps of two
    stray = tuple(7 + move for move in offset)  # counted from the block's corner (7, 7, 7)
    found = score(mask(BLOCK, stray), mask(BLOCK))
    # matched: 2 * 64 / (64 + 65); else a false positive
    assert found.dice == pytest.approx(128 / 129 if matched else 0.5)
    assert (found.hd95 < 374 / 2) == matched


def test_components_of_one_lesion_are_taken_together():
    # slabs x = 4 and x = 7 of the block, apart but both within it: 32 common, 32 predicted, 64 true
    prediction = mask(np.s_[4, 4:8, 4:8], np.s_[7, 4:8, 4:8])
    assert score(prediction, mask(BLOCK)).dice == pytest.approx(2 * 32 / 96)


def test_a_component_that_touches_two_lesions_counts_whole_in_both():
    truth = mask(BLOCK, np.s_[15:19, 4:8, 4:8])
    bar = mask(np.s_[4:19, 4:8, 4:8])
    found = score(bar, truth)
    # each lesion: 64 common, 15 * 16 = 240 predicted, 64 true
    assert found.dice == pytest.approx(2 * 64 / (240 + 64))
    # bar to one block: 188 surface voxels (16 at either end, 12 in the 13 slabs between), the 16 farthest 11 mm from
    # it; place 0.95 * 187 = 177.65 of 0..187 is among those 16. Block to bar: at most 1 (the block's inner face).
    assert found.hd95 == pytest.approx(11)


# ---- small lesions ----


@pytest.mark.parametrize(
    ("voxels", "spacing", "ignored"),
    [
        (50, VOXELS, True),  # 50 mm^3
        (51, VOXELS, False),
        (25, (2.0, 1.0, 1.0), True),  # 25 * 2 mm^3
        (26, (2.0, 1.0, 1.0), False),
        (100, (0.5, 1.0, 1.0), True),  # 100 * 0.5 mm^3
        (101, (0.5, 1.0, 1.0), False),
        (50, (1.0000001,) * 3, True),  # as an affine matrix may say 1 mm
    ],
)
def test_lesions_of_at_most_50_cubic_millimetres_are_ignored(voxels, spacing, ignored):
    tiny = mask()
    tiny[20:22].reshape(-1)[:voxels] = True  # one row after the other of the plane x = 20
    large = mask(np.s_[4:11, 4:11, 4:11])
    # missed: the large lesion alone counts, or both
    assert score(large, large | tiny, spacing) == ((1, 0) if ignored else (0.5, 187))
    # found: no false positive either way
    assert score(large | tiny, large | tiny, spacing) == (1, 0)


def test_with_nothing_but_an_ignored_lesion_only_false_positives_count():
    tiny, stray = mask(np.s_[4, 4, 4]), mask(np.s_[20, 9, 9])
    assert score(mask(), tiny) == (1, 0)
    assert score(tiny, tiny) == (1, 0)
    assert score(stray, tiny) == (0, 374)
    assert score(tiny | stray, tiny) == (0, 374)


def test_a_component_of_an_ignored_and_a_counted_lesion_belongs_to_the_counted_one():
    # the bar runs from the block into a lesion of 1 voxel 7 voxels off: 2 * 64 / ((64 + 8) + 64), no false positive
    truth = mask(BLOCK, np.s_[15, 4, 4])
    assert score(mask(BLOCK, np.s_[8:16, 4, 4]), truth).dice == pytest.approx(128 / 136)


# ---- distances and dimensions ----


@pytest.mark.parametrize(("spacing", "distance"), [(VOXELS, 1), ((2.0, 1.0, 1.0), 2), ((1.0, 1.0, 3.0), 1)])
def test_the_distance_of_a_lesion_is_in_millimetres(spacing, distance):
    # shifted by one voxel along x: 48 common of 64 and 64
    found = score(mask(np.s_[5:9, 4:8, 4:8]), mask(BLOCK), spacing)
    assert found.dice == pytest.approx(48 / 64)
    # of 56 surface voxels the 16 of the outer face are one step away: place 0.95 * 55 = 52.25 of 0..55 is one of the
    # last 16, as the four that lie inside of the truth are 1 mm from its sides or a step from its end, if that is less
    assert found.hd95 == pytest.approx(distance)


def test_images_are_scored_like_volumes():
    # pixels of 2 x 1 mm. Lesion: 6 x 6 pixels, 72 mm^2; a slice of 1 mm makes it 72 mm^3. Tiny: 25 pixels, 50 mm^3
    shape, spacing = (40, 30), (2.0, 1.0)
    square, tiny = mask(np.s_[4:10, 4:10], shape=shape), mask(np.s_[24:29, 4:9], shape=shape)
    truth = square | tiny
    assert score(square, truth, spacing) == (1, 0)
    # one row off: 30 of 36; the outermost row, 6 of 20 border pixels, is 2 mm away
    shifted = score(mask(np.s_[5:11, 4:10], shape=shape), truth, spacing)
    assert shifted.dice == pytest.approx(30 / 36)
    assert shifted.hd95 == pytest.approx(2)
    # three steps to 8 neighbours reach (3, 3); two pixels that touch at a corner are one false positive
    near = square | mask(np.s_[12, 12], shape=shape)
    assert score(near, truth, spacing).dice == pytest.approx(72 / 73)
    far = square | mask(np.s_[13, 20], np.s_[14, 21], shape=shape)
    assert score(far, truth, spacing) == (0.5, 187)


def test_lesions_at_the_border_of_the_volume_are_lesions():
    corner = mask(np.s_[:4, :4, :4])
    assert score(corner, corner) == (1, 0)
    assert score(mask(np.s_[-1, -1, -1]), corner) == (0, 374)


# ---- against the rules, written out lesion by lesion ----


def _by_the_rules(prediction, truth, spacing):
    eighteen = np.abs(np.indices((3, 3, 3)) - 1).sum(0) <= 2
    lesions, num_lesions = label(binary_dilation(truth, eighteen, iterations=3), np.ones((3, 3, 3)))
    parts, num_parts = label(prediction, np.ones((3, 3, 3)))
    dice, hd95, touching = [], [], set()
    for lesion in range(1, num_lesions + 1):
        matched = set(parts[lesions == lesion].tolist()) - {0}
        touching |= matched
        true, predicted = truth & (lesions == lesion), np.isin(parts, list(matched))
        if true.sum() * np.prod(spacing) <= 50:
            continue
        dice.append(2 * (true & predicted).sum() / (true.sum() + predicted.sum()))
        pair = [torch.from_numpy(each)[None, None] for each in (predicted, true)]
        settings = {"include_background": True, "percentile": 95, "spacing": spacing}
        hd95.append(float(compute_hausdorff_distance(*pair, **settings)) if matched else 374)
    false = num_parts - len(touching)
    return np.mean(dice + [0] * false), np.mean(hd95 + [374] * false), len(dice), false


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
@pytest.mark.parametrize("spacing", [VOXELS, (3.0, 0.8, 1.1)])
@pytest.mark.parametrize("seed", range(3))
def test_masks_of_many_lesions_score_as_the_rules_say(seed, spacing):
    rng = np.random.default_rng(seed)
    shape = (40, 44, 36)
    boxes = [
        tuple(slice(a, a + b) for a, b in zip(rng.integers(0, shape), rng.integers(1, 8, 3), strict=True))
        for _ in range(14)
    ]
    truth = mask(*boxes[:10], shape=shape)
    prediction = np.roll(mask(*boxes[3:], shape=shape), (1, -2, 1), (0, 1, 2)) | (rng.random(shape) < 1e-4)
    *expected, num_lesions, num_false = _by_the_rules(prediction, truth, spacing)
    assert num_lesions >= 2 and num_false >= 2, "or little is tested"
    assert score(prediction, truth, spacing) == pytest.approx(tuple(expected), rel=1e-6)


# ---- the rules of 2025 ----


def score_2025(prediction, truth, spacing=VOXELS):
    return MatchedLesions(truth, spacing).score(prediction)


def test_missed_lesions_and_false_positives_do_not_enter_the_mean_of_2025():
    # one of two lesions is found exactly, and something else is where nothing is
    truth = mask(BLOCK, np.s_[15:19, 4:8, 4:8])
    assert score_2025(mask(BLOCK, np.s_[22, 0, 0]), truth) == (1, 0)
    assert score(mask(BLOCK, np.s_[22, 0, 0]), truth) == pytest.approx((1 / 3, 2 * 374 / 3))


def test_nothing_is_dilated_and_no_lesion_is_too_small_in_2025():
    # one voxel apart: two lesions of 2025, one of 2023; the second of one voxel is half of a prediction of two
    truth = mask(np.s_[2:6, 4:8, 4:8], np.s_[7, 4, 4])
    prediction = mask(np.s_[2:6, 4:8, 4:8], np.s_[7:9, 4, 4])
    found = score_2025(prediction, truth)
    assert found.dice == pytest.approx((1 + 2 / 3) / 2)
    # distances 0 and of the prediction's second voxel 1: the 95th percentile of (0, 0, 1) is 0.9
    assert found.hd95 == pytest.approx((0 + 0.9) / 2)


def test_lesions_are_matched_one_to_one_where_the_sum_of_dice_is_largest():
    # a prediction of 20 x 1 x 1 voxels over two lesions of 4 and 6: Dice 8/24 and 12/26; the other stays unmatched
    truth = mask(np.s_[0:4, 4, 4], np.s_[8:14, 4, 4])
    assert score_2025(mask(np.s_[0:20, 4, 4]), truth).dice == pytest.approx(12 / 26)
    # with a second prediction over a part of the larger: 8/24 + 4/8 is more than 12/26 + 0
    truth = mask(np.s_[0:4, 4, 4], np.s_[8:14, 4:6, 4])
    prediction = mask(np.s_[0:13, 4, 4])
    prediction[12:14, 5, 4] = True  # joined by a corner: still one
    assert score_2025(prediction, truth).dice == pytest.approx(2 * 7 / (15 + 12))


def test_undefined_without_lesions_and_the_penalty_where_none_is_matched_in_2025():
    assert np.isnan(score_2025(mask(), mask())).all()
    for prediction, truth in ((mask(BLOCK), mask()), (mask(), mask(BLOCK)), (mask(np.s_[20, 0, 0]), mask(BLOCK))):
        assert score_2025(prediction, truth) == (0, 373)


def test_in_2d_lesions_of_2025_join_across_edges_alone():
    corner = mask(np.s_[2:4, 2:4], np.s_[4:6, 4:6], shape=(9, 9))
    # two lesions, of which one is found
    assert score_2025(mask(np.s_[2:4, 2:4], shape=(9, 9)), corner, (1.0, 1.0)) == (1, 0)


def blobs(rng, shape, number):
    """Label maps with up to ``number`` lesions of all sizes, each of several classes; none now and then."""
    labels = np.zeros(shape, dtype=np.uint8)
    for _ in range(rng.integers(0, number + 1)):
        field = gaussian_filter(rng.standard_normal(shape), rng.uniform(0.8, 2.5))
        inside = field > np.quantile(field, rng.uniform(0.97, 0.999))
        labels[inside] = rng.integers(1, 4, size=int(inside.sum()))
    return labels


@pytest.mark.skipif(find_spec("brats_evaluation") is None, reason="needs BraTS_evaluation (requirements-dev.txt)")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("spacing", [VOXELS, (0.5, 1.0, 3.0)])
def test_scores_of_2025_are_those_of_the_package_of_the_challenge(spacing):
    from panoptica import Panoptica_Evaluator

    config = resources.files("brats_evaluation") / "configs" / "config_gli.yaml"
    evaluator = Panoptica_Evaluator.load_from_config(str(config))
    regions = {"wt": [1, 2, 3], "tc": [1, 3], "et": [3]}
    settings = ScoreSettings("nan", "pooled", ("dice", "hd95", "lesion_dice", "lesion_hd95"), lesion_rules="brats2025")
    rng, undefined, unmatched, several = np.random.default_rng(2025), 0, 0, 0
    for _ in range(20):
        truth = blobs(rng, (20, 24, 22), 3)
        prediction = np.where(rng.random(truth.shape) < 0.7, np.roll(truth, 1, axis=rng.integers(3)), 0)
        prediction = np.where(prediction > 0, prediction, blobs(rng, truth.shape, 1)).astype(np.uint8)
        ours = CaseScorer(torch.from_numpy(truth), regions, spacing, settings).score(torch.from_numpy(prediction))
        theirs = evaluator.evaluate(prediction, truth, voxelspacing=spacing, verbose=False)
        for region in regions:
            found = theirs[region].to_dict(True)
            expected = {"lesion_dice_brats2025": found["sq_dsc"], "lesion_hd95_brats2025": found["sq_hd95"]}
            if np.isinf(found["sq_hd95"]):  # no pair is matched
                expected["lesion_hd95_brats2025"], unmatched = 373, unmatched + 1
            if spacing == VOXELS and np.isfinite(found["global_bin_hd95"]):  # of the whole region; in voxels
                expected |= {"dice": found["global_bin_dsc"], "hd95": found["global_bin_hd95"]}
            undefined += np.isnan(found["sq_dsc"])
            several += found["tp"] > 1
            for metric, value in expected.items():
                assert ours[region, metric] == pytest.approx(value, abs=1e-4, nan_ok=True), (region, metric)
    assert undefined > 0 and unmatched > 0 and several > 5
