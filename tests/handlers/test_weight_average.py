# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine
from torch import nn
from torch.optim.swa_utils import AveragedModel

from scripts.handlers.weight_average import WeightAverageHandler, warmed_up

DECAY = 0.2


def test_the_average_follows_the_weights_of_every_iteration():
    network = nn.Linear(1, 1, bias=False)
    average = AveragedModel(network, multi_avg_fn=warmed_up(DECAY))

    def step(engine, batch):
        with torch.no_grad():
            network.weight.fill_(batch)

    trainer = Engine(step)
    WeightAverageHandler(average, network).attach(trainer)
    weights = [1.0, 5.0, -3.0, 2.0]
    trainer.run(weights)
    expected = weights[0]  # the first one is copied
    decays = [2 / 11, DECAY, DECAY]  # behind the first, 3 / 12 and 4 / 13 are more
    for weight, decay in zip(weights[1:], decays, strict=True):
        expected = decay * expected + (1 - decay) * weight
    assert float(average.module.weight) == pytest.approx(expected)
    assert float(network.weight) == weights[-1]


def test_the_weights_of_the_start_are_soon_forgotten():
    network = nn.Linear(1, 1, bias=False)
    average = AveragedModel(network, multi_avg_fn=warmed_up(0.998))
    with torch.no_grad():
        network.weight.fill_(1)
        average.update_parameters(network)
        network.weight.fill_(0)
        for _ in range(100):
            average.update_parameters(network)
    share = 1.0
    for n in range(1, 101):
        share *= (1 + n) / (10 + n)
    assert float(average.module.weight) == pytest.approx(share, rel=1e-4) and share < 1e-5
