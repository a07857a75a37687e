# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""mmFormer: convolutional encoders with a transformer inside and one across the modalities.

Paper: Zhang, He, Yang, Li, Wei, Huang, Zhang, He, Zheng, "mmFormer: Multimodal Medical Transformer for Incomplete
Multimodal Learning of Brain Tumor Segmentation", MICCAI 2022. The variant here is the one that PASSION
(arXiv 2407.14796) trains; checkpoints of its release (MIT licence) load through ``scripts.tools.convert_checkpoint``.
Written from a description of its behaviour.

What differs from the release:
- encoders and transformers of absent modalities do not run; their tokens are zeros, as there; AdamW leaves their
  parameters alone, see ``IncompleteMultiModalNetwork``;
- in a pass of the last modality alone the transformer sees that modality's own tokens; the release gives it those of
  the modality before;
- in a pass of one modality alone, a modality that exists but was not drawn keeps its tokens (in the release they are
  zeros there, while its skip connections are not);
- any size of image, 2D and 3D; positions of another patch size are interpolated.
What is kept since weights depend on it: the tokens of all modalities are reinterpreted, not transposed, on their way
back to an image, so that a voxel receives M successive tokens of the sequence (``MMFormer.join_tokens``).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from .alignment import AnchorAlignment
from .base import IncompleteMultiModalNetwork
from .blocks import Merge, ModalityNormActConv, NormActConv, initialize_convolutions
from .transformer import PositionalTables, TransformerLayer, TransformerSettings, to_image, to_tokens, token_grid
from .unimodal import ModalityEncoder, UnimodalDecoder

NUM_LEVELS = 5


class HybridEncoder(nn.Module):
    """Encode one modality by convolutions, and its deepest level further by a transformer of its own.

    Args:
        spatial_dims: 2 or 3.
        level_channels: channels of the convolutional levels, finest first.
        grid: voxels of the deepest level along each axis.
        transformer: its size.

    Shape:
        - input: ``(B, 1, *S)``
        - output: one ``(B, F_l, *S_l)`` for each level, finest first, and the tokens as an image ``(B, width, *S_L)``
    """

    def __init__(
        self, spatial_dims: int, level_channels: list[int], grid: list[int], transformer: TransformerSettings
    ) -> None:
        super().__init__()
        self.convolutions = ModalityEncoder(spatial_dims, level_channels, NormActConv)
        self.project = Conv[Conv.CONV, spatial_dims](level_channels[-1], transformer.width, 1)
        self.positions = PositionalTables(1, grid, transformer.width)
        self.layers = nn.ModuleList(TransformerLayer(transformer) for _ in range(transformer.depth))

    def forward(self, x: Tensor) -> list[Tensor]:
        levels = self.convolutions(x)
        projected = self.project(levels[-1])
        size = projected.shape[2:]
        tokens, positions = to_tokens(projected), self.positions(size)
        for layer in self.layers:
            tokens = layer(tokens + positions)
        levels.append(to_image(tokens, size))
        return levels


class ConvolutionalFusion(nn.Module):
    """Fuse the modalities of one level by three convolutions, the second one padded by zeros.

    Shape:
        - features: ``(B, A, F, *S)``, absent samples zero; index: ``(B, A)``
        - output: ``(B, F, *S)``
    """

    def __init__(self, spatial_dims: int, num_modalities: int, channels: int) -> None:
        super().__init__()
        self.mix = ModalityNormActConv(spatial_dims, num_modalities, channels, channels)
        self.refine = nn.Sequential(
            NormActConv(spatial_dims, channels, channels, padding_mode="zeros"),
            NormActConv(spatial_dims, channels, channels, kernel_size=1),
        )

    def forward(self, features: Tensor, index: Tensor) -> Tensor:
        return self.refine(self.mix(features, index))


class DecoderStage(nn.Module):
    """One level of the fused decoder: upsample, fuse the modalities of the skip connection, merge.

    Shape:
        - x: ``(B, 2 * F, *S / 2)`` from the level below; features: ``(B, A, F, *S)``; index: ``(B, A)``
        - output: ``(B, F, *S)``
    """

    def __init__(self, spatial_dims: int, num_modalities: int, channels: int) -> None:
        super().__init__()
        self.up = NormActConv(spatial_dims, 2 * channels, channels)
        self.fusion = ConvolutionalFusion(spatial_dims, num_modalities, channels)
        self.merge = Merge(spatial_dims, channels, NormActConv)

    def forward(self, x: Tensor, features: Tensor, index: Tensor) -> Tensor:
        x = self.up.convolve([x], features.shape[3:])
        return self.merge(self.fusion(features, index), x)


