# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What is kept of a run, and how it is found again."""

from __future__ import annotations

import json
import logging
import math

import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn

from scripts.handlers.checkpoint import RunCheckpointHandler, save_atomically
from scripts.handlers.training_record import TrainingRecord
from scripts.phantom.cases import phantom_entries


class Run:
    """A trainer whose only weight is the number of the epoch, and an evaluator with given metrics by epoch."""

    def __init__(self, folder, metrics=None, **kwargs):
        self.model = nn.Linear(1, 1, bias=False)
        self.trainer, evaluator = Engine(self._step), Engine(lambda engine, batch: None)
        self.folder, self.model_file = folder / "checkpoints", folder / "models" / "model.pt"
        if metrics is not None:

            @self.trainer.on(Events.EPOCH_COMPLETED)
            def validate(engine):
                if engine.state.epoch in metrics:
                    evaluator.run([0])

            evaluator.add_event_handler(
                Events.EPOCH_COMPLETED,
                lambda: evaluator.state.metrics.update(mean_dice=metrics[self.trainer.state.epoch]),
            )
        self.handler = RunCheckpointHandler(
            str(self.folder),
            {"model": self.model},
            str(self.model_file),
            evaluator=evaluator if metrics else None,
            **kwargs,
        )
        self.handler.attach(self.trainer)

    def _step(self, engine, batch):
        with torch.no_grad():
            self.model.weight.fill_(engine.state.epoch)

    def to(self, epoch, planned=None):
        """Run to an epoch, of a run planned for as many or more."""
        if planned is not None:
            self.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=epoch), self.trainer.terminate)
        self.trainer.run([0, 1], max_epochs=planned or epoch)
        return self

    def kept(self):
        return {file.name: float(self.load(file.name)["model"]["weight"]) for file in self.folder.iterdir()}

    def load(self, name):
        return torch.load(self.folder / name, weights_only=True)

    def best(self):
        """Epoch of the weights in the model file, which is a flat state dict."""
        state = torch.load(self.model_file, weights_only=True)
        assert list(state) == ["weight"]
        return float(state["weight"])


def test_the_newest_checkpoints_are_kept_and_the_best(tmp_path):
    run = Run(tmp_path, {3: 0.5, 6: 0.7, 9: 0.6}, num_kept=2).to(10)
    assert run.kept() == {"checkpoint_epoch=9.pt": 9, "checkpoint_epoch=10.pt": 10, "best.pt": 6}
    assert run.best() == 6
    assert run.handler.newest().name == "checkpoint_epoch=10.pt", "by number: 10 comes after 9"


def test_the_model_file_is_of_the_network_that_is_deployed(tmp_path):
    deployed = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        deployed.weight.fill_(-7)
    run = Run(tmp_path, {1: 0.5}, deployed=deployed).to(2)
    assert run.best() == -7
    assert run.kept() == {"checkpoint_epoch=1.pt": 1, "checkpoint_epoch=2.pt": 2, "best.pt": 1}


def test_only_a_validation_of_this_epoch_can_make_it_the_best(tmp_path):
    run = Run(tmp_path, {1: 0.5}).to(3)
    assert run.best() == 1
    assert (run.handler.best_value, run.handler.best_epoch) == (0.5, 1)


def test_a_first_validation_of_zero_is_better_than_none(tmp_path):
    run = Run(tmp_path, {2: 0.0, 4: 0.0}).to(4)
    assert run.best() == 2


def test_a_validation_that_scored_no_case_counts_for_nothing(tmp_path):
    run = Run(tmp_path, {1: math.nan, 3: 0.2, 4: math.nan})
    run.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: seen.append(run.best()))
    seen = []
    run.to(5)
    assert seen == [1, 2, 3, 3, 3]
    assert run.handler.best_epoch == 3


def test_before_any_validation_the_model_file_holds_the_last_network(tmp_path):
    run = Run(tmp_path, {5: 0.5})
    run.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: seen.append(run.best()))
    seen = []
    run.to(7)
    assert seen == [1, 2, 3, 4, 5, 5, 5]


def test_without_an_evaluator_the_model_file_holds_the_last_network(tmp_path):
    run = Run(tmp_path).to(3)
    assert run.best() == 3
    assert "best.pt" not in run.kept()


def test_a_resumed_run_goes_on_after_the_newest_epoch_and_knows_what_was_best(tmp_path):
    Run(tmp_path, {1: 0.8, 2: 0.1}).to(2, planned=4)
    run = Run(tmp_path, {3: 0.7, 4: 0.9}, resume=True)
    epochs = []
    run.trainer.add_event_handler(Events.EPOCH_STARTED, lambda: epochs.append(run.trainer.state.epoch))
    run.to(3, planned=4)
    assert epochs == [3]
    assert run.trainer.state.iteration == 6
    assert run.best() == 1, "0.7 is worse than the 0.8 before the interruption"
    assert Run(tmp_path, {4: 0.9}, resume=True).to(4).best() == 4


