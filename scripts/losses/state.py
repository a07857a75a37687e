# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What a method learns between the iterations of a training, outside of the network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

GATE, COEFFICIENT, MODALITY_WEIGHT = "gate", "coefficient", "modality_weight"  # what a term may be multiplied by


class ObjectiveState:
    """The one place of all that changes an objective while it is trained with.

    Handlers write here and the objective reads; every checkpoint that holds the objective holds it.

    Attributes:
        coefficient: ``(M,)`` of the modalities, which the relative preference moves; ``None``: ones.
        modality_weight: ``(M,)`` of the modalities, by how rarely each is shown; ``None``: ones.
        shown: ``(1 + M,)`` samples of the run so far, and those that showed each modality; ``None`` before the first
            epoch has ended.
        completed_epochs: of the run, those before it was resumed included.
        warming_up: only the terms that count in a warm-up do.
    """

    NAMES = (COEFFICIENT, MODALITY_WEIGHT, "shown", "completed_epochs", "warming_up")

    def __init__(self) -> None:
        self.coefficient: Tensor | None = None
        self.modality_weight: Tensor | None = None
        self.shown: Tensor | None = None
        self.completed_epochs = 0
        self.warming_up = False

    def state_dict(self) -> dict[str, Any]:
        """Return everything, by name."""
        return {name: getattr(self, name) for name in self.NAMES}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what an earlier run had come to; what it did not keep stays as it is."""
        for name in self.NAMES:
            setattr(self, name, state.get(name, getattr(self, name)))

    def importance(self, names: Iterable[str], gate: Tensor | None, like: Tensor) -> Tensor:
        """Multiply what ``names`` lists: ``(B, M)``.

        Args:
            names: out of ``gate``, ``coefficient`` and ``modality_weight``.
            gate: ``(B, M)`` bool; ``None``: open.
            like: ``(B, M)`` of the shape, device and type wanted.
        """
        importance = torch.ones_like(like)
        for factor in (gate if name == GATE else getattr(self, name) for name in names):
            if factor is not None:
                importance = importance * factor.to(importance)
        return importance
