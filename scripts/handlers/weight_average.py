# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Averages a network's weights over its training."""

from __future__ import annotations

from ignite.engine import Engine, Events
from torch import nn
from torch.optim.swa_utils import AveragedModel


class WeightAverageHandler:
    """Bring an average of the weights up to date after every iteration; torch's ``AveragedModel`` says which average.

    Its first update copies the weights. Attach to the trainer; keep ``average`` among what is saved, so that a resumed
    run goes on with it.

    Args:
        average: of the network that is trained.
        network: that is trained.
    """

    def __init__(self, average: AveragedModel, network: nn.Module) -> None:
        self.average, self.network = average, network

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        self.average.update_parameters(self.network)
