# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""A run that was killed and resumed ends with the numbers of one that was not."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Events
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from scripts.engines.case_evaluator import root_cause
from scripts.evaluation.origin import read_training
from scripts.handlers import checkpoint
from scripts.handlers.checkpoint import save_atomically

AFTER_TWO_EPOCHS = Events.EPOCH_COMPLETED(once=2)
WITHIN_THE_THIRD_EPOCH = Events.ITERATION_COMPLETED(once=8)  # three iterations in each epoch
QUICK = {"patch_size": [16, 16, 16], "validation_subsets": ["all"]}


def checkpoints(folder, name="checkpoints"):
    """Read all checkpoints, without the time that the run took."""
    states = {file.name: torch.load(file, weights_only=True) for file in sorted((folder / name).iterdir())}
    assert all(state["record"].pop("seconds") > 0 for state in states.values())
    return states


def training_record(folder):
    """Read what lies beside the weights, without when and how fast they were made."""
    record = read_training(folder / "model.pt")
    return {name: value for name, value in record.items() if name not in ("date", "hours", "sha256")}


def assert_same(found, expected, where=""):
    """Compare what two checkpoints hold, at any depth."""
    if isinstance(expected, torch.Tensor):
        assert torch.isfinite(found).all(), where
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-7, msg=lambda message: f"{where}: {message}")
    elif isinstance(expected, dict):
        assert list(found) == list(expected), where
        for key in expected:
            assert_same(found[key], expected[key], f"{where}/{key}")
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), where
        for number, (each, other) in enumerate(zip(found, expected, strict=True)):
            assert_same(each, other, f"{where}/{number}")
    else:
        assert found == (pytest.approx(expected, rel=1e-6) if isinstance(expected, float) else expected), where


def assert_same_run(folder, epochs, uninterrupted):
    """Compare the epochs that a resumed run made, and all that it left, with those of an uninterrupted run."""
    expected_folder, expected_epochs = uninterrupted
    for epoch, metrics in epochs.items():
        assert_same(metrics, expected_epochs[epoch], f"epoch {epoch}")
    assert_same(checkpoints(folder), checkpoints(expected_folder))
    for place, file in (("found", folder / "model.pt"), ("expected", expected_folder / "model.pt")):
        assert file.is_file(), place
    assert_same(training_record(folder), training_record(expected_folder), "training.json")
    found, expected = (torch.load(each / "model.pt", weights_only=True) for each in (folder, expected_folder))
    assert_same(found, expected, "model.pt")


@pytest.mark.parametrize("kill", [AFTER_TWO_EPOCHS, WITHIN_THE_THIRD_EPOCH])
def test_a_killed_run_resumes_to_the_same_numbers(train, trained, tmp_path, kill):
    begun = train(tmp_path, kill=kill)
    assert list(begun) == [1, 2]
    resumed = train(tmp_path, resume=True)
    assert list(resumed) == [3, 4]
    assert_same_run(tmp_path, begun | resumed, trained)


def test_what_a_checkpoint_holds_is_already_in_the_other_files(train, tmp_path, monkeypatch):
    def save_and_die(state, path):
        save_atomically(state, path)
        if path.name == "checkpoint_epoch=2.pt":
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save_atomically", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, **{**QUICK, "max_epochs": 3, "val_interval": 2})
    kept = checkpoints(tmp_path)
    assert list(kept) == ["best.pt", "checkpoint_epoch=1.pt", "checkpoint_epoch=2.pt"]
    assert_same(torch.load(tmp_path / "model.pt", weights_only=True), kept["checkpoint_epoch=2.pt"]["model"])
    curve = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("loss_total")
    assert [event.step for event in curve] == [1, 2]


def kill_and_resume(train, folder, *files, kill, **settings):
    """Compare a run that was killed with one that was not; return the epochs before and after."""
    settings = {**QUICK, **settings}
    whole = folder / "whole", train(folder / "whole", *files, **settings)
    begun = train(folder / "part", *files, kill=kill, **settings)
    resumed = train(folder / "part", *files, resume=True, **settings)
    assert_same_run(folder / "part", begun | resumed, whole)
    return begun, resumed


