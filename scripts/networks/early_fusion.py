# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Early fusion: one network of MONAI on all modalities stacked, zeros in the place of those that are not there.

The baseline that a method for incomplete modalities has to beat: with modalities dropped in training, such a network
becomes robust to their absence. ``EarlyFusion`` takes any network; two are ready-made, both from MONAI (Apache-2.0):

- SegResNet: Myronenko, "3D MRI brain tumor segmentation using autoencoder regularization", BrainLes 2018, without the
  autoencoder;
- DynUNet: Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation",
  Nature Methods 2021, without deep supervision.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from monai.networks.nets import DynUNet, SegResNet
from torch import Tensor, nn

from .alignment import AnchorAlignment, broadcast
from .base import IncompleteMultiModalNetwork

MOST_GROUPS = 8  # of SegResNet's group normalisation
DYNUNET_LEVELS = 5
DYNUNET_MOST_CHANNELS = 320  # nnU-Net's for volumes
DYNUNET_EPSILON = 1e-3  # of its normalisation


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pad ``(B, F, *S)`` with zeros, at the end of each axis, to a multiple of voxels.

    If that leaves a single ``multiple`` along every axis, the last one gets two: the deepest level of a network would
    be one voxel, which cannot be normalised.
    """
    lengths = [(length + multiple - 1) // multiple * multiple for length in x.shape[2:]]
    if max(lengths) == multiple:
        lengths[-1] = 2 * multiple
    amounts: list[int] = []
    for length, padded in zip(x.shape[2:], lengths):
        amounts = [0, padded - length] + amounts  # the last axis comes first
    return F.pad(x, amounts)


class EarlyFusion(IncompleteMultiModalNetwork):
    """Run an ordinary network of M input channels; modalities that are not available are zeros in it.

    Images are normalised before, so zero is the mean of a modality as well as its background. Nothing is encoded, and
    every subset costs one pass of the network. There are no intermediate and no uni-modal heads.

    Args:
        body: from the stacked modalities ``(B, M, *S)`` to features ``(B, F, *S)``. To be without batch normalisation,
            which lets the samples of a batch touch each other.
        head: from these features to logits ``(B, C, *S)``, voxel by voxel: the network's last convolution.
        num_modalities: M.
        num_classes: C, with the background.
        multiple: voxels; images are padded with zeros to a multiple of it (``pad_to_multiple``) and cropped again.
        alignment: what is to happen between encoders and fusion; nothing by default.

    Shape:
        - x: ``(B, M, *S)``, absent modalities NaN
        - output: ``(B, C, *S)`` logits in evaluation mode, ``MultiModalOutput`` with ``unimodal`` ``None`` in training
          mode
    """

    def __init__(
        self,
        body: nn.Module,
        head: nn.Module,
        num_modalities: int,
        num_classes: int,
        multiple: int = 1,
        alignment: AnchorAlignment | None = None,
    ) -> None:
        super().__init__(num_modalities, num_classes, level_channels=[1], alignment=alignment)
        self.body = body
        self.head = head
        self.multiple = multiple

    def encode(self, x: Tensor, available: Tensor) -> list[Tensor]:
        """Return the image itself as the only level ``(B, M, 1, *S)``; exact zeros where not available."""
        return [x.masked_fill(~broadcast(available, x), 0.0).unsqueeze(2)]

    def decode(self, features: list[Tensor], index: Tensor, available: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Segment from the modalities given, see ``IncompleteMultiModalNetwork``."""
        given = features[0].squeeze(2)  # (B, A, *S)
        places = index.view(list(index.shape) + [1] * (given.dim() - 2)).expand_as(given)
        shape = [given.shape[0], self.num_modalities] + list(given.shape[2:])
        stacked = torch.zeros(shape, dtype=given.dtype, device=given.device).scatter(1, places, given)  # (B, M, *S)
        x = self.body(pad_to_multiple(stacked, self.multiple))
        for axis, length in enumerate(given.shape[2:]):
            x = x.narrow(axis + 2, 0, length)
        no_heads: list[Tensor] = []
        return self.head(x), no_heads, x

    @torch.jit.unused
    def fused_bottleneck(self, packed: list[Tensor], index: Tensor, available: Tensor) -> Tensor | None:
        """Return ``None``: modalities are fused before anything is encoded."""
        return None

    @torch.jit.unused
    def unimodal_probabilities(self, features: list[Tensor], acquired: Tensor) -> Tensor | None:
        """Return ``None``: there is no decoder of single modalities."""
        return None


class EarlyFusionSegResNet(EarlyFusion):
    """MONAI's ``SegResNet`` on stacked modalities; images are padded to multiples of 8 voxels.

    The number of groups of its normalisation is the largest divisor that ``width`` shares with 8, so 8 for the usual
    widths. The parameters under ``body`` have MONAI's names; its last convolution is ``head``.

    Args:
        num_modalities: M.
        num_classes: C, with the background.
        spatial_dims: 2 or 3.
        width: channels of the finest level; doubles with each of the four levels.
        alignment: what is to happen between encoders and fusion; nothing by default.
    """

    def __init__(
        self,
        num_modalities: int,
        num_classes: int,
        spatial_dims: int = 3,
        width: int = 16,
        alignment: AnchorAlignment | None = None,
    ) -> None:
        norm = ("GROUP", {"num_groups": math.gcd(width, MOST_GROUPS)})
        network = SegResNet(spatial_dims, width, num_modalities, num_classes, norm=norm)
        # the features are what goes into the last convolution, behind normalisation and activation
        network.conv_final, head = network.conv_final[:-1], network.conv_final[-1]
        multiple = 2 ** (len(network.blocks_down) - 1)
        super().__init__(network, head, num_modalities, num_classes, multiple, alignment)


class EarlyFusionDynUNet(EarlyFusion):
    """MONAI's ``DynUNet`` on stacked modalities, with five levels; images are padded to multiples of 16 voxels.

    The epsilon of its instance normalisation is 1e-3 instead of 1e-5, whose square root divides the gradients of a
    patch of air at every layer: they are 1e-2 instead of up to 1e5 then, and the same as ever for other patches.

    Args:
        num_modalities: M.
        num_classes: C, with the background.
        spatial_dims: 2 or 3.
        width: channels of the finest level; doubles with each level, up to 320.
        alignment: what is to happen between encoders and fusion; nothing by default.
    """

    def __init__(
        self,
        num_modalities: int,
        num_classes: int,
        spatial_dims: int = 3,
        width: int = 16,
        alignment: AnchorAlignment | None = None,
    ) -> None:
        strides = [1] + [2] * (DYNUNET_LEVELS - 1)
        network = DynUNet(
            spatial_dims,
            num_modalities,
            num_classes,
            kernel_size=[3] * DYNUNET_LEVELS,
            strides=strides,
            upsample_kernel_size=strides[1:],
            filters=[min(width * 2**level, DYNUNET_MOST_CHANNELS) for level in range(DYNUNET_LEVELS)],
            norm_name=("INSTANCE", {"affine": True, "eps": DYNUNET_EPSILON}),
        )
        # the network itself lists every layer twice, in these and by its role
        body, head = network.skip_layers, network.output_block
        super().__init__(body, head, num_modalities, num_classes, math.prod(strides), alignment)
