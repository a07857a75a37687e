# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Networks that tell by which modalities a prediction was made."""

from __future__ import annotations

import math

import torch.nn.functional as F
from monai.networks.nets import PatchDiscriminator
from torch import Tensor, nn

from .base import IncompleteMultiModalNetwork
from .outputs import PathOutput

ENTROPY, KNOWLEDGE = "entropy", "knowledge"


def self_information(logits: Tensor) -> Tensor:
    """Weigh each class's information by its probability: ``(B, C, *S)`` logits to maps ``-p log2 p / log2 C``.

    In float32; 0 where p is 0 or 1, at most 1 / (e ln C). The sum over the classes is the entropy as a share of its
    largest value. C is at least 2.

    Reference:
        Vu et al., ADVENT, CVPR 2019.
    """
    log_p = F.log_softmax(logits.float(), dim=1)
    return -log_p.exp() * log_p / math.log(logits.shape[1])


class PathDiscriminators(nn.Module):
    """Patch discriminators of what a path of a network says and of its bottleneck.

    ``entropy`` sees self-information maps, ``knowledge`` bottleneck features; a network without encoders has no
    bottleneck, and no discriminator of it. Both are MONAI's ``PatchDiscriminator`` with kernels of 3 voxels and without
    normalisation: they work from one voxel along an axis and one sample upwards. They compute in float32.

    Args:
        network: what they are to judge; tells the numbers of channels and the device.
        spatial_dims: 2 or 3.
        width: channels of the first layer, doubled by each further one: three for the maps, one for the bottleneck.

    Shape:
        - path: logits ``(B, C, *S)``, bottleneck ``(B, F, *S_L)`` or ``None``
        - output of ``judge``: ``(B, 1, *S')``, the larger the more like the full path, before any activation
        - output: the same by name, of all discriminators
    """

    def __init__(self, network: IncompleteMultiModalNetwork, spatial_dims: int = 3, width: int = 16) -> None:
        super().__init__()
        self.judges = nn.ModuleDict({ENTROPY: _judge(spatial_dims, network.num_classes, width, num_layers=3)})
        if hasattr(network, "encoders"):
            self.judges[KNOWLEDGE] = _judge(spatial_dims, network.level_channels[-1], width, num_layers=1)
        self.to(next(network.parameters()).device)

    def forward(self, path: PathOutput) -> dict[str, Tensor]:
        return {name: self.judge(name, path) for name in self.judges}

    def judge(self, name: str, path: PathOutput) -> Tensor:
        """Let the discriminator of this name judge a path."""
        seen = self_information(path.logits) if name == ENTROPY else path.bottleneck.float()
        return self.judges[name](seen)[-1]


def _judge(spatial_dims: int, in_channels: int, width: int, num_layers: int) -> PatchDiscriminator:
    return PatchDiscriminator(
        spatial_dims, width, in_channels, num_layers_d=num_layers, kernel_size=3, norm=None, bias=True
    )
