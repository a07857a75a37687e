# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The task loss: weighted cross-entropy and soft Dice of probability maps."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MIN_PROBABILITY = 0.005  # below it, the logarithm is cut and nothing is learned from the voxel
DICE_EPSILON = 1e-7


class SegmentationTerms(NamedTuple):
    """Weighted cross-entropy (nats) and soft Dice loss, ``(B, M)`` each, unreduced."""

    cross_entropy: Tensor
    dice: Tensor


class SegmentationLoss(nn.Module):
    """Weighted cross-entropy and soft Dice of M predictions for each sample, unreduced.

    With p the probabilities, y the one-hot label and V voxels::

        cross_entropy = -(1/V) sum_v w_c(v) ln clamp(p_c(v), 0.005, 1)    c(v) the class of voxel v
        w_c           = 1 - (voxels of class c) / V
        dice          = 1 - (1/C) sum_c 2 sum_v p y / (sum_v p + sum_v y + 1e-7)

    A class that a sample lacks adds nothing to the cross-entropy and a constant 1/C to the Dice loss. A sample of one
    class only has cross-entropy zero. No gradient flows where p < 0.005 (cross-entropy) or into the label.

    Shape:
        - probabilities: ``(B, M, C, *S)``, softmax over C
        - label: ``(B, 1, *S)`` integers in 0..C-1
        - output: ``SegmentationTerms`` of ``(B, M)``

    Reference:
        Shi et al., PASSION, ACM MM 2024 (task loss, from RFNet). Equal to its release; only the class at each voxel is
        looked up instead of multiplying by a one-hot volume.
    """

    def forward(self, probabilities: Tensor, label: Tensor) -> SegmentationTerms:
        num_classes = probabilities.shape[2]
        p = probabilities.flatten(3)  # (B, M, C, N)
        y = label.flatten(2).long()  # (B, 1, N)
        voxels = F.one_hot(y.squeeze(1), num_classes).sum(dim=1).to(p.dtype)  # (B, C)
        p_true = p.gather(2, y.unsqueeze(1).expand(-1, p.shape[1], -1, -1)).squeeze(2)  # (B, M, N)
        weight = (1 - voxels / y.shape[2]).gather(1, y.squeeze(1)).unsqueeze(1)  # (B, 1, N)
        cross_entropy = -(weight * p_true.clamp(MIN_PROBABILITY, 1).log()).mean(dim=2)

        overlap = torch.zeros_like(p[..., 0]).scatter_add(2, y.expand_as(p_true), p_true)  # (B, M, C)
        dice = 2 * overlap / (p.sum(dim=3) + voxels.unsqueeze(1) + DICE_EPSILON)
        return SegmentationTerms(cross_entropy, 1 - dice.mean(dim=2))
