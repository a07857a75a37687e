# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Tells an objective how far a run has come."""

from __future__ import annotations

from ignite.engine import Engine, Events

from ..losses.state import ObjectiveState


class ObjectiveEpochHandler:
    """Note in the state of an objective how many epochs are completed, and whether the run is warming up.

    Epochs before a run was resumed count.

    Args:
        state: of the objective; whatever rises over the epochs rises by it.
        warm_up_epochs: in which only the terms made for it count.
    """

    def __init__(self, state: ObjectiveState, warm_up_epochs: int = 0) -> None:
        self.state, self.warm_up_epochs = state, warm_up_epochs

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        self.state.completed_epochs = engine.state.epoch - 1  # ignite counts epochs from 1
        self.state.warming_up = self.state.completed_epochs < self.warm_up_epochs