@pytest.mark.long
def test_with_a_worker_process_too(train, tmp_path):
    kill = Events.EPOCH_COMPLETED(once=1)
    begun, resumed = kill_and_resume(train, tmp_path, kill=kill, num_workers=1, max_epochs=2, val_interval=1)
    assert (list(begun), list(resumed)) == ([1], [2])


def test_with_a_setting_that_draws_modalities(train, tmp_path):
    files, kill = ("train.yaml", "setting_idt_drop.yaml"), Events.ITERATION_COMPLETED(once=5)
    begun, resumed = kill_and_resume(train, tmp_path, *files, kill=kill, max_epochs=2)
    assert (list(begun), list(resumed)) == ([1], [2])


@pytest.mark.long
def test_with_a_method_that_rebalances_modalities(train, tmp_path):
    files, kill = ("train.yaml", "method_passion.yaml"), WITHIN_THE_THIRD_EPOCH
    begun, resumed = kill_and_resume(train, tmp_path, *files, kill=kill, max_epochs=3)
    assert (list(begun), list(resumed)) == ([1, 2], [3])
    coefficient = checkpoints(tmp_path / "part")["checkpoint_epoch=3.pt"]["loss"]["_extra_state"]["coefficient"]
    assert coefficient.isfinite().all() and coefficient.std() > 1e-3
    assert resumed[3]["coefficient/flair"] == pytest.approx(float(coefficient[0]))


@pytest.mark.long
def test_with_an_anchor_that_is_learnt(train, tmp_path):
    files, kill = ("train.yaml", "method_medmap.yaml"), WITHIN_THE_THIRD_EPOCH
    begun, resumed = kill_and_resume(train, tmp_path, *files, kill=kill, max_epochs=3)
    assert (list(begun), list(resumed)) == ([1, 2], [3])
    before, after = (each["model"]["alignment.theta"] for each in list(checkpoints(tmp_path / "part").values())[-2:])
    assert after.isfinite().all() and (after - before).abs().min() > 0
    assert resumed[3]["anchor_weight/flair"] == pytest.approx(float(after.softmax(dim=0)[0]))


def test_with_a_teacher_and_random_modalities_for_the_student(train, workflow, tmp_path):
    teacher = workflow("train.yaml").parser.get_parsed_content("network").state_dict()
    torch.save(teacher, tmp_path / "teacher.pt")
    files, kill = ("train.yaml", "method_kd_student.yaml"), Events.ITERATION_COMPLETED(once=5)
    settings = {"teacher_file": str(tmp_path / "teacher.pt"), "max_epochs": 2}
    begun, resumed = kill_and_resume(train, tmp_path, *files, kill=kill, **settings)
    assert (list(begun), list(resumed)) == ([1], [2])
    assert resumed[2]["loss_soft_distillation"] > 0


def test_with_a_method_that_has_discriminators(train, tmp_path):
    files, kill = ("train.yaml", "network_unet.yaml", "method_da.yaml"), Events.ITERATION_COMPLETED(once=5)
    settings = {"patch_size": [18, 18, 18], "max_epochs": 2, "val_interval": 9}
    begun, resumed = kill_and_resume(train, tmp_path, *files, kill=kill, **settings)
    assert (list(begun), list(resumed)) == ([1], [2])
    first, second = checkpoints(tmp_path / "part").values()
    before, after = (each["discriminators"] for each in (first, second))
    assert [name for name in after if torch.equal(before[name], after[name])] == []
    moments = second["discriminator_optimizer"]["state"].values()
    assert len(moments) == len(after) and all(each["exp_avg"].abs().max() > 0 for each in moments)
    assert resumed[2]["loss_consistency_weight"] > begun[1]["loss_consistency_weight"] > 0


