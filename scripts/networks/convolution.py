# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The steps around a convolution and their derivatives: concatenate, resize, pad, convolve.

Written out so that ``fused_layers`` can repeat them in a backward pass instead of keeping their results.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

ALONE_FROM = 2**20  # numbers in a sample of a batch
SLOW_PATH_BELOW = 20480  # torch sends a single float32 sample with B*C*S0*S1 up to this to a slow CPU convolution


def upsample(x: Tensor, size: list[int]) -> Tensor:
    """Resize ``(B, F, *S)`` to ``(B, F, *size)``, linearly with aligned corners."""
    if list(x.shape[2:]) == size:
        return x
    mode = "trilinear" if len(size) == 3 else "bilinear"
    return F.interpolate(x, size=size, mode=mode, align_corners=True)


def split_batch(inputs: Sequence[Tensor], weight: Tensor, size: list[int] | None) -> list[tuple[Tensor, ...]]:
    """Split a batch of large samples on the CPU: torch's convolutions take them faster one by one, in less memory."""
    numbers = weight.shape[1] * math.prod(size or inputs[0].shape[2:])
    alone = inputs[0].device.type == "cpu" and numbers >= ALONE_FROM
    return list(zip(*(x.split(1) for x in inputs), strict=True)) if alone else [tuple(inputs)]


def concatenate(parts: list[Tensor]) -> Tensor:
    """Concatenate along the batch, without a copy of a single part."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def join(inputs: Sequence[Tensor], size: list[int] | None) -> Tensor:
    """Concatenate along the channels and resize."""
    x = inputs[0] if len(inputs) == 1 else torch.cat(list(inputs), dim=1)
    return x if size is None else upsample(x, size)


def join_backward(gradient: Tensor, inputs: Sequence[Tensor], size: list[int] | None) -> tuple[Tensor, ...]:
    """Differentiate ``join`` with respect to each input."""
    channels = [x.shape[1] for x in inputs]
    shape = [inputs[0].shape[0], sum(channels), *inputs[0].shape[2:]]
    if size is not None and size != shape[2:]:
        volume = gradient.dim() == 5
        resize = torch.ops.aten.upsample_trilinear3d_backward if volume else torch.ops.aten.upsample_bilinear2d_backward
        gradient = resize(gradient, size, shape, True)
    return gradient.split(channels, dim=1)


def pad(x: Tensor, weight: Tensor, reflect: bool = True) -> Tensor:
    """Pad by reflection, or by zeros, so that a convolution with ``weight`` and stride 1 keeps the size.

    Zeros too are padded here and not by the convolution: with an input two voxels deep, oneDNN's gradient of a padded
    3x3x3 weight in bfloat16 is read from memory that nothing was written to (torch 2.13, AVX-512: wrong in every trial,
    not finite in about half of them).
    """
    width = weight.shape[-1] // 2
    if width == 0:
        return x
    # in 2D, CPU autocast would leave it in float32
    return F.pad(x, [width] * (2 * (x.dim() - 2)), mode="reflect" if reflect else "constant").to(x.dtype)


def pad_backward(gradient: Tensor, weight: Tensor, reflect: bool = True) -> Tensor:
    """Differentiate ``pad``."""
    width = weight.shape[-1] // 2
    if width == 0:
        return gradient
    spatial = gradient.dim() - 2
    unpadded = gradient[(..., *[slice(width, -width)] * spatial)]
    if not reflect:
        return unpadded
    backward = torch.ops.aten.reflection_pad3d_backward if spatial == 3 else torch.ops.aten.reflection_pad2d_backward
    return backward(gradient, unpadded, [width] * (2 * spatial))  # of the second only shape and layout are read


def _on_slow_path(x: Tensor) -> bool:
    single = x.device.type == "cpu" and x.dtype == torch.float32 and x.dim() == 5 and x.shape[0] == 1
    return single and x.shape[1] * x.shape[2] * x.shape[3] <= SLOW_PATH_BELOW


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """Convolve ``(B, F, *S)``, padded already."""
    if _on_slow_path(x):  # a second sample, of zeros, is far cheaper than that path
        return convolve(torch.cat([x, torch.zeros_like(x)]), weight, bias, stride)[:1]
    spatial = x.dim() - 2
    return torch.convolution(x, weight, bias, [stride] * spatial, [0] * spatial, [1] * spatial, False, [0] * spatial, 1)


def convolve_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, needed: tuple[bool, bool, bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Differentiate ``convolve`` with respect to what is ``needed`` of input, weight and bias."""
    if _on_slow_path(x):
        pair = (torch.cat([each, torch.zeros_like(each)]) for each in (gradient, x))
        to_x, to_weight, to_bias = convolve_backward(*pair, weight, stride, needed)
        return None if to_x is None else to_x[:1], to_weight, to_bias
    spatial = x.dim() - 2
    return torch.ops.aten.convolution_backward(
        gradient,
        x,
        weight,
        [weight.shape[0]],
        [stride] * spatial,
        [0] * spatial,
        [1] * spatial,
        False,
        [0] * spatial,
        1,
        needed,
    )
