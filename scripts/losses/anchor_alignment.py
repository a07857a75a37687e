# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How far the features of each modality are from their anchor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..networks.outputs import ALIGNMENT, AlignmentOutput, MultiModalOutput
from .term import Term, given


class AnchorAlignmentLoss(nn.Module):
    """Half the mean squared distance of each modality's features from the anchor, the mean over the aligned levels.

    For unit-variance Gaussians this is their Kullback-Leibler divergence for each feature::

        loss_m = mean_levels 1/2 mean_{channels, voxels} (z_m - P)^2

    Gradient flows into the features, and into the anchor unless it comes detached.

    Shape:
        - alignment: ``AlignmentOutput``, ``(B, M, F_l, *S_l)`` and ``(B, F_l, *S_l)`` for each aligned level
        - anchors: ``(B, F_l, *S_l)`` for each aligned level, in place of those of ``alignment``
        - output: ``(B, M)``, in nats for each feature; without a meaning where not ``alignment.available``

    Reference:
        MedMAP, arXiv 2408.09465. Its released snippet sums the mean squared errors of four modalities and divides by 8;
        for four available modalities the mean of ``loss_m`` is the same.
    """

    def forward(self, alignment: AlignmentOutput, anchors: Sequence[Tensor] | None = None) -> Tensor:
        pairs = zip(alignment.features, alignment.anchors if anchors is None else anchors, strict=True)
        levels = [0.5 * (z - p.unsqueeze(1)).square().flatten(2).mean(dim=2) for z, p in pairs]
        return torch.stack(levels).mean(dim=0)


class AnchorAlignmentTerm(Term):
    """Pull the features of each modality to their anchor: ``(B, M)``, see ``AnchorAlignmentLoss``.

    Where a teacher has an anchor it takes the place of the network's own. ``None`` from a network without alignment.
    """

    paths = (ALIGNMENT,)
    averaged = True

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__(weight)
        self.distance = AnchorAlignmentLoss()

    def forward(self, output: MultiModalOutput, label: Tensor) -> Tensor | None:
        own, teacher = output.alignment, _of_teacher(output)
        if own is None:
            return None
        if teacher is None:
            return self.distance(own)
        led = teacher.available.any(dim=1)  # (B,), samples that have an anchor of the teacher
        pairs = zip(teacher.anchors, own.anchors, strict=True)
        return self.distance(own, [torch.where(led.view([-1] + [1] * (p.dim() - 1)), p, q) for p, q in pairs])

    def applies(self, output: MultiModalOutput) -> Tensor:
        own, teacher = given(output.alignment), _of_teacher(output)
        if teacher is None:
            return own.available
        return torch.where(teacher.available.any(dim=1, keepdim=True), output.acquired, own.available)


def _of_teacher(output: MultiModalOutput) -> AlignmentOutput | None:
    return None if output.teacher is None else output.teacher.alignment
