# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The task: how well the fused prediction, its intermediate heads and the uni-modal heads segment."""

from __future__ import annotations

import torch
from torch import Tensor

from ..networks.convolution import upsample
from ..networks.outputs import FUSED, UNIMODAL, MultiModalOutput
from .segmentation import SegmentationLoss
from .state import COEFFICIENT, GATE, MODALITY_WEIGHT
from .term import Term, given


class TaskTerm(Term):
    """A term made of L, weighted cross-entropy plus soft Dice, see ``SegmentationLoss``."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__(weight)
        self.segmentation = SegmentationLoss()

    def task(self, probabilities: Tensor, label: Tensor) -> Tensor:
        """Give L of one prediction ``(B, C, *S)`` for each sample: ``(B,)``."""
        terms = self.segmentation(probabilities.unsqueeze(1), label)
        return (terms.cross_entropy + terms.dice).squeeze(1)


class FusedTerm(TaskTerm):
    """``L(softmax(fused))``: ``(B,)``."""

    paths = (FUSED,)

    def forward(self, output: MultiModalOutput, label: Tensor) -> Tensor:
        return self.task(given(output.fused).float().softmax(dim=1), label)


class DeepSupervisionTerm(TaskTerm):
    """``sum_l 2^-l L(up(softmax(auxiliary_l)))``, l = 1 for the finest intermediate head: ``(B,)``.

    Probabilities, not logits, are upsampled. ``None`` from a network without intermediate heads.
    """

    paths = (FUSED,)

    def forward(self, output: MultiModalOutput, label: Tensor) -> Tensor | None:
        if not output.auxiliary:
            return None
        total = torch.zeros(label.shape[0], device=label.device)
        size = list(label.shape[2:])
        for level, logits in enumerate(output.auxiliary, start=1):
            total = total + 0.5**level * self.task(upsample(logits.float().softmax(dim=1), size), label)
        return total


class UnimodalTerm(TaskTerm):
    """``L(unimodal_m)`` of each uni-modal head: ``(B, M)``; the one term of a warm-up.

    ``None`` from a network without uni-modal heads.
    """

    paths = (UNIMODAL,)
    multiplied_by = (GATE, COEFFICIENT, MODALITY_WEIGHT)
    in_warm_up = True

    def forward(self, output: MultiModalOutput, label: Tensor) -> Tensor | None:
        if output.unimodal is None:
            return None
        probabilities, acquired = output.unimodal, output.acquired
        values = torch.zeros(acquired.shape, device=label.device)
        index = acquired.any(dim=0).nonzero().squeeze(1)  # columns that no sample of the batch has are not computed
        if index.numel() == 0:
            return values
        if index.numel() < acquired.shape[1]:
            probabilities = probabilities.index_select(1, index)
        terms = self.segmentation(probabilities, label)
        return values.index_copy(1, index, terms.cross_entropy + terms.dice)