def test_a_run_planned_for_another_number_of_epochs_is_not_resumed(tmp_path):
    Run(tmp_path).to(2)
    with pytest.raises(ValueError, match=r"was planned for 2 epochs.*`max_epochs` is now 5"):
        Run(tmp_path, resume=True).to(5)


def test_a_checkpoint_has_all_that_a_resumed_run_needs(tmp_path):
    run = Run(tmp_path, {1: 0.25}).to(2)
    state = run.load("checkpoint_epoch=2.pt")
    assert set(state) == {"model", "trainer", "best"}
    assert state["best"] == {"best_value": 0.25, "best_epoch": 1}
    assert state["trainer"]["iteration"] == 4  # two in each epoch


def test_a_checkpoint_of_before_there_was_a_record_resumes_and_the_record_begins_there(tmp_path):
    Run(tmp_path, {1: 0.25}).to(2, planned=3)
    assert not (tmp_path / "models" / "training.json").exists()
    run = Run(tmp_path, {3: 0.5}, resume=True, record=TrainingRecord(phantom_entries(2, ["flair"]), seed=7)).to(3)
    assert run.trainer.state.iteration == 6
    content = json.loads((tmp_path / "models" / "training.json").read_text())
    assert (content["epoch"], content["validation"]) == (3, [{"epoch": 3, "mean_dice": 0.5}])


@pytest.mark.parametrize("resume", [True, "true", "True"])  # the command line gives `true` as text
def test_resuming_where_nothing_was_saved_is_an_error(tmp_path, resume):
    with pytest.raises(FileNotFoundError, match=r"`resume` is set but .*checkpoints has no checkpoint_epoch=\*\.pt"):
        Run(tmp_path, resume=resume).to(1)
    assert not (tmp_path / "models").exists()


def test_resuming_with_longer_epochs_is_an_error(tmp_path):
    Run(tmp_path).to(1, planned=2)
    run = Run(tmp_path, resume=True)
    with pytest.raises(
        ValueError, match="had 2 batches in an epoch, and each process has 3 now; .* number of processes"
    ):
        run.trainer.run([0, 1, 2], max_epochs=2)


@pytest.mark.parametrize("resume", [False, "false", "False"])
def test_a_new_run_moves_the_checkpoints_of_earlier_ones_aside(tmp_path, caplog, resume):
    for _ in range(3):
        run = Run(tmp_path, resume=resume).to(1)
    assert sorted(folder.name for folder in tmp_path.glob("checkpoints*")) == [
        "checkpoints",
        "checkpoints_1",
        "checkpoints_2",
    ]
    for folder in tmp_path.glob("checkpoints*"):
        assert [file.name for file in folder.iterdir()] == ["checkpoint_epoch=1.pt"]
    assert f"moved to {run.folder}_2" in caplog.text


def test_other_words_for_resume_are_refused(tmp_path):
    with pytest.raises(ValueError, match="`resume` is `maybe`; expected true or false"):
        Run(tmp_path, resume="maybe")


def test_a_checkpoint_without_the_network_is_refused():
    with pytest.raises(ValueError, match=r"`save_dict` has \['optimizer'\]; expected `model`"):
        RunCheckpointHandler("folder", {"optimizer": None}, "model.pt")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "model.pt"
    save_atomically({"epoch": 1}, file)

    def full_disk(content, path):
        path.write_bytes(b"half of it")
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full_disk)
        with pytest.raises(OSError, match="no space"):
            save_atomically({"epoch": 2}, file)
    assert torch.load(file, weights_only=True) == {"epoch": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["model.pt"]
    save_atomically({"epoch": 2}, file)
    assert torch.load(file, weights_only=True) == {"epoch": 2}


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ({1: 0.25, 2: 0.5, 3: 0.125}, "of epoch 2, the best by validation: mean Dice 0.5000"),
        ({1: math.nan}, "of epoch 3, the last one: no validation has scored a case"),
        (None, "of epoch 3, the last one: no validation has scored a case"),
    ],
)
def test_at_its_end_a_run_says_where_its_weights_are_and_how_to_use_them(tmp_path, caplog, monkeypatch, metrics, words):
    monkeypatch.setattr("sys.argv", ["monai.bundle", "run", "training", "--config_file", "c/train.yaml"])
    with caplog.at_level(logging.INFO, "scripts.handlers.checkpoint"):
        run = Run(tmp_path, metrics).to(3)
    first, score, segment = [record.getMessage() for record in caplog.records[-3:]]
    assert first == f"the weights are in {run.model_file}, {words}"
    assert score.startswith("to score them: python -m monai.bundle run evaluating ") and "'c/evaluate.yaml'" in score
    assert segment.startswith("to segment with them: python -m monai.bundle run evaluating ")
    assert all(f"--model_file {run.model_file}" in line for line in (score, segment))
