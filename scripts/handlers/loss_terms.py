# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Publishes the terms of the objective as metrics of the epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from ignite.engine import Engine
from torch import Tensor

from ..losses.objective import Objective
from .epoch_publisher import EpochPublisher, over_processes


class TermMeans:
    """Means of named terms, scalars or rows of M, over the iterations of an epoch in all processes.

    Each is averaged over the iterations in which it is a number, for each modality by itself.

    Args:
        modalities: names in channel order.
    """

    def __init__(self, modalities: Sequence[str]) -> None:
        self.modalities = list(modalities)
        self.seen: dict[str, list[Tensor]] = {}

    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Take in the terms of an iteration."""
        for name, value in terms.items():
            self.seen.setdefault(name, []).append(value)

    def result(self) -> dict[str, float]:
        """Give the means as ``loss_<term>`` and ``loss_<term>/<modality>``, none that is no number; and begin anew."""
        means: dict[str, float] = {}
        for name, values in self.seen.items():
            rows = torch.stack(values)
            total, count = (over_processes(each) for each in (rows.nansum(dim=0), (~rows.isnan()).sum(dim=0)))
            mean = total / count
            entries = [(f"loss_{name}", mean)]
            if mean.ndim:
                entries = [(f"loss_{name}/{m}", value) for m, value in zip(self.modalities, mean, strict=True)]
            means.update({key: float(value) for key, value in entries if not torch.isnan(value)})
        self.seen = {}
        return means


class LossTermsHandler(EpochPublisher):
    """Average every term of the objective over an epoch into ``engine.state.metrics``, one entry per modality.

    The mean is over the iterations of all processes; each term of a modality, over those that had the modality. Beside
    them stands ``learning_rate``, that of the epoch, of the engine's optimizer, if it has one. A modality that no case
    of the epoch had gets no entry.

    Args:
        loss: the objective, whose report is read after each iteration.
        modalities: names in channel order.
    """

    def __init__(self, loss: Objective, modalities: Sequence[str]) -> None:
        self.loss = loss
        self.means = TermMeans(modalities)

    def collect(self, engine: Engine) -> None:
        assert self.loss.last is not None, "an iteration has ended"
        self.means.add(self.loss.last.terms)

    def metrics(self, engine: Engine) -> Mapping[str, float]:
        optimizer = getattr(engine, "optimizer", None)
        rate = {} if optimizer is None else {"learning_rate": optimizer.param_groups[0]["lr"]}
        return {**rate, **self.means.result()}
