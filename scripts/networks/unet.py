# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Multi-encoder U-Net: the plainest network with a latent space that all modalities share.

The 3D U-Net of Cicek et al. (MICCAI 2016) with an encoder for each modality; the mean over the modalities is the one of
HeMIS (Havaei et al., MICCAI 2016), at every scale and without its variance. Blocks are the residual ones that the other
networks here have, so that comparisons are of the fusion. Not a reproduction of a published network.
"""

from __future__ import annotations

from torch import Tensor, nn

from .alignment import AnchorAlignment
from .base import IncompleteMultiModalNetwork
from .blocks import initialize_convolutions
from .packing import mean_of_available
from .unimodal import ModalityEncoder, UnimodalDecoder

NUM_LEVELS = 5


class MultiEncoderUNet(IncompleteMultiModalNetwork):
    """U-Net encoders, one for each modality, the mean of their features at every scale, one decoder.

    The decoder also serves as the uni-modal one: the latent space is shared, and the mean of one modality is itself, so
    a uni-modal head says what the network says from that modality alone. There are no intermediate heads.

    Args:
        num_modalities: M.
        num_classes: C, with the background.
        spatial_dims: 2 or 3.
        width: channels of the finest level; doubles with each of the five levels.
        alignment: what is to happen between encoders and fusion; nothing by default.

    Shape:
        - x: ``(B, M, *S)``, absent modalities NaN, each length at least 17 voxels
        - output: ``(B, C, *S)`` logits in evaluation mode, ``MultiModalOutput`` in training mode
    """

    def __init__(
        self,
        num_modalities: int,
        num_classes: int,
        spatial_dims: int = 3,
        width: int = 8,
        alignment: AnchorAlignment | None = None,
    ) -> None:
        level_channels = [width * 2**level for level in range(NUM_LEVELS)]
        super().__init__(num_modalities, num_classes, level_channels, alignment=alignment)
        self.encoders = nn.ModuleList(ModalityEncoder(spatial_dims, level_channels) for _ in range(num_modalities))
        self.decoder = UnimodalDecoder(spatial_dims, level_channels, num_classes)
        initialize_convolutions(self)

    def decode(self, features: list[Tensor], index: Tensor, available: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Fuse the modalities given, see ``IncompleteMultiModalNetwork``; which ones they are makes no difference."""
        means: list[Tensor] = []
        for level in features:
            means.append(mean_of_available(level, available))
        x = self.decoder.features(means)
        no_heads: list[Tensor] = []
        return self.decoder.segment(x), no_heads, x

    def decode_unimodal(self, levels: list[Tensor]) -> Tensor:
        """Segment from one modality's levels ``(n, F_l, *S_l)``: logits ``(n, C, *S)``."""
        return self.decoder(levels)
