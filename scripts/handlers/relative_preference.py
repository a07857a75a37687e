# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Rebalances the modalities between the epochs, from how far each is from the fused prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine
from torch import Tensor

from ..data.datalist import listed_modalities
from ..losses.objective import Objective
from ..losses.preference import RelativePreference, inverse_frequency
from .epoch_publisher import EpochPublisher, over_processes


class RelativePreferenceHandler(EpochPublisher):
    """Let ``RelativePreference`` set the weights of the modalities in the objective, from epoch to epoch.

    The first epoch's weights are those of the datalist. Coefficients and counts live in the objective's ``state``,
    which is part of every checkpoint. Distance, preference and coefficient appear in ``engine.state.metrics`` by
    modality, and in ``engine.state.preference`` as rows of M. An objective that measures no distances gives none.

    Args:
        loss: the objective.
        modalities: names in channel order.
        cases: entries of the training section of the datalist, for the frequency weights of the first epoch.
        gradient_wise: let the coefficients follow the preference; ones otherwise.
        frequency_weights: weigh each modality by how rarely it is shown; ones otherwise.
        start_epoch: epochs in which the coefficients rest.
        initial_step: step size before its first growth, dimensionless.

    Raises:
        ValueError: if the coefficients are to follow distances that no term of the objective measures.
    """

    def __init__(
        self,
        loss: Objective,
        modalities: Sequence[str],
        cases: Sequence[Mapping],
        gradient_wise: bool = False,
        frequency_weights: bool = False,
        start_epoch: int = 0,
        initial_step: float = 0.01,
    ) -> None:
        if gradient_wise and not any(term.measures for term in loss.terms.values()):
            raise ValueError(
                f"`gradient_wise` follows distances, and none of the terms {list(loss.terms)} measures them; expected "
                "`semantic_distillation`, with weight 0 if it is not to count. See configs/method_passion.yaml."
            )
        self.loss, self.modalities = loss, list(modalities)
        self.preference = RelativePreference(
            loss.state,
            len(self.modalities),
            gradient_wise,
            weights_of_cases(cases, self.modalities) if frequency_weights else None,
            start_epoch,
            initial_step,
            reduce=over_processes,
        )

    def begin(self, engine: Engine) -> None:
        self.preference.begin()

    def collect(self, engine: Engine) -> None:
        report = self.loss.last
        assert report is not None, "an iteration has ended"
        self.preference.collect(report.acquired, report.distance)

    def metrics(self, engine: Engine) -> Mapping[str, float]:
        rows = self.preference.end(engine.state.epoch - 1)  # ignite counts epochs from 1
        if rows is None:
            return {}
        state: Any = engine.state  # which takes what is given
        state.preference = rows._asdict()
        named = (
            (f"{name}/{modality}", value)
            for name, row in state.preference.items()
            for modality, value in zip(self.modalities, row.tolist(), strict=True)
        )
        return {name: value for name, value in named if value == value}  # not NaN


def weights_of_cases(cases: Sequence[Mapping], modalities: Sequence[str]) -> Tensor:
    """Weigh every modality by the number of cases over those that have it: ``(M,)``; 0 for one that none has."""
    counts = torch.tensor([float(sum(name in listed_modalities(case) for case in cases)) for name in modalities])
    return inverse_frequency(len(cases), counts)
