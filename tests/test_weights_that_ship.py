# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The files in models/ survive training and evaluation with default paths; the weights are evaluated as trained."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
from monai.bundle import ConfigWorkflow

from scripts.engines.case_evaluator import root_cause
from scripts.records.side_files import sha256

ROOT = Path(__file__).parents[1]
ONE = {
    "metrics": ["dice"],
    "validation_subsets": ["t2"],
    "sliding_window_overlap": 0.0,
    "evaluated_section": "validation",
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Copy the configurations and the weights that ship."""
    folder = tmp_path_factory.mktemp("bundle")
    for name in ("configs", "models"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def call(bundle, phantoms):
    """Run configurations of the copy, all paths but that of the data as they are; which files in models/ are new?"""

    def _call(run_id, *files, **options):
        paths = [str(bundle / "configs" / f"{name}.yaml") for name in files]
        places = {"bundle_root": str(bundle), "dataset_dir": str(phantoms), "device": "cpu", "num_workers": 0}
        before = stamps(bundle)
        run = ConfigWorkflow(paths, logging_file=False, run_id=run_id, **{**places, **options})
        run.initialize()
        run.run()
        run.finalize()
        after = stamps(bundle)
        return [name for name in before | after if before.get(name) != after.get(name)]

    return _call


def stamps(bundle):
    files = (path for path in bundle.rglob("*") if path.is_file() and "runs" not in path.relative_to(bundle).parts)
    return {str(path.relative_to(bundle)): sha256(path) for path in files}


@pytest.fixture(scope="module")
def trained_in_place(call):
    """Train with default paths; which files outside of runs/ changed?"""
    tiny = {"spacing": [8.0, 8.0, 8.0], "patch_size": [24, 24, 24], "network_def::width": 4, "max_epochs": 1}
    return call("training", "train", **tiny)


def test_a_training_changes_nothing_but_its_own_folder(trained_in_place, bundle):
    assert trained_in_place == []
    assert {"model.pt", "training.json", "checkpoints"} <= {path.name for path in (bundle / "runs" / "train").iterdir()}


def test_an_evaluation_takes_the_weights_that_ship_at_their_own_scale_and_says_so(call, bundle, caplog):
    with caplog.at_level(logging.INFO):
        assert call("evaluating", "train", "evaluate", **ONE) == []
    assert f"weights are those of {bundle / 'models' / 'model.pt'}" in caplog.text
    content = json.loads((bundle / "runs" / "evaluate" / "performance.json").read_text())
    assert content["sha256"] == sha256(ROOT / "models" / "model.pt")
    record = json.loads((ROOT / "models" / "training.json").read_text())
    assert {name: content["settings"][name] for name in record["settings"]} == record["settings"]


@pytest.mark.long
def test_a_smaller_evaluation_does_not_replace_the_figures_that_ship_unless_told_to(call, bundle):
    with pytest.raises(RuntimeError) as refusal:  # MONAI wraps what a workflow raises
        call("evaluating", "train", "evaluate", **ONE, keep_performance="true")
    assert "of these weights and of more: 30 cases; the new one is of 1 cases" in str(root_cause(refusal.value))
    assert sha256(bundle / "models" / "performance.json") == sha256(ROOT / "models" / "performance.json")
    changed = call("evaluating", "train", "evaluate", **ONE, keep_performance="replace", resume=True)
    assert changed == ["models/performance.json"]
    shutil.copy(ROOT / "models" / "performance.json", bundle / "models")


def test_what_was_just_trained_is_evaluated_when_named(call, trained_in_place, bundle):
    own = str(bundle / "runs" / "train" / "model.pt")
    assert call("evaluating", "train", "evaluate", **ONE, **{"network_def::width": 4}, model_file=own) == []
    settings = json.loads((bundle / "runs" / "evaluate" / "performance.json").read_text())["settings"]
    assert (settings["spacing"], settings["patch_size"]) == ([8.0] * 3, [24] * 3)


def test_fine_tuning_and_its_evaluation_find_each_other(call, bundle):
    knobs = {"max_epochs": 1, "val_interval": 9, "patch_size": [32, 32, 32], "spacing": [4.0, 4.0, 4.0]}
    assert call("training", "train", "finetune", **knobs) == []
    assert call("evaluating", "train", "finetune", "evaluate", **ONE) == []
    content = json.loads((bundle / "runs" / "evaluate" / "performance.json").read_text())
    assert content["sha256"] == sha256(bundle / "runs" / "finetune" / "model.pt")
    assert content["settings"]["spacing"] == [4.0] * 3


def test_weights_of_which_no_record_says_the_scale_are_refused_in_words(call, bundle, tmp_path):
    shutil.copy(ROOT / "models" / "model.pt", tmp_path)
    with pytest.raises(RuntimeError) as refusal:
        call("evaluating", "train", "evaluate", **ONE, model_file=str(tmp_path / "model.pt"))
    assert "Give `--spacing`, `--patch_size` themselves" in str(root_cause(refusal.value))
