# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The steps of ``normalization`` for the CPU, fused by ``torch.compile`` into loops that read and write memory once.

The cuts between the loops are where a sum over all voxels has to be complete. Everything is computed in float32, in
whatever precision it is stored. Compiling takes a few seconds for each precision, at the first call, and needs a C++
compiler; values change by rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .voxel_rows import mean_of_features


def compiled(function: Callable) -> Callable:
    """Compile a function when it is first called: a process that never does need not load the compiler."""
    prepare = cache(lambda: torch.compile(function, dynamic=True))

    @wraps(function)
    def call(*arguments: Any) -> Any:
        return prepare()(*arguments)

    return call


def forward(rows: Tensor, features: int, slope: float, epsilon: float) -> tuple[Tensor, Tensor]:
    """Normalise and activate ``(B, R, k * F)``; return the like, and ``(B, F)`` inverse standard deviations."""
    rows = rows.detach()  # nothing here is differentiated, and what requires gradients would be compiled again
    mean = mean_of_features(_sum(rows), rows.shape[1], features)
    variance = mean_of_features(_sum_of_squares(rows, mean), rows.shape[1], features)
    inverse_std = (variance + epsilon).rsqrt()  # (B, 1, k * F)
    return _apply(rows, mean, inverse_std, slope), inverse_std[:, 0, :features]


def backward(gradient: Tensor, y: Tensor, inverse_std: Tensor, slope: float) -> Tensor:
    """Differentiate ``forward`` with respect to its input, from the activation ``(B, R, k * F)`` alone."""
    gradient, y = gradient.detach(), y.detach()
    features = inverse_std.shape[1]
    scale = inverse_std.float().repeat(1, y.shape[2] // features).unsqueeze(1)  # (B, 1, k * F)
    sums = _backward_sums(gradient, y, slope)
    offset, tilt = (-scale * mean_of_features(each, y.shape[1], features) for each in sums)
    return _backward_apply(gradient, y, scale, tilt, offset, slope)


@compiled
def _sum(rows: Tensor) -> Tensor:
    return rows.float().sum(dim=1, keepdim=True)


@compiled
def _sum_of_squares(rows: Tensor, mean: Tensor) -> Tensor:
    centred = rows.float() - mean
    return (centred * centred).sum(dim=1, keepdim=True)


@compiled
def _apply(rows: Tensor, mean: Tensor, inverse_std: Tensor, slope: float) -> Tensor:
    return F.leaky_relu((rows.float() - mean) * inverse_std, slope).to(rows.dtype)


def _undo_activation(gradient: Tensor, y: Tensor, slope: float) -> tuple[Tensor, Tensor]:
    gradient, y = gradient.float(), y.float()
    return torch.where(y > 0, gradient, slope * gradient), torch.where(y > 0, y, y / slope)


@compiled
def _backward_sums(gradient: Tensor, y: Tensor, slope: float) -> tuple[Tensor, Tensor]:
    g, normalized = _undo_activation(gradient, y, slope)
    return g.sum(dim=1, keepdim=True), (g * normalized).sum(dim=1, keepdim=True)


@compiled
def _backward_apply(gradient: Tensor, y: Tensor, scale: Tensor, tilt: Tensor, offset: Tensor, slope: float) -> Tensor:
    g, normalized = _undo_activation(gradient, y, slope)
    return (g * scale + normalized * tilt + offset).to(y.dtype)