def test_with_gradients_that_are_modulated_and_prototypes_that_move(train, tmp_path):
    files = ("train.yaml", "network_unet.yaml", "method_ogm_ge.yaml", "method_pmr.yaml")
    kill = Events.ITERATION_COMPLETED(once=5)
    settings = {"patch_size": [18, 18, 18], "max_epochs": 2, "val_interval": 9}
    begun, resumed = kill_and_resume(train, tmp_path, *files, kill=kill, **settings)
    assert (list(begun), list(resumed)) == ([1], [2])
    kept = [
        each["loss"]["terms.prototype_cross_entropy._extra_state"] for each in checkpoints(tmp_path / "part").values()
    ]
    before, after = (each["prototypes"] for each in kept)
    assert after.isfinite().any() and not torch.equal(before.nan_to_num(), after.nan_to_num())
    assert all(0 < resumed[2][f"modulation/{name}"] <= 1 for name in ("flair", "t1ce", "t1", "t2"))


def test_another_seed_gives_other_numbers(train, trained, tmp_path):
    _, expected = trained
    epochs = train(tmp_path, seed=1, kill=Events.EPOCH_COMPLETED(once=1))
    assert abs(epochs[1]["loss_total"] - expected[1]["loss_total"]) > 1e-3


def test_the_learning_rate_decays_over_the_whole_run(trained):
    # lr (1 - epoch / epochs)^0.9 after each of the 4 epochs
    rates = [epoch["lr"] for epoch in trained[1].values()]
    assert rates == pytest.approx([0.01 * (1 - epoch / 4) ** 0.9 for epoch in (1, 2, 3, 4)])


def test_resuming_a_finished_run_changes_nothing(train, tmp_path):
    settings = {**QUICK, "max_epochs": 1, "val_interval": 1}
    train(tmp_path, **settings)
    before = checkpoints(tmp_path), torch.load(tmp_path / "model.pt", weights_only=True)
    assert train(tmp_path, resume=True, **settings) == {}
    assert_same((checkpoints(tmp_path), torch.load(tmp_path / "model.pt", weights_only=True)), before)


def test_resuming_a_run_that_ended_in_its_first_epoch_is_an_error(train, tmp_path):
    assert train(tmp_path, kill=Events.ITERATION_COMPLETED(once=1)) == {}
    with pytest.raises(RuntimeError) as caught:  # MONAI wraps whatever an expression of the configuration raises
        train(tmp_path, resume=True)
    error = root_cause(caught.value)
    assert isinstance(error, FileNotFoundError)
    assert f"`resume` is set but {tmp_path / 'checkpoints'} has no checkpoint_epoch=*.pt" in str(error)
    assert not (tmp_path / "model.pt").exists()


def test_starting_anew_moves_the_earlier_checkpoints_aside(train, tmp_path, caplog):
    settings = {**QUICK, "max_epochs": 1}
    train(tmp_path, **settings)
    earlier = checkpoints(tmp_path)
    train(tmp_path, **settings, seed=1)
    assert f"moved to {tmp_path / 'checkpoints_1'}" in caplog.text
    assert_same(checkpoints(tmp_path, "checkpoints_1"), earlier)
    assert list(checkpoints(tmp_path)) == ["checkpoint_epoch=1.pt"]


@pytest.mark.long
def test_with_phantoms_imaged_anew_and_weights_averaged(train, tmp_path):
    files, kill = ("train.yaml", "train_phantom.yaml"), Events.ITERATION_COMPLETED(once=5)
    settings = {"phantom_dir": str(tmp_path / "phantoms"), "num_phantoms": 5, "steps_per_epoch": 3, "max_epochs": 2}
    begun, resumed = kill_and_resume(train, tmp_path, *files, kill=kill, **settings)
    assert (list(begun), list(resumed)) == ([1], [2])
    last = checkpoints(tmp_path / "part")["checkpoint_epoch=2.pt"]
    average = {name.removeprefix("module."): value for name, value in last["average"].items() if "module." in name}
    assert_same(torch.load(tmp_path / "part" / "model.pt", weights_only=True), average)
    moved = [name for name, value in average.items() if not torch.equal(value, last["model"][name])]
    assert moved and all(value.isfinite().all() for value in average.values())
