# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""M2FTrans: modality-masked fusion transformer.

Paper: Shi et al., "M2FTrans: Modality-Masked Fusion Transformer for Incomplete Multi-Modality Brain Tumor
Segmentation", IEEE Journal of Biomedical and Health Informatics, 2023. The variant here is the one that PASSION
(arXiv 2407.14796) trains; checkpoints of its release (MIT licence) load through ``scripts.tools.convert_checkpoint``.
Written from a description of its behaviour.

What differs from the release:
- encoders, tokens and attention maps of absent modalities are not computed; AdamW leaves their parameters alone, see
  ``IncompleteMultiModalNetwork``;
- the attention mask over the tokens of all modalities is not built: tokens that may attend to each other are sequences
  of their own, and only the fusion tokens have a mask, made on the device once for all layers and heads;
- a sample without any modality gives a finite segmentation in place of NaN;
- any size of image, 2D and 3D; positions and fusion tokens of another patch size are interpolated.
Values agree to float32 rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .alignment import AnchorAlignment
from .base import IncompleteMultiModalNetwork
from .blocks import ConvNormAct, FusableLayer, Merge, initialize_convolutions, modality_columns
from .m2ftrans_attention import ChannelFusion
from .m2ftrans_transformer import ModalityMaskedTransformer
from .mixing import mix_channels
from .transformer import TransformerSettings, to_image, token_grid
from .unimodal import ModalityEncoder, UnimodalDecoder

NUM_LEVELS = 5


class RegionHead(nn.Sequential):
    """Predict logits ``(B, C, *S)`` from the features ``(B, F, *S)`` of one level."""

    def __init__(self, spatial_dims: int, channels: int, hidden_channels: int, num_classes: int) -> None:
        super().__init__(
            ConvNormAct(spatial_dims, channels, hidden_channels, kernel_size=1),
            Conv[Conv.CONV, spatial_dims](hidden_channels, num_classes, 1),
        )


class SpatialFusion(FusableLayer):
    """Fuse the modalities of a fine level, each weighted voxel by voxel, by three convolutions.

    The bias of the first one has no effect, as in ``ConvNormAct``.

    Shape:
        - features: ``(B, A, F, *S)``, absent samples zero; index: ``(B, A)``; weights: ``(B, A, *S)``
        - output: ``(B, F, *S)``
    """

    def __init__(self, spatial_dims: int, num_modalities: int, channels: int) -> None:
        super().__init__()
        self.num_modalities = num_modalities
        self.mix = Conv[Conv.CONV, spatial_dims](num_modalities * channels, channels, 1)
        self.refine = nn.Sequential(
            ConvNormAct(spatial_dims, channels, channels), ConvNormAct(spatial_dims, channels, channels, kernel_size=1)
        )

    def forward(self, features: Tensor, index: Tensor, weights: Tensor) -> Tensor:
        columns = modality_columns(self.mix.weight, self.num_modalities, index)  # (B, F, A * F)
        if torch.jit.is_scripting() or not self.fused:
            mixed = weigh_and_mix(features, weights, columns, False)
        else:  # weighted features are as large as the features, and quickly made again
            inputs = features, weights, columns, self.fused
            mixed = checkpoint(weigh_and_mix, *inputs, use_reentrant=False, preserve_rng_state=False)
        return self.refine(self.normalize_activate(mixed))


def weigh_and_mix(features: Tensor, weights: Tensor, columns: Tensor, fused: bool) -> Tensor:
    """Multiply ``(B, A, F, *S)`` by ``(B, A, *S)``, then each voxel by a matrix ``(B, O, A * F)``: ``(B, O, *S)``."""
    weighted = (features * weights.unsqueeze(2)).flatten(1, 2).flatten(2).transpose(1, 2)  # (B, N, A * F)
    return to_image(mix_channels(weighted, columns, fused), features.shape[3:])


