# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The objective: adds the terms, and is the only place where availability and weights are applied."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..networks.convolution import upsample
from ..networks.outputs import MultiModalOutput
from .segmentation import SegmentationLoss


class IncompleteMultiModalLoss(nn.Module):
    """Sum of the task losses of the fused prediction, of the intermediate heads and of the uni-modal heads.

    Per sample, with L = weighted cross-entropy + soft Dice::

        total = fused * L(fused)
              + deep_supervision * sum_l 2^-l L(up(auxiliary_l))       l = 1 for the finest head
              + unimodal * sum_m encoded_m L(unimodal_m)

    and the mean over the samples. Auxiliary probabilities, not logits, are upsampled. The values of the last call are
    kept, detached, in ``terms`` (a scalar or a row of M for each name), for logging; a network that has no intermediate
    or no uni-modal heads leaves no entry of theirs.

    Args:
        fused: weight of the fused prediction, dimensionless.
        deep_supervision: weight of the intermediate heads; 0 leaves them out.
        unimodal: weight of the uni-modal heads; 0 leaves them out.

    Shape:
        - output: ``MultiModalOutput`` of a network in training mode
        - label: ``(B, 1, *S)`` integers
        - returns a scalar

    Reference:
        Shi et al., PASSION, ACM MM 2024, objective without its distillation. Differs from the release: the mean over
        samples in place of the sum, so that the batch size does not scale the gradient (equal at batch size 1).
    """

    def __init__(self, fused: float = 1.0, deep_supervision: float = 1.0, unimodal: float = 1.0) -> None:
        super().__init__()
        self.weights = {"fused": fused, "deep_supervision": deep_supervision, "unimodal": unimodal}
        self.segmentation = SegmentationLoss()
        self.terms: dict[str, Tensor] = {}

    def forward(self, output: MultiModalOutput, label: Tensor) -> Tensor:
        self.terms = {}
        per_sample = {"fused": self._task(output.fused.float().softmax(dim=1), label)}  # each (B,)
        per_modality: dict[str, Tensor] = {}  # each (B, M)
        if output.auxiliary:
            per_sample["deep_supervision"] = self._deep_supervision(output.auxiliary, label)
        if output.unimodal is not None:
            per_modality["unimodal"] = self._unimodal(output.unimodal, output.encoded, label)
        # availability and weights meet the terms here, once
        for name, values in per_modality.items():
            values = torch.where(output.encoded, values, 0)
            per_sample[name] = values.sum(dim=1)
            self.terms[f"{name}_per_modality"] = _seen_mean(values.detach(), output.encoded)
        self.terms.update({name: values.detach().mean() for name, values in per_sample.items()})
        total = torch.stack([self.weights[name] * values.mean() for name, values in per_sample.items()]).sum()
        self.terms["total"] = total.detach()
        return total

    def _task(self, probabilities: Tensor, label: Tensor) -> Tensor:
        """Task loss of one prediction ``(B, C, *S)`` for each sample: ``(B,)``."""
        terms = self.segmentation(probabilities.unsqueeze(1), label)
        return (terms.cross_entropy + terms.dice).squeeze(1)

    def _deep_supervision(self, auxiliary: list[Tensor], label: Tensor) -> Tensor:
        total = torch.zeros(label.shape[0], device=label.device)
        if self.weights["deep_supervision"] == 0:
            return total
        size = list(label.shape[2:])
        for level, logits in enumerate(auxiliary, start=1):
            total = total + 0.5**level * self._task(upsample(logits.float().softmax(dim=1), size), label)
        return total

    def _unimodal(self, probabilities: Tensor, encoded: Tensor, label: Tensor) -> Tensor:
        """Task loss of each uni-modal head: ``(B, M)``; columns that no sample of the batch has are not computed."""
        values = torch.zeros(encoded.shape, device=label.device)
        index = encoded.any(dim=0).nonzero().squeeze(1)
        if self.weights["unimodal"] == 0 or index.numel() == 0:
            return values
        if index.numel() < encoded.shape[1]:
            probabilities = probabilities.index_select(1, index)
        terms = self.segmentation(probabilities, label)
        return values.index_copy(1, index, terms.cross_entropy + terms.dice)


def _seen_mean(values: Tensor, seen: Tensor) -> Tensor:
    """Average ``(B, M)`` over the samples that have a modality: ``(M,)``, NaN for one that none has."""
    return torch.where(seen, values, torch.nan).nanmean(dim=0)
