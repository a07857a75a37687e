# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How handlers publish what an epoch gave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import ignite.distributed as idist
from ignite.engine import Engine, Events
from torch import Tensor


def epoch_length(engine: Engine) -> int:
    """Give the number of iterations in an epoch, which MONAI's trainers know from the start."""
    return cast(int, engine.state.epoch_length)


def over_processes(values: Tensor) -> Tensor:
    """Sum a tensor up over all processes."""
    return cast(Tensor, idist.all_reduce(values))


class EpochPublisher:
    """A handler that adds metrics of its own to those of an epoch, ready before any handler of the epoch's end.

    A subclass takes in iterations by ``collect`` and gives the metrics by ``metrics``. They are added to
    ``engine.state.metrics`` with the last iteration, so that whoever logs or saves at ``EPOCH_COMPLETED`` finds them,
    in whatever order handlers are attached; and taken away when the next epoch starts, so that none is read as another
    epoch's. The engine must know its ``epoch_length``, as MONAI's trainers do.
    """

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        self._published: set[str] = set()
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._complete)

    def begin(self, engine: Engine) -> None:
        """Begin an epoch; nothing to do unless a subclass says so."""

    def collect(self, engine: Engine) -> None:
        """Take in an iteration that was completed; nothing to do unless a subclass says so."""

    def metrics(self, engine: Engine) -> Mapping[str, float]:
        """End an epoch: give its metrics."""
        raise NotImplementedError

    def _start(self, engine: Engine) -> None:
        for name in self._published:
            engine.state.metrics.pop(name, None)
        self.begin(engine)

    def _complete(self, engine: Engine) -> None:
        self.collect(engine)
        if engine.state.iteration % epoch_length(engine) == 0:
            found = self.metrics(engine)
            self._published = set(found)
            engine.state.metrics.update(found)
