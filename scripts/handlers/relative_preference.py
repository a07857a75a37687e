# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Rebalances the modalities between the epochs, from how far each is from the fused prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from torch import Tensor

from ..data.datalist import listed_modalities
from ..losses.preference import inverse_frequency, rebalance, relative_preference, step_size
from ..losses.total import IncompleteMultiModalLoss


class RelativePreferenceHandler:
    """Average the distances of an epoch, and set the weights of the modalities in the objective.

    After every epoch, with d_m the mean of ``loss.distance`` over the cases that modality m was seen in (in all
    processes)::

        preference_m  = (mean(d) - d_m) / mean(d)
        coefficient_m = rescale(clamp(coefficient_m - step preference_m, 0.1, 4))      norm sqrt(M)
        weight_m      = samples of the run / those that showed m

    In the first epoch the weights are those of the datalist; they stay so where every case shows all it has (``idt``).
    Coefficients and counts live in the objective, whose ``state_dict`` is part of every checkpoint.

    Distance, preference and coefficient appear in ``engine.state.metrics`` by modality, and in
    ``engine.state.preference`` as rows of M. Attach behind ``LossTermsHandler``, which begins the metrics of an epoch
    anew, and in front of the handlers that log or save. Without students there are no distances and nothing happens.

    Args:
        loss: the objective.
        modalities: names in channel order.
        cases: entries of the training section of the datalist, for the frequency weights of the first epoch.
        gradient_wise: let the coefficients follow the preference; ones otherwise.
        frequency_weights: weigh each modality by how rarely it is shown; ones otherwise.
        start_epoch: epochs of warm-up, in which only the uni-modal heads are trained and the coefficients rest.
        initial_step: step size before its first growth, dimensionless.

    Reference:
        Shi et al., PASSION, ACM MM 2024, relative-preference regularization. Differs from the release: weights count
        samples, not batches, and what was shown, not what was there; a distance is averaged over the cases that show
        the modality, in every setting; a modality that an epoch never showed keeps its coefficient but for the
        rescaling.
    """

    def __init__(
        self,
        loss: IncompleteMultiModalLoss,
        modalities: Sequence[str],
        cases: Sequence[Mapping],
        gradient_wise: bool = False,
        frequency_weights: bool = False,
        start_epoch: int = 0,
        initial_step: float = 0.01,
    ) -> None:
        self.loss, self.modalities = loss, list(modalities)
        self.gradient_wise, self.start_epoch, self.initial_step = gradient_wise, start_epoch, initial_step
        self.frequency_weights = weights_of_cases(cases, self.modalities) if frequency_weights else None
        self._clear()

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._rebalance)

    def _start(self, engine: Engine) -> None:
        self._clear()
        self.loss.warming_up = engine.state.epoch <= self.start_epoch  # epochs count from 1 there
        if self.loss.coefficient is None:
            self.loss.coefficient = torch.ones(len(self.modalities))
        self.loss.modality_weight = self._weight()

    def _clear(self) -> None:
        """Forget the epoch: sums and counts of distances ``(M,)``, samples shown ``(1 + M,)``."""
        self.sums, self.counts = (torch.zeros(len(self.modalities)) for _ in range(2))
        self.shown = torch.zeros(1 + len(self.modalities))

    def _weight(self) -> Tensor | None:
        """Weigh the modalities by what was shown so far; one that never was, by the datalist."""
        if self.frequency_weights is None or self.loss.shown is None:
            return self.frequency_weights
        samples, counts = self.loss.shown[0], self.loss.shown[1:]
        return torch.where(counts > 0, inverse_frequency(samples, counts), self.frequency_weights)

    def _collect(self, engine: Engine) -> None:
        encoded = self.loss.encoded.cpu()
        self.shown = self.shown + torch.cat([torch.tensor([float(len(encoded))]), encoded.sum(dim=0)])
        if self.loss.distance is None:
            return
        distance = self.loss.distance.cpu()
        self.sums = self.sums + distance.nansum(dim=0)
        self.counts = self.counts + (~distance.isnan()).sum(dim=0)

    def _rebalance(self, engine: Engine) -> None:
        sums, counts, shown = (idist.all_reduce(each) for each in (self.sums, self.counts, self.shown))
        self.loss.shown = shown if self.loss.shown is None else self.loss.shown + shown
        if not counts.any():
            return
        distance = sums / counts  # NaN for a modality that was never seen
        preference = relative_preference(distance)
        epoch = engine.state.epoch - 1
        if self.gradient_wise and epoch >= self.start_epoch:
            step = step_size(epoch, self.start_epoch, self.initial_step)
            self.loss.coefficient = rebalance(self.loss.coefficient, preference, step)
        rows = {"distance": distance, "preference": preference, "coefficient": self.loss.coefficient}
        engine.state.preference = rows
        for name, row in rows.items():
            for modality, value in zip(self.modalities, row.tolist(), strict=True):
                if value == value:  # not NaN
                    engine.state.metrics[f"{name}/{modality}"] = value


def weights_of_cases(cases: Sequence[Mapping], modalities: Sequence[str]) -> Tensor:
    """Weigh every modality by the number of cases over those that have it: ``(M,)``; 0 for one that none has."""
    counts = torch.tensor([float(sum(name in listed_modalities(case) for case in cases)) for name in modalities])
    return inverse_frequency(len(cases), counts)
