# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Convolution, instance normalisation and leaky ReLU with a backward pass that keeps one tensor per layer.

PyTorch's own composition keeps the padded input, the convolution's output and the activation. Here only the input and
the activation are kept, and the input is the activation of the layer before; what else is needed is computed again,
cheaply, in the backward pass. Values and gradients are those of the composition, to rounding; except that a constant
channel (a patch of air, a sample without any modality) passes no gradient, where the composition would multiply it by
1 / sqrt(eps) = 316 in every layer until it overflows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

EPSILON = 1e-5  # of the normalisation
SLOPE = 0.2  # of the leaky ReLU
CONSTANT_ABOVE = (EPSILON + 1e-8) ** -0.5  # inverse standard deviation at which a channel counts as constant
VOXELS_TOGETHER = 64  # side by side in a row of the normalisation's sums, so that each row fills vector registers
ALONE_FROM = 2**20  # numbers in a sample of a batch
SLOW_PATH_BELOW = 20480  # torch sends a single float32 sample with B*C*S0*S1 up to this to a slow CPU convolution


def conv_norm_act(inputs: list[Tensor], weight: Tensor, stride: int = 1, size: list[int] | None = None) -> Tensor:
    """Concatenate, resize, convolve with reflect padding, normalise each sample and channel, apply a leaky ReLU.

    What is concatenated and resized on the way is not kept for the backward pass.

    Args:
        inputs: ``(B, F_i, *S)`` each, concatenated along the channels.
        weight: ``(F', sum F_i, k, ...)`` with odd k; the padding keeps the size.
        stride: the same along each axis.
        size: spatial size to which the input is resized first, linearly with aligned corners.
    """
    device = inputs[0].device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        inputs, weight = [x.to(dtype) for x in inputs], weight.to(dtype)
    return _ConvNormAct.apply(weight, stride, size, *inputs)


def norm_act(x: Tensor) -> Tensor:
    """Normalise each sample and channel of ``(B, F, *S)`` and apply a leaky ReLU."""
    return _NormAct.apply(x)


def upsample(x: Tensor, size: list[int]) -> Tensor:
    """Resize ``(B, F, *S)`` to ``(B, F, *size)``, linearly with aligned corners."""
    if list(x.shape[2:]) == size:
        return x
    mode = "trilinear" if len(size) == 3 else "bilinear"
    return F.interpolate(x, size=size, mode=mode, align_corners=True)


class _ConvNormAct(Function):
    @staticmethod
    def forward(ctx, weight: Tensor, stride: int, size: list[int] | None, *inputs: Tensor) -> Tensor:
        ctx.stride, ctx.size = stride, size
        parts = (_prepare(part, weight, size) for part in _parts(inputs, weight, size))
        convolved = _concatenate([_convolve(part, weight, stride) for part in parts])
        y, inverse_std = _normalize_activate(convolved)
        ctx.save_for_backward(weight, y, _zero_if_constant(inverse_std), *inputs)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, y, inverse_std, *inputs = ctx.saved_tensors
        gradient = _normalize_activate_backward(gradient, y, inverse_std)
        wanted = ctx.needs_input_grad
        needed = (any(wanted[3:]), wanted[0], False)
        parts = _parts(inputs, weight, ctx.size)
        to_inputs, to_weight = [], []
        for part, gradient_part in zip(parts, gradient.chunk(len(parts)), strict=True):
            prepared = _prepare(part, weight, ctx.size)
            to_prepared, to_weight_part = _convolve_backward(gradient_part, prepared, weight, ctx.stride, needed)
            to_weight.append(to_weight_part)
            if needed[0]:
                to_inputs.append(_prepare_backward(to_prepared, part, weight, ctx.size))
        each = [_concatenate(list(grads)) for grads in zip(*to_inputs, strict=True)] or [None] * len(inputs)
        return sum(to_weight) if needed[1] else None, None, None, *each


