# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Scores as rows of a file."""

from __future__ import annotations

import csv
import math

import pandas as pd
import pytest

from scripts.evaluation.summary import summarise
from scripts.evaluation.tables import COLUMNS, ScoreWriter, case_by_subset, read_scores

NAN = math.nan


def test_each_case_is_on_disk_before_the_next_one(tmp_path, scores_of):
    path = tmp_path / "per_case.csv"
    writer = ScoreWriter(path, "brats")
    assert read_scores(path).empty, "the header is there at once"
    for number, case in enumerate(("a", "b"), start=1):
        writer.write_case(case, {"t2": scores_of(0.5), "flair+t2": scores_of(0.7)})
        rows = read_scores(path)
        assert len(rows) == 4 * number and rows["case"].iloc[-1] == case
    writer.close()
    writer.close()


def test_the_file_is_plain_csv_that_states_its_conventions_in_every_row(tmp_path, scores_of, write_scores):
    path = write_scores(tmp_path / "s.csv", {"a": {"flair+t2": scores_of(0.5, 2.0)}}, "passion", "pooled")
    with path.open(newline="") as file:
        header, *rows = list(csv.reader(file))
    assert tuple(header) == COLUMNS
    assert rows == [
        ["a", "flair+t2", "2", "wt", "dice", "0.5", "passion", "pooled"],
        ["a", "flair+t2", "2", "wt", "hd95", "2.0", "passion", "pooled"],
    ]
    assert list(pd.read_csv(path)["value"]) == [0.5, 2.0], "no argument of pandas is needed"


@pytest.mark.parametrize("case", ["007", "NA", "none", 'comma, "quote"', "Müller"])
def test_case_names_survive_the_file(tmp_path, case, scores_of, write_scores):
    path = write_scores(tmp_path / "s.csv", {case: {"t2": scores_of(0.5, NAN)}})
    rows = read_scores(path)
    assert rows["case"].tolist() == [case, case]
    assert rows["value"].isna().tolist() == [False, True]


def test_values_survive_the_file_to_the_last_digit(tmp_path, scores_of, write_scores):
    value = 1 / 3
    path = write_scores(tmp_path / "s.csv", {"a": {"t2": scores_of(value)}})
    assert summarise(path)["overall"]["wt"]["dice"]["mean"] == value


def test_a_new_evaluation_replaces_the_rows_of_an_old_one(tmp_path, scores_of, write_scores, unequal_study):
    path = tmp_path / "s.csv"
    write_scores(path, unequal_study)
    write_scores(path, {"new": {"t2": scores_of(0.1)}})
    assert read_scores(path)["case"].unique().tolist() == ["new"]


def test_the_writer_refuses_unknown_conventions_and_leaves_the_old_file(tmp_path, write_scores, unequal_study):
    path = write_scores(tmp_path / "s.csv", unequal_study)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="policy `mine` is unknown"):
        ScoreWriter(path, "mine")
    with pytest.raises(ValueError, match="`surface` is `mine`"):
        ScoreWriter(path, "brats", "mine")
    assert path.read_bytes() == before


def test_text_is_read_as_categories_so_that_many_cases_fit_in_memory(tmp_path, complete_study, write_scores):
    rows = read_scores(write_scores(tmp_path / "s.csv", complete_study(100)))
    # six codes of one byte (cases, fewer than 128, too), a number of one, a value of eight; the names are there once
    assert rows.memory_usage(index=False).sum() / len(rows) == pytest.approx(6 + 1 + 8, abs=2)


def test_a_table_of_cases_and_subsets_holds_only_those_of_its_rows(tmp_path, unequal_study, write_scores):
    rows = read_scores(write_scores(tmp_path / "s.csv", unequal_study))
    table = case_by_subset(rows[(rows["metric"] == "dice") & (rows["subset"] != "t1ce+t2")])
    assert (sorted(table.index), sorted(table.columns)) == (["both", "only_t2"], ["t1ce", "t2"])
    assert table.loc["both"].to_dict() == {"t1ce": 0.5, "t2": 0.2}
    assert table.loc["only_t2", "t2"] == 0.6 and math.isnan(table.loc["only_t2", "t1ce"])
