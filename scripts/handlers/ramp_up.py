# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Tells an objective how far a run has come."""

from __future__ import annotations

from ignite.engine import Engine, Events

from ..losses.co_training import CoTrainingLoss


class RampUpHandler:
    """Tell the objective at the start of each epoch how many are completed, also those before a run was resumed.

    Args:
        loss: the objective, whose weight of the consistency rises.
    """

    def __init__(self, loss: CoTrainingLoss) -> None:
        self.loss = loss

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        self.loss.begin_epoch(engine.state.epoch - 1)  # ignite counts epochs from 1
