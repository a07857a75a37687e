# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The summary as people read it."""

from __future__ import annotations

import json
import math
import os

import pytest

from scripts.evaluation.markdown import markdown_table, write_summary
from scripts.evaluation.summary import summarise

NAN = math.nan


def tables(text):
    """Split the tables into cells, by the heading above them."""
    found = {}
    for line in text.splitlines():
        if line.startswith("## "):
            rows = found.setdefault(line.removeprefix("## "), [])
        elif line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return {heading: [header, *rows] for heading, (header, _, *rows) in found.items()}


def test_the_tables_show_dots_means_spreads_intervals_and_counts(tmp_path, unequal_study, write_scores):
    text = markdown_table(summarise(write_scores(tmp_path / "s.csv", unequal_study)))
    found = tables(text)
    assert list(found) == ["Dice", "HD95 [mm]"]
    assert found["Dice"] == [
        ["modalities", "t1ce", "t2", "WT", "n"],
        ["1", "●", "○", "0.500", "1"],
        # 0.2 and 0.6: half the difference times sqrt(2) = 0.283; of two cases the interval is their range
        ["1", "○", "●", "0.400 ± 0.283 [0.200, 0.600]", "2"],
        ["2", "●", "●", "0.800", "1"],
        # 0.5, 0.2, 0.6: mean of means 0.45; deviations from 0.4333 squared sum 0.0867, / 2, root 0.208
        # interval: the first case alone has 0.5 and 0.2, the second alone 0.6
        ["mean of 1", "", "", "0.450 ± 0.208 [0.350, 0.600]", "3"],
        ["mean of 2", "", "", "0.800", "1"],
        # means 0.5, 0.4, 0.8; values 0.5, 0.2, 0.8, 0.6: sum of squared deviations from 0.525 is 0.1875, / 3, root 0.25
        ["overall", "", "", "0.567 ± 0.250 [0.500, 0.600]", "4"],
    ]
    assert [row[3] for row in found["HD95 [mm]"][1:]][:3] == ["1.00", "1.00 ± 0.00 [1.00, 1.00]", "1.00"]


def test_what_the_weights_were_trained_on_is_told_where_it_is_known(tmp_path, unequal_study, write_scores):
    summary = summarise(write_scores(tmp_path / "s.csv", unequal_study))
    assert "Weights" not in markdown_table(summary)
    text = markdown_table({**summary, "weights": {"in_words": "model.pt, trained on hospital"}})
    assert "- Weights: model.pt, trained on hospital.\n" in text[: text.index("## Dice")]


def test_each_metric_has_a_table_with_a_column_for_each_region(tmp_path, complete_study, modalities, write_scores):
    found = tables(markdown_table(summarise(write_scores(tmp_path / "s.csv", complete_study()))))
    for rows in found.values():
        assert rows[0] == ["modalities", *modalities, "WT", "TC", "ET", "n"]
        assert len(rows) == 1 + 15 + 4 + 1


def test_a_region_without_a_metric_has_no_column_and_no_cell(tmp_path, write_scores):
    cases = {"a": {"t1": {("wt", "dice"): 0.5, ("wt", "ece"): 0.1, ("et", "dice"): 0.5}, "t2": {("et", "dice"): 0.5}}}
    found = tables(markdown_table(summarise(write_scores(tmp_path / "s.csv", cases))))
    assert found["ECE"][0] == ["modalities", "t1", "t2", "WT", "n"]
    assert found["Dice"][2] == ["1", "○", "●", "-", "0.500", "1"]


def test_cells_behind_which_values_are_undefined_say_so(tmp_path, scores_of, write_scores):
    cases = {"a": {"t2": scores_of(0.4, NAN)}, "b": {"t2": scores_of(NAN, NAN)}}
    found = tables(markdown_table(summarise(write_scores(tmp_path / "s.csv", cases, policy="nan"))))
    assert found["Dice"][1][2:] == ["0.400 (n=1)", "2"]
    assert found["HD95 [mm]"][1][2:] == ["undefined", "2"]


def test_every_convention_is_told_above_the_tables(tmp_path, write_scores):
    cases = {"a": {"t2": {("et_min500", "dice"): 1.0, ("et_min500", "lesion_hd95"): 374.0}}}
    text = markdown_table(summarise(write_scores(tmp_path / "s.csv", cases)))
    assert "ET_MIN500: `et`, emptied where fewer than 500 voxels of it are predicted" in text
    assert "374 mm" in text.split("## Lesion-wise HD95 [mm]")[1].split("|")[0]
    assert "Each row of a subset is the mean over its cases." in text and "bootstrap interval of the mean" in text


def test_cases_without_a_label_are_counted_and_named(tmp_path, unequal_study, write_scores):
    summary = summarise(write_scores(tmp_path / "s.csv", unequal_study), unlabelled_cases=["c", "d"])
    assert summary["unlabelled_cases"] == ["c", "d"] and summary["failed_cases"] == {}
    text = markdown_table(summary)
    assert "Cases scored: 2. Cases failed: 0. Cases without a label, not scored: 2." in text
    assert "  - without a label: `c`, `d`" in text


def test_conventions_and_failed_cases_are_told_above_the_table(tmp_path, write_scores, unequal_study):
    path = write_scores(tmp_path / "s.csv", unequal_study, "passion", "pooled")
    summary = summarise(path, {"broken": "the file ends early\nafter 3 bytes"})
    above = markdown_table(summary).split("\n|")[0]
    assert "policy `passion`" in above and "exactly one of them empty: dice 0, hd95 1, nsd 0." in above
    assert "convention `pooled`" in above and "medpy" in above
    assert "Cases scored: 2. Cases failed: 1." in above
    assert "  - `broken`: the file ends early after 3 bytes" in above


def test_a_study_in_which_every_case_failed_still_has_a_summary(tmp_path, write_scores):
    summary = summarise(write_scores(tmp_path / "s.csv", {}), {"a": "no label"})
    assert (summary["num_cases"], summary["per_subset"], summary["overall"]) == (0, {}, {})
    text = markdown_table(summary)
    assert "`a`: no label" in text and "|" not in text


def test_the_json_file_holds_the_summary_and_nothing_that_is_not_json(tmp_path, scores_of, write_scores):
    summary = summarise(
        write_scores(tmp_path / "s.csv", {"a": {"t2": scores_of(0.4, NAN)}}, policy="nan"), {"b": "no label"}
    )
    write_summary(summary, tmp_path / "summary.json", tmp_path / "summary.md")
    text = (tmp_path / "summary.json").read_text(encoding="utf-8")
    assert "NaN" not in text and json.loads(text) == summary
    assert (tmp_path / "summary.md").read_text(encoding="utf-8") == markdown_table(summary)
    assert sorted(os.listdir(tmp_path)) == ["s.csv", "summary.json", "summary.md"]


def test_a_write_that_fails_leaves_the_old_summary_and_no_litter(tmp_path, monkeypatch, write_scores, unequal_study):
    def broken(source, target):
        raise OSError("disk gone")

    (tmp_path / "summary.json").write_text("old")
    summary = summarise(write_scores(tmp_path / "s.csv", unequal_study))
    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="disk gone"):
        write_summary(summary, tmp_path / "summary.json", tmp_path / "summary.md")
    assert (tmp_path / "summary.json").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["s.csv", "summary.json"]
