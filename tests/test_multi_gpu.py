# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Two processes on the CPU do together what one does alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import ignite.distributed as idist
import numpy as np
import pytest
import torch
import yaml
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from torch.testing import assert_close

from scripts.data.datalist import read_section, write_datalist
from scripts.engines import distributed
from scripts.engines.case_evaluator import root_cause
from scripts.utils import files

ROOT = Path(__file__).parents[1]
TOGETHER, METHOD = "multi_gpu_train.yaml", "method_passion.yaml"
QUICK = {"patch_size": [16, 16, 16], "validation_subsets": ["all"], "val_interval": 1}
# No step may depend on how samples are drawn, nor be made large by Adam where the gradient is all but zero.
PLAIN = {
    "train::preprocessing::transforms": [
        {"_target_": "scripts.transforms.load.LoadCased", "modalities": "@modalities", "label_required": True},
        {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True, "channel_wise": True},
        {"_target_": "ResizeWithPadOrCropd", "keys": ["image", "label"], "spatial_size": "@patch_size"},
        "@train::missing",
    ],
    "optimizer": {"_target_": "torch.optim.SGD", "params": "$@network.parameters()", "lr": "@learning_rate"},
}
# The order in which the processes together take the cases.
IN_TURN = {
    "_target_": "DistributedSampler",
    "dataset": "@train::dataset",
    "seed": "@seed",
    "num_replicas": 1,
    "rank": 0,
}


def train(overlays, settings, stop=None):
    """Train in this process; the weights before, and weights, metrics and last batch of each epoch."""
    paths = [str(ROOT / "configs" / name) for name in ("train.yaml", *overlays)]
    run = ConfigWorkflow(paths, logging_file=False, run_id="training", workflow_type="train", **settings)
    run.initialize()
    trainer, evaluator = map(run.parser.get_parsed_content, ("train::trainer", "validate::evaluator"))
    network = run.parser.get_parsed_content("network")
    found = {"metrics": [], "images": [], "weights": [], "before": _copy(network)}

    @trainer.on(Events.EPOCH_COMPLETED)
    def note(engine):
        found["metrics"].append({**engine.state.metrics, "mean_dice": evaluator.state.metrics["mean_dice"]})
        found["images"].append(engine.state.batch["image"].as_tensor().clone())
        found["weights"].append(_copy(network))

    if stop is not None:
        trainer.add_event_handler(Events.EPOCH_COMPLETED(once=stop), trainer.terminate)
    run.run()
    run.finalize()
    return found


