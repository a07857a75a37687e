# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Which voxels of an image are background, and which are far too bright or dark to be measured ones.

Decided on the full image as it lies on disk, never on a crop of it: the border of a crop lies inside the head.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

# Share of the image's range within which a voxel has the background's value: absorbs the rounding of resampled images.
TOLERANCE = 1e-6
BORDER_SHARE = 0.5  # of the border's voxels, which have to be background for an image to have one
CORNER_SHARE = 0.8  # of the corners, likewise: 7 of 8, or all 4; where the head reaches the border
FULL_BOX = 0.99  # a foreground that fills its own box to this share is no head, it is an image in a frame
NOISE_SPREAD = 0.12  # largest spread of the border's middle nine tenths, as a share of the image's range, that is noise
NOISE_REACH = 2.2  # how many such spreads from the border's median noise may lie: 7 deviations of a normal distribution
SMALLEST_PART = 0.01  # of the largest part of a foreground on noise; smaller ones are noise
OUTLIER = 5.0  # how many times as far from the median as the 0.1 or 99.9 percentile a voxel may lie
SAMPLE = 1_000_000  # voxels at most that percentiles are taken of


class Foreground(NamedTuple):
    """An image ``(*S)`` whose background is exactly 0, or what it is where no background was found.

    Attributes:
        image: ``(*S)`` float; no voxel of the foreground is 0.
        share: of the voxels that are foreground, 0 to 1; 1 where no background was found.
        noisy: whether the background was noise instead of one value.
    """

    image: Tensor
    share: float
    noisy: bool


def clip_outliers(image: Tensor) -> tuple[Tensor, int]:
    """Bring voxels that no scanner measures back to the range of the others.

    That is from ``median - 5 (median - 0.1 percentile)`` to ``median + 5 (99.9 percentile - median)`` of the voxels
    that do not have the border's value. In real images the brightest ones lie at 1.2 to 2.4 of that distance. An image
    without such voxels is returned as it is.

    Args:
        image: ``(*S)`` float, every voxel finite.

    Returns:
        The image, and how many voxels were changed.
    """
    values = _sample(image)
    border = float(_border(image).median())
    low, high = np.percentile(values, [0.1, 99.9])
    inside = values[np.abs(values - border) > TOLERANCE * (high - low)]
    if inside.size < 1000:  # which have no 0.1 percentile
        return image, 0
    low, middle, high = np.percentile(inside, [0.1, 50, 99.9])
    lowest, highest = middle - OUTLIER * (middle - low), middle + OUTLIER * (high - middle)
    if not low < high:
        return image, 0
    lowest, highest = min(lowest, border), max(highest, border)
    least, most = (float(each) for each in torch.aminmax(image))
    if lowest <= least and most <= highest:
        return image, 0
    return image.clamp(lowest, highest), int(((image < lowest) | (image > highest)).sum())


def find_foreground(image: Tensor) -> Foreground:
    """Set the background to exactly 0 and keep every other voxel.

    The background is the value that most of the image's border has (to 1e-6 of the image's range): 0 in most
    skull-stripped data, about -3.5 in images that were z-scored before. Where what is left fills a box, as an image in
    a frame does, that box is looked at in the same way. Where the border has no one value but hardly any range either,
    it is noise: then the background is what is connected with the border and within the noise. If none of it holds,
    nothing is changed.

    Voxels of the foreground that happen to be exactly 0 would look like background, so they are moved by the smallest
    step that float32 resolves over the image's range (1.2e-7 of it).

    Args:
        image: ``(*S)`` float, every voxel finite; the full image, never a crop.
    """
    low, high = torch.aminmax(image)
    span = float(high - low)
    found = _background(image, TOLERANCE * span)
    if found is None:
        return Foreground(image, 1.0, False)
    background, noisy = found
    zeros = image == 0.0
    if bool((zeros & ~background).any()):
        image = image.masked_fill(zeros, torch.finfo(torch.float32).eps * span)
    image = image.masked_fill(background, 0.0)
    return Foreground(image, 1 - float(background.float().mean()), noisy)


