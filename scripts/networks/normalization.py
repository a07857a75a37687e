# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Instance normalisation with a leaky ReLU, and its derivative from the activation alone.

``fused_layers`` is made of these; the same in torch's own words is ``blocks.normalize_activate``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from . import compiled_normalization
from .convolution import concatenate
from .voxel_rows import as_image, as_rows, layout, mean_of_features

EPSILON = 1e-5  # of the normalisation
SLOPE = 0.2  # of the leaky ReLU
CONSTANT_BELOW = 1e-8  # variance at which a channel counts as constant
CONSTANT_ABOVE = (EPSILON + CONSTANT_BELOW) ** -0.5  # inverse standard deviation of the same


def normalize_activate(x: Tensor, overwrite: bool = False, compiled: bool = False) -> tuple[Tensor, Tensor]:
    """Return the activation, laid out as ``x`` is, and the ``(B, F)`` inverse standard deviations.

    Args:
        x: ``(B, F, *S)``.
        overwrite: ``x`` is needed no more and may hold the activation, which saves a tensor and time.
        compiled: let ``torch.compile`` fuse the steps, see ``compiled_normalization``; of a channels-last tensor on
            the CPU, all others take torch's own kernel.
    """
    rows = as_rows(x)
    if rows is not None:
        if compiled:
            y, inverse_std = compiled_normalization.forward(rows, x.shape[1], SLOPE, EPSILON)
        else:
            forward = _forward if _is_exact(rows) else _forward_rounded
            y, inverse_std = forward(rows, x.shape[1], overwrite)
        return as_image(y, x), inverse_std
    # sample by sample: as one batch of B * F channels, torch would copy the tensor into another layout
    samples = [torch.native_batch_norm(s, None, None, None, None, True, 0.0, EPSILON) for s in x.split(1)]
    y = concatenate([s[0] for s in samples])
    return F.leaky_relu_(y, SLOPE), torch.stack([s[2] for s in samples])


def zero_if_constant(inverse_std: Tensor) -> Tensor:
    """Replace the inverse standard deviation of constant channels by zero, so that they pass no gradient."""
    return torch.where(inverse_std > CONSTANT_ABOVE, 0, inverse_std)


def normalize_activate_backward(gradient: Tensor, y: Tensor, inverse_std: Tensor, compiled: bool = False) -> Tensor:
    """Differentiate with respect to the input, from the activation alone: the leaky ReLU is undone exactly.

    With n the normalised values and g the gradient behind the leaky ReLU's: (g - mean(g) - n mean(g n)) / std.
    """
    rows = as_rows(y)
    if rows is not None:
        gradient = as_rows(gradient.to(y.dtype).contiguous(memory_format=layout(y)))
        if compiled:
            return as_image(compiled_normalization.backward(gradient, rows, inverse_std, SLOPE), y)
        backward = _backward if _is_exact(rows) else _backward_rounded
        return as_image(backward(gradient, rows, inverse_std), y)
    gradient = torch.ops.aten.leaky_relu_backward(gradient, y, SLOPE, True)
    normalized = F.leaky_relu(y, 1 / SLOPE)
    ones = torch.ones_like(inverse_std[0])
    zeros = torch.zeros_like(ones)
    samples = [
        torch.ops.aten.native_batch_norm_backward(
            g, n, s.to(ones.dtype), None, None, zeros, ones, True, EPSILON, [True, False, False]
        )[0]
        for g, n, s in zip(gradient.split(1), normalized.split(1), inverse_std, strict=True)
    ]
    return concatenate(samples)


def _forward(rows: Tensor, features: int, overwrite: bool) -> tuple[Tensor, Tensor]:
    centred = torch.sub(rows, _mean(rows, features), out=rows if overwrite else None)
    inverse_std = (_mean(centred * centred, features) + EPSILON).rsqrt()  # (B, 1, k * F)
    return F.leaky_relu_(centred.mul_(inverse_std), SLOPE), inverse_std[:, 0, :features]


def _backward(gradient: Tensor, y: Tensor, inverse_std: Tensor) -> Tensor:
    features = inverse_std.shape[1]
    g = torch.ops.aten.leaky_relu_backward(gradient, y, SLOPE, True)
    n = F.leaky_relu(y, 1 / SLOPE)
    scale = inverse_std.repeat(1, y.shape[2] // features).unsqueeze(1)  # (B, 1, k * F)
    slope, offset = -scale * _mean(g * n, features), -scale * _mean(g, features)
    return g.mul_(scale).addcmul_(n, slope).add_(offset)


def _is_exact(x: Tensor) -> bool:
    return x.dtype in (torch.float32, torch.float64)


def _forward_rounded(rows: Tensor, features: int, overwrite: bool) -> tuple[Tensor, Tensor]:
    """Do as ``_forward`` for a lower precision, by torch's kernels, which compute in float32 inside.

    They take the k groups for channels of their own; mean and variance are put together from those of the groups.
    """
    y = rows if overwrite else torch.empty_like(rows)
    unused = rows.new_zeros(rows.shape[2], dtype=torch.float32)  # running sums; there, so that statistics are float32
    inverse_std = []
    for sample, out in zip(rows, y, strict=True):
        groups = torch.batch_norm_update_stats(sample, unused, unused, 0.0)
        means, variances = (each.view(-1, features) for each in groups)
        variance = variances.mean(dim=0) + means.var(dim=0, correction=0)
        statistics = (each.repeat(len(means)) for each in (means.mean(dim=0), variance))
        torch.ops.aten.native_batch_norm.out(
            sample, None, None, *statistics, False, 0.0, EPSILON, out=out, save_mean=unused[:0], save_invstd=unused[:0]
        )
        inverse_std.append((variance + EPSILON).rsqrt())
    return F.leaky_relu_(y, SLOPE), torch.stack(inverse_std)


def _backward_rounded(gradient: Tensor, y: Tensor, inverse_std: Tensor) -> Tensor:
    """Do as ``_backward`` for a lower precision; its sums are those that torch's kernel has for weight and bias."""
    together = y.shape[2] // inverse_std.shape[1]
    gradient = torch.ops.aten.leaky_relu_backward(gradient, y, SLOPE, True)
    normalized = F.leaky_relu(y, 1 / SLOPE)
    ones = inverse_std.new_ones(y.shape[2])
    zeros = torch.zeros_like(ones)
    for g, n, scale in zip(gradient, normalized, inverse_std, strict=True):
        _, *sums = torch.ops.aten.native_batch_norm_backward(
            g, n, ones, zeros, ones, None, None, False, 0.0, [False, True, True]
        )  # of g * n and of g
        slope, offset = (-scale * each.view(together, -1).sum(dim=0) / (len(g) * together) for each in sums)
        slope, offset, scale = (each.repeat(together).to(y.dtype) for each in (slope, offset, scale))
        torch.addcmul(offset, n, slope, out=n).addcmul_(g, scale)
    return normalized


def _mean(rows: Tensor, features: int) -> Tensor:
    """Average each feature over the voxels: ``(B, N / k, k * F)`` to ``(B, 1, k * F)``, every k-th part the same."""
    return mean_of_features(rows.sum(dim=1, keepdim=True), rows.shape[1], features)
