# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""A study from its plan to its tables."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from scripts.tools.run_study import RunStudy

ROOT = Path(__file__).parents[2]
PLAN = {
    "missing_rates": {"mr28": {"t1": 0.2, "t2": 0.8}},
    "seeds": [5],
    "options": {
        "spacing": [8.0, 8.0, 8.0],
        "patch_size": [16, 16, 16],
        "network_def::width": 4,
        "num_workers": 0,
        "max_epochs": 1,
        "val_interval": 9,
        "device": "cpu",
    },
    "evaluation": {"metrics": ["dice"], "calibration": False},
    "variants": {
        "without": None,
        "with": {"files": ["configs/method_passion.yaml"]},
        "broken": {"options": {"network_def::width": "wide"}},
    },
}


@pytest.fixture
def study(tmp_path, phantoms, monkeypatch):
    """Make a study of the phantoms, in the bundle's root folder."""
    monkeypatch.chdir(ROOT)

    def _study(plan=PLAN, **arguments):
        file = tmp_path / "plan.yaml"
        file.write_text(yaml.safe_dump(plan, sort_keys=False), encoding="utf-8")
        return RunStudy(str(file), str(tmp_path / "study"), dataset_dir=str(phantoms), **arguments)

    return _study


@pytest.fixture
def commands(monkeypatch):
    """Note the runs instead of making them; they end well."""
    noted = []

    def note(self, step, files, options, place):
        noted.append((step, files, options))
        return True

    monkeypatch.setattr(RunStudy, "_bundle", note)
    monkeypatch.setattr(RunStudy, "_write", lambda self, finished: None)
    return noted


@pytest.mark.long
def test_a_study_trains_evaluates_tabulates_and_names_what_failed(study, tmp_path, capsys):
    with pytest.raises(SystemExit, match=r"1 runs failed, the logs in their folders say why:\n .*mr28/broken/seed5"):
        study(threads=1, copy_to=str(tmp_path / "docs" / "trial.md"))()
    assert "2 of 3 runs are finished" in capsys.readouterr().out
    folder = tmp_path / "study"
    scores = pd.read_csv(folder / "scores.csv")
    assert (
        set(scores["variant"]) == {"without", "with"} and len(scores) == 2 * 2 * 15 * 4
    )  # cases, subsets, regions with `et_min500`
    assert scores["value"].between(0, 1).all()
    written = {"by_num_modalities.csv", "by_subset.csv", "curves.csv", "primary.csv", "gap_ratios.csv", "results.md"}
    assert {*written, "primary.png", "dice.png"} <= {f.name for f in folder.iterdir()}
    page = (folder / "results.md").read_text(encoding="utf-8")
    assert "2 of 3 runs finished; the baseline has 1 of 1 seed. No finished run yet: `broken`." in page
    assert "One core hour gives " in page
    primary = pd.read_csv(folder / "primary.csv").set_index(["variant", "num_modalities"])
    assert primary["seeds"].to_dict() == {
        ("with", "1"): 1,
        ("broken", "1"): 0,
        ("with", "all"): 1,
        ("broken", "all"): 0,
    }
    assert set(pd.read_csv(folder / "gap_ratios.csv")["measure"]) >= {"gap", "spread", "matched_ratio"}
    gaps = pd.read_csv(folder / "by_measure.csv").query("measure == 'gap'")
    assert set(gaps["variant"]) == {"without", "with"} and (gaps["mean"] > 0).all()
    assert "by modality gap" in page
    copied = (tmp_path / "docs" / "trial.md").read_text(encoding="utf-8")
    assert "](trial_differences.png)" in copied and "by modality gap" in copied and "`plan.yaml`" in copied
    assert (tmp_path / "docs" / "trial_differences.png").is_file()
    tags = pd.read_csv(folder / "curves.csv").query("variant == 'with'")["tag"]
    assert "distance/flair" in set(tags)
    assert "width" in (folder / "runs/mr28/broken/seed5/training.log").read_text(encoding="utf-8")
    assert not list(folder.rglob("checkpoint*.pt"))
    record = json.loads((folder / "runs/mr28/without/seed5/training.json").read_text(encoding="utf-8"))
    assert record["trained_on"]["num_cases"] > 0, "the record of the weights stays as the training wrote it"