def border_value(image: Tensor, tolerance: float = 0.0) -> float | None:
    """Value that most of the image's border has, ``None`` if there is none (the head is not cut out).

    It is that of more than half of the voxels of the faces, or of 7 of 8 corners (of all 4 in 2D), since a head may
    reach the border.

    Args:
        image: ``(*S)``; voxels that are not finite are left out.
        tolerance: by how much voxels may differ and still have one value.
    """
    for voxels, share in ((_border(image), BORDER_SHARE), (_corners(image), CORNER_SHARE)):
        value = voxels.median()  # of most of the voxels, if most have one value
        if voxels.numel() and float(((voxels - value).abs() <= tolerance).float().mean()) > share:
            return float(value)
    return None


def _background(image: Tensor, tolerance: float) -> tuple[Tensor, bool] | None:
    """Find the background, ``(*S)`` bool, and whether it is noise."""
    value = border_value(image, tolerance)
    if value is None:
        noise = _noise(image.numpy())
        return None if noise is None else (torch.from_numpy(noise), True)
    background = (image - value).abs_() <= tolerance
    box = _box(~background)
    framed = box is not None and image[box].shape != image.shape and min(image[box].shape) > 2
    if framed and float(background[box].float().mean()) < 1 - FULL_BOX:
        inner = _background(image[box], tolerance)
        if inner is not None:
            background[box] |= inner[0]
            return background, inner[1]
    return background, False


def _noise(image: NDArray) -> NDArray | None:
    """Find a background of noise, ``(*S)`` bool: connected with the border, and within its range."""
    border = _border(torch.from_numpy(image)).numpy()
    low, middle, high = np.percentile(border, [5, 50, 95])
    values = _sample(torch.from_numpy(image))
    spread, span = high - low, float(np.percentile(values, 99.9) - np.percentile(values, 0.1))
    if not 0 < spread <= NOISE_SPREAD * span:
        return None
    dark = np.abs(image - middle) <= NOISE_REACH * spread
    parts, _ = ndimage.label(dark)
    at_border = np.unique(_border(torch.from_numpy(parts)).numpy())
    foreground = ~np.isin(parts, at_border[at_border > 0])
    parts, number = ndimage.label(foreground)
    if number == 0:
        return None
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return ~np.isin(parts, np.flatnonzero(sizes >= SMALLEST_PART * sizes.max()))


def _border(image: Tensor) -> Tensor:
    """Take the voxels of all faces, finite ones, ``(K,)``; those of axes along which there are fewer than 3 are not."""
    axes = [axis for axis, size in enumerate(image.shape) if size > 2] or range(image.ndim)
    faces = [image.select(axis, index).flatten() for axis in axes for index in (0, image.shape[axis] - 1)]
    border = torch.cat(faces)
    return border[torch.isfinite(border)] if border.is_floating_point() else border


def _corners(image: Tensor) -> Tensor:
    """Take the corner voxels, finite ones, ``(K,)``."""
    for axis, size in enumerate(image.shape):
        image = image.index_select(axis, torch.tensor([0, size - 1]))
    return image[torch.isfinite(image)]


def _box(mask: Tensor) -> tuple[slice, ...] | None:
    """Bound the true voxels of ``(*S)``; ``None`` if there are none."""
    found = []
    for axis in range(mask.ndim):
        indices = mask.any(dim=tuple(other for other in range(mask.ndim) if other != axis)).nonzero()
        if not indices.numel():
            return None
        found.append(slice(int(indices[0]), int(indices[-1]) + 1))
    return tuple(found)


def _sample(image: Tensor) -> NDArray:
    """Take voxels evenly from an image, ``(K,)``."""
    return image.flatten()[:: max(1, image.numel() // SAMPLE)].numpy()
