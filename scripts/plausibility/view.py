# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Images as the checks look at them: coarse, in one orientation, each with its foreground."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from ..modalities import acquired_in

COARSE_MM = 4.0  # edge of a voxel that finer ones are averaged to
EVERY = 2  # that many voxels, at most, are averaged along each axis of a block; those between are passed over
VALUES = 8  # most frequent values of an image that are counted
SAMPLE = 200_000  # voxels at most that values are counted of


class View(NamedTuple):
    """The acquired images of a patient at about 4 mm, axes to the right, front and top.

    Attributes:
        names: ``(A,)`` modalities of the acquired images.
        values: ``(A, X, Y, Z)`` float32, means over the foreground of each block of voxels; 0 outside of it.
        inside: ``(A, X, Y, Z)`` bool, where at least half of a block is foreground; holes are filled.
        affine: ``(4, 4)`` voxel to world, RAS+ mm.
        filled: ``(A,)`` share of the original voxels that are foreground, 0 to 1.
        few_values: ``(A,)`` share of the foreground that has one of its 8 most frequent values, 0 to 1.
    """

    names: tuple[str, ...]
    values: NDArray
    inside: NDArray
    affine: NDArray
    filled: NDArray
    few_values: NDArray

    @property
    def spacing(self) -> NDArray:
        """Edges of a voxel, ``(3,)`` mm."""
        return nib.affines.voxel_sizes(self.affine)

    @property
    def brain(self) -> NDArray:
        """Where all images have foreground, ``(X, Y, Z)`` bool."""
        return np.logical_and.reduce(self.inside, axis=0)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel, in mL."""
        return float(np.prod(self.spacing)) / 1000


def look_at(image: Tensor, affine: NDArray, modalities: Sequence[str]) -> View:
    """Look at the images of a patient coarsely.

    Args:
        image: ``(M, X, Y, Z)`` as loaded: absent modalities NaN, the background exactly 0.
        affine: ``(4, 4)`` voxel to world, RAS+ mm.
        modalities: ``(M,)`` names in channel order.

    Raises:
        ValueError: if no modality is acquired.
    """
    acquired = acquired_in(image)
    names = tuple(name for name, there in zip(modalities, acquired.tolist(), strict=True) if there)
    if not names:
        raise ValueError(f"no modality is acquired; expected at least one of {list(modalities)}.")
    plain = torch.as_tensor(image).as_subclass(Tensor).float()
    spacing, sizes = nib.affines.voxel_sizes(affine), plain.shape[1:]
    edges = [min(max(1, round(COARSE_MM / mm)), size) for mm, size in zip(spacing, sizes, strict=True)]
    step = [max(1, edge // EVERY) for edge in edges]
    block = [edge // each for edge, each in zip(edges, step, strict=True)]
    edges = [size * each for size, each in zip(block, step, strict=True)]
    channels = [plain[m, :: step[0], :: step[1], :: step[2]].contiguous() for m in acquired.nonzero()[:, 0].tolist()]
    coarse = [_averaged(channel, block) for channel in channels]
    turn = nib.io_orientation(affine)
    values, inside = (np.stack([nib.apply_orientation(each, turn) for each in of]) for of in zip(*coarse, strict=True))
    enlarged = affine @ np.diag([*edges, 1.0])
    middle = np.multiply(step, np.array(block) - 1) / 2  # of the first block, in original voxels
    enlarged[:3, 3] = affine[:3, :3] @ middle + affine[:3, 3]
    turned = enlarged @ nib.orientations.inv_ornt_aff(turn, coarse[0][0].shape)
    filled = np.array([float((channel != 0).float().mean()) for channel in channels])
    few = np.array([_few_values(channel) for channel in channels])
    return View(names, values, inside, turned, filled, few)


def depth_mm(inside: NDArray, spacing: NDArray) -> NDArray:
    """Measure how deep voxels lie below the surface: ``(X, Y, Z)`` bool to mm, 0 outside."""
    padded = np.pad(inside, 1)
    return ndimage.distance_transform_edt(padded, sampling=spacing)[1:-1, 1:-1, 1:-1].astype(np.float32)


def _averaged(channel: Tensor, block: Sequence[int]) -> tuple[NDArray, NDArray]:
    """Average over the foreground of blocks: ``(X, Y, Z)`` to values and mask ``(X', Y', Z')``; a rest is cut off."""
    count = _summed((channel != 0).float(), block)
    inside = ndimage.binary_fill_holes((count >= 0.5 * np.prod(block)).numpy())
    return (_summed(channel, block) / count.clamp(min=1.0)).numpy() * inside, inside


def _summed(volume: Tensor, block: Sequence[int]) -> Tensor:
    """Sum over blocks, one axis at a time: ``(X, Y, Z)`` to ``(X', Y', Z')``."""
    for axis, size in reversed(list(enumerate(block))):  # the last axis lies together in memory
        count = volume.shape[axis] // size
        volume = volume.narrow(axis, 0, count * size).unflatten(axis, (count, size)).sum(axis + 1)
    return volume


def _few_values(channel: Tensor) -> float:
    """Share of the foreground that has one of its most frequent values; 0 without foreground."""
    flat = channel.flatten()
    flat = flat[:: max(1, flat.numel() // SAMPLE)]
    counts = flat[flat != 0].unique(return_counts=True)[1]
    return float(counts.topk(min(VALUES, len(counts))).values.sum() / counts.sum()) if len(counts) else 0.0
