# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Leaves the loss of an iteration where MONAI's handlers look for it."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events
from monai.utils import CommonKeys


class IterationLossHandler:
    """Keep of an iteration's output the loss alone, as ``[{"loss": scalar}]``.

    That is the form which MONAI's trainers leave where they take batches apart, and ``from_engine(["loss"])`` reads, so
    that ``--tracking mlflow`` works; ours do not (``decollate: false``), since an objective needs the batch whole. What
    the network said is let go before a validation begins. Attach in front of the handlers that log.
    """

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        state: Any = engine.state  # ignite says that an output is a number
        state.output = [{CommonKeys.LOSS: state.output[CommonKeys.LOSS].detach()}]
