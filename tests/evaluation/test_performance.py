# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What performance.json says, from scores by hand, and what is refused on reading."""

from __future__ import annotations

import json
import math

import pytest

from scripts.evaluation.performance import (
    eval_metrics,
    evaluated_with,
    gains_of,
    measured_on,
    performance_of,
    read_performance,
)
from scripts.evaluation.summary import summarise
from scripts.evaluation.tables import ScoreWriter, read_scores
from scripts.records.side_files import write_side_file

NAMES = ["flair", "t2"]
DATA_SET = {"name": "hospital", "synthetic": False, "section": "testing", "num_cases": 3}
# Dice of the scar. Case a has both modalities, and so has b, whose score with both is undefined; c has FLAIR alone.
DICE = {
    "a": {"flair": 0.2, "t2": 0.5, "flair+t2": 0.6},
    "b": {"flair": 0.4, "t2": 0.7, "flair+t2": math.nan},
    "c": {"flair": 0.9},
}


@pytest.fixture
def rows(tmp_path):
    with ScoreWriter(tmp_path / "per_case.csv", "nan") as writer:
        for case, subsets in DICE.items():
            scores = {
                subset: {("scar", "dice"): value, ("scar", "hd95"): 100 * value} for subset, value in subsets.items()
            }
            writer.write_case(case, scores)
    return read_scores(tmp_path / "per_case.csv")


@pytest.fixture
def content(rows):
    return performance_of(rows, summarise(rows, {"d": "cannot be read"}), DATA_SET, {"spacing": [1, 1, 1]})


def test_the_file_holds_the_figures_of_the_summary_and_what_they_depend_on(rows, content):
    flair = content["per_subset"]["flair"]["scar"]
    assert flair["dice"]["mean"] == pytest.approx((0.2 + 0.4 + 0.9) / 3)
    assert flair["hd95"]["mean"] == pytest.approx((20 + 40 + 90) / 3)
    assert (flair["dice"]["n"], content["per_subset"]["flair+t2"]["scar"]["dice"]["n"]) == (3, 1)
    assert (content["num_cases"], content["num_failed"]) == (3, 1)
    assert (content["modalities"], content["regions"], content["metrics"]) == (NAMES, ["scar"], ["dice", "hd95"])
    assert content["conventions"]["empty_policy"] == "nan" and content["conventions"]["surface"] == "monai"
    assert content["data_set"] == DATA_SET and content["settings"] == {"spacing": [1, 1, 1]}


def test_the_intervals_of_the_summary_are_taken_over(rows):
    summary = summarise(rows)
    summary["per_subset"]["t2"]["scar"]["dice"] |= {"low": 0.45, "high": 0.75}
    del summary["per_subset"]["flair"]["scar"]["dice"]["sd"]
    for name in ("low", "high"):
        summary["per_subset"]["flair"]["scar"]["dice"].pop(name, None)
    found = performance_of(rows, summary, DATA_SET, {})["per_subset"]
    assert found["t2"]["scar"]["dice"] == {"mean": pytest.approx(0.6), "low": 0.45, "high": 0.75, "n": 2}
    assert found["flair"]["scar"]["dice"] == {"mean": pytest.approx(0.5), "low": None, "high": None, "n": 3}


def test_a_modality_is_credited_on_the_cases_that_were_scored_with_and_without_it(content):
    # case a alone has defined scores of FLAIR, T2 and both; the means over all cases would say 0.5 to 0.6 for FLAIR
    assert content["gains"] == {
        "flair": {"t2": {"scar": {"before": 0.2, "after": 0.6, "n": 1}}},
        "t2": {"flair": {"scar": {"before": 0.5, "after": 0.6, "n": 1}}},
    }


def test_pairs_of_subsets_that_were_not_scored_have_no_gain(rows):
    assert gains_of(rows[rows["subset"] != "flair+t2"]) == {}
    assert gains_of(rows[rows["metric"] != "dice"]) == {}


def test_what_figures_were_measured_on_is_said_in_words(content):
    performance = {**content, "date": "2026-11-21T09:38:16+00:00"}
    assert measured_on(performance) == "hospital; section testing; 3 cases and 1 that failed; 2026-11-21"
    performance["data_set"] = {"name": "made up", "synthetic": True, "section": "training"}
    words = "made up, not on patients; section training, which the network may have learned from: expect less"
    assert measured_on({**performance, "num_failed": 0}) == f"{words}; 3 cases; 2026-11-21"


@pytest.fixture
def weights(tmp_path, content):
    file = tmp_path / "model.pt"
    file.write_bytes(b"weights")
    write_side_file(file, "performance.json", content)
    return file


def test_metadata_gets_the_dice_with_all_modalities_and_on_what_it_was_measured(weights, content):
    found = eval_metrics(read_performance(weights))
    assert found == {"measured_on": measured_on(read_performance(weights)), "dice_scar": 0.6}
    assert found["measured_on"].startswith("hospital; section testing; 3 cases and 1 that failed")


def test_metadata_gets_nothing_where_nothing_was_measured_with_all_modalities(content):
    per_subset = content["per_subset"]
    undefined = {"scar": {"dice": {"mean": None, "low": None, "high": None, "n": 0}}}
    others = [{"flair": per_subset["flair"]}, {}, {"flair+t2": undefined}]
    assert eval_metrics(None) == {}
    assert [eval_metrics({**content, "per_subset": other}) for other in others] == [{}, {}, {}]


def test_what_was_written_is_read(weights, content):
    assert content.items() <= read_performance(weights).items()


def test_inference_takes_the_settings_of_the_evaluation_where_it_says_them(weights, content, caplog):
    otherwise = {"flips": "none"}
    assert evaluated_with(weights, otherwise) == otherwise, "an evaluation of before there were flips"
    content["settings"]["flips"] = "opposite"
    write_side_file(weights, "performance.json", content)
    assert evaluated_with(weights, otherwise) == {"flips": "opposite"}
    assert evaluated_with(weights.with_name("none.pt"), otherwise) == otherwise
    weights.write_bytes(b"other weights")
    assert evaluated_with(weights, otherwise) == otherwise
    assert not caplog.messages, "whoever quotes the figures says it, once"


def test_weights_without_the_file_have_no_performance(weights):
    weights.with_name("performance.json").unlink()
    assert read_performance(weights) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c.pop("data_set"), r"`the file` lacks \['data_set'\]"),
        (lambda c: c["data_set"].pop("synthetic"), r"`the file::data_set` lacks \['synthetic'\]"),
        (lambda c: c.update(per_subset=[]), "`the file::per_subset` is of type list; expected names and values"),
        (
            lambda c: c["per_subset"]["t2"]["scar"]["dice"].update(mean="high"),
            "`the file::per_subset::t2::scar::dice::mean` is 'high'; expected int or float or NoneType",
        ),
        (lambda c: c["gains"]["t2"]["flair"]["scar"].update(after=math.inf), "scar::after` is inf; expected int or"),
        (lambda c: c.update(num_cases=None), "`the file::num_cases` is None; expected int"),
    ],
)
def test_a_file_of_another_shape_is_refused_and_the_place_is_named(weights, change, reason):
    file = weights.with_name("performance.json")
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"performance.json is damaged: .*{reason}.*evaluate again"):
        read_performance(weights)
