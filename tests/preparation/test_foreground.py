# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Which images are recognised as brains alone."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from scripts.phantom.dataset import PhantomSettings, write_phantoms
from scripts.preparation.foreground import foreground_of, is_extracted
from scripts.preparation.geometry import Grid
from tests.conftest import REAL_DATA
from tests.heads import REFERENCE, THICK

CONTRASTS = ["flair", "t1ce", "t1", "t2"]


def recognised(image):
    return is_extracted(np.asarray(image.dataobj, dtype=np.float32), Grid.of(image))


@pytest.mark.parametrize("contrast", CONTRASTS)
@pytest.mark.parametrize("grid", [REFERENCE, THICK], ids=["3 mm", "thick"])
def test_a_brain_alone_is_told_from_a_head(head, contrast, grid):
    assert recognised(head.image(contrast, *grid, extracted=True))
    assert not recognised(head.image(contrast, *grid))


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_a_head_whose_air_was_set_to_zero_is_told_by_its_skull(head, contrast):
    image = head.image(contrast, *REFERENCE)
    outside = head.outside(head.at(*REFERENCE)) > 12
    masked = np.where(outside, 0, image.get_fdata()).astype(np.float32)
    assert float((masked == 0).mean()) > 0.3
    assert not is_extracted(masked, Grid.of(image))


def test_a_background_may_be_any_constant_and_nearly_constant(head):
    image = head.image("t1", *REFERENCE, extracted=True)
    values, brain = image.get_fdata().astype(np.float32), head.brain(*REFERENCE)
    wavy = values + np.random.default_rng(0).uniform(-0.2, 0.2, values.shape).astype(np.float32)  # of a resampling
    for changed in (values - 7.5, wavy):
        assert is_extracted(changed, Grid.of(image))
        np.testing.assert_array_equal(foreground_of(changed), brain)


def test_noise_around_a_brain_says_that_nothing_was_cut_away(head):
    image = head.image("t1", *REFERENCE, extracted=True)
    noise = np.abs(np.random.default_rng(0).normal(0, 6, REFERENCE[1]))
    assert not is_extracted((image.get_fdata() + noise).astype(np.float32), Grid.of(image))


def test_a_brain_cut_out_to_its_box_is_one_still_and_an_empty_image_is_none(head):
    image = head.image("t2", *REFERENCE, extracted=True)
    inside = np.argwhere(image.get_fdata())
    low, high = inside.min(axis=0), inside.max(axis=0) + 1
    assert recognised(image.slicer[tuple(slice(*pair) for pair in zip(low, high, strict=True))])
    assert not is_extracted(np.zeros((8, 8, 8), dtype=np.float32), Grid((8, 8, 8), np.eye(4)))


def test_larger_than_a_brain_is_none(head):
    image = head.image("t2", *REFERENCE, extracted=True)
    larger = np.diag([1.7, 1.7, 1.7, 1.0]) @ image.affine
    assert not recognised(nib.Nifti1Image(image.get_fdata().astype(np.float32), larger))


@pytest.mark.parametrize("variety", ["typical", "randomized"])
def test_phantoms_are_brains_alone_whatever_their_contrast(tmp_path, variety):
    settings = PhantomSettings(spacing_mm=4.0, variety=variety, modalities=tuple(CONTRASTS))
    write_phantoms(tmp_path, {"training": 2, "validation": 1, "testing": 1}, settings, None, progress=False)
    images = [nib.load(file) for file in sorted(tmp_path.glob("*/*.nii.gz")) if "_seg" not in file.name]
    assert len(images) == 16
    assert all(recognised(image) for image in images)


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="no real cases on this machine")
def test_real_cases_are_told_apart():
    brains = sorted(REAL_DATA.glob("brats2023_gli/*/*-t*.nii.gz")) + sorted(REAL_DATA.glob("brats2015*/*/*subtr*"))
    heads = sorted(REAL_DATA.glob("raw_tcga_lgg/*/*.nii.gz"))
    assert len(brains) == 8 and len(heads) == 4
    for files, expected in ((brains, True), (heads, False)):
        for file in files:
            image = nib.load(file)
            assert recognised(image) is expected, file.name
