# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Registration against movements that are known exactly."""

from __future__ import annotations

import sys

import nibabel as nib
import numpy as np
import pytest

from scripts.preparation.geometry import Grid
from scripts.preparation.registration import Series, register
from tests.heads import MOVEMENT, REFERENCE, THICK, centred, rigid

FAR = rigid((0.0, 0.0, 20.0), (30.0, 20.0, 25.0))  # a session of another day: the headers tell little


def series(head, contrast, grid, movement=None, mask=True):
    image = head.image(contrast, *grid, movement)
    return Series(image.get_fdata(), Grid.of(image), head.brain(*grid, movement) if mask else None)


def error_mm(transform, truth, head):
    """Mean distance between where a transform puts the voxels of the brain and where they are."""
    points = Grid(REFERENCE[1], REFERENCE[0]).points(head.brain(*REFERENCE))
    found, true = (nib.affines.apply_affine(each, points) for each in (transform, truth))
    return np.linalg.norm(found - true, axis=1).mean()


@pytest.mark.parametrize(
    ("grid", "movement", "mask"),
    [
        (THICK, MOVEMENT, True),
        (THICK, MOVEMENT, False),
        ((centred((2.0, 2.5, 3.0), (80, 64, 48), "PIR"), (80, 64, 48)), MOVEMENT, True),
        (REFERENCE, FAR, True),
    ],
)
def test_a_movement_is_found_on_any_grid_and_orientation(head, grid, movement, mask):
    fixed = series(head, "t1ce", REFERENCE, mask=mask)
    found = register(fixed, {"flair": series(head, "flair", grid, movement, mask)})["flair"]
    assert error_mm(found.transform, movement, head) < 1.0
    assert error_mm(np.eye(4), movement, head) > 8.0
    assert found.after > found.before + 0.05
    rotation = found.transform[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(rotation) == pytest.approx(1.0)


def test_where_nothing_moved_next_to_nothing_is_found_and_always_the_same(head):
    fixed, moving = series(head, "t1ce", REFERENCE), series(head, "t2", REFERENCE)
    found, again = register(fixed, {"t2": moving, "again": moving}).values()
    assert error_mm(found.transform, np.eye(4), head) < 0.3
    np.testing.assert_array_equal(found.transform, again.transform)
    assert (found.before, found.after) == (again.before, again.after)


def test_a_missing_package_is_said_in_one_line(head, monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    fixed = series(head, "t1ce", REFERENCE)
    with pytest.raises(ValueError, match="registration needs the package `SimpleITK`, .* by `make setup-prepare`") as e:
        register(fixed, {"t2": fixed})
    assert "\n" not in str(e.value)