class DecoderStage(nn.Module):
    """One fine level of the fused decoder: upsample, predict regions, fuse the modalities, merge.

    Shape:
        - x: ``(B, 2 * F, *S / 2)`` from the level below
        - features: ``(B, A, F, *S)``; index: ``(B, A)``; weights: ``(B, A, *S)``
        - output: ``(B, F, *S)`` features, ``(B, C, *S)`` logits of the regions
    """

    def __init__(self, spatial_dims: int, num_modalities: int, num_classes: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.up = ConvNormAct(spatial_dims, 2 * channels, channels)
        self.head = RegionHead(spatial_dims, channels, hidden, num_classes)
        self.fusion = SpatialFusion(spatial_dims, num_modalities, channels)
        self.merge = Merge(spatial_dims, channels)

    def forward(self, x: Tensor, features: Tensor, index: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        x = self.up.convolve([x], features.shape[3:])
        return self.merge(self.fusion(features, index, weights), x), self.head(x)


class M2FTrans(IncompleteMultiModalNetwork):
    """Modality-masked fusion transformer for any subset of modalities.

    Args:
        num_modalities: M.
        num_classes: C, with the background.
        patch_size: voxels along each axis of the patches that positions and fusion tokens are learnt for.
        spatial_dims: 2 or 3.
        width: channels of the finest level; doubles with each of the five levels.
        transformer: size of the transformer, of width 16 x ``width``; if not given, the published one in proportion
            (for a width of 8: 128, mlp_width 4096, 8 heads, depth 3, dropout 0.1). Its dropout is also that of the
            channel-wise attention.
        alignment: what is to happen between encoders and fusion; nothing by default.

    Shape:
        - x: ``(B, M, *S)``, absent modalities NaN, each length at least 17 voxels
        - output: ``(B, C, *S)`` logits in evaluation mode, ``MultiModalOutput`` in training mode

    Raises:
        ValueError: if the width of ``transformer`` is not that of the deepest level, or not a multiple of its heads,
            or if a patch is shorter than 17 voxels.

    Reference:
        Shi et al., M2FTrans, IEEE JBHI 2023, in the variant of Shi et al., PASSION, ACM MM 2024.
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
        level_channels = [width * 2**level for level in range(NUM_LEVELS)]
        super().__init__(num_modalities, num_classes, level_channels, alignment=alignment)
        deepest, coarse, hidden = level_channels[-1], level_channels[-2], 2 * width
        settings = transformer or TransformerSettings(width=deepest, mlp_width=32 * deepest, depth=3)
        grid = token_grid(patch_size, spatial_dims, NUM_LEVELS)
        check_sizes(settings, deepest, grid)
        self.encoders = nn.ModuleList(ModalityEncoder(spatial_dims, level_channels) for _ in range(num_modalities))
        self.unimodal_decoder = UnimodalDecoder(spatial_dims, level_channels, num_classes)
        self.bottleneck = ModalityMaskedTransformer(num_modalities, grid, settings)
        self.bottom_head = RegionHead(spatial_dims, deepest, hidden, num_classes)
        self.bottom_fusion = ChannelFusion(spatial_dims, num_modalities, deepest, settings.dropout)
        self.bottom_merge = Merge(spatial_dims, deepest)
        self.coarse_up = ConvNormAct(spatial_dims, deepest, coarse)
        self.coarse_head = RegionHead(spatial_dims, coarse, hidden, num_classes)
        self.coarse_fusion = ChannelFusion(spatial_dims, num_modalities, coarse, settings.dropout)
        self.coarse_merge = Merge(spatial_dims, coarse)
        self.stages = nn.ModuleList(
            DecoderStage(spatial_dims, num_modalities, num_classes, channels, hidden)
            for channels in level_channels[-3::-1]
        )
        self.segment = Conv[Conv.CONV, spatial_dims](width, num_classes, 1)
        initialize_convolutions(self)

    def decode(self, features: list[Tensor], index: Tensor, available: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Fuse the modalities given, see ``IncompleteMultiModalNetwork``; the heads predict regions at every level."""
        maps, fused, weights = self.bottleneck(features[-1], index, available)
        auxiliary = [self.bottom_head(fused)]
        x = self.bottom_fusion(fused, maps * weights.unsqueeze(2), index, available)
        x = self.bottom_merge(x, fused)

        skip = features[-2]
        weights = F.interpolate(weights, skip.shape[3:])  # nearest
        x = self.coarse_up.convolve([x], skip.shape[3:])
        auxiliary.append(self.coarse_head(x))
        fused = self.coarse_fusion(x, skip * weights.unsqueeze(2), index, available)
        x = self.coarse_merge(fused, x)

        for i, stage in enumerate(self.stages):
            skip = features[len(features) - 3 - i]
            weights = F.interpolate(weights, skip.shape[3:])
            x, logits = stage(x, skip, index, weights)
            auxiliary.append(logits)
        return self.segment(x), auxiliary[::-1], x

    def decode_unimodal(self, levels: list[Tensor]) -> Tensor:
        """Segment from one modality's levels ``(n, F_l, *S_l)``: logits ``(n, C, *S)``."""
        return self.unimodal_decoder(levels)


def check_sizes(settings: TransformerSettings, channels: int, grid: list[int]) -> None:
    """Refuse a transformer that does not fit the deepest level, and a deepest level that is too small.

    Raises:
        ValueError: naming the numbers.
    """
    if settings.width != channels:
        raise ValueError(
            f"`transformer` has width {settings.width}; the deepest level of M2FTrans has {channels} channels, 16 x "
            "`width`, and its voxels are the tokens. Make the two agree, or leave `transformer` out."
        )
    if settings.width % settings.heads:
        raise ValueError(
            f"`transformer` has width {settings.width} and {settings.heads} heads; expected a multiple of the heads."
        )
    if min(grid) < 2:
        raise ValueError(
            f"`patch_size` leaves {grid} voxels at the deepest level of M2FTrans, which has a sixteenth of the length; "
            "expected at least 2 along each axis, so patches of at least 17 voxels."
        )
