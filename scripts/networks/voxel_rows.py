# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""A channels-last tensor seen as long rows, several voxels side by side, over which sums are fast and precise."""

from __future__ import annotations

import math

import torch
from torch import Tensor

VOXELS_TOGETHER = 64  # side by side in a row of the normalisation's sums, so that each row fills vector registers


def layout(x: Tensor) -> torch.memory_format:
    """Name the layout of ``(B, F, *S)`` that has the channels of a voxel side by side."""
    return torch.channels_last_3d if x.dim() == 5 else torch.channels_last


def as_rows(x: Tensor) -> Tensor | None:
    """View a channels-last tensor on the CPU as ``(B, N / k, k * F)``: k voxels side by side; ``None`` for any other.

    There, with few channels, torch's own kernel is slow and loses precision (errors of 1e-4); over long rows neither.
    """
    if x.device.type != "cpu" or not x.is_contiguous(memory_format=layout(x)):
        return None
    voxels = x[0, 0].numel()
    together = math.gcd(voxels, VOXELS_TOGETHER)
    return x.movedim(1, -1).reshape(x.shape[0], voxels // together, together * x.shape[1])


def as_image(rows: Tensor, like: Tensor) -> Tensor:
    """Undo ``as_rows``."""
    return rows.reshape(like.shape[0], *like.shape[2:], like.shape[1]).movedim(-1, 1)


def mean_of_features(sums: Tensor, rows: int, features: int) -> Tensor:
    """Average sums ``(B, 1, k * F)`` over ``rows`` and the k groups of F; every group of the result is the same."""
    together = sums.shape[2] // features
    mean = sums.unflatten(2, [together, features]).sum(dim=2) / (rows * together)
    return mean.repeat(1, 1, together)
