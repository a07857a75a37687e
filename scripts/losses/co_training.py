# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Co-training of two paths: what the network says from all modalities, and from fewer of them."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..networks.outputs import FUSED, NARROWED, MultiModalOutput, PathOutput
from ..networks.packing import place_rows
from .segmentation import SegmentationLoss
from .state import ObjectiveState
from .term import Term, given


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
    full = PathOutput(output.available, given(output.fused), output.bottleneck)
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


class FullDiceTerm(Term):
    """Soft Dice loss of what the network says from all that is shown: ``(B,)``.

    Reference:
        Wang et al., ACN, MICCAI 2021; the default weight is that of its training script, here and below.
    """

    paths = (FUSED,)

    def __init__(self, weight: float = 0.2) -> None:
        super().__init__(weight)
        self.segmentation = SegmentationLoss()

    def forward(self, output: MultiModalOutput, label: Tensor) -> Tensor:
        return _dice(self.segmentation, given(output.fused), label)


class PathTerm(Term):
    """A term of samples that have a missing path, which is the network's narrowed one.

    A sample that shows a single modality has none, and adds nothing to the mean over a batch.

    Raises:
        ValueError: if the network was not asked for the narrowed path of a sample that shows several modalities.
    """

    paths = (FUSED, NARROWED)

    def forward(self, output: MultiModalOutput, label: Tensor) -> Tensor | None:
        pair = paired_paths(output)
        if pair is None:
            if output.narrowed is None and bool((output.available.sum(dim=1) > 1).any()):
                raise ValueError(
                    "the network gave no narrowed path, though samples show several modalities; expected a call with "
                    "`paths` of the objective and `narrowed_available`, as TrainingInferer makes it."
                )
            return torch.zeros(len(label), device=label.device)
        return place_rows(self.of_pairs(pair, label.index_select(0, pair.rows)), pair.rows, len(label))

    def of_pairs(self, pair: PairedPaths, label: Tensor) -> Tensor:
        """Give the values of the n samples that have both paths: ``(n,)``."""
        raise NotImplementedError

    def applies(self, output: MultiModalOutput) -> Tensor:
        if output.narrowed is None:
            return torch.zeros_like(output.acquired[:, 0])
        return output.narrowed.available.any(dim=1)


class MissingDiceTerm(PathTerm):
    """Soft Dice loss of what the network says from a part of what is shown: ``(B,)``."""

    def __init__(self, weight: float = 0.8) -> None:
        super().__init__(weight)
        self.segmentation = SegmentationLoss()

    def of_pairs(self, pair: PairedPaths, label: Tensor) -> Tensor:
        return _dice(self.segmentation, pair.missing.logits, label)


class ConsistencyTerm(PathTerm):
    """``mean_{classes, voxels} (p_full - p_missing)^2`` of the probabilities of both paths: ``(B,)``.

    Gradient flows into both paths. The weight rises over the epochs, see ``ramp_up``.

    Args:
        weight: from the end of the ramp, dimensionless.
        ramp: epochs over which it rises; 0 for none.

    Reference:
        Wang et al., ACN, MICCAI 2021; the ramp is that of Laine and Aila, ICLR 2017. Ours: it counts epochs; both paths
        are of one network.
    """

    weight_changes = True

    def __init__(self, weight: float = 10.0, ramp: float = 80.0) -> None:
        super().__init__(weight)
        self.ramp = ramp

    def weight_at(self, state: ObjectiveState) -> float:
        return self.weight * ramp_up(state.completed_epochs, self.ramp)

    def of_pairs(self, pair: PairedPaths, label: Tensor) -> Tensor:
        full, missing = (path.logits.float().softmax(dim=1) for path in (pair.full, pair.missing))
        return (full - missing).square().flatten(1).mean(dim=1)


def _dice(segmentation: SegmentationLoss, logits: Tensor, label: Tensor) -> Tensor:
    """Soft Dice loss of one prediction ``(B, C, *S)`` for each sample: ``(B,)``."""
    return segmentation(logits.float().softmax(dim=1).unsqueeze(1), label).dice.squeeze(1)
