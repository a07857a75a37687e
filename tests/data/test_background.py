# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The background of an image: one value, one value in a frame, noise, or none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from scripts.data.background import border_value, clip_outliers, find_foreground


def head(shape=(6, 7, 8), outside=0.0):
    """A block of distinct values in the middle, the same value around it."""
    volume = torch.full(shape, outside)
    inner = tuple(slice(1, size - 1) for size in shape)
    volume[inner] = torch.arange(1.0, volume[inner].numel() + 1).reshape(volume[inner].shape)
    return volume


def brain(shape=(48, 56, 48), outside=0.0, seed=0):
    """A textured ellipsoid, and where it is."""
    rng = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij"))
    inside = (places**2).sum(axis=0) < 0.7
    texture = ndimage.gaussian_filter(rng.standard_normal(shape), 2)
    values = 500 + 100 * texture / texture.std()
    return torch.from_numpy(np.where(inside, values, outside).astype(np.float32)), torch.from_numpy(inside)


@pytest.mark.parametrize("outside", [0.0, -3.5526617])
def test_the_background_becomes_zero_and_the_head_keeps_its_values(outside):
    image = head(outside=outside)
    result = find_foreground(image).image
    is_head = image != outside
    assert torch.equal(result[is_head], image[is_head])
    assert bool((result[~is_head] == 0).all())


def test_zeros_inside_of_a_z_scored_head_stay_foreground():
    image = head(outside=-2.0)
    image[3, 3, 3] = 0.0
    result = find_foreground(image).image
    assert 0 < float(result[3, 3, 3]) < 1e-6 * float(image.max() - image.min())
    assert int((result == 0).sum()) == int((image == -2.0).sum())


def test_rounding_of_a_resampled_background_is_forgiven():
    image = head(outside=-2.0)
    image[0, 0, 0] += 2e-7  # the last digit of float32
    assert int((find_foreground(image).image == 0).sum()) == int((image <= -1.9).sum())


def test_an_image_without_background_is_left_alone():
    image = torch.rand(12, 12, 12, generator=torch.Generator().manual_seed(0))
    assert border_value(image) is None
    assert find_foreground(image).share == 1
    assert torch.equal(find_foreground(image).image, image)


def test_two_dimensional_images_have_a_border_of_lines():
    image = head((6, 7), outside=5.0)
    assert border_value(image) == 5.0
    image[:, [0, -1]] = torch.rand(6, 2, generator=torch.Generator().manual_seed(0))
    assert border_value(image) is None


@pytest.mark.parametrize("outside", [0.0, -3.5])
@pytest.mark.parametrize("corners", [1, 5])
def test_a_corner_that_differs_changes_nothing_else(outside, corners):
    image, inside = brain(outside=outside)
    image[:corners, :corners, :corners] = 700.0
    found = find_foreground(image)
    assert bool((found.image[inside] == image[inside]).all())
    assert int((found.image[~inside] != 0).sum()) == corners**3


def test_a_head_that_reaches_most_of_the_border_has_the_background_of_its_corners():
    image, inside = brain()
    image, inside = image[8:-8, 8:-8, 20:28], inside[8:-8, 8:-8, 20:28]  # a slab: top and bottom are mostly brain
    border = torch.cat([image[:, :, [0, -1]].flatten(), image[:, [0, -1]].flatten(), image[[0, -1]].flatten()])
    assert float((border == 0).float().mean()) < 0.5
    assert torch.equal(find_foreground(image).image != 0, inside)


@pytest.mark.parametrize("width", [1, 6])
def test_an_image_in_a_frame_of_zeros_has_the_background_inside_of_the_frame(width):
    image, inside = brain()
    scored = (image - 480) / 100
    scored[~inside] = -4.8
    scored[24, 28, 24] = 0.0
    framed = torch.nn.functional.pad(scored, (width,) * 6)
    found = find_foreground(framed)
    assert (
        torch.equal(found.image != 0, torch.nn.functional.pad(inside, (width,) * 6))
        or found.image[24 + width, 28 + width, 24 + width] == 0
    )  # which is a zero of the frame's value
    assert found.share == pytest.approx(float(inside.sum()) / framed.numel(), abs=1e-4)


@pytest.mark.parametrize("kind", ["rician", "normal"])
@pytest.mark.parametrize("level", [0.01, 0.03])
def test_a_background_of_noise_is_found(kind, level):
    image, inside = brain()
    rng = np.random.default_rng(1)
    noise = rng.normal(0, level * 500, (2, *image.shape)).astype(np.float32)
    noisy = np.hypot(image.numpy() + noise[0], noise[1]) if kind == "rician" else image.numpy() + noise[0]
    found = find_foreground(torch.from_numpy(noisy))
    assert found.noisy
    assert float(((found.image != 0) == inside).float().mean()) > 0.9995
    assert bool((found.image[inside] == torch.from_numpy(noisy)[inside]).float().mean() > 0.999)
    assert bool(torch.isfinite(found.image).all())


def test_dark_voxels_inside_of_a_head_on_noise_stay():
    image, inside = brain()
    image[20:28, 24:32, 20:28] = 2.0  # as dark as the noise, and not connected with it
    noise = np.random.default_rng(1).normal(0, 5, image.shape).astype(np.float32)
    found = find_foreground(image + torch.from_numpy(noise))
    assert bool((found.image[20:28, 24:32, 20:28] != 0).all())


def test_a_head_without_a_background_is_not_taken_for_noise():
    image = torch.from_numpy(np.random.default_rng(0).normal(500, 100, (30, 30, 30)).astype(np.float32))
    assert find_foreground(image).share == 1
    assert not find_foreground(image).noisy


@pytest.mark.parametrize("outside", [0.0, -3.5, 5000.0])
def test_one_voxel_a_thousand_times_too_bright_is_clipped_and_no_other_changes(outside):
    image, inside = brain(outside=outside)
    assert clip_outliers(image)[1] == 0
    assert torch.equal(clip_outliers(image)[0], image)
    for value in (500e3, -500e3):
        bad = image.clone()
        bad[24, 28, 24] = value
        clipped, number = clip_outliers(bad)
        values = image[inside].numpy()
        low, middle, high = np.percentile(values, [0.1, 50, 99.9])
        limit = middle + 5 * (high - middle) if value > 0 else middle - 5 * (middle - low)
        limit = max(limit, outside) if value > 0 else min(limit, outside)
        assert number == 1
        assert float(clipped[24, 28, 24]) == pytest.approx(limit, rel=0.01)  # the voxel moves the percentile
        clipped[24, 28, 24] = image[24, 28, 24]
        assert torch.equal(clipped, image)


def test_the_range_of_a_small_image_is_not_known():
    image = torch.zeros(9, 9, 9)
    image[4, 4, 4] = 1000
    assert clip_outliers(image) == (image, 0)
