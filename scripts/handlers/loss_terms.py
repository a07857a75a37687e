# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Publishes the terms of the objective as metrics of the epoch."""

from __future__ import annotations

from collections.abc import Sequence

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from torch import Tensor

from ..losses.total import IncompleteMultiModalLoss


class LossTermsHandler:
    """Average every term of the objective over an epoch into ``engine.state.metrics``, one entry per modality.

    The mean is over the iterations of all processes; each term of a modality, over those that had the modality. Beside
    them stands ``learning_rate``, of the engine's optimizer, if it has one.

    Attach before the handlers that log metrics or change the learning rate. A modality that no case of the epoch had
    gets no entry.

    Args:
        loss: the objective, whose ``terms`` are read after each iteration.
        modalities: names in channel order.
    """

    def __init__(self, loss: IncompleteMultiModalLoss, modalities: Sequence[str]) -> None:
        self.loss = loss
        self.modalities = list(modalities)
        self.seen: dict[str, list[Tensor]] = {}

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._publish)

    def _start(self, engine: Engine) -> None:
        self.seen = {}

    def _collect(self, engine: Engine) -> None:
        for name, value in self.loss.terms.items():
            self.seen.setdefault(name, []).append(value)

    def _publish(self, engine: Engine) -> None:
        optimizer = getattr(engine, "optimizer", None)
        engine.state.metrics = {} if optimizer is None else {"learning_rate": optimizer.param_groups[0]["lr"]}
        for name, values in self.seen.items():
            rows = torch.stack(values)
            total, count = (idist.all_reduce(each) for each in (rows.nansum(dim=0), (~rows.isnan()).sum(dim=0)))
            mean = total / count
            entries = [(f"loss_{name}", mean)]
            if mean.ndim:
                entries = [(f"loss_{name}/{m}", value) for m, value in zip(self.modalities, mean, strict=True)]
            engine.state.metrics.update({key: float(value) for key, value in entries if not torch.isnan(value)})
