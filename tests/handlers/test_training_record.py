# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What is written beside the weights while a network trains."""

from __future__ import annotations

import json
import math

import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn

from scripts.evaluation.origin import origin_of, read_training, synthetic_only
from scripts.handlers import training_record
from scripts.handlers.checkpoint import RunCheckpointHandler
from scripts.handlers.training_record import TrainingRecord
from scripts.phantom.cases import phantom_entries

LOSSES = {1: 0.8, 2: 0.4, 3: math.nan, 4: 0.1}
DICE = {2: 0.5, 3: math.nan, 4: 0.25}


@pytest.fixture
def clock(monkeypatch):
    """A clock that an epoch moves on by half an hour."""
    now = [100.0]
    monkeypatch.setattr(training_record, "perf_counter", lambda: now[0])
    monkeypatch.setattr(
        training_record,
        "environment",
        lambda: {"git_commit": "abc", "git_changes": " M file", **dict.fromkeys(training_record.HARDWARE, 1)},
    )
    return now


@pytest.fixture
def run(tmp_path, clock):
    """Train to an epoch of four, two steps in each, with validations; return what was then written, epoch by epoch."""

    def _run(to=4, cases=None, resume=False, **options):
        model, evaluator = nn.Linear(1, 1), Engine(lambda engine, batch: None)
        trainer, written = Engine(lambda engine, batch: nn.init.constant_(model.weight, engine.state.epoch)), {}
        model_file = tmp_path / "model.pt"

        @trainer.on(Events.EPOCH_COMPLETED)
        def validate(engine):
            clock[0] += 1800
            engine.state.metrics["loss_total"] = LOSSES[engine.state.epoch]
            if engine.state.epoch in DICE:
                evaluator.state.metrics = {}
                evaluator.run([0])

        evaluator.add_event_handler(
            Events.COMPLETED, lambda: evaluator.state.metrics.update(mean_dice=DICE[trainer.state.epoch])
        )
        record = TrainingRecord(phantom_entries(3, ["flair"]) if cases is None else cases, seed=7, **options)
        RunCheckpointHandler(
            str(tmp_path / "checkpoints"),
            {"model": model},
            str(model_file),
            evaluator=evaluator,
            resume=resume,
            record=record,
        ).attach(trainer)
        trainer.add_event_handler(
            Events.EPOCH_COMPLETED, lambda: written.update({trainer.state.epoch: read_training(model_file)})
        )
        trainer.add_event_handler(Events.EPOCH_COMPLETED(once=to), trainer.terminate)
        trainer.run([0, 1], max_epochs=4)
        return written

    return _run


def test_the_record_speaks_of_the_weights_that_it_lies_beside(run):
    written = run()
    # no validation yet: the weights of the first epoch; those of the second are never surpassed
    assert [record["epoch"] for record in written.values()] == [1, 2, 2, 2]
    assert written[1]["validation"] == [] and written[1]["loss"] == [{"epoch": 1, "loss_total": 0.8}]
    record = written[4]
    assert (record["steps"], record["max_epochs"], record["hours"], record["seed"]) == (4, 4, 1.0, 7)
    assert record["validation"] == [{"epoch": 2, "mean_dice": 0.5}]
    assert record["loss"] == [{"epoch": epoch, "loss_total": LOSSES[epoch]} for epoch in (1, 2)]
    assert (record["git_commit"], record["git_changes"], record["initial_file"]) == ("abc", True, None)
    assert record["trained_on"]["num_synthetic"] == 3 and list(record["hardware"]) == list(training_record.HARDWARE)


def test_hours_and_curves_of_a_resumed_run_are_those_of_its_parts_together(run, clock, monkeypatch):
    monkeypatch.setitem(DICE, 4, 0.75)
    run(to=3)
    clock[0] += 86400  # nothing ran
    record = run(resume=True)[4]
    assert (record["epoch"], record["steps"], record["hours"]) == (4, 8, 2.0)
    # what is not a number is not known
    assert record["validation"] == [
        {"epoch": 2, "mean_dice": 0.5},
        {"epoch": 3, "mean_dice": None},
        {"epoch": 4, "mean_dice": 0.75},
    ]
    assert [each["loss_total"] for each in record["loss"]] == [0.8, 0.4, None, 0.1]


def test_the_record_of_the_weights_to_start_from_is_carried_on(run, tmp_path):
    run(to=1)
    first = origin_of((tmp_path / "model.pt").rename(tmp_path / "first.pt"))
    real = [{"case": "a", "image": str(tmp_path / "hospital" / "a" / "a.nii.gz")}]
    record = run(to=1, cases=real, initial_file=str(tmp_path / "first.pt"), phantom_dir=str(tmp_path))[1]
    assert record["initial_file"] == first and first["trained_on"]["synthetic"]
    assert (record["trained_on"]["name"], record["trained_on"]["synthetic"]) == ("a", False)
    assert not synthetic_only(origin_of(tmp_path / "model.pt"))


def test_a_resumed_run_remembers_what_it_started_from_even_where_it_has_replaced_it(run, tmp_path):
    run(to=1)
    first = json.loads((tmp_path / "training.json").read_text())["sha256"]
    options = {"initial_file": str(tmp_path / "model.pt")}
    assert run(to=1, **options)[1]["initial_file"]["sha256"] == first
    torch.save({}, tmp_path / "model.pt")
    assert run(to=2, resume=True, **options)[2]["initial_file"]["sha256"] == first


def test_monai_label_starts_from_the_weights_that_it_writes(run, tmp_path):
    cases = [{"image": str(tmp_path / "studies" / "a.nii.gz"), "label": str(tmp_path / "final" / "a.nii.gz")}]
    assert run(to=1, cases=cases)[1]["initial_file"] is None, "there are none yet"
    run(to=1)
    record = run(to=1, cases=cases)[1]
    assert (record["trained_on"]["name"], record["trained_on"]["num_synthetic"]) == ("studies", 0)
    assert record["initial_file"]["trained_on"]["num_synthetic"] == 3
