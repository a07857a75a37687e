# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Co-training of two paths: what the network says from all modalities, and from fewer of them."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..networks.outputs import MultiModalOutput, PathOutput
from ..networks.packing import place_rows
from .total import IncompleteMultiModalLoss


class PairedPaths(NamedTuple):
    """Both paths of the n samples that have a missing path.

    Shape:
        - rows: ``(n,)`` their places in the batch, n > 0
        - full: ``PathOutput`` of n samples, from everything that is shown
        - missing: ``PathOutput`` of n samples, from fewer modalities
    """

    rows: Tensor
    full: PathOutput
    missing: PathOutput


def paired_paths(output: MultiModalOutput) -> PairedPaths | None:
    """Take the samples that have a missing path, with both paths; ``None`` if there are none."""
    if output.narrowed is None:
        return None
    rows = output.narrowed.available.any(dim=1).nonzero().squeeze(1)
    if rows.numel() == 0:
        return None
    full = PathOutput(output.available, output.fused, output.bottleneck)
    return PairedPaths(rows, _of_samples(full, rows), _of_samples(output.narrowed, rows))


def _of_samples(path: PathOutput, rows: Tensor) -> PathOutput:
    bottleneck = None if path.bottleneck is None else path.bottleneck.index_select(0, rows)
    return PathOutput(path.available.index_select(0, rows), path.logits.index_select(0, rows), bottleneck)


def ramp_up(completed: int, length: float) -> float:
    """Rise from exp(-5) before the first epoch to 1 after ``length`` epochs: ``exp(-5 (1 - min(t, l) / l)^2)``.

    A ``length`` of 0 is no ramp: 1 from the beginning.
    """
    share = min(completed, length) / length if length > 0 else 1.0
    return math.exp(-5 * (1 - share) ** 2)


class CoTrainingLoss(IncompleteMultiModalLoss):
    """The objective for a full and a missing path of each case; a discriminator's terms are not part of it.

    Per sample, with p the probabilities of a path and t the number of completed epochs::

        total += full_dice * Dice(p_full) + missing_dice * Dice(p_missing)
               + consistency * ramp_up(t, ramp) * mean_{classes, voxels} (p_full - p_missing)^2

    Dice is the soft Dice loss. A sample without a missing path has the first of these terms only. Gradient flows into
    both paths. ``terms`` has the unweighted values, those of the missing path as means over the samples that have one
    (NaN if none has), and as ``consistency_weight`` what the consistency is multiplied with.

    Args:
        full_dice: weight of the full path.
        missing_dice: weight of the missing path.
        consistency: weight of the squared difference of the paths, from the end of the ramp.
        ramp: epochs over which that weight rises; 0 for none.
        kwargs: weights and options of ``IncompleteMultiModalLoss``; its ``fused`` is 0 by default.

    Shape:
        - output: ``MultiModalOutput`` of a network in training mode that was called with ``narrowed``
        - label: ``(B, 1, *S)`` integers
        - returns a scalar

    Raises:
        ValueError: if the network was not asked for the missing path of a sample that shows several modalities.

    Reference:
        Wang et al., ACN, MICCAI 2021, and the weights of its training script; the ramp is that of Laine and Aila, ICLR
        2017. Not built: its mutual-information term. Ours: t counts epochs; both paths are of one network.
    """

    def __init__(
        self,
        full_dice: float = 0.2,
        missing_dice: float = 0.8,
        consistency: float = 10.0,
        ramp: float = 80.0,
        fused: float = 0.0,
        **kwargs,
    ) -> None:
        super().__init__(fused=fused, **kwargs)
        self.weights.update(full_dice=full_dice, missing_dice=missing_dice)
        self.consistency, self.ramp = consistency, ramp
        self.begin_epoch(0)

    def begin_epoch(self, completed: int) -> None:
        """Set the weight of the consistency for an epoch, by the number of epochs before it."""
        self.weights["consistency"] = self.consistency * ramp_up(completed, self.ramp)

    def forward(self, output: MultiModalOutput, label: Tensor) -> Tensor:
        total = super().forward(output, label)
        pair = paired_paths(output)
        share = 0.0 if pair is None else len(pair.rows) / len(label)
        for name in ("missing_dice", "consistency"):
            self.terms[name] = self.terms[name] / share  # 0 / 0 is NaN: no sample has a missing path
        self.terms["consistency_weight"] = torch.tensor(self.weights["consistency"], device=label.device)
        return total

    def further_terms(self, output: MultiModalOutput, label: Tensor) -> dict[str, Tensor]:
        """Give the terms of both paths, ``(B,)`` each."""
        if output.narrowed is None and bool((output.available.sum(dim=1) > 1).any()):
            raise ValueError(
                "the network gave no missing path, though samples show several modalities; expected `train::inferer` "
                "to be a CoTrainingInferer, as in configs/method_da.yaml."
            )
        full = output.fused.float().softmax(dim=1)
        terms = {"full_dice": self._dice(full, label)}
        terms["missing_dice"], terms["consistency"] = torch.zeros(2, len(label), device=label.device)
        pair = paired_paths(output)
        if pair is not None:
            missing = pair.missing.logits.float().softmax(dim=1)
            squares = (full.index_select(0, pair.rows) - missing).square()
            found = {
                "missing_dice": self._dice(missing, label.index_select(0, pair.rows)),
                "consistency": squares.flatten(1).mean(dim=1),
            }
            terms.update({name: place_rows(values, pair.rows, len(label)) for name, values in found.items()})
        return terms

    def _dice(self, probabilities: Tensor, label: Tensor) -> Tensor:
        """Soft Dice loss of one prediction ``(B, C, *S)`` for each sample: ``(B,)``."""
        return self.segmentation(probabilities.unsqueeze(1), label).dice.squeeze(1)
