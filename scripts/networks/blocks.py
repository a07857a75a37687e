# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Layers that several of the published networks share.

Each is written here in plain PyTorch, the path to read. Unless ``prepare_network`` is told ``fused: false``, the same
is computed by the functions of ``fused_layers`` and ``mixing``, which keep less memory and take less time; a branch
``if not torch.jit.is_scripting() and self.fused`` is where they come in.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from .convolution import concatenate, pad, upsample
from .fused_layers import conv_norm_act, norm_act, norm_act_conv
from .mixing import mix_channels
from .normalization import CONSTANT_BELOW, EPSILON, SLOPE


def normalize_activate(x: Tensor, epsilon: float = EPSILON, slope: float = SLOPE) -> Tensor:
    """Apply instance normalisation (biased variance, no affine) and a leaky ReLU.

    A constant channel (a patch of air, a sample without any modality) passes no gradient, which the normalisation would
    multiply by 1 / sqrt(1e-5) = 316 in every layer until it overflows.
    """
    if not torch.jit.is_scripting() and torch.is_grad_enabled():
        values = x.detach()
        variance = values.flatten(2).var(dim=2, correction=0)  # (B, F)
        constant = (variance < CONSTANT_BELOW).view(list(variance.shape) + [1] * (x.dim() - 2))
        x = torch.where(constant, values, x)
    return F.leaky_relu(F.instance_norm(x, eps=epsilon), slope, inplace=True)


def channels_last(x: Tensor) -> Tensor:
    """Lay ``(B, F, *S)`` out with the channels of a voxel side by side, which convolutions here are fastest on."""
    return x.contiguous(memory_format=torch.channels_last_3d if x.dim() == 5 else torch.channels_last)


def stack_modalities(features: list[Tensor]) -> Tensor:
    """Stack M tensors ``(B, F, *S)`` into ``(B, M, F, *S)``, the M * F channels of a voxel side by side in memory."""
    stacked = torch.stack([each.movedim(1, -1) for each in features], dim=-2)  # (B, *S, M, F)
    return stacked.movedim([-2, -1], [1, 2])


