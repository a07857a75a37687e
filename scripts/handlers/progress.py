# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""A progress bar that a configuration can attach."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine
from ignite.handlers import ProgressBar


class ProgressBarHandler(ProgressBar):
    """Ignite's progress bar; for a trainer it shows the loss of the iteration, as ``IterationLossHandler`` leaves it.

    Args:
        description: text in front of the bar.
    """

    def __init__(self, description: str = "epoch") -> None:
        super().__init__(persist=True, desc=description, ncols=100)

    def attach(self, engine: Engine) -> None:  # type: ignore[override]
        """Attach to a trainer or evaluator."""
        super().attach(engine, output_transform=_loss)


def _loss(output: Any) -> dict[str, float]:
    return {"loss": output[0]["loss"].item()} if output and "loss" in output[0] else {}