def _copy(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def forbidden(*paths):
    raise AssertionError(f"the second process writes {paths}")


def work_together(rank, folder, runs):
    """Do some runs as one of two processes; leave what they found, or why they did not go on."""
    torch.set_num_threads(1)
    if rank > 0:
        files.os.replace = forbidden
    for name, (overlays, settings, stop) in runs.items():
        try:
            found = train([*overlays, TOGETHER], settings, stop)
        except Exception as error:
            found = {"error": str(root_cause(error))}
        torch.save(found, f"{folder}/{name}_{rank}.pt")


@pytest.fixture(scope="module")
def lists(phantoms, tmp_path_factory):
    """Datalists: 4 training cases, 3 of them incomplete; and one case that lacks T1ce."""
    sections = {name: read_section(phantoms / "datalist.json", name) for name in ("training", "validation", "testing")}
    four = sections["training"] + sections["validation"]
    (one,) = sections["validation"]
    one = one.keep(["flair", "t1", "t2"])
    found, folder = {}, tmp_path_factory.mktemp("lists")
    for name, cases in {"four": four, "one": [one]}.items():
        found[name] = str(folder / f"{name}.json")
        write_datalist(found[name], {**sections, "training": cases}, ["flair", "t1ce", "t1", "t2"])
    return found


@pytest.fixture(scope="module")
def runs(tiny, lists, tmp_path_factory):
    """What the two processes do: overlays, settings, and the epoch at which the run is stopped."""
    folder = tmp_path_factory.mktemp("runs")
    plain = folder / "plain.yaml"
    plain.write_text(yaml.safe_dump(PLAIN))

    def settings(place, **more):
        places = {"output_dir": str(folder / place), "model_file": str(folder / place / "model.pt")}
        return {**tiny, **QUICK, **places, "learning_rate": 0.01, "max_epochs": 2, **more}

    return folder, {
        "same": ([METHOD, str(plain)], settings("same", datalist_file=lists["four"]), None),
        "alone": ([METHOD, str(plain)], settings("alone", datalist_file=lists["four"], batch_size=2), None),
        "spared": ([], settings("spared", datalist_file=lists["one"], max_epochs=1), None),
        "whole": ([], settings("whole"), None),
        "begun": ([], settings("part"), 1),
        "resumed": ([], settings("part", resume=True), None),
        "refused": (["network_unet.yaml", "method_da.yaml"], settings("refused"), None),
    }


@pytest.fixture(scope="module")
def together(runs):
    """What each of the two processes found in each run, by name."""
    folder, planned = runs
    shared = {name: run for name, run in planned.items() if name != "alone"}
    idist.spawn("gloo", work_together, args=(str(folder), shared), nproc_per_node=2)
    return {name: [torch.load(folder / f"{name}_{rank}.pt", weights_only=True) for rank in (0, 1)] for name in shared}


def test_two_processes_learn_what_one_learns_from_the_same_cases(runs, together):
    overlays, settings, _ = runs[1]["alone"]
    order = runs[0] / "order.yaml"
    order.write_text(yaml.safe_dump({"+train::dataloader": {"sampler": IN_TURN, "shuffle": False}}))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the two have: sums of several threads round otherwise
    try:
        alone = train([*overlays, str(order)], settings)
    finally:
        torch.set_num_threads(threads)
    first, _ = alone["weights"]  # two steps; rounding grows afterwards
    assert max((first[name] - value).abs().max() for name, value in alone["before"].items()) > 1e-4
    for found in together["same"]:
        assert_close(found["weights"][0], first, rtol=1e-3, atol=2e-6)
        for epoch, tolerance in enumerate((1e-5, 2e-3)):
            metrics = alone["metrics"][epoch]
            names = [name for name in metrics if re.match("coefficient|distance|preference|mean_dice", name)]
            assert len(names) == 3 * 4 + 1
            expected = pytest.approx([metrics[name] for name in names], abs=tolerance)
            assert [found["metrics"][epoch][name] for name in names] == expected
    rows = [alone["metrics"][0][f"coefficient/{name}"] for name in ("flair", "t1ce", "t1", "t2")]
    assert np.isfinite(rows).all() and np.std(rows) > 20 * 1e-5


def test_what_no_process_has_seen_is_neither_moved_nor_decayed(together):
    for found in together["spared"]:
        (after,), before = found["weights"], found["before"]
        weights = [name for name, value in after.items() if value.ndim > 1]  # biases may begin with zero
        still = [name for name in weights if torch.equal(after[name], before[name])]
        assert still == [name for name in weights if name.startswith("encoders.1.")]
        assert all(value.isfinite().all() for value in after.values())


def test_each_process_draws_its_own_patches_and_all_have_the_same_weights(together):
    first, second = together["spared"]  # one case, so that both have it
    assert not torch.equal(first["images"][0].nan_to_num(), second["images"][0].nan_to_num())
    for name in ("spared", "whole"):
        first, second = (found["weights"][-1] for found in together[name])
        assert [key for key, value in first.items() if not torch.equal(value, second[key])] == []


def test_a_stopped_run_resumes_to_the_same_numbers(together):
    whole, begun, resumed = (together[name][0] for name in ("whole", "begun", "resumed"))
    assert begun["metrics"] + resumed["metrics"] == [pytest.approx(metrics, rel=1e-5) for metrics in whole["metrics"]]
    assert_close(resumed["weights"][-1], whole["weights"][-1], rtol=0, atol=1e-7)


def test_the_first_process_leaves_what_a_run_leaves(runs, together):
    folder = runs[0] / "whole"  # the second one would have failed if it had written
    names = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    curves = [name for name in names if name.startswith("tensorboard")]
    assert len({name.split(".")[-2] for name in curves}) == 1, "the names hold the number of the process"
    kept = {f"checkpoints/{name}" for name in ("best.pt", "checkpoint_epoch=1.pt", "checkpoint_epoch=2.pt")}
    assert set(names) - set(curves) == {*kept, "model.pt", "training.json", "run.json"}
    assert json.loads((folder / "run.json").read_text())["processes"] == 2
    model = torch.load(folder / "model.pt", weights_only=True)
    assert model.keys() == together["whole"][0]["before"].keys()


def test_co_training_is_refused_in_words(together):
    for found in together["refused"]:
        assert found["error"].startswith("co-training with discriminators was started in 2 processes; expected one.")


# --- as a user starts it ---------------------------------------------------------------------------


def torchrun(arguments):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nnodes=1", "--nproc_per_node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*launcher, "-m", "monai.bundle", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment)


@pytest.fixture(scope="module")
def evaluated(workflow, command_line, phantoms, tmp_path_factory):
    """Evaluate three cases, of which the second is broken, in two processes and in one: a folder of each."""
    folder = tmp_path_factory.mktemp("evaluated")
    sections = {name: read_section(phantoms / "datalist.json", name) for name in ("validation", "testing")}
    good, broken, last = [*sections["testing"], *sections["validation"]]
    cut = folder / "cut.nii.gz"
    cut.write_bytes(Path(broken.images["t1"]).read_bytes()[:-2000])
    broken = replace(broken, images={**broken.images, "t1": str(cut)})
    write_datalist(folder / "list.json", {"testing": [good, broken, last]}, ["flair", "t1ce", "t1", "t2"])
    weights = workflow("train.yaml").parser.get_parsed_content("network").state_dict()
    places = []
    for name in ("two", "one"):
        (folder / name).mkdir()
        torch.save(weights, folder / name / "model.pt")
        places.append({"output_dir": str(folder / name), "model_file": str(folder / name / "model.pt")})
    settings = {"datalist_file": str(folder / "list.json"), "validation_subsets": ["all", "flair"]}
    names = ["train.yaml", "evaluate.yaml"]
    ended = torchrun(command_line("evaluating", *names, "multi_gpu_evaluate.yaml", **settings, **places[0]))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = workflow(*names, run_id="evaluating", **settings, **places[1])
    run.run()
    torch.set_num_threads(threads)
    with pytest.raises(SystemExit) as alone:
        run.finalize()
    return folder, ended, alone.value


