# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from scripts.handlers.weight_average import WeightAverageHandler

DECAY = 0.9


def test_the_average_follows_the_weights_of_every_iteration():
    network = nn.Linear(1, 1, bias=False)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(DECAY))

    def step(engine, batch):
        with torch.no_grad():
            network.weight.fill_(batch)

    trainer = Engine(step)
    WeightAverageHandler(average, network).attach(trainer)
    weights = [1.0, 5.0, -3.0, 2.0]
    trainer.run(weights)
    expected = weights[0]  # the first one is copied
    for weight in weights[1:]:
        expected = DECAY * expected + (1 - DECAY) * weight
    assert float(average.module.weight) == pytest.approx(expected)
    assert float(network.weight) == weights[-1]
