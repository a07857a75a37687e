# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest

from scripts.metrics.surfaces import HD95_FROM_DISTANCES, Surface, bounding_box, surface_dice

# that these are MONAI's numbers is tested in test_scores


def _voxels(shape, *places):
    mask = np.zeros(shape, dtype=bool)
    for place in places:
        mask[place] = True
    return mask


def _distances(prediction, truth, spacing=None):
    spacing = spacing or (1.0,) * truth.ndim
    one, other = (Surface.of(mask, spacing) for mask in (prediction, truth))
    return one.distances_to(other), other.distances_to(one)


def _hd95(prediction, truth, spacing=None, surface="monai"):
    return HD95_FROM_DISTANCES[surface](*_distances(prediction, truth, spacing))


# ---- HD95 ----


def test_the_two_conventions_of_hd95_by_hand():
    prediction, truth = _voxels((1, 5), (0, 0), (0, 3)), _voxels((1, 5), (0, 0))
    # prediction to truth: 0, 3 -> 95th percentile between them: 0.95 * 3; truth to prediction: 0 -> 0
    assert _hd95(prediction, truth, surface="monai") == pytest.approx(0.95 * 3)
    # pooled 0, 0, 3: place 0.95 * 2 = 1.9, nine tenths of the way from 0 to 3
    assert _hd95(prediction, truth, surface="pooled") == pytest.approx(0.9 * 3)


@pytest.mark.parametrize("surface", ["monai", "pooled"])
@pytest.mark.parametrize(
    ("step", "distance"), [((2, 0, 0), 6), ((0, 2, 0), 2), ((0, 0, 2), 1), ((1, 1, 2), math.sqrt(11))]
)
def test_distances_are_in_millimetres_along_each_axis(step, distance, surface):
    # voxels of 3 x 1 x 0.5 mm: (1, 1, 2) steps are (3, 1, 1) mm, that is sqrt(9 + 1 + 1)
    prediction, truth = _voxels((5, 5, 5), step), _voxels((5, 5, 5), (0, 0, 0))
    assert _hd95(prediction, truth, (3, 1, 0.5), surface=surface) == pytest.approx(distance)


def test_the_nearest_voxel_is_found_in_millimetres_not_in_voxels():
    # from (0, 0): (1, 0) is 1 voxel = 5 mm away, (0, 3) is 3 voxels = 3 mm away
    prediction, truth = _voxels((2, 4), (0, 0)), _voxels((2, 4), (1, 0), (0, 3))
    # prediction to truth: 3; truth to prediction: 3 and 5 -> 3 + 0.95 * 2
    assert _hd95(prediction, truth, (5, 1)) == pytest.approx(3 + 0.95 * 2)


@pytest.mark.parametrize("margin", [0, 3])
def test_mask_voxels_on_the_border_of_the_volume_are_surface(margin):
    # truth fills a 3 x 3 image: 8 ring pixels are surface (outside counts as background), the centre is not
    prediction, truth = _voxels((3, 3), (1, 1)), np.ones((3, 3), dtype=bool)
    prediction, truth = (np.pad(x, margin) for x in (prediction, truth))
    # centre to ring: 1; ring to centre: four times 1, four times sqrt(2) -> sqrt(2) at place 0.95 * 7 = 6.65 of 0..7
    assert _hd95(prediction, truth) == pytest.approx(math.sqrt(2))
    # pooled: 1 five times, sqrt(2) four times, place 0.95 * 8 = 7.6 of 0..8 -> sqrt(2)
    assert _hd95(prediction, truth, surface="pooled") == pytest.approx(math.sqrt(2))


def test_inner_voxels_are_not_surface():
    # truth 5 x 5, prediction its centre: the nearest of the 16 ring pixels is 2 away, and nothing is nearer
    prediction, truth = _voxels((5, 5), (2, 2)), np.ones((5, 5), dtype=bool)
    # ring to centre: 2 (4x), sqrt(5) (8x), sqrt(8) (4x); place 0.95 * 15 = 14.25 is among the largest
    assert _hd95(prediction, truth) == pytest.approx(math.sqrt(8))
    swapped = _hd95(truth, prediction)
    assert swapped == pytest.approx(math.sqrt(8)), "the measure is symmetric"


# ---- normalised surface Dice ----


def test_surface_dice_of_a_few_pixels_by_hand():
    prediction, truth = _voxels((2, 6), (0, 0), (0, 3)), _voxels((2, 6), (0, 0), (1, 3), (0, 5))
    # pixels of 2 x 1 mm. Prediction to truth: 0 and 2 (to (1, 3) or (0, 5)); back: 0, 2 and 2
    for tolerance, within in [(1.0, 2), (1.99, 2), (2.0, 5)]:
        found = surface_dice(*_distances(prediction, truth, (2.0, 1.0)), tolerance)
        assert found == pytest.approx(within / 5)


def test_a_neighbour_is_within_1_mm_whatever_the_rounding_of_the_voxel_size():
    # affine matrices of 1 mm voxels give sizes such as these
    prediction, truth = _voxels((3, 3, 3), (1, 1, 1)), _voxels((3, 3, 3), (1, 1, 2))
    for step in (0.9999999, 1.0, 1.0000001, 1.000001):
        assert surface_dice(*_distances(prediction, truth, (step,) * 3), 1.0) == 1
    assert surface_dice(*_distances(prediction, truth, (1.001,) * 3), 1.0) == 0


# ---- surfaces ----


def test_an_empty_mask_has_no_surface():
    nothing = _voxels((3, 4, 5))
    assert Surface.of(nothing, (1, 1, 1)).voxels.shape == (0, 3)
    assert nothing[bounding_box(nothing)].size == 0


def test_surface_voxels_are_counted_on_the_whole_grid_and_may_be_taken_apart():
    # a 3 x 3 square away from the border: all but its centre (3, 5)
    square = _voxels((9, 9), np.s_[2:5, 4:7])
    surface = Surface.of(square, (1, 1))
    expected = {(x, y) for x in (2, 3, 4) for y in (4, 5, 6)} - {(3, 5)}
    assert set(map(tuple, surface.voxels.tolist())) == expected
    row = surface.part(surface.voxels[:, 0] == 2)
    assert row.voxels.tolist() == [[2, 4], [2, 5], [2, 6]]
