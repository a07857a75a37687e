# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The record of a run: what ran, and a configuration that repeats it."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from fire.core import Fire
from ignite.engine import Engine
from monai.bundle import ConfigParser, update_kwargs

from scripts.handlers import run_record
from scripts.handlers.run_record import RunRecordHandler, environment, merged_config

BASE = """
knob: 1
names: [flair, t2]
train: {rate: 0.1, handlers: [first], trainer: {epochs: '@knob', device: cpu}}
"""
OVERLAY = """
train::trainer::epochs: 5
+train::handlers: [second]
extra: text
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "overlay.yaml").write_text(OVERLAY)
    return [str(tmp_path / "base.yaml"), str(tmp_path / "overlay.yaml")]


def as_monai_merges(arguments):
    """Let fire read the command line and MONAI apply it, as `python -m monai.bundle run` does."""
    received = {}
    Fire({"run": lambda run_id=None, **options: received.update(options)}, command=list(arguments))
    options = update_kwargs(None, **received)
    parser = ConfigParser(ConfigParser.load_config_files(options.pop("config_file")))
    options.pop("meta_file", None)
    parser.update(options)
    return parser.config


def test_overlays_are_merged_as_monai_does(files):
    config = merged_config(["run", "training", "--config_file", str(files)])
    assert config == {
        "knob": 1,
        "names": ["flair", "t2"],
        "train": {"rate": 0.1, "handlers": ["first", "second"], "trainer": {"epochs": 5, "device": "cpu"}},
        "extra": "text",
    }


@pytest.mark.parametrize(
    "options",
    [
        ["--knob", "3"],
        ["--knob=-3"],
        ["--knob", "2e-4"],
        ["--train::trainer::epochs", "7"],
        ["--train#trainer#epochs=7"],
        ["--names", "[t1,t2]"],
        ["--names", "['t1', 't2']"],
        ["--names", "[all,flair+t2]"],
        ["--names=all"],
        ["--train::trainer", "{epochs: 1}"],
        ["--knob", "true"],
        ["--knob", "True"],
        ["--knob", "None"],  # MONAI passes over it
        ["--knob", "@names"],
        ["--extra", "$@knob + 1"],
        ["--extra", ""],
        ["--extra", "/some/path with spaces/x=1"],
        ["--knob", "--extra", "text"],  # an option without a value is true
        ["--extra", "text", "--knob"],
        ["--new-knob", "1"],
        ["--meta_file", "somewhere/metadata.json"],
    ],
)
def test_overrides_of_the_command_line_mean_what_they_mean_to_monai(files, options):
    arguments = ["run", "training", "--config_file", str(files), *options]
    expected = as_monai_merges(arguments)
    assert merged_config(arguments) == expected
    assert yaml.safe_load(yaml.safe_dump(merged_config(arguments))) == expected, "and stay so in the file"


def test_a_single_file_may_be_named_without_brackets(files):
    assert merged_config(["run", "--config_file", files[0]])["knob"] == 1


def test_what_belongs_to_the_command_and_not_to_the_configuration_is_left_out(files):
    arguments = ["run", "--run_id", "training", "--config_file", files[0], "--logging_file", "logging.conf"]
    assert merged_config(arguments) == yaml.safe_load(BASE)


def test_a_process_that_names_no_configuration_has_none():
    assert merged_config(["-q", "tests"]) is None


def test_a_run_leaves_its_command_seed_versions_and_configuration(tmp_path, files, monkeypatch):
    command = ["monai.bundle", "run", "training", "--config_file", str(files), "--knob", "4"]
    monkeypatch.setattr(sys, "argv", command)
    engine = Engine(lambda engine, batch: None)
    RunRecordHandler(str(tmp_path / "new" / "run"), seed=17).attach(engine)
    engine.run([0])
    record = json.loads((tmp_path / "new" / "run" / "run.json").read_text())
    assert record["seed"] == 17
    assert record["command"] == command
    assert record["versions"]["monai"] == version("monai")
    assert datetime.fromisoformat(record["started"]).tzinfo is not None
    assert {"python", "git_commit", "git_changes", "processor", "threads", "gpu"} <= set(record)
    config = yaml.safe_load((tmp_path / "new" / "run" / "config.yaml").read_text())
    assert config == merged_config(command[1:])
    assert list(config) == ["knob", "names", "train", "extra"], "in the order of the files"


def test_what_the_cases_lack_is_recorded_with_the_run(tmp_path):
    cases = [{"case": "a", "images": {"t1": "a.nii"}}, {"case": "b", "images": {"t1": "b.nii", "t2": "c.nii"}}]
    RunRecordHandler(str(tmp_path), seed=0, cases=cases, modalities=["t1", "t2"])(Engine(lambda engine, batch: None))
    data = json.loads((tmp_path / "run.json").read_text())["data"]
    assert data["cases"] == 2
    assert {name: row["missing_rate"] for name, row in data["modalities"].items()} == {"t1": 0.0, "t2": 0.5}
    RunRecordHandler(str(tmp_path), seed=0)(Engine(lambda engine, batch: None))
    assert "data" not in json.loads((tmp_path / "run.json").read_text())


def test_cases_that_list_no_modalities_are_only_counted(tmp_path):
    cases = [{"image": "a.nii", "label": "b.nii"}, {"image": "folder", "label": "c.nii"}]  # as MONAI Label has them
    RunRecordHandler(str(tmp_path), seed=0, cases=cases, modalities=["t1"])(Engine(lambda engine, batch: None))
    assert json.loads((tmp_path / "run.json").read_text())["data"] == {"cases": 2}


def test_outside_of_a_bundle_run_there_is_no_configuration_to_write(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["my_program.py"])
    RunRecordHandler(str(tmp_path), seed=0)(Engine(lambda engine, batch: None))
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_the_commit_is_that_of_the_bundle_wherever_the_process_runs(tmp_path, monkeypatch):
    asked = []

    def run(command, **kwargs):
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, stdout="abc\n", stderr="")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_record.subprocess, "run", run)
    assert environment()["git_commit"] == "abc"
    root = str(Path(run_record.__file__).parents[2])
    assert [command[:3] for command in asked] == [["git", "-C", root]] * 2


@pytest.mark.parametrize("trouble", ["no git", "no checkout"])
def test_a_bundle_without_git_is_recorded_without_a_commit(monkeypatch, trouble):
    def run(command, **kwargs):
        if trouble == "no git":
            raise FileNotFoundError("git")
        return subprocess.CompletedProcess(command, 128, stdout="", stderr="fatal: not a git repository")

    monkeypatch.setattr(run_record.subprocess, "run", run)
    found = environment()
    assert found["git_commit"] is None
    assert found["git_changes"] is None