def test_a_case_that_fails_in_the_second_process_is_reported(evaluated):
    _, ended, alone = evaluated
    assert ended.returncode != 0
    assert "1 of 3 cases failed:" in str(alone) and "cut.nii.gz" in str(alone)
    assert ended.stderr.count(str(alone)) == 1


TABLES = ["per_case.csv", "summary.json", "summary.md", "calibration.json", "modality_gap.json", "features.npz"]


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_two_processes_are_those_of_one_byte_for_byte(evaluated, name):
    two, one = ((evaluated[0] / place / name).read_bytes() for place in ("two", "one"))
    assert two == one
    assert len(one) > 100


def test_both_leave_the_same_files_and_the_same_of_each_case(evaluated):
    two, one = (
        {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}
        for folder in (evaluated[0] / place for place in ("two", "one"))
    )
    assert two.keys() == {*one, "config.yaml"}  # as there was no command line of one
    parts = [name for name in one if name.startswith("cases")]
    assert len(parts) == 2 * 5  # scores, latent features, their voxels, slice and calibration
    assert [name for name in parts if two[name].read_bytes() != one[name].read_bytes()] == []
    first, second = (json.loads(found["performance.json"].read_text()) for found in (two, one))
    assert first["per_subset"] == second["per_subset"] and first["num_cases"] == second["num_cases"]


def test_an_evaluation_of_two_processes_is_resumed_by_one(evaluated, workflow, tmp_path):
    folder = tmp_path / "two"
    shutil.copytree(evaluated[0] / "two", folder)
    (folder / "per_case.csv").unlink()
    settings = {"output_dir": str(folder), "model_file": str(folder / "model.pt"), "resume": True}
    settings |= {"datalist_file": str(evaluated[0] / "list.json"), "validation_subsets": ["all", "flair"]}
    run = workflow("train.yaml", "evaluate.yaml", run_id="evaluating", **settings)
    run.run()
    assert run.parser.get_parsed_content("validate::evaluator").state.epoch_length == 1  # the broken one
    assert (folder / "per_case.csv").read_bytes() == (evaluated[0] / "one" / "per_case.csv").read_bytes()


def test_a_training_command_runs_through_with_fewer_validation_cases_than_processes(command_line, tmp_path):
    settings = {"output_dir": tmp_path, "model_file": tmp_path / "model.pt", "max_epochs": 1, **QUICK}
    files = ["train.yaml", "method_medmap.yaml", TOGETHER]
    ended = torchrun(command_line("training", *files, **settings))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("Epoch[1] Metrics -- anchor_weight/flair") == 1
    assert "destroy_process_group" not in ended.stderr
    state = torch.load(tmp_path / "checkpoints" / "checkpoint_epoch=1.pt", weights_only=True)
    assert state["trainer"]["epoch_length"] == 2  # 3 cases in 2 processes
    assert state["best"]["best_epoch"] == 1
    assert (tmp_path / "config.yaml").is_file()


# --- parts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1, 3, 4])
def test_every_case_is_the_share_of_exactly_one_process(monkeypatch, number):
    monkeypatch.setattr(distributed.idist, "get_world_size", lambda: 3)
    shares = []
    for rank in range(3):
        monkeypatch.setattr(distributed.idist, "get_rank", lambda rank=rank: rank)
        shares.append(list(distributed.own_share([None] * number)))
    assert sorted(sum(shares, [])) == list(range(number))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


HELD = """
import os, torch
from scripts.engines import distributed
torch.set_num_threads(1)
count = lambda: len(os.listdir("/proc/self/task"))
counts = [count()]
distributed.start_processes("cpu")
network = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 1))
network(torch.ones(1, 2)).sum().backward()
holder = {"network": network}
holder["itself"] = holder
del network, holder
counts.append(count())
distributed._part()
print(*counts, count())
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_no_thread_of_the_group_outlives_python_where_a_cycle_holds_the_network():
    alone = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, **alone, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, timeout=120, env=environment)
    before, during, after = map(int, ended.stdout.split())
    assert before < during and after == before, ended.stderr


def test_a_process_that_was_not_started_by_torchrun_is_told_so(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(RuntimeError, match="RANK is not set; expected to be started by torchrun"):
        distributed.start_processes("cpu")


def test_every_process_has_a_gpu_of_its_own_or_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert distributed.own_device() == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="process 2 of this machine has no GPU of its own: 2 are visible"):
        distributed.own_device()
