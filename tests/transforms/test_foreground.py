# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Crop and normalisation see acquired images only; MONAI's transforms keep absent channels recognisable."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import (
    CropForegroundd,
    NormalizeIntensityd,
    Orientationd,
    Rand3DElasticd,
    RandAffined,
    RandBiasFieldd,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandRotate90d,
    RandRotated,
    RandScaleIntensityd,
    RandShiftIntensityd,
    RandSpatialCropd,
    RandStdShiftIntensityd,
    RandZoomd,
    ResizeWithPadOrCropd,
    Spacingd,
    SpatialPadd,
)

from scripts.modalities import acquired_in
from scripts.transforms.foreground import acquired_foreground


def test_foreground_by_hand():
    image = torch.tensor([[0.0, -1.0, 2.0], [torch.nan, torch.nan, torch.nan], [0.0, 0.0, 1e-30]])
    expected = torch.tensor([[False, True, True], [False, False, False], [False, False, True]])
    assert torch.equal(acquired_foreground(image), expected)


def test_the_crop_is_the_box_around_acquired_images():
    image = torch.zeros(3, 10, 10, 10)
    image[0, 2:5, 3:6, 4:7] = -1.0  # darker than the background, as z-scored images are
    image[1, 3:7, 4:5, 5:6] = 1.0
    image[2] = torch.nan
    cropped = CropForegroundd("image", "image", select_fn=acquired_foreground)({"image": image})["image"]
    assert cropped.shape == (3, 7 - 2, 6 - 3, 7 - 4)
    assert torch.equal(cropped[:2], image[:2, 2:7, 3:6, 4:7])
    assert bool(torch.isnan(cropped[2]).all())


@pytest.fixture
def incomplete(volumes):
    """Four channels with a head each, the third absent."""
    image = torch.from_numpy(np.stack(list(volumes.values())))
    image[2] = torch.nan
    return MetaTensor(image)


def test_z_scoring_uses_the_foreground_of_each_acquired_image(incomplete):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = NormalizeIntensityd("image", nonzero=True, channel_wise=True)({"image": incomplete.clone()})["image"]
    assert bool(torch.isnan(result[2]).all())
    for m in (0, 1, 3):
        inside = incomplete[m] != 0
        values = incomplete[m][inside].double()
        expected = (values - values.mean()) / values.std(correction=0)
        assert torch.allclose(result[m][inside].double(), expected, atol=1e-5)
        assert bool((result[m][~inside] == 0).all())


def differing(a, b):
    """Number of voxels that differ, NaN being equal to NaN."""
    return int((torch.nan_to_num(a, nan=-99.0) != torch.nan_to_num(b, nan=-99.0)).sum())


@pytest.mark.parametrize("change", ["delete", "corrupt", "other values", "other grid"])
def test_a_file_that_the_entry_does_not_list_changes_no_voxel(entry, listing, preprocessing, write, volumes, change):
    listed = listing(entry, "flair", "t1ce", "t1")
    before = preprocessing(listed)
    file = Path(entry["images"]["t2"])
    if change == "delete":
        file.unlink()
    elif change == "corrupt":
        file.write_bytes(file.read_bytes()[:100])
    elif change == "other values":
        write(np.random.default_rng(1).random(volumes["t2"].shape), file.name)
    else:
        write(np.ones((3, 4, 5)), file.name, np.eye(4))
    after = preprocessing(listed)
    assert bool(torch.isfinite(before["image"][:3]).all())
    assert bool(torch.isnan(before["image"][3]).all())
    assert before["image"].shape == after["image"].shape
    assert differing(before["image"], after["image"]) == 0
    assert torch.equal(before["label"], after["label"])
    assert torch.equal(before["image"].affine, after["image"].affine)


def test_a_listed_file_does_change_voxels(entry, preprocessing, write, volumes):
    before = preprocessing(entry)["image"]
    write(volumes["t2"] ** 2, Path(entry["images"]["t2"]).name)
    after = preprocessing(entry)["image"]
    assert bool(torch.isfinite(after).all())
    assert differing(before, after) > 0


