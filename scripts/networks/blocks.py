# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Layers that several of the published networks share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from .convolution import concatenate, upsample
from .fused_layers import conv_norm_act, norm_act, norm_act_conv
from .mixing import mix_channels


def normalize_activate(x: Tensor, slope: float = 0.2) -> Tensor:
    """Apply instance normalisation (biased variance, eps 1e-5, no affine) and a leaky ReLU."""
    if not torch.jit.is_scripting():
        return norm_act(x)
    return F.leaky_relu(F.instance_norm(x), slope, inplace=True)


def channels_last(x: Tensor) -> Tensor:
    """Lay ``(B, F, *S)`` out with the channels of a voxel side by side, which convolutions here are fastest on."""
    return x.contiguous(memory_format=torch.channels_last_3d if x.dim() == 5 else torch.channels_last)


def stack_modalities(features: list[Tensor]) -> Tensor:
    """Stack M tensors ``(B, F, *S)`` into ``(B, M, F, *S)``, the M * F channels of a voxel side by side in memory."""
    stacked = torch.stack([each.movedim(1, -1) for each in features], dim=-2)  # (B, *S, M, F)
    return stacked.movedim([-2, -1], [1, 2])


class ConvNormAct(nn.Module):
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
        if not torch.jit.is_scripting():
            return conv_norm_act(inputs, self.conv.weight, self.conv.stride[0], None if size is None else list(size))
        x = torch.cat(inputs, dim=1)
        if size is not None:
            x = upsample(x, size)
        # without the bias, as above: normalising a constant that is not zero leaves rounding noise
        return normalize_activate(self.conv._conv_forward(x, self.conv.weight, None))


class NormActConv(nn.Module):
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
        self.conv = Conv[Conv.CONV, spatial_dims](
            in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, padding_mode=padding_mode
        )
        self.reflect = padding_mode == "reflect"

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve([x])

    def convolve(self, inputs: list[Tensor], size: list[int] | None = None) -> Tensor:
        """Take the concatenation of several inputs, resized to a spatial size first if one is given."""
        if not torch.jit.is_scripting():
            resized = None if size is None else list(size)
            stride = self.conv.stride[0]
            return norm_act_conv(inputs, self.conv.weight, self.conv.bias, stride, resized, self.reflect)
        x = torch.cat(inputs, dim=1)
        if size is not None:
            x = upsample(x, size)
        return self.conv(normalize_activate(x))


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


class ModalityConvNormAct(nn.Module):
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
        mixed = mix_channels(stacked, weight).transpose(1, 2)  # (B, O, N)
        return normalize_activate(mixed.unflatten(2, features.shape[3:]))


class ModalityNormActConv(ModalityConvNormAct):
    """``NormActConv`` of kernel size 1 over concatenated modalities, computed for those given only.

    Equal to filling the absent modalities with zeros, concatenating all, normalising and convolving. Arguments and
    shapes are those of ``ModalityConvNormAct``.
    """

    def forward(self, features: Tensor, index: Tensor) -> Tensor:
        weight = modality_columns(self.conv.weight, self.num_modalities, index)  # (B, O, A * F)
        stacked = features.flatten(1, 2)  # (B, A * F, *S)
        if not torch.jit.is_scripting():
            kernels = weight.view(list(weight.shape) + [1] * (stacked.dim() - 2))
            pairs = zip(stacked.split(1), kernels, strict=True)
            return concatenate([norm_act_conv([one], kernel, self.conv.bias) for one, kernel in pairs])
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
