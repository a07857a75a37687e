# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""When performance.json is written, what is said of it, and that an inference shows it."""

from __future__ import annotations

import json
import logging
import shutil

import pytest
import torch
from ignite.engine import Engine, Events

from scripts.evaluation.markdown import write_summary
from scripts.evaluation.summary import summarise
from scripts.evaluation.tables import ScoreWriter
from scripts.handlers.expected_performance import PerformanceWriter

DATA_SET = {"name": "hospital", "synthetic": False, "section": "testing", "num_cases": 2}
BOTH = {"flair": 0.5, "t2": 0.25, "flair+t2": 0.75}


@pytest.fixture
def evaluate(tmp_path, caplog):
    """Run an evaluation of given Dice by case and subset; return what was logged."""

    def _evaluate(cases, failures=None, model="model.pt", during=None, **settings):
        weights, folder = tmp_path / model, tmp_path / "evaluation"
        folder.mkdir(exist_ok=True)
        if not weights.exists():
            weights.write_bytes(b"weights")
        writer = PerformanceWriter(str(folder), str(weights), **{"data_set": DATA_SET, "keep": True, **settings})
        engine = Engine(lambda engine, batch: None)

        @engine.on(Events.EPOCH_COMPLETED)
        def finish():
            with ScoreWriter(folder / "per_case.csv", "brats") as table:
                for case, dice in cases.items():
                    table.write_case(case, {subset: {("scar", "dice"): value} for subset, value in dice.items()})
            summary = summarise(folder / "per_case.csv", failures)
            write_summary(summary, folder / "summary.json", folder / "summary.md")
            if during is not None:
                during(weights)

        writer.attach(engine)
        caplog.clear()
        with caplog.at_level(logging.INFO, "scripts.handlers.expected_performance"):
            engine.run([0])
        return caplog.text

    return _evaluate


def read(folder):
    return json.loads((folder / "performance.json").read_text())


def test_an_evaluation_leaves_its_figures_beside_the_weights_when_asked(evaluate, tmp_path):
    text = evaluate({"a": BOTH, "b": BOTH}, settings={"spacing": [1, 1, 1]})
    content = read(tmp_path)
    assert content == read(tmp_path / "evaluation") | {"date": content["date"]}
    assert content["per_subset"]["t2"]["scar"]["dice"]["mean"] == 0.25
    assert content["data_set"] == DATA_SET and content["settings"] == {"spacing": [1, 1, 1]}
    assert f"is in {tmp_path / 'performance.json'}" in text and "WARNING" not in text


def test_a_failed_case_is_counted_and_does_not_undo_the_others(evaluate, tmp_path):
    evaluate({"a": BOTH}, {"b": "cannot be read"})
    assert (read(tmp_path)["num_cases"], read(tmp_path)["num_failed"]) == (1, 1)


def test_without_a_scored_case_an_earlier_file_stays(evaluate, tmp_path):
    evaluate({"a": BOTH})
    before = read(tmp_path)
    assert "is not written: no case was scored" in evaluate({}, {"a": "cannot be read"})
    assert read(tmp_path) == before


@pytest.mark.parametrize("off", [False, "false"])
def test_otherwise_they_are_in_the_folder_of_the_evaluation_alone(evaluate, tmp_path, off):
    evaluate({"a": BOTH}, keep=off)
    assert read(tmp_path / "evaluation")["per_subset"].keys() == BOTH.keys()
    assert not (tmp_path / "performance.json").exists()


def test_figures_of_more_cases_are_not_replaced_and_that_is_said_before_anything_is_computed(evaluate, tmp_path):
    evaluate(dict.fromkeys("abc", BOTH))
    before = (tmp_path / "performance.json").read_bytes()
    with pytest.raises(ValueError, match="of these weights and of more: 3 cases; the new one is of 2 cases. It stays"):
        evaluate({"a": BOTH, "b": BOTH}, during=lambda weights: pytest.fail("it was computed"))
    with pytest.raises(ValueError, match="of more: 3 cases, 3 subsets; the new one is of 2 cases, 3 subsets"):
        evaluate({"a": BOTH, "b": BOTH}, {"c": "cannot be read"}, data_set={**DATA_SET, "num_cases": 3})
    assert (tmp_path / "performance.json").read_bytes() == before
    assert read(tmp_path / "evaluation")["num_cases"] == 2
    evaluate({"a": BOTH, "b": BOTH}, keep="replace")
    assert read(tmp_path)["num_cases"] == 2


def test_weights_that_change_meanwhile_do_not_get_the_figures_of_the_old_ones(evaluate, tmp_path):
    text = evaluate({"a": BOTH}, during=lambda weights: weights.write_bytes(b"trained again"))
    assert f"is not written: {tmp_path / 'model.pt'} changed during the evaluation" in text
    assert not (tmp_path / "performance.json").exists()


def test_a_place_where_nothing_can_be_written_does_not_end_the_evaluation(evaluate, tmp_path, monkeypatch):
    def read_only(*args):
        raise PermissionError("read-only file system")

    monkeypatch.setattr("scripts.handlers.expected_performance.deliver_side_file", read_only)
    assert "performance.json is not written: read-only file system" in evaluate({"a": BOTH})


