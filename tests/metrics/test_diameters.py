# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Bidirectional diameters of shapes whose diameters are known."""

from __future__ import annotations

import math

import nibabel as nib
import numpy as np
import pytest

from scripts.metrics.diameters import diameters

SHAPE = (80, 90, 30)


def affine_of(spacing=(1.0, 1.0, 1.0)):
    return np.diag([*spacing, 1.0])


def ellipse(longest, shortest, degrees=0.0, spacing=(1.0, 1.0), size=(80, 90)):
    """Pixels of an ellipse of these diameters in mm."""
    x, y = np.meshgrid(*((np.arange(n) - n / 2 + 0.3) * s for n, s in zip(size, spacing, strict=True)), indexing="ij")
    angle = np.deg2rad(degrees)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return (2 * u / longest) ** 2 + (2 * v / shortest) ** 2 <= 1


def volume(*slices, shape=SHAPE):
    mask = np.zeros(shape, bool)
    for k, pixels in slices:
        mask[..., k] = pixels
    return mask


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 137])
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 0.8)])
def test_an_ellipse_has_its_axes_whichever_way_it_lies(degrees, spacing):
    found = diameters(volume((11, ellipse(30, 18, degrees, spacing))), affine_of((*spacing, 5.0)))
    across = max(spacing) * math.sqrt(2)  # from centre to outer edge on both sides
    assert found.longest_mm == pytest.approx(30, abs=across)
    assert found.perpendicular_mm == pytest.approx(18, abs=across)
    assert found.slice == 11 and found.product_mm2 == found.longest_mm * found.perpendicular_mm


@pytest.mark.parametrize(("wide", "high"), [(20, 10), (10, 10), (1, 1), (30, 1)])
def test_a_rectangle_has_its_diagonal_and_the_chord_across_it(wide, high):
    pixels = np.zeros(SHAPE[:2], bool)
    pixels[5 : 5 + wide, 7 : 7 + high] = True
    found = diameters(volume((3, pixels)), affine_of((1.0, 2.0, 1.0)))
    w, h = sorted((wide, 2 * high), reverse=True)
    diagonal = math.hypot(w, h)
    assert found.longest_mm == pytest.approx(diagonal)
    assert found.perpendicular_mm == pytest.approx(h * diagonal / w)  # it ends at both long sides


def test_the_slice_with_the_largest_product_counts_and_not_that_with_the_longest_diameter():
    mask = volume((8, ellipse(40, 6)), (9, ellipse(34, 20)), (10, ellipse(20, 20)))
    assert diameters(mask, affine_of()).slice == 9


def test_the_largest_lesion_alone_is_measured():
    small, large = np.zeros(SHAPE[:2], bool), ellipse(20, 20)
    small[0, :60] = True  # long and thin
    found = diameters(volume((3, small), (8, large), (9, large)), affine_of())
    assert found.slice == 8 and found.longest_mm == pytest.approx(20, abs=1.5)


def test_parts_that_touch_by_a_corner_are_one_lesion_and_a_ring_counts_whole():
    ring = ellipse(30, 30) & ~ellipse(24, 24)
    found = diameters(volume((5, ring)), affine_of())
    assert found.longest_mm == pytest.approx(diameters(volume((5, ellipse(30, 30))), affine_of()).longest_mm)
    steps = np.zeros(SHAPE[:2], bool)
    steps[range(10), range(10)] = True
    assert diameters(volume((5, steps)), affine_of()).longest_mm == pytest.approx(10 * math.sqrt(2))


@pytest.mark.parametrize("codes", ["LPS", "PIR", "SLA", "RAS"])
def test_slices_are_axial_however_the_axes_of_the_file_lie(codes):
    image = nib.Nifti1Image(volume((11, ellipse(30, 18, 20))).astype(np.uint8), affine_of((1.0, 1.0, 3.0)))
    expected = diameters(image.get_fdata() > 0, image.affine)
    turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(codes))
    turned = image.as_reoriented(turn)
    found = diameters(turned.get_fdata() > 0, turned.affine)
    assert found[:2] == pytest.approx(expected[:2])


def test_an_oblique_slice_is_measured_in_its_own_plane():
    angle = np.deg2rad(20)
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    mask = volume((11, ellipse(30, 18, 20)))
    oblique = nib.affines.from_matvec(tilt @ np.diag([1.0, 1.0, 3.0]), [3, 4, 5])
    assert diameters(mask, oblique)[:2] == pytest.approx(diameters(mask, affine_of((1.0, 1.0, 3.0)))[:2])


def test_nothing_has_no_diameters():
    assert diameters(np.zeros(SHAPE, bool), affine_of()) is None
