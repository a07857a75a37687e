# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""RFNet: region-aware fusion network.

Paper: Ding, Yu, Yang, "RFNet: Region-aware Fusion Network for Incomplete Multi-modal Brain Tumor Segmentation",
ICCV 2021. The variant here is the one that PASSION (arXiv 2407.14796) trains; checkpoints of its release (MIT licence)
load through ``scripts.tools.convert_checkpoint``. Written from a description of its behaviour.

What differs from the release: the modality axis is a tensor axis; encoders of absent modalities do not run; region
features are not materialised for each region and modality (the fusion weights are folded into the 1x1 convolution that
follows them, see ``RegionAwareFusion``); any size of image, 2D and 3D; a size that is not a multiple of 8 is resampled
to its skip connection. Values agree to float32 rounding.
"""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from .alignment import AnchorAlignment
from .base import IncompleteMultiModalNetwork
from .blocks import ConvNormAct, FusableLayer, Merge, ModalityConvNormAct, initialize_convolutions
from .mixing import mix_by_region
from .unimodal import ModalityEncoder, UnimodalDecoder

DESCRIPTOR_HIDDEN = 128  # hidden units of the networks that weigh the modalities of a region


class RegionHead(nn.Module):
    """Predict the probability map of the regions from the modalities of one level (the paper's PRM generator).

    Args:
        spatial_dims: 2 or 3.
        num_modalities: M.
        num_classes: C.
        channels: channels F of one modality at this level.
        decoder_channels: channels of the decoder's feature; 0 at the coarsest level, which has none.
        hidden_channels: channels before the logits.

    Shape:
        - features: ``(B, A, F, *S)``, absent samples zero; index: ``(B, A)``
        - decoded: ``(B, decoder_channels, *S)``
        - output: ``(B, C, *S)`` logits
    """

    def __init__(
        self,
        spatial_dims: int,
        num_modalities: int,
        num_classes: int,
        channels: int,
        decoder_channels: int,
        hidden_channels: int,
    ) -> None:
        super().__init__()
        squeezed = channels // 4
        self.mix = ModalityConvNormAct(spatial_dims, num_modalities, channels, squeezed)
        self.embed = nn.Sequential(
            ConvNormAct(spatial_dims, squeezed, squeezed), ConvNormAct(spatial_dims, squeezed, channels, kernel_size=1)
        )
        self.head = nn.Sequential(
            ConvNormAct(spatial_dims, channels + decoder_channels, hidden_channels, kernel_size=1),
            Conv[Conv.CONV, spatial_dims](hidden_channels, num_classes, 1),
        )

    def forward(self, features: Tensor, index: Tensor, decoded: Tensor | None) -> Tensor:
        embedding = self.embed(self.mix(features, index))
        inputs = [embedding]
        if decoded is not None:
            inputs = [decoded, embedding]
        return self.head[1](self.head[0].convolve(inputs))


class RegionAwareFusion(FusableLayer):
    """Fuse the modalities of one level with weights of their own for every region (the paper's RFM).

    With features Y_m, region probabilities P_r (no gradient) and weights w_rm in (0, 1) computed from the mean of
    P_r Y_m, the paper forms F_r = sum_m w_rm P_r Y_m, concatenates the F_r and convolves them with a 1x1 kernel K_r:
    sum_r K_r F_r = sum_r P_r (sum_m w_rm K_r) Y_m. The right side is what is computed: nothing of size
    regions x modalities x channels x voxels ever exists.

    Args:
        spatial_dims: 2 or 3.
        num_modalities: M.
        num_classes: number R of regions, that is of classes.
        channels: channels F of one modality, even.

    Shape:
        - features: ``(B, A, F, *S)``, absent samples zero; index: ``(B, A)``
        - regions: ``(B, R, *S)`` probabilities, detached here
        - output: ``(B, F, *S)``
    """

    def __init__(self, spatial_dims: int, num_modalities: int, num_classes: int, channels: int) -> None:
        super().__init__()
        self.num_modalities = num_modalities
        self.num_regions = num_classes
        self.weigh = nn.ModuleList(
            nn.Sequential(
                nn.Linear(num_modalities * channels + 1, DESCRIPTOR_HIDDEN),
                nn.LeakyReLU(0.2),
                nn.Linear(DESCRIPTOR_HIDDEN, num_modalities),
            )
            for _ in range(num_classes)
        )
        self.region_mix = Conv[Conv.CONV, spatial_dims](num_classes * channels, channels, 1)
        self.region_refine = nn.Sequential(
            ConvNormAct(spatial_dims, channels, channels),
            ConvNormAct(spatial_dims, channels, channels // 2, kernel_size=1),
        )
        self.shortcut_mix = ModalityConvNormAct(spatial_dims, num_modalities, channels, channels)
        self.shortcut_refine = nn.Sequential(
            ConvNormAct(spatial_dims, channels, channels),
            ConvNormAct(spatial_dims, channels, channels // 2, kernel_size=1),
        )

    def forward(self, features: Tensor, index: Tensor, regions: Tensor) -> Tensor:
        stacked = features.flatten(1, 2).flatten(2).transpose(1, 2)  # (B, N, A * F)
        regions = regions.detach().flatten(2).transpose(1, 2)  # (B, N, R)
        weights = self.modality_weights(stacked, index, regions)  # (B, R, M)
        weights = weights.gather(2, index.unsqueeze(1).expand(-1, self.num_regions, -1))  # (B, R, A)
        kernels = self.region_mix.weight.flatten(1).unflatten(1, [self.num_regions, -1])  # (O, R, F)
        kernels = torch.einsum("orf,bra->broaf", kernels, weights).flatten(3)  # (B, R, O, A * F)
        fused = mix_by_region(stacked, kernels, regions, self.fused)  # (B, N, O)
        fused = fused.transpose(1, 2).unflatten(2, features.shape[3:])  # (B, O, *S)
        region_aware = self.region_refine(self.normalize_activate(fused))
        shortcut = self.shortcut_refine(self.shortcut_mix(features, index))
        return torch.cat([region_aware, shortcut], dim=1)

    def modality_weights(self, stacked: Tensor, index: Tensor, regions: Tensor) -> Tensor:
        """Weigh every modality in every region: ``(B, N, A * F)`` and ``(B, N, R)`` to ``(B, R, M)`` in (0, 1)."""
        voxels = regions.shape[1]
        fraction = regions.mean(dim=1).unsqueeze(2) + 1e-7  # (B, R, 1)
        pooled = torch.matmul(regions.transpose(1, 2), stacked) / voxels / fraction  # (B, R, A * F)
        pooled = pooled.unflatten(2, [index.shape[1], -1])  # (B, R, A, F)
        shape = [pooled.shape[0], self.num_regions, self.num_modalities, pooled.shape[3]]
        places = index.view(index.shape[0], 1, -1, 1).expand_as(pooled)
        descriptor = torch.zeros(shape, dtype=pooled.dtype, device=pooled.device).scatter(2, places, pooled)
        descriptor = torch.cat([descriptor.flatten(2), fraction], dim=2)  # (B, R, M * F + 1)
        weights: list[Tensor] = []
        for r, weigh in enumerate(self.weigh):
            weights.append(weigh(descriptor[:, r]))
        return torch.stack(weights, dim=1).sigmoid()


class DecoderStage(nn.Module):
    """One level of the fused decoder: upsample, predict regions, fuse the modalities by region, merge.

    Shape:
        - x: ``(B, 2 * F, *S / 2)`` from the level below; features: ``(B, A, F, *S)``; index: ``(B, A)``
        - output: ``(B, F, *S)`` features, ``(B, C, *S)`` logits of the regions
    """

    def __init__(self, spatial_dims: int, num_modalities: int, num_classes: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.up = ConvNormAct(spatial_dims, 2 * channels, channels)
        self.head = RegionHead(spatial_dims, num_modalities, num_classes, channels, channels, hidden)
        self.fusion = RegionAwareFusion(spatial_dims, num_modalities, num_classes, channels)
        self.merge = Merge(spatial_dims, channels)

    def forward(self, x: Tensor, features: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        x = self.up.convolve([x], features.shape[3:])
        logits = self.head(features, index, x)
        skip = self.fusion(features, index, logits.softmax(dim=1))
        return self.merge(skip, x), logits


class RFNet(IncompleteMultiModalNetwork):
    """Region-aware fusion network for any subset of modalities.

    Args:
        num_modalities: M.
        num_classes: C, with the background.
        spatial_dims: 2 or 3.
        width: channels of the finest level, a multiple of 4; doubles with each of the four levels.
        alignment: what is to happen between encoders and fusion; nothing by default.

    Shape:
        - x: ``(B, M, *S)``, absent modalities NaN, each length at least 9 voxels
        - output: ``(B, C, *S)`` logits in evaluation mode, ``MultiModalOutput`` in training mode

    Raises:
        ValueError: if ``width`` is not a positive multiple of 4.

    Reference:
        Ding et al., RFNet, ICCV 2021, in the variant of Shi et al., PASSION, ACM MM 2024.
    """

    def __init__(
        self,
        num_modalities: int,
        num_classes: int,
        spatial_dims: int = 3,
        width: int = 8,
        alignment: AnchorAlignment | None = None,
    ) -> None:
        if width < 4 or width % 4:
            raise ValueError(f"`width` is {width}; RFNet needs a positive multiple of 4 (the paper's is 8).")
        level_channels = [width * 2**level for level in range(4)]
        super().__init__(num_modalities, num_classes, level_channels, alignment=alignment)
        self.encoders = nn.ModuleList(ModalityEncoder(spatial_dims, level_channels) for _ in range(num_modalities))
        self.unimodal_decoder = UnimodalDecoder(spatial_dims, level_channels, num_classes)
        coarsest, hidden = level_channels[-1], 2 * width
        self.bottom_head = RegionHead(spatial_dims, num_modalities, num_classes, coarsest, 0, hidden)
        self.bottom_fusion = RegionAwareFusion(spatial_dims, num_modalities, num_classes, coarsest)
        self.stages = nn.ModuleList(
            DecoderStage(spatial_dims, num_modalities, num_classes, channels, hidden)
            for channels in level_channels[-2::-1]
        )
        self.segment = Conv[Conv.CONV, spatial_dims](width, num_classes, 1)
        initialize_convolutions(self)
        for module in self.modules():  # convolutions of one voxel in the release, and drawn as such
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def decode(self, features: list[Tensor], index: Tensor, available: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Fuse the modalities given, see ``IncompleteMultiModalNetwork``; the heads predict regions at every level."""
        logits = self.bottom_head(features[-1], index, None)
        x = self.bottom_fusion(features[-1], index, logits.softmax(dim=1))
        auxiliary = [logits]
        for i, stage in enumerate(self.stages):
            x, logits = stage(x, features[len(features) - 2 - i], index)
            auxiliary.append(logits)
        return self.segment(x), auxiliary[::-1], x

    def decode_unimodal(self, levels: list[Tensor]) -> Tensor:
        """Segment from one modality's levels ``(n, F_l, *S_l)``: logits ``(n, C, *S)``."""
        return self.unimodal_decoder(levels)