class FusableLayer(nn.Module):
    """A layer whose steps may be computed by one fused function; values and gradients are the same, to rounding.

    Attributes:
        fused: compute by ``fused_layers`` and ``mixing``; otherwise, and in TorchScript, by the plain composition.
        compiled: and let ``torch.compile`` fuse normalisation and activation further, see ``compiled_normalization``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fused = True
        self.compiled = False

    def normalize_activate(self, x: Tensor) -> Tensor:
        """Apply instance normalisation and a leaky ReLU in the way that is set."""
        if not torch.jit.is_scripting() and self.fused:
            return norm_act(x, self.compiled)
        return normalize_activate(x)


class ConvNormAct(FusableLayer):
    """Reflect-padded convolution, instance normalisation without affine, leaky ReLU.

    The bias has no effect on the output (the normalisation removes it) and its gradient is rounding noise; it is kept
    because published checkpoints carry it.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd, in voxels; the padding keeps the size at stride 1.
        stride: 2 halves the size, rounding up.

    Shape:
        - input: ``(B, in_channels, *S)``
        - output: ``(B, out_channels, *ceil(S / stride))``
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1
    ) -> None:
        super().__init__()
        self.conv = Conv[Conv.CONV, spatial_dims](
            in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, padding_mode="reflect"
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve([x])

    def convolve(self, inputs: list[Tensor], size: list[int] | None = None) -> Tensor:
        """Take the concatenation of several inputs, resized to a spatial size first if one is given."""
        if not torch.jit.is_scripting() and self.fused:
            resized = None if size is None else list(size)
            return conv_norm_act(inputs, self.conv.weight, self.conv.stride[0], resized, self.compiled)
        x = torch.cat(inputs, dim=1)
        if size is not None:
            x = upsample(x, size)
        # without the bias, as above: normalising a constant that is not zero leaves rounding noise
        return normalize_activate(self.conv._conv_forward(x, self.conv.weight, None))


class NormActConv(FusableLayer):
    """Instance normalisation without affine, leaky ReLU, convolution with bias: ``ConvNormAct`` in the other order.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd, in voxels; the padding keeps the size at stride 1.
        stride: 2 halves the size, rounding up.
        padding_mode: ``"reflect"`` or ``"zeros"``.

    Shape:
        - input: ``(B, in_channels, *S)``
        - output: ``(B, out_channels, *ceil(S / stride))``
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        padding_mode: str = "reflect",
    ) -> None:
        super().__init__()
        self.reflect = padding_mode == "reflect"
        padding = kernel_size // 2 if self.reflect else 0  # zeros are padded by ``pad``, which says why
        self.conv = Conv[Conv.CONV, spatial_dims](
            in_channels, out_channels, kernel_size, stride, padding=padding, padding_mode=padding_mode
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve([x])

    def convolve(self, inputs: list[Tensor], size: list[int] | None = None) -> Tensor:
        """Take the concatenation of several inputs, resized to a spatial size first if one is given."""
        if not torch.jit.is_scripting() and self.fused:
            resized = None if size is None else list(size)
            stride, weight = self.conv.stride[0], self.conv.weight
            return norm_act_conv(inputs, weight, self.conv.bias, stride, resized, self.reflect, self.compiled)
        x = torch.cat(inputs, dim=1)
        if size is not None:
            x = upsample(x, size)
        x = normalize_activate(x)
        return self.conv(x if self.reflect else pad(x, self.conv.weight, reflect=False))


class Merge(nn.Sequential):
    """Join two tensors of F channels into one: a 3x3x3 and a 1x1x1 block of their concatenation.

    Args:
        spatial_dims: 2 or 3.
        channels: F.
        block: ``ConvNormAct`` or ``NormActConv``.

    Shape:
        - first, second: ``(B, F, *S)``, concatenated in this order
        - output: ``(B, F, *S)``
    """

    def __init__(self, spatial_dims: int, channels: int, block: type[nn.Module] = ConvNormAct) -> None:
        super().__init__(
            block(spatial_dims, 2 * channels, channels), block(spatial_dims, channels, channels, kernel_size=1)
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self[1](self[0].convolve([first, second]))


class ModalityConvNormAct(FusableLayer):
    """``ConvNormAct`` of kernel size 1 over concatenated modalities, computed for those given only.

    Equal to filling the absent modalities with zeros, concatenating all and convolving: the columns of the weight that
    would meet zeros are left out, so the cost follows the number of modalities given.

    Args:
        spatial_dims: 2 or 3.
        num_modalities: M, which the weight covers.
        in_channels: channels F of one modality.
        out_channels: channels of the output.

    Shape:
        - features: ``(B, A, F, *S)``, the modalities that ``index`` names
        - index: ``(B, A)`` positions of these modalities among the M
        - output: ``(B, out_channels, *S)``
    """

    def __init__(self, spatial_dims: int, num_modalities: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.num_modalities = num_modalities
        self.conv = Conv[Conv.CONV, spatial_dims](num_modalities * in_channels, out_channels, 1)

    def forward(self, features: Tensor, index: Tensor) -> Tensor:
        weight = modality_columns(self.conv.weight, self.num_modalities, index)  # (B, O, A * F)
        stacked = features.flatten(1, 2).flatten(2).transpose(1, 2)  # (B, N, A * F)
        mixed = mix_channels(stacked, weight, self.fused).transpose(1, 2)  # (B, O, N)
        return self.normalize_activate(mixed.unflatten(2, features.shape[3:]))


class ModalityNormActConv(ModalityConvNormAct):
    """``NormActConv`` of kernel size 1 over concatenated modalities, computed for those given only.

    Equal to filling the absent modalities with zeros, concatenating all, normalising and convolving. Arguments and
    shapes are those of ``ModalityConvNormAct``.
    """

    def forward(self, features: Tensor, index: Tensor) -> Tensor:
        weight = modality_columns(self.conv.weight, self.num_modalities, index)  # (B, O, A * F)
        stacked = features.flatten(1, 2)  # (B, A * F, *S)
        if not torch.jit.is_scripting() and self.fused:
            kernels = weight.view(list(weight.shape) + [1] * (stacked.dim() - 2))
            pairs = zip(stacked.split(1), kernels, strict=True)
            compiled = self.compiled
            each = [norm_act_conv([one], kernel, self.conv.bias, compiled=compiled) for one, kernel in pairs]
            return concatenate(each)
        mixed = torch.matmul(weight, normalize_activate(stacked).flatten(2)).unflatten(2, features.shape[3:])
        bias = self.conv.bias
        assert bias is not None  # for TorchScript
        return mixed + bias.view([1, -1] + [1] * (stacked.dim() - 2))


def modality_columns(weight: Tensor, num_modalities: int, index: Tensor) -> Tensor:
    """Select the columns of a 1x1 weight ``(O, M * F, 1, ...)`` for each sample's modalities: ``(B, O, A * F)``."""
    by_modality = weight.flatten(1).unflatten(1, [num_modalities, -1]).transpose(0, 1)  # (M, O, F)
    columns = by_modality.index_select(0, index.flatten()).unflatten(0, index.shape)  # (B, A, O, F)
    return columns.transpose(1, 2).flatten(2)


def initialize_convolutions(network: nn.Module) -> None:
    """Redraw every convolution weight from Kaiming's normal distribution (fan-in, gain sqrt 2); biases keep theirs."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            nn.init.kaiming_normal_(module.weight)
