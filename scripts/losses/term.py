# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What a term of an objective is."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, NamedTuple, TypeVar

from torch import Tensor, nn

from ..networks.outputs import MultiModalOutput
from .state import ObjectiveState

Part = TypeVar("Part")


def given(part: Part | None) -> Part:
    """Take a part of an output that a term's ``paths`` ask for: the objective has refused outputs that lack it."""
    assert part is not None
    return part


class Measured(NamedTuple):
    """What a term that also measures returns: its ``values``, and the ``distance`` ``(B, M)`` of students from the
    fused prediction, without gradient, NaN where a modality was not compared."""

    values: Tensor
    distance: Tensor


class Term(nn.Module):
    """One term of an objective, unreduced.

    ``forward(output, label)`` takes a ``MultiModalOutput`` and the label ``(B, 1, *S)`` of integers, and returns
    ``(B,)``, one number for each sample, or ``(B, M)``, one for each of its modalities; ``Measured`` if it also
    measures; ``None`` where the network has no such part. Availability, gates, coefficients and weights are none of its
    business: ``Objective`` applies them.

    Args:
        weight: of the term in the objective, dimensionless; 0 leaves it out, and the paths that it alone reads.

    Attributes:
        paths: the paths that it reads, names of ``scripts.networks.outputs``.
        multiplied_by: what of the state multiplies its modalities, out of ``gate``, ``coefficient`` and
            ``modality_weight``.
        averaged: the modalities of a sample are averaged; otherwise summed up.
        in_warm_up: it counts in a warm-up too.
        measures: it returns ``Measured``, and is called for that even where it weighs nothing.
        weight_changes: with the state, see ``weight_at``; the weight is then logged too.
    """

    paths: ClassVar[Collection[str]] = ()
    multiplied_by: ClassVar[Collection[str]] = ()
    averaged: ClassVar[bool] = False
    in_warm_up: ClassVar[bool] = False
    measures: ClassVar[bool] = False
    weight_changes: ClassVar[bool] = False

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def applies(self, output: MultiModalOutput) -> Tensor | None:
        """Tell where its values mean something: ``(B,)`` or ``(B, M)`` bool, as they are.

        ``None``, unless a term says otherwise: in every sample, or for every acquired modality.
        """
        return None

    def weight_at(self, state: ObjectiveState) -> float:
        """Give the weight as it is now; ``weight``, unless a term lets it change."""
        return self.weight
