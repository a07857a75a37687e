# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The convolutional encoder of one modality and the decoder that segments from it alone."""

from __future__ import annotations

from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from .blocks import ConvNormAct, Merge, NormActConv, channels_last


class ModalityEncoder(nn.Module):
    """Residual convolutional encoder of one modality.

    At level l, ``u = first(x)`` and ``x_l = u + rest(u)`` with no activation behind the sum; levels after the first
    halve the size. With ``NormActConv`` for a block, the very first layer is a convolution alone.

    Args:
        spatial_dims: 2 or 3.
        level_channels: channels of the levels, finest first.
        block: ``ConvNormAct`` or ``NormActConv``.

    Shape:
        - input: ``(B, 1, *S)``
        - output: one ``(B, F_l, *S_l)`` for each level, finest first
    """

    def __init__(self, spatial_dims: int, level_channels: list[int], block: type[nn.Module] = ConvNormAct) -> None:
        super().__init__()
        inputs = [1, *level_channels[:-1]]
        self.first = nn.ModuleList(
            block(spatial_dims, inputs[i], channels, stride=1 if i == 0 else 2)
            for i, channels in enumerate(level_channels)
        )
        if block is NormActConv:
            self.first[0] = Conv[Conv.CONV, spatial_dims](1, level_channels[0], 3, padding=1, padding_mode="reflect")
        self.rest = nn.ModuleList(
            nn.Sequential(block(spatial_dims, channels, channels), block(spatial_dims, channels, channels))
            for channels in level_channels
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        levels: list[Tensor] = []
        for first, rest in zip(self.first, self.rest):
            x = channels_last(first(x))
            x = x + rest(x)
            levels.append(x)
        return levels


class UnimodalDecoder(nn.Module):
    """U-Net decoder of a single modality's levels; one instance serves all modalities.

    Args:
        spatial_dims: 2 or 3.
        level_channels: channels of the encoder's levels, finest first.
        num_classes: C.
        block: ``ConvNormAct`` or ``NormActConv``.

    Shape:
        - levels: one ``(B, F_l, *S_l)`` for each level, finest first
        - output: ``(B, C, *S_1)`` logits
    """

    def __init__(
        self, spatial_dims: int, level_channels: list[int], num_classes: int, block: type[nn.Module] = ConvNormAct
    ) -> None:
        super().__init__()
        coarse_to_fine = level_channels[-2::-1]
        self.up = nn.ModuleList(block(spatial_dims, 2 * f, f) for f in coarse_to_fine)
        self.merge = nn.ModuleList(Merge(spatial_dims, f, block) for f in coarse_to_fine)
        self.segment = Conv[Conv.CONV, spatial_dims](level_channels[0], num_classes, 1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        return self.segment(self.features(levels))

    def features(self, levels: list[Tensor]) -> Tensor:
        """Decode up to the last layer: ``(B, F_1, *S_1)``."""
        x = levels[-1]
        for i, (up, merge) in enumerate(zip(self.up, self.merge)):
            skip = levels[len(levels) - 2 - i]
            x = up.convolve([x], skip.shape[2:])
            x = merge(x, skip)
        return x
