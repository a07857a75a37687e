# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Any two methods compose, in any order, or are refused in words."""

from __future__ import annotations

from itertools import combinations, permutations
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from scripts.engines.case_evaluator import root_cause

CONFIGS = Path(__file__).parents[1] / "configs"
METHODS = sorted(file.name for file in CONFIGS.glob("method_*.yaml"))
TEACHER, STUDENT = "method_kd_teacher.yaml", "method_kd_student.yaml"
PAIRS = list(combinations(METHODS, 2))
REFUSED = [(STUDENT, TEACHER)]  # one trains the file that the other needs


def terms_of(*files):
    """What an objective of overlays in this order is made of: every term, its weight, and what is appended beside."""
    parser = ConfigParser(ConfigParser.load_config_files([str(CONFIGS / file) for file in ("train.yaml", *files)]))
    handlers = [each["_target_"] for each in parser["train::handlers"]]
    return dict(sorted(parser["loss::terms"].items())), sorted(handlers), parser["train::saved"]


@pytest.fixture
def train(workflow, tmp_path):
    """Train a small network for two iterations, of two samples each."""

    def _train(*methods):
        places = {"output_dir": str(tmp_path), "model_file": str(tmp_path / "model.pt")}
        data = {"patch_size": [18, 18, 18], "batch_size": 2, "max_epochs": 1, "val_interval": 9}
        if STUDENT in methods and TEACHER not in methods:
            data["teacher_file"] = str(tmp_path / "teacher.pt")
            aligned = [name for name in methods if name == "method_medmap.yaml"]
            network = workflow("train.yaml", "network_unet.yaml", *aligned).parser.get_parsed_content("network")
            torch.save(network.state_dict(), data["teacher_file"])
        if methods in REFUSED:
            data["teacher_file"] = places["model_file"]  # as method_kd_teacher.yaml has it
        run = workflow("train.yaml", "network_unet.yaml", *methods, **places, **data)
        trainer = run.parser.get_parsed_content("train::trainer")
        before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
        run.run()
        return trainer, before

    return _train


@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_the_order_of_two_methods_changes_nothing(pair):
    first, second = (terms_of(*order) for order in permutations(pair))
    assert first == second


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair not in REFUSED], ids="+".join)
def test_any_two_methods_train_together_and_each_of_their_terms_counts(train, pair):
    trainer, before = train(*pair)
    terms, _, _ = terms_of(*pair)
    expected = {name for name, term in terms.items() if term["weight"] != 0}
    expected -= {"deep_supervision"}  # which a U-Net has not
    expected -= set() if "method_medmap.yaml" in pair else {"alignment"}
    metrics = trainer.state.metrics
    assert {name for name in terms if f"loss_{name}" in metrics} == expected
    assert all(torch.tensor(value).isfinite() for value in metrics.values())
    after = trainer.network.state_dict()
    assert all(value.isfinite().all() for value in after.values())
    assert any(not torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize("pair", REFUSED, ids="+".join)
def test_what_cannot_be_composed_is_refused_in_words(train, pair):
    with pytest.raises(Exception) as caught:
        train(*pair)
    assert "expected two files, or the student would be written over its teacher" in str(root_cause(caught.value))
