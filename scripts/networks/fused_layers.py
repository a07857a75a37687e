# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Convolution, instance normalisation and leaky ReLU with a backward pass that keeps one tensor per layer.

PyTorch's own composition keeps the padded input, the convolution's output and the activation. Here a layer keeps only
what the next layer keeps as its input anyway; what else is needed is computed again, cheaply, in the backward pass.
Values and gradients are those of the composition, to rounding; except that a constant channel (a patch of air, a sample
without any modality) passes no gradient, where the composition would multiply it by 1 / sqrt(eps) = 316 in every layer
until it overflows.

Nothing here is needed to understand a network: each of these functions takes the place of three to five lines of plain
PyTorch in ``blocks`` (``ConvNormAct.convolve``, ``NormActConv.convolve``, ``normalize_activate``), which run instead
with ``fused: false``.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .convolution import concatenate, convolve, convolve_backward, join, join_backward, pad, pad_backward, split_batch
from .normalization import normalize_activate, normalize_activate_backward, zero_if_constant


def conv_norm_act(
    inputs: list[Tensor], weight: Tensor, stride: int = 1, size: list[int] | None = None, compiled: bool = False
) -> Tensor:
    """Concatenate, resize, convolve with reflect padding, normalise each sample and channel, apply a leaky ReLU.

    What is concatenated and resized on the way is not kept for the backward pass.

    Args:
        inputs: ``(B, F_i, *S)`` each, concatenated along the channels.
        weight: ``(F', sum F_i, k, ...)`` with odd k; the padding keeps the size.
        stride: the same along each axis.
        size: spatial size to which the input is resized first, linearly with aligned corners.
        compiled: normalise by ``compiled_normalization``.
    """
    inputs, weight = _in_autocast_precision(inputs, weight)
    return _ConvNormAct.apply(weight, stride, size, compiled, *inputs)


def norm_act_conv(
    inputs: list[Tensor],
    weight: Tensor,
    bias: Tensor,
    stride: int = 1,
    size: list[int] | None = None,
    reflect: bool = True,
    compiled: bool = False,
) -> Tensor:
    """Concatenate, resize, normalise each sample and channel, apply a leaky ReLU, convolve.

    Only the inputs are kept for the backward pass.

    Args:
        inputs: ``(B, F_i, *S)`` each, concatenated along the channels.
        weight: ``(F', sum F_i, k, ...)`` with odd k; the padding keeps the size.
        bias: ``(F',)``.
        stride: the same along each axis.
        size: spatial size to which the input is resized first, linearly with aligned corners.
        reflect: pad by reflection; by zeros otherwise.
        compiled: normalise by ``compiled_normalization``.
    """
    inputs, weight = _in_autocast_precision(inputs, weight)
    return _NormActConv.apply(weight, bias.to(weight.dtype), stride, size, reflect, compiled, *inputs)


def norm_act(x: Tensor, compiled: bool = False) -> Tensor:
    """Normalise each sample and channel of ``(B, F, *S)`` and apply a leaky ReLU."""
    return _NormAct.apply(x, compiled)


def _in_autocast_precision(inputs: list[Tensor], weight: Tensor) -> tuple[list[Tensor], Tensor]:
    device = inputs[0].device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        inputs, weight = [x.to(dtype) for x in inputs], weight.to(dtype)
    return inputs, weight


class _ConvNormAct(Function):
    @staticmethod
    def forward(ctx, weight: Tensor, stride: int, size: list[int] | None, compiled: bool, *inputs: Tensor) -> Tensor:
        ctx.stride, ctx.size, ctx.compiled = stride, size, compiled
        parts = split_batch(inputs, weight, size)
        convolved = concatenate([convolve(pad(join(part, size), weight), weight, None, stride) for part in parts])
        y, inverse_std = normalize_activate(convolved, overwrite=True, compiled=compiled)
        ctx.save_for_backward(weight, y, zero_if_constant(inverse_std), *inputs)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, y, inverse_std, *inputs = ctx.saved_tensors
        gradient = normalize_activate_backward(gradient, y, inverse_std, ctx.compiled)
        wanted = ctx.needs_input_grad
        needed = (any(wanted[4:]), wanted[0], False)
        parts = split_batch(inputs, weight, ctx.size)
        to_inputs, to_weight = [], []
        for part, to_part in zip(parts, gradient.chunk(len(parts)), strict=True):
            padded = pad(join(part, ctx.size), weight)
            to_padded, to_weight_part, _ = convolve_backward(to_part, padded, weight, ctx.stride, needed)
            to_weight.append(to_weight_part)
            if needed[0]:
                to_inputs.append(join_backward(pad_backward(to_padded, weight), part, ctx.size))
        each = [concatenate(list(grads)) for grads in zip(*to_inputs, strict=True)] or [None] * len(inputs)
        return sum(to_weight) if needed[1] else None, None, None, None, *each


class _NormActConv(Function):
    @staticmethod
    def forward(
        ctx,
        weight: Tensor,
        bias: Tensor,
        stride: int,
        size: list[int] | None,
        reflect: bool,
        compiled: bool,
        *inputs: Tensor,
    ) -> Tensor:
        ctx.stride, ctx.size, ctx.reflect, ctx.compiled = stride, size, reflect, compiled
        ctx.save_for_backward(weight, *inputs)
        outputs = []
        for part in split_batch(inputs, weight, size):
            activated, _ = normalize_activate(join(part, size), compiled=compiled)
            outputs.append(convolve(pad(activated, weight, reflect), weight, bias, stride))
        return concatenate(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, *inputs = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        needed = (any(wanted[6:]), wanted[0], wanted[1])
        parts = split_batch(inputs, weight, ctx.size)
        to_inputs, to_weight, to_bias = [], [], []
        for part, to_part in zip(parts, gradient.chunk(len(parts)), strict=True):
            activated, inverse_std = normalize_activate(join(part, ctx.size), compiled=ctx.compiled)
            padded = pad(activated, weight, ctx.reflect)
            to_padded, *to_parameters = convolve_backward(to_part, padded, weight, ctx.stride, needed)
            to_weight.append(to_parameters[0])
            to_bias.append(to_parameters[1])
            if needed[0]:
                to_activated = pad_backward(to_padded, weight, ctx.reflect)
                scale = zero_if_constant(inverse_std)
                to_joined = normalize_activate_backward(to_activated, activated, scale, ctx.compiled)
                to_inputs.append(join_backward(to_joined, part, ctx.size))
        each = [concatenate(list(grads)) for grads in zip(*to_inputs, strict=True)] or [None] * len(inputs)
        parameters = sum(to_weight) if needed[1] else None, sum(to_bias) if needed[2] else None
        return (*parameters, None, None, None, None, *each)


class _NormAct(Function):
    @staticmethod
    def forward(ctx, x: Tensor, compiled: bool) -> Tensor:
        y, inverse_std = normalize_activate(x, compiled=compiled)
        ctx.compiled = compiled
        ctx.save_for_backward(y, zero_if_constant(inverse_std))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return normalize_activate_backward(gradient, *ctx.saved_tensors, ctx.compiled), None
