# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""1x1 convolutions with weights of their own for each sample, as products of a tall and a small matrix.

Written out with their derivatives for two reasons: for a tall matrix the product that autograd forms for the gradient
of the weight is several times slower than its transpose (29 ms against 5 ms for 80^3 voxels and 32 channels on two
cores), and of a mix by region only the inputs are kept. With ``fused=False`` each function is the one or two lines of
plain PyTorch that it begins with.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

VOXELS_AT_A_TIME = 8192  # of a mix by region on the CPU


def mix_channels(x: Tensor, kernels: Tensor, fused: bool = True) -> Tensor:
    """Mix the channels of every voxel: ``(B, N, K)`` by ``(B, O, K)`` to ``(B, N, O)``."""
    if torch.jit.is_scripting() or not fused:
        return torch.matmul(x, kernels.transpose(1, 2))
    return _MixChannels.apply(*_in_one_precision(x, kernels))


def mix_by_region(x: Tensor, kernels: Tensor, regions: Tensor, fused: bool = True) -> Tensor:
    """Mix the channels of every voxel by the mean of R kernels, weighed by the voxel's region probabilities.

    Args:
        x: ``(B, N, K)``.
        kernels: ``(B, R, O, K)``.
        regions: ``(B, N, R)``, not differentiated.
        fused: keep the inputs alone for the backward pass.

    Returns:
        ``(B, N, O)``, the sum over r of ``regions_r * (kernels_r x)``.
    """
    if torch.jit.is_scripting() or not fused:
        mixed = torch.matmul(x, kernels.flatten(1, 2).transpose(1, 2)).unflatten(2, kernels.shape[1:3])
        return (mixed * regions.unsqueeze(3)).sum(dim=2)
    return _MixByRegion.apply(*_in_one_precision(x, kernels, regions))


def _in_one_precision(*tensors: Tensor) -> tuple[Tensor, ...]:
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    return tuple(x.to(torch.get_autocast_dtype(device)) for x in tensors)


class _MixChannels(Function):
    @staticmethod
    def forward(ctx, x: Tensor, kernels: Tensor) -> Tensor:
        ctx.save_for_backward(x, kernels)
        return torch.bmm(x, kernels.transpose(1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, kernels = ctx.saved_tensors
        to_x = torch.bmm(gradient, kernels) if ctx.needs_input_grad[0] else None
        return to_x, torch.bmm(gradient.transpose(1, 2), x)


def _mix_sample(x: Tensor, kernels: Tensor, regions: Tensor, out: Tensor) -> None:
    """Mix one sample of ``mix_by_region`` by products alone, so many voxels at a time that they stay in the cache."""
    count, outputs = kernels.shape[:2]
    columns = kernels.flatten(0, 1).t().contiguous()  # (K, R * O)
    repeat = torch.eye(count, dtype=x.dtype, device=x.device).repeat_interleave(outputs, dim=1)  # (R, R * O)
    total = torch.eye(outputs, dtype=x.dtype, device=x.device).repeat(count, 1)  # (R * O, O)
    voxels = VOXELS_AT_A_TIME if x.device.type == "cpu" else len(x)
    for some, weights, result in zip(x.split(voxels), regions.split(voxels), out.split(voxels), strict=True):
        torch.mm(torch.mm(some, columns).mul_(torch.mm(weights, repeat)), total, out=result)


class _MixByRegion(Function):
    @staticmethod
    def forward(ctx, x: Tensor, kernels: Tensor, regions: Tensor) -> Tensor:
        ctx.save_for_backward(x, kernels, regions)
        mixed = x.new_empty(*x.shape[:2], kernels.shape[2])
        for each in zip(x, kernels, regions, mixed, strict=True):
            _mix_sample(*each)
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor, None]:
        x, kernels, regions = ctx.saved_tensors
        to_mixed = (gradient.unsqueeze(2) * regions.unsqueeze(3)).flatten(2)  # (B, N, R * O)
        to_x = torch.bmm(to_mixed, kernels.flatten(1, 2)) if ctx.needs_input_grad[0] else None
        return to_x, torch.bmm(to_mixed.transpose(1, 2), x).view_as(kernels), None