class MMFormer(IncompleteMultiModalNetwork):
    """Multimodal medical transformer for any subset of modalities.

    The sixth level of the encoding is the tokens of each modality's own transformer.

    Args:
        num_modalities: M.
        num_classes: C, with the background.
        patch_size: voxels along each axis of the patches that the positions are learnt for.
        spatial_dims: 2 or 3.
        width: channels of the finest level; doubles with each of the five levels.
        transformer: size of all transformers; the published ratios to ``width`` if not given (512, 4096, 8 heads,
            depth 1 for a width of 8).
        alignment: what is to happen between encoders and fusion; nothing by default.

    Shape:
        - x: ``(B, M, *S)``, absent modalities NaN, each length at least 17 voxels
        - output: ``(B, C, *S)`` logits in evaluation mode, ``MultiModalOutput`` in training mode, whose four
          intermediate heads start at half the size

    Reference:
        Zhang et al., mmFormer, MICCAI 2022, in the variant of Shi et al., PASSION, ACM MM 2024.
    """

    def __init__(
        self,
        num_modalities: int,
        num_classes: int,
        patch_size: Sequence[int] | int,
        spatial_dims: int = 3,
        width: int = 8,
        transformer: TransformerSettings | None = None,
        alignment: AnchorAlignment | None = None,
    ) -> None:
        settings = transformer or TransformerSettings(width=64 * width, mlp_width=512 * width)
        channels = [width * 2**level for level in range(NUM_LEVELS)]
        super().__init__(num_modalities, num_classes, [*channels, settings.width], [1, 2, 2, 2, 2, 1], alignment)
        grid = token_grid(patch_size, spatial_dims, NUM_LEVELS)
        self.encoders = nn.ModuleList(
            HybridEncoder(spatial_dims, channels, grid, settings) for _ in range(num_modalities)
        )
        self.unimodal_decoder = UnimodalDecoder(spatial_dims, channels, num_classes, NormActConv)
        convolution, deepest = Conv[Conv.CONV, spatial_dims], channels[-1]
        self.layers = nn.ModuleList(TransformerLayer(settings) for _ in range(settings.depth))
        self.mix_tokens = convolution(num_modalities * settings.width, settings.width, 1)
        self.bottom = nn.Sequential(
            NormActConv(spatial_dims, settings.width, deepest, kernel_size=1),
            NormActConv(spatial_dims, deepest, deepest, padding_mode="zeros"),
            NormActConv(spatial_dims, deepest, deepest, kernel_size=1),
        )
        self.stages = nn.ModuleList(DecoderStage(spatial_dims, num_modalities, f) for f in channels[-2::-1])
        self.heads = nn.ModuleList(convolution(f, num_classes, 1) for f in channels[:0:-1])  # coarse to fine
        self.segment = convolution(width, num_classes, 1)
        initialize_convolutions(self)

    def decode(self, features: list[Tensor], index: Tensor, available: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Fuse the modalities given, see ``IncompleteMultiModalNetwork``."""
        x = self.bottom(self.join_tokens(features[-1], index))
        auxiliary: list[Tensor] = []
        for i, (stage, head) in enumerate(zip(self.stages, self.heads)):
            auxiliary.append(head(x))
            x = stage(x, features[len(features) - 3 - i], index)
        return self.segment(x), auxiliary[::-1], x

    def join_tokens(self, tokens: Tensor, index: Tensor) -> Tensor:
        """Let the tokens of all modalities attend to each other; those of modalities not given are positions only.

        Args:
            tokens: ``(B, A, width, *S_L)``.
            index: ``(B, A)``.

        Returns:
            ``(B, width, *S_L)``.
        """
        size = tokens.shape[3:]
        given = tokens.flatten(3).transpose(2, 3)  # (B, A, N, width)
        places = index.unsqueeze(2).unsqueeze(3).expand_as(given)
        shape = [given.shape[0], self.num_modalities, given.shape[2], given.shape[3]]
        sequence = torch.zeros(shape, dtype=given.dtype, device=given.device).scatter(1, places, given).flatten(1, 2)
        tables: list[Tensor] = []
        for encoder in self.encoders:
            tables.append(encoder.positions(size))
        positions = torch.cat(tables, dim=1)  # (1, M * N, width)
        for layer in self.layers:
            sequence = layer(sequence + positions)
        # M successive tokens side by side make a voxel: (B, M * N, width) read as (B, *S_L, M * width)
        by_voxel = sequence.reshape([shape[0]] + list(size) + [self.num_modalities * shape[3]])
        return self.mix_tokens(by_voxel.movedim(-1, 1))

    def decode_unimodal(self, levels: list[Tensor]) -> Tensor:
        """Segment from one modality's levels ``(n, F_l, *S_l)``, without its tokens: logits ``(n, C, *S)``."""
        return self.unimodal_decoder(levels[: len(levels) - 1])
