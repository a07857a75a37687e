# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How the objective learns how far a run has come."""

from __future__ import annotations

import math

import pytest
from ignite.engine import Engine

from scripts.handlers.objective_epoch import ObjectiveEpochHandler
from scripts.losses.co_training import ConsistencyTerm
from scripts.losses.state import ObjectiveState


@pytest.mark.parametrize("begun", [0, 2])
def test_the_weight_of_an_epoch_is_that_of_the_completed_ones_also_when_resumed(begun):
    state, term, weights = ObjectiveState(), ConsistencyTerm(ramp=4), {}
    engine = Engine(lambda engine, batch: weights.update({engine.state.epoch: term.weight_at(state)}))
    ObjectiveEpochHandler(state).attach(engine)
    engine.load_state_dict({"epoch": begun, "max_epochs": 6, "epoch_length": 1})
    engine.run([0], max_epochs=6)
    expected = {epoch: 10 * math.exp(-5 * (1 - min(epoch - 1, 4) / 4) ** 2) for epoch in range(begun + 1, 7)}
    assert weights == pytest.approx(expected)


def test_a_warm_up_ends_with_its_epochs():
    state, seen = ObjectiveState(), []
    engine = Engine(lambda engine, batch: seen.append(state.warming_up))
    ObjectiveEpochHandler(state, warm_up_epochs=2).attach(engine)
    engine.run([0], max_epochs=4)
    assert seen == [True, True, False, False]
