# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The task loss: weighted cross-entropy and soft Dice of probability maps."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

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
        return SegmentationTerms(*_SegmentationTerms.apply(probabilities, label))


class _SegmentationTerms(Function):
    """Both terms, keeping nothing for the backward pass but the probabilities and the label."""

    @staticmethod
    def forward(ctx, probabilities: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        p, y = probabilities.flatten(3), label.flatten(2).long()  # (B, M, C, N), (B, 1, N)
        voxels = F.one_hot(y.squeeze(1), p.shape[2]).sum(dim=1).to(p.dtype)  # (B, C)
        weight, p_true = _voxel_weights(voxels, y), _at_class(p, y)
        cross_entropy = -(weight * p_true.clamp(MIN_PROBABILITY, 1).log()).mean(dim=2)
        overlap = torch.zeros_like(p[..., 0]).scatter_add(2, y.expand_as(p_true), p_true)  # (B, M, C)
        size = p.sum(dim=3) + voxels.unsqueeze(1) + DICE_EPSILON
        ctx.save_for_backward(probabilities, label, voxels, overlap, size)
        return cross_entropy, 1 - (2 * overlap / size).mean(dim=2)

    @staticmethod
    @once_differentiable
    def backward(ctx, to_cross_entropy: Tensor, to_dice: Tensor) -> tuple[Tensor, None]:
        probabilities, label, voxels, overlap, size = ctx.saved_tensors
        p, y = probabilities.flatten(3), label.flatten(2).long()
        weight, p_true = _voxel_weights(voxels, y), _at_class(p, y)
        share = -2 / p.shape[2] * to_dice.unsqueeze(2) / size  # (B, M, C)
        learns = (p_true >= MIN_PROBABILITY) & (p_true <= 1)
        at_class = torch.where(learns, -weight / p_true / y.shape[2], 0) * to_cross_entropy.unsqueeze(2)
        at_class = at_class + share.gather(2, y.expand_as(p_true))
        gradient = (-share * overlap / size).unsqueeze(3).expand_as(p).contiguous()
        gradient.scatter_add_(2, _index(y, p), at_class.unsqueeze(2))
        return gradient.view_as(probabilities), None


def _voxel_weights(voxels: Tensor, y: Tensor) -> Tensor:
    """Weigh every voxel by how rare its class is: ``(B, C)`` counts and ``(B, 1, N)`` classes to ``(B, 1, N)``."""
    return (1 - voxels / y.shape[2]).gather(1, y.squeeze(1)).unsqueeze(1)


def _at_class(p: Tensor, y: Tensor) -> Tensor:
    """Look up the probability of the true class: ``(B, M, C, N)`` to ``(B, M, N)``."""
    return p.gather(2, _index(y, p)).squeeze(2)


def _index(y: Tensor, p: Tensor) -> Tensor:
    return y.unsqueeze(1).expand(-1, p.shape[1], -1, -1)  # (B, M, 1, N)
