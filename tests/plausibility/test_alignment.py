# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How far series lie apart, on movements that are known."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.plausibility.alignment import BINS, _information, _moved, displacement


def test_information_by_hand():
    # two ranks, each half of the points, always the same: log 2; independent: 0
    one = np.array([0, 0, 1, 1])
    assert _information(one, one) == pytest.approx(np.log(2))
    assert _information(one, np.array([0, 1, 0, 1])) == pytest.approx(0)
    assert _information(one, np.array([-1, -1, -1, 1])) == 0.0, "too few points have foreground"
    assert BINS > 1


def test_points_are_turned_and_then_shifted():
    # 90 degrees about the third axis take x to y
    moved = _moved(np.array([[1.0, 0, 0]]), np.array([10.0, 0, 0, 0, 0, 90.0]))
    np.testing.assert_allclose(moved, [[10.0, 1.0, 0.0]], atol=1e-12)


@pytest.mark.parametrize("voxels", [(3, 0, 0), (0, -3, 0), (0, 0, 2)])
def test_a_shift_by_whole_voxels_is_found_in_mm(view, voxels):
    image, inside = (np.roll(each, voxels, axis=(0, 1, 2)) for each in (view.values[2], view.inside[2]))
    found = displacement(view.values[1], image, (view.inside[1], inside), view.spacing)
    assert found.mm == pytest.approx(4.0 * np.abs(voxels).sum(), abs=1.0)
    assert found.gain > 0.05
    assert found.mirrored < 0


def test_an_image_lies_on_itself_and_mirroring_it_loses(view):
    mask = view.inside[0]
    found = displacement(view.values[0], view.values[0], (mask, mask), view.spacing)
    assert (found.mm, found.gain) == (0.0, 0.0)
    assert found.mirrored < -0.5


def test_brightness_turned_upside_down_is_the_same_information(view):
    mask = view.inside[0]
    found = displacement(view.values[0], -(view.values[0] ** 3), (mask, mask), view.spacing)
    assert (found.mm, found.gain) == (0.0, 0.0)
