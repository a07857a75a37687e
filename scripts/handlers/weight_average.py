# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Averages a network's weights over its training."""

from __future__ import annotations

from collections.abc import Callable

from ignite.engine import Engine, Events
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def warmed_up(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor], None]:
    """Make the ``multi_avg_fn`` of an exponential moving average that soon forgets the weights it began with.

    After n updates ``average <- d average + (1 - d) weights`` with ``d = min(decay, (1 + n) / (10 + n))``. With a
    constant decay of 0.998 the random weights of the start would still make up 14 % after 1000 updates.

    Args:
        decay: largest d, between 0 and 1.
    """

    def update(averaged: list[Tensor], current: list[Tensor], num_averaged: Tensor) -> None:
        n = int(num_averaged)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averaged, current, num_averaged)

    return update


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