def test_dropping_a_modality_leaves_crop_and_values_to_the_acquired_ones(entry, listing, preprocessing, volumes):
    complete = preprocessing(entry)
    reduced = preprocessing(listing(entry, "flair", "t1ce", "t1"))
    union = np.any([volumes[name] != 0 for name in ("flair", "t1ce", "t1")], axis=0)
    box = [np.flatnonzero(union.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    assert reduced["image"].shape[1:] == tuple(index[-1] - index[0] + 1 for index in box)
    assert reduced["image"].shape != complete["image"].shape  # the modality that is gone had the largest head
    for m in range(3):
        values = [case["image"][m][case["image"][m] != 0].as_tensor() for case in (complete, reduced)]
        assert torch.allclose(*values, atol=1e-5)


KEYS = ("image",)
SPATIAL = {"mode": "bilinear", "padding_mode": "zeros", "prob": 1.0}
AUGMENTATIONS = {
    "crop": lambda: RandSpatialCropd(KEYS, (8, 8, 8), random_size=False),
    "pad": lambda: SpatialPadd(KEYS, (20, 20, 20)),
    "pad or crop": lambda: ResizeWithPadOrCropd(KEYS, (20, 8, 12)),
    "flip": lambda: RandFlipd(KEYS, prob=1.0, spatial_axis=0),
    "rotate": lambda: RandRotated(KEYS, range_x=0.5, range_y=0.5, **SPATIAL),
    "rotate 90": lambda: RandRotate90d(KEYS, prob=1.0),
    "zoom": lambda: RandZoomd(KEYS, prob=1.0, min_zoom=0.7, max_zoom=0.8, padding_mode="constant"),
    "affine": lambda: RandAffined(KEYS, rotate_range=(0.5,) * 3, scale_range=(0.2,) * 3, **SPATIAL),
    "elastic": lambda: Rand3DElasticd(KEYS, sigma_range=(2, 3), magnitude_range=(5, 9), **SPATIAL),
    "scale": lambda: RandScaleIntensityd(KEYS, factors=0.1, prob=1.0),
    "scale each": lambda: RandScaleIntensityd(KEYS, factors=0.1, prob=1.0, channel_wise=True),
    "shift": lambda: RandShiftIntensityd(KEYS, offsets=0.1, prob=1.0),
    "shift each": lambda: RandShiftIntensityd(KEYS, offsets=0.1, prob=1.0, channel_wise=True),
    "shift foreground": lambda: RandStdShiftIntensityd(KEYS, factors=0.1, prob=1.0, nonzero=True, channel_wise=True),
    "noise": lambda: RandGaussianNoised(KEYS, prob=1.0),
    "smooth": lambda: RandGaussianSmoothd(KEYS, prob=1.0),
    "bias field": lambda: RandBiasFieldd(KEYS, prob=1.0),
    "spacing": lambda: Spacingd(KEYS, (1.5, 1.5, 2.0)),
    "orientation": lambda: Orientationd(KEYS, "LPS", labels=None),
    "z-score": lambda: NormalizeIntensityd(KEYS, nonzero=True, channel_wise=True),
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_absent_channel_stays_recognisable_and_harms_no_other(incomplete, name):
    def apply(image):
        transform = AUGMENTATIONS[name]()
        if hasattr(transform, "set_random_state"):
            transform.set_random_state(seed=3)
        return transform({"image": image.clone()})["image"]

    result = apply(incomplete)
    assert acquired_in(result).tolist() == [True, True, False, True]
    acquired = [0, 1, 3]
    assert bool(torch.isfinite(result[acquired]).all())
    assert differing(result[acquired], apply(incomplete.nan_to_num(0.0))[acquired]) == 0  # as beside an empty channel


@pytest.mark.parametrize("name", ["scale", "scale each", "shift foreground", "z-score", "flip", "pad"])
def test_the_background_stays_exactly_zero(incomplete, name):
    transform = AUGMENTATIONS[name]()
    result = transform({"image": incomplete.clone()})["image"]
    assert int((result[0] != 0).sum()) == int((incomplete[0] != 0).sum())