class _NormAct(Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        y, inverse_std = _normalize_activate(x)
        ctx.save_for_backward(y, _zero_if_constant(inverse_std))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _normalize_activate_backward(gradient, *ctx.saved_tensors)


def _parts(inputs: Sequence[Tensor], weight: Tensor, size: list[int] | None) -> list[tuple[Tensor, ...]]:
    """Split a batch of large samples on the CPU: torch's convolutions take them faster one by one, in less memory."""
    numbers = weight.shape[1] * math.prod(size or inputs[0].shape[2:])
    alone = inputs[0].device.type == "cpu" and numbers >= ALONE_FROM
    return list(zip(*(x.split(1) for x in inputs), strict=True)) if alone else [tuple(inputs)]


def _concatenate(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _prepare(inputs: Sequence[Tensor], weight: Tensor, size: list[int] | None) -> Tensor:
    """Concatenate, resize and pad: what the convolution sees."""
    x = inputs[0] if len(inputs) == 1 else torch.cat(list(inputs), dim=1)
    if size is not None:
        x = upsample(x, size)
    width = weight.shape[-1] // 2
    return x if width == 0 else F.pad(x, [width] * (2 * len(x.shape[2:])), mode="reflect")


def _prepare_backward(
    gradient: Tensor, inputs: Sequence[Tensor], weight: Tensor, size: list[int] | None
) -> tuple[Tensor, ...]:
    """Differentiate ``_prepare`` with respect to each input."""
    width = weight.shape[-1] // 2
    volume = gradient.dim() == 5
    channels = [x.shape[1] for x in inputs]
    shape = [inputs[0].shape[0], sum(channels), *inputs[0].shape[2:]]
    if width > 0:
        unpadded = gradient[(..., *[slice(width, -width)] * (gradient.dim() - 2))]  # only its shape and layout are read
        backward = torch.ops.aten.reflection_pad3d_backward if volume else torch.ops.aten.reflection_pad2d_backward
        gradient = backward(gradient, unpadded, [width] * (2 * len(shape[2:])))
    if size is not None:
        resize = torch.ops.aten.upsample_trilinear3d_backward if volume else torch.ops.aten.upsample_bilinear2d_backward
        gradient = resize(gradient, size, shape, True)
    return gradient.split(channels, dim=1)


def _on_slow_path(x: Tensor) -> bool:
    single = x.device.type == "cpu" and x.dtype == torch.float32 and x.dim() == 5 and x.shape[0] == 1
    return single and x.shape[1] * x.shape[2] * x.shape[3] <= SLOW_PATH_BELOW


def _convolve(padded: Tensor, weight: Tensor, stride: int) -> Tensor:
    if _on_slow_path(padded):  # a second sample, of zeros, is far cheaper than that path
        return _convolve(torch.cat([padded, torch.zeros_like(padded)]), weight, stride)[:1]
    spatial = padded.dim() - 2
    zeros = [0] * spatial
    return torch.convolution(padded, weight, None, [stride] * spatial, zeros, [1] * spatial, False, zeros, 1)


def _convolve_backward(
    gradient: Tensor, padded: Tensor, weight: Tensor, stride: int, needed: tuple[bool, bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    if _on_slow_path(padded):
        pair = (torch.cat([each, torch.zeros_like(each)]) for each in (gradient, padded))
        to_padded, to_weight = _convolve_backward(*pair, weight, stride, needed)
        return None if to_padded is None else to_padded[:1], to_weight
    spatial = padded.dim() - 2
    zeros = [0] * spatial
    return torch.ops.aten.convolution_backward(
        gradient, padded, weight, None, [stride] * spatial, zeros, [1] * spatial, False, zeros, 1, needed
    )[:2]


def _normalize_activate(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the activation, laid out as ``x`` is, and the ``(B, F)`` inverse standard deviations."""
    rows = _as_rows(x)
    if rows is None:
        # sample by sample: as one batch of B * F channels, torch would copy the tensor into another layout
        samples = [torch.native_batch_norm(s, None, None, None, None, True, 0.0, EPSILON) for s in x.split(1)]
        y = _concatenate([s[0] for s in samples])
        return F.leaky_relu_(y, SLOPE), torch.stack([s[2] for s in samples])
    features = x.shape[1]
    centred = rows - _mean(rows, features)
    inverse_std = (_mean(centred * centred, features) + EPSILON).rsqrt()  # (B, 1, k * F)
    y = F.leaky_relu_(centred.mul_(inverse_std), SLOPE)
    return _as_image(y, x), inverse_std[:, 0, :features]


def _zero_if_constant(inverse_std: Tensor) -> Tensor:
    return torch.where(inverse_std > CONSTANT_ABOVE, 0, inverse_std)


def _normalize_activate_backward(gradient: Tensor, y: Tensor, inverse_std: Tensor) -> Tensor:
    """Differentiate with respect to the input, from the activation alone: the leaky ReLU is undone exactly.

    With n the normalised values and g the gradient behind the leaky ReLU's: (g - mean(g) - n mean(g n)) / std.
    """
    rows = _as_rows(y)
    if rows is not None:
        gradient = gradient.contiguous(memory_format=_layout(y))
    gradient = torch.ops.aten.leaky_relu_backward(gradient, y, SLOPE, True)
    normalized = F.leaky_relu(y, 1 / SLOPE)
    if rows is None:
        ones = torch.ones_like(inverse_std[0])
        zeros = torch.zeros_like(ones)
        samples = [
            torch.ops.aten.native_batch_norm_backward(
                g, n, s.to(ones.dtype), None, None, zeros, ones, True, EPSILON, [True, False, False]
            )[0]
            for g, n, s in zip(gradient.split(1), normalized.split(1), inverse_std, strict=True)
        ]
        return _concatenate(samples)
    features = y.shape[1]
    g, n = _as_rows(gradient), _as_rows(normalized)
    scale = inverse_std.repeat(1, rows.shape[2] // features).unsqueeze(1)  # (B, 1, k * F)
    slope, offset = -scale * _mean(g * n, features), -scale * _mean(g, features)
    return _as_image(g.mul_(scale).addcmul_(n, slope).add_(offset), y)


def _layout(x: Tensor) -> torch.memory_format:
    return torch.channels_last_3d if x.dim() == 5 else torch.channels_last


def _as_rows(x: Tensor) -> Tensor | None:
    """View a channels-last float32 tensor on the CPU as ``(B, N / k, k * F)``: k voxels side by side.

    There, torch's own kernel is slow and sums in single precision (errors of 1e-4); sums over long rows are neither.
    ``None`` for every other tensor.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or not x.is_contiguous(memory_format=_layout(x)):
        return None
    voxels = x[0, 0].numel()
    together = math.gcd(voxels, VOXELS_TOGETHER)
    return x.movedim(1, -1).reshape(x.shape[0], voxels // together, together * x.shape[1])


def _as_image(rows: Tensor, like: Tensor) -> Tensor:
    """Undo ``_as_rows``."""
    return rows.reshape(like.shape[0], *like.shape[2:], like.shape[1]).movedim(-1, 1)


def _mean(rows: Tensor, features: int) -> Tensor:
    """Average each feature over the voxels: ``(B, N / k, k * F)`` to ``(B, 1, k * F)``, every k-th part the same."""
    together = rows.shape[2] // features
    mean = rows.sum(dim=1).unflatten(1, [together, features]).sum(dim=1) / (rows.shape[1] * together)
    return mean.repeat(1, together).unsqueeze(1)
