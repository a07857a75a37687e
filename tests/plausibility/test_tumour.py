# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What is doubted of a tumour."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.plausibility.doubt import limits
from scripts.plausibility.tumour import doubts_of_tumour, measure_tumour
from scripts.plausibility.view import depth_mm

BRAIN = np.zeros((14, 14, 14), bool)
BRAIN[2:12, 2:12, 2:12] = True  # 1000 voxels of 10 mm: 1000 mL
TENS = np.diag([10.0, 10.0, 10.0, 1.0])
DEPTH = depth_mm(BRAIN, np.full(3, 10.0))


def box(low, high, size=14):
    mask = np.zeros((size,) * 3, bool)
    mask[low:high, low:high, low:high] = True
    return mask


def test_a_tumour_in_the_middle_by_hand():
    # 4 x 4 x 4 voxels of 1 mL in 1000 mL
    found = measure_tumour(box(5, 9), TENS, DEPTH, TENS)
    assert found == {"ml": 64.0, "of_brain": 0.064, "outside": 0.0, "at_surface": 0.0}
    assert doubts_of_tumour(found) == []


def test_grids_may_differ():
    # 20 x 20 x 20 voxels of 2 mm from (50, 50, 50) mm on: the same tumour, voxel centres a little inside
    fine = np.diag([2.0, 2.0, 2.0, 1.0])
    fine[:3, 3] = 46.0
    found = measure_tumour(np.ones((20, 20, 20), bool), fine, DEPTH, TENS)
    assert found == {"ml": 64.0, "of_brain": 0.064, "outside": 0.0, "at_surface": 0.0}


def test_what_lies_outside_of_the_brain_is_counted_and_doubted_also_beyond_its_grid():
    # of 4 voxels along each axis 2 lie inside: 8 of 64 voxels
    found = measure_tumour(box(0, 4), TENS, DEPTH, TENS)
    assert found["outside"] == 1 - 8 / 64
    assert [doubt.name for doubt in doubts_of_tumour(found)] == ["tumour_outside"]
    away = TENS.copy()
    away[:3, 3] = 500
    assert measure_tumour(box(5, 9), away, DEPTH, TENS)["outside"] == 1.0


def test_a_tumour_that_takes_much_of_the_brain_is_doubted():
    found = measure_tumour(box(3, 11), TENS, DEPTH, TENS)  # 512 of 1000 mL
    assert found["of_brain"] == 0.512
    doubt = doubts_of_tumour(found)[0]
    assert (doubt.name, doubt.limit) == ("tumour_volume", limits()["tumour_volume"])
    assert "51%" in doubt.message


def test_a_shell_is_at_the_surface():
    depth = depth_mm(np.repeat(np.repeat(np.repeat(BRAIN, 3, 0), 3, 1), 3, 2), np.full(3, 10 / 3))
    thirds = np.diag([10 / 3, 10 / 3, 10 / 3, 1.0])
    found = measure_tumour((depth > 0) & (depth < 4), thirds, depth, thirds)
    assert found["at_surface"] == 1.0
    assert "tumour_at_surface" in [doubt.name for doubt in doubts_of_tumour(found)]


def test_no_tumour_is_no_doubt_and_no_brain_gives_no_numbers():
    empty = np.zeros((14, 14, 14), bool)
    found = measure_tumour(empty, TENS, DEPTH, TENS)
    assert found == {"ml": 0.0, "of_brain": 0.0, "outside": 0.0, "at_surface": 0.0}
    assert doubts_of_tumour(found) == []
    assert measure_tumour(box(5, 9), TENS, np.zeros_like(DEPTH), TENS) == {}
    assert doubts_of_tumour({}) == []


@pytest.mark.parametrize("ml", [0.5, 1.5])
def test_the_place_of_a_few_voxels_says_nothing(ml):
    found = {"ml": ml, "of_brain": 0.001, "outside": 1.0, "at_surface": 0.0}
    assert bool(doubts_of_tumour(found)) is (ml > 1)
