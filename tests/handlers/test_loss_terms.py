# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The terms of the objective as metrics of an epoch."""

from __future__ import annotations

import math
from types import SimpleNamespace

import ignite.distributed as idist
import pytest
import torch
from ignite.engine import Engine, Events

from scripts.handlers.loss_terms import LossTermsHandler

NAN = math.nan
# What the objective reports after each of two iterations: t2 is in one of them, t1ce in none.
ITERATIONS = [
    {"total": torch.tensor(3.0), "unimodal_per_modality": torch.tensor([1.0, NAN, 4.0])},
    {"total": torch.tensor(5.0), "unimodal_per_modality": torch.tensor([2.0, NAN, NAN])},
]


def run(epochs, optimizer=None, logger_first=False):
    """Run an engine whose iterations leave the given terms; return the metrics after each epoch."""
    loss, metrics = SimpleNamespace(last=None), []
    iterations = iter([terms for epoch in epochs for terms in epoch])

    def step(engine, batch):
        loss.last = SimpleNamespace(terms=next(iterations))

    engine = Engine(step)
    if optimizer is not None:
        engine.optimizer = optimizer
    handler = LossTermsHandler(loss, ["flair", "t1ce", "t2"])
    if not logger_first:
        handler.attach(engine)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: metrics.append(dict(engine.state.metrics)))
    if logger_first:
        handler.attach(engine)
    engine.run([0] * len(epochs[0]), max_epochs=len(epochs))
    return metrics


def test_terms_are_averaged_over_the_iterations_that_have_them():
    (metrics,) = run([ITERATIONS])
    assert metrics["loss_total"] == pytest.approx((3 + 5) / 2)
    assert metrics["loss_unimodal_per_modality/flair"] == pytest.approx((1 + 2) / 2)
    assert metrics["loss_unimodal_per_modality/t2"] == pytest.approx(4), "an iteration without t2 must not dilute it"


def test_a_modality_never_seen_in_the_epoch_has_no_entry():
    (metrics,) = run([ITERATIONS])
    assert sorted(metrics) == ["loss_total", "loss_unimodal_per_modality/flair", "loss_unimodal_per_modality/t2"]
    assert all(math.isfinite(value) for value in metrics.values())


def test_the_learning_rate_of_the_epoch_stands_beside_the_terms():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.25)
    (metrics,) = run([ITERATIONS], optimizer)
    assert metrics["learning_rate"] == 0.25
    assert set(metrics) == {*run([ITERATIONS])[0], "learning_rate"}


def test_every_epoch_begins_anew():
    metrics = run([ITERATIONS, ITERATIONS[1:] * 2])
    assert metrics[1] == {"loss_total": 5.0, "loss_unimodal_per_modality/flair": 2.0}


def test_whoever_logs_finds_the_metrics_in_whatever_order_handlers_are_attached():
    assert run([ITERATIONS] * 2, logger_first=True) == run([ITERATIONS] * 2)


def test_metrics_of_others_stay():
    engine = Engine(lambda engine, batch: None)
    engine.state.metrics["mean_dice"] = 0.5
    LossTermsHandler(SimpleNamespace(last=SimpleNamespace(terms=ITERATIONS[0])), ["flair", "t1ce", "t2"]).attach(engine)
    engine.run([0], max_epochs=2)
    assert engine.state.metrics["mean_dice"] == 0.5 and engine.state.metrics["loss_total"] == 3.0


def test_a_network_without_unimodal_heads_gets_no_entry_of_theirs():
    terms = [{"fused": torch.tensor(1.0), "total": torch.tensor(1.0)}]
    assert run([terms, terms]) == [{"loss_fused": 1.0, "loss_total": 1.0}] * 2


def share(rank, folder):
    """Run one of the two iterations in each of two processes."""
    (metrics,) = run([ITERATIONS[rank : rank + 1]])
    torch.save(metrics, f"{folder}/{rank}.pt")


def test_several_processes_average_over_the_iterations_of_all(tmp_path):
    idist.spawn("gloo", share, args=(str(tmp_path),), nproc_per_node=2)
    (expected,) = run([ITERATIONS])
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt", weights_only=True) == pytest.approx(expected)
