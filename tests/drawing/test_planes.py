# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Which slice is shown, how it is turned, how bright it is."""

from __future__ import annotations

import numpy as np

from scripts.drawing.planes import box_around, largest_slice, upright, white_level


def test_slices_of_an_lps_volume_are_turned_as_radiologists_look_at_them():
    # indices grow to the patient's left, back and head; the corner at the origin is right, front and foot
    corner = np.zeros((2, 3, 4))
    corner[0, 0, 0] = 1
    axial, coronal, sagittal = (upright(corner.take(0, axis), axis) for axis in (2, 1, 0))
    assert axial.shape == (3, 2) and axial[0, 0] == 1, "front is up, the patient's right on the left"
    assert coronal.shape == (4, 2) and coronal[-1, 0] == 1, "the foot is down, the patient's right on the left"
    assert sagittal.shape == (4, 3) and sagittal[-1, 0] == 1, "the foot is down, the front on the left"


def test_the_background_has_no_part_in_the_white_of_an_image():
    image = np.zeros(10_000)
    image[:100] = 5
    assert white_level(image) == 5


def test_the_largest_slice_is_that_of_the_first_volume_with_a_label():
    empty, labels = np.zeros((4, 4, 6)), np.zeros((4, 4, 6))
    labels[0, 0, 1], labels[:2, 0, 4] = 3, 1
    assert largest_slice([labels, empty]) == 4
    assert largest_slice([empty, labels]) == 4
    assert largest_slice([empty, empty]) == 3, "the middle"

    def volumes():
        yield labels
        raise AssertionError("a second volume is not asked for where the first one has labels")

    assert largest_slice(volumes()) == 4


def test_the_box_holds_what_any_slice_shows_with_a_margin_of_two_pixels():
    one, other = np.zeros((20, 30)), np.zeros((20, 30))
    one[6, 8], other[9, 1] = 1, -1
    assert box_around([one, other]) == (slice(4, 12), slice(0, 11))
    assert box_around([np.zeros((20, 30))]) == (slice(0, 22), slice(0, 32)), "nothing is shown: the whole slice"
