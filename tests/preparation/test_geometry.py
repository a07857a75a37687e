# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Grids, transforms, and the two kinds of axes."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from scripts.data.formats import itk_affine
from scripts.preparation.geometry import (
    Grid,
    displacement,
    from_itk_transform,
    resample,
    rotation_degrees,
    to_itk,
    to_itk_transform,
)
from tests.heads import MOVEMENT, REFERENCE, THICK, rigid


def test_finer_voxels_cover_the_same_box_from_the_same_corner():
    grid = Grid((4, 6, 3), nib.affines.from_matvec(np.diag([-1.0, 2.0, 5.0]), [10, 20, 30]))
    finer = grid.with_spacing(np.array([1.0, 1.0, 1.0]))
    assert finer.shape == (4, 12, 15)
    # the corner lies half a voxel before the first centre: (10 + 0.5, 20 - 1, 30 - 2.5)
    np.testing.assert_allclose(nib.affines.apply_affine(finer.affine, [-0.5, -0.5, -0.5]), [10.5, 19.0, 27.5])
    np.testing.assert_allclose(finer.spacing, 1.0)
    assert grid.with_spacing(np.array([1.5, 2.0, 4.0])).shape == (3, 6, 4), "the last voxel may reach beyond the box"


def test_the_same_grid_returns_the_same_bits():
    image = np.random.default_rng(0).normal(size=(2, 5, 6, 7)).astype(np.float32)
    grid = Grid((5, 6, 7), nib.affines.from_matvec(np.diag([1.1, 0.9, 2.0]), [1, 2, 3]))
    np.testing.assert_array_equal(resample(image, grid, grid), image)


def test_a_linear_ramp_is_where_the_transform_puts_it():
    # the value of a voxel is its place along x in the space of the source; linear interpolation is exact for it
    source = Grid((20, 20, 20), np.diag([2.0, 2.0, 2.0, 1.0]))
    places = source.points(np.ones(source.shape, dtype=bool)).reshape(*source.shape, 3)
    target = Grid((3, 3, 3), nib.affines.from_matvec(np.diag([1.0, 1.0, 3.0]), [15, 16, 14]))
    movement = rigid((5, 3, -4), (1.5, -2.0, 0.5))
    found = resample(places[..., 0], source, target, movement)
    wanted = nib.affines.apply_affine(movement, target.points(np.ones(target.shape, dtype=bool)))[:, 0]
    np.testing.assert_allclose(found.ravel(), wanted, atol=1e-3)
    assert resample(places[..., 0] + 1, source, Grid((2, 2, 2), rigid(shift=(-50, 0, 0)))).max() == 0.0


def test_movements_are_measured_in_mm_and_degrees():
    assert rotation_degrees(rigid((0, 0, 12), (7, 0, 0))) == pytest.approx(12.0)
    assert displacement(rigid(shift=(3, 4, 0)), np.zeros((5, 3))) == pytest.approx(5.0)


def test_itk_gets_the_same_place_in_its_own_axes():
    sitk = pytest.importorskip("SimpleITK")
    image = np.zeros(THICK[1], dtype=np.float32)
    image[5, 7, 9] = 1.0
    moved = to_itk(image, Grid(THICK[1], THICK[0]))
    assert moved[5, 7, 9] == 1.0
    left, back, up = moved.TransformIndexToPhysicalPoint((5, 7, 9))
    np.testing.assert_allclose((-left, -back, up), nib.affines.apply_affine(THICK[0], [5, 7, 9]), atol=1e-4)
    np.testing.assert_allclose(itk_affine(moved), THICK[0], atol=1e-5)
    assert isinstance(to_itk_transform(MOVEMENT), sitk.AffineTransform)
    np.testing.assert_allclose(from_itk_transform(to_itk_transform(MOVEMENT)), MOVEMENT, atol=1e-9)
    x, y, z = to_itk_transform(MOVEMENT).TransformPoint((-10.0, -20.0, 30.0))
    np.testing.assert_allclose((-x, -y, z), nib.affines.apply_affine(MOVEMENT, [10, 20, 30]), atol=1e-6)
    assert Grid(REFERENCE[1], REFERENCE[0]).is_(Grid(REFERENCE[1], REFERENCE[0].copy()))