def test_only_training_cases_lose_modalities_and_by_the_seed_of_the_run(study, tmp_path, commands, phantoms):
    study(variants="without")()
    listed = json.loads((tmp_path / "study/runs/mr28/without/seed5/datalist.json").read_text(encoding="utf-8"))
    assert listed["missing_rates"] == PLAN["missing_rates"]["mr28"] and listed["rates_seed"] == 5
    complete = json.loads((phantoms / "datalist.json").read_text(encoding="utf-8"))
    assert [set(case["images"]) for case in listed["testing"]] == [set(c["images"]) for c in complete["testing"]]
    before, after = (sum(len(case["images"]) for case in content["training"]) for content in (complete, listed))
    assert 0 < after < before


def test_what_is_finished_is_not_run_again_and_the_rest_is(study, commands):
    study(variants=("without",))()
    steps = [(step, options["seed"], "resume" in options) for step, _, options in commands]
    assert steps == [("training", 5, False), ("evaluating", 5, False)]
    commands.clear()
    study(variants="without,with")()
    assert [step for step, _, _ in commands] == ["training", "evaluating"]
    assert commands[1][1] == ["configs/train.yaml", "configs/method_passion.yaml", "configs/evaluate.yaml"]
    assert commands[1][2]["metrics"] == ["dice"] and "metrics" not in commands[0][2]


def test_an_interrupted_training_is_resumed(study, tmp_path, commands):
    left = tmp_path / "study/runs/mr28/without/seed5/training/checkpoints/checkpoint_epoch=1.pt"
    left.parent.mkdir(parents=True)
    left.touch()
    (left.parents[2] / "training.json").write_text("{}")  # the record that goes with the weights so far
    study(variants="without")()
    assert [options.get("resume") for _, _, options in commands] == [True, None]
    assert not left.exists(), "a finished run needs no checkpoints"


def test_a_run_that_takes_the_model_of_another_comes_behind_it(study, tmp_path, monkeypatch):
    noted, ends_well = [], {"without": True, "broken": False}

    def note(self, step, files, options, place):
        noted.append((place.parent.name, step, options.get("model_of_the_other")))
        return ends_well.get(place.parent.name, True)

    monkeypatch.setattr(RunStudy, "_bundle", note)
    monkeypatch.setattr(RunStudy, "_write", lambda self, finished: None)
    variants = {
        **PLAN["variants"],
        "behind": {"models": {"model_of_the_other": "without"}},
        "never": {"models": {"model_of_the_other": "broken"}},
    }
    with pytest.raises(SystemExit, match="2 runs failed.*\n.*broken/seed5\n.*never/seed5"):
        study({**PLAN, "variants": variants}, workers=4)()
    model = str(tmp_path / "study" / "runs/mr28/without/seed5/model.pt")
    order = [each for each in noted if each[0] in ("without", "behind")]
    steps = ("training", "evaluating")
    assert order == [*(("without", step, None) for step in steps), *(("behind", step, model) for step in steps)]
    assert "never" not in {name for name, _, _ in noted}


def test_a_folder_of_another_plan_is_refused(study, commands):
    study(variants="without")()
    other = {**PLAN, "options": {**PLAN["options"], "max_epochs": 2}}
    with pytest.raises(SystemExit, match=r"Study stopped: .* holds runs of another plan: `options` is "):
        study(other)()
    study({**PLAN, "seeds": [5, 6]}, variants="without")()  # more of the same is welcome
    assert [options["seed"] for _, _, options in commands] == [5, 5, 6, 6]


def test_unknown_variants_are_refused(study):
    with pytest.raises(SystemExit, match=r"variants \['best'\] are not in .*; expected some of \['without', "):
        study(variants="best")()