def test_the_same_evaluation_again_needs_no_word(evaluate, tmp_path):
    evaluate({"a": BOTH})
    (tmp_path / "model.pt").write_bytes(b"trained again")
    assert "is replaced" not in evaluate({"a": BOTH})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data_set": {**DATA_SET, "name": "toys"}}, "the new one is of model.pt, toys, section testing, for 3"),
        ({"data_set": {**DATA_SET, "section": "validation"}}, "of model.pt, hospital, section validation, for 3"),
        (
            {"cases": {"a": {"flair": 0.5}}, "keep": "replace"},
            "the new one is of model.pt, hospital, section testing, for 1 subset",
        ),
        ({"model": "other.pt"}, "the new one is of other.pt, hospital"),
    ],
)
def test_it_is_said_what_is_replaced(evaluate, change, words):
    evaluate({"a": BOTH})
    text = evaluate(**{"cases": {"a": BOTH}, **change})
    assert "WARNING" in text and words in text
    assert "is replaced: it was of model.pt, measured on hospital; section testing; 1 case; " in text


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"data_set": 3}'])
def test_a_damaged_file_is_replaced(evaluate, tmp_path, text):
    (tmp_path / "performance.json").write_text(text)
    assert "is replaced: it could not be read" in evaluate({"a": BOTH})
    assert read(tmp_path)["data_set"] == DATA_SET


# --- from an evaluation to an inference ------------------------------------------------------------


@pytest.fixture(scope="module")
def known(workflow, trained, tmp_path_factory):
    """Weights of their own, evaluated on phantoms: the folder of both."""
    folder = tmp_path_factory.mktemp("known")
    shutil.copy(trained[0] / "model.pt", folder / "model.pt")
    places = {"model_file": str(folder / "model.pt"), "output_dir": str(folder / "evaluation")}
    places["keep_performance"] = "true"
    run = workflow("train.yaml", "evaluate.yaml", run_id="evaluating", **places, **{"metrics": ["dice"]})
    run.run()
    return folder


@pytest.fixture
def segment(workflow, phantoms, tmp_path, caplog):
    """Segment a patient from T2 alone: the report, and what was logged."""

    def _segment(model_file):
        places = {"model_file": str(model_file), "output_dir": str(tmp_path / "out"), "subset": "t2"}
        places["dataset_dir"] = str(phantoms / "phantom_0005")
        run = workflow("inference.yaml", run_id="evaluating", workflow_type="infer", **places)
        with caplog.at_level(logging.INFO):
            run.run()
        return json.loads((tmp_path / "out" / "phantom_0005.json").read_text()), caplog.text

    return _segment


def test_inference_shows_exactly_the_figures_of_the_evaluation(known, segment):
    report, text = segment(known / "model.pt")
    summary = json.loads((known / "evaluation" / "summary.json").read_text())
    expected = report["expected_performance"]
    assert expected["modalities_used"] == report["modalities_used"] == ["t2"]
    assert expected["dice"]["wt"]["mean"] > 0.05
    for region in ("wt", "tc", "et"):
        cell = summary["per_subset"]["t2"][region]["dice"]
        assert expected["dice"][region] == {name: cell.get(name) for name in ("mean", "low", "high", "n")}
        low = cell["mean"] < 0.5
        assert any(f"region {region}: expected Dice {cell['mean']:.2f}" in w for w in report["warnings"]) == low
        for added in ("flair", "t1ce", "t1"):  # every case is complete, so that gains are differences of means
            larger = "+".join(name for name in ("flair", "t1ce", "t1", "t2") if name in (added, "t2"))
            gain = summary["per_subset"][larger][region]["dice"]["mean"] - cell["mean"]
            listed = [e["gain"] for e in expected["improvements"] if (e["region"], e["modality"]) == (region, added)]
            assert listed == ([pytest.approx(gain)] if gain > 0.02 else [])
    assert expected["data_set"] == {
        "name": "phantoms (simulated gliomas)",
        "synthetic": True,
        "section": "testing",
        "num_cases": 2,
    }
    assert all(line in text for line in expected["in_words"])
    assert "measured on phantoms (simulated gliomas), not on patients; section testing; 2 cases" in text
    assert not any("lower accuracy" in warning or "measured with" in warning for warning in report["warnings"])


def test_weights_trained_again_are_not_given_the_figures_of_the_old_ones(known, segment, tmp_path):
    shutil.copy(known / "performance.json", tmp_path)
    weights = torch.load(known / "model.pt", weights_only=True)
    name = next(iter(weights))
    torch.save({**weights, name: weights[name] * 1.01}, tmp_path / "model.pt")
    report, text = segment(tmp_path / "model.pt")
    assert report["expected_performance"] is None
    assert "performance.json was made with other weights: sha256" in report["expected_performance_note"]
    assert text.count("was made with other weights") == 1 and "evaluate again" in text
    assert any("segmented without flair, t1ce, t1; expect lower accuracy" in w for w in report["warnings"])
