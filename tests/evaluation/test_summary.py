# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Means, intervals and counts of an evaluation."""

from __future__ import annotations

import csv
import math
import statistics

import pandas as pd
import pytest

from scripts.evaluation.markdown import markdown_table
from scripts.evaluation.summary import summarise
from scripts.evaluation.tables import read_scores
from scripts.modalities import modality_subsets, subset_name

REGIONS = ("wt", "tc", "et")
NAN = math.nan


def test_every_number_of_the_summary_follows_from_the_rows(tmp_path, write_scores, complete_study):
    path = write_scores(tmp_path / "s.csv", complete_study())
    summary = summarise(path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    of_subset: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        of_subset.setdefault((row["subset"], row["region"], row["metric"]), []).append(float(row["value"]))
    assert len(summary["per_subset"]) == 15 and summary["num_cases"] == 3
    for (subset, region, metric), values in of_subset.items():
        entry = summary["per_subset"][subset][region][metric]
        assert entry["mean"] == pytest.approx(statistics.mean(values))
        assert entry["sd"] == pytest.approx(statistics.stdev(values))
        assert (entry["n"], entry["num_nan"]) == (3, 0)
    levels = [(size, summary["per_num_modalities"][str(size)]) for size in (1, 2, 3, 4)] + [(None, summary["overall"])]
    for size, level in levels:
        for region in REGIONS:
            for metric in ("dice", "hd95"):
                groups = [
                    values
                    for (subset, r, m), values in of_subset.items()
                    if (r, m) == (region, metric) and size in (None, len(subset.split("+")))
                ]
                entry = level[region][metric]
                assert entry["mean"] == pytest.approx(statistics.mean(map(statistics.mean, groups)))
                assert entry["sd"] == pytest.approx(statistics.stdev(value for group in groups for value in group))
                assert (entry["n"], entry["num_subsets"]) == (3 * len(groups), len(groups))


def test_subsets_weigh_the_same_however_many_cases_have_them(tmp_path, write_scores, unequal_study):
    summary = summarise(write_scores(tmp_path / "s.csv", unequal_study))
    n = {subset: entry["wt"]["dice"]["n"] for subset, entry in summary["per_subset"].items()}
    assert n == {"t1ce": 1, "t2": 2, "t1ce+t2": 1}
    # t1ce 0.5; t2 (0.2 + 0.6) / 2 = 0.4; both 0.8
    assert summary["per_num_modalities"]["1"]["wt"]["dice"]["mean"] == pytest.approx((0.5 + 0.4) / 2)
    assert summary["overall"]["wt"]["dice"]["mean"] == pytest.approx((0.5 + 0.4 + 0.8) / 3)
    assert summary["overall"]["wt"]["dice"]["n"] == 4
    assert summary["per_subset"]["t1ce"]["wt"]["dice"]["sd"] is None, "one case has no spread"


def test_intervals_come_from_drawing_cases_with_all_their_subsets(tmp_path, unequal_study, write_scores):
    summary = summarise(write_scores(tmp_path / "s.csv", unequal_study))
    interval = {
        name: [level["wt"]["dice"][bound] for bound in ("low", "high")]
        for name, level in {**summary["per_subset"], **summary["per_num_modalities"], "all": summary["overall"]}.items()
    }
    assert interval["t1ce"] == interval["t1ce+t2"] == interval["2"] == [None, None], "one case has no interval"
    # of two cases, one draw in four holds only the first, one in four only the second: 2.5 % and 97.5 % lie there
    assert interval["t2"] == pytest.approx([0.2, 0.6])
    # `both` twice: t1ce 0.5 and t2 0.2; `only_t2` twice: t2 0.6, and t1ce is not there
    assert interval["1"] == pytest.approx([(0.5 + 0.2) / 2, 0.6])
    assert interval["all"] == pytest.approx([(0.5 + 0.2 + 0.8) / 3, 0.6])


def test_the_number_of_resamples_is_said_with_the_intervals(tmp_path, unequal_study, write_scores):
    path = write_scores(tmp_path / "s.csv", unequal_study)
    assert "over 50 resamples of the cases" in summarise(path, num_resamples=50)["intervals"]
    assert "over 2000 resamples of the cases" in summarise(path)["intervals"]


def test_a_region_without_its_small_predictions_is_beside_the_plain_one_and_says_its_rule(tmp_path, write_scores):
    cases = {"a": {"t2": {("et", "dice"): 0.25, ("et_min500", "dice"): 1.0}}}
    summary = summarise(write_scores(tmp_path / "s.csv", cases))
    means = {region: found["dice"]["mean"] for region, found in summary["overall"].items()}
    assert means == {"et": 0.25, "et_min500": 1.0}
    assert list(summary["regions_in_words"]) == ["et_min500"]
    assert "`et`, emptied where fewer than 500 voxels" in summary["regions_in_words"]["et_min500"]


def test_definitions_stand_beside_the_numbers(tmp_path, write_scores):
    cases = {"a": {"t2": {("et", "lesion_hd95"): 374.0, ("et", "mine"): 1.0}}}
    words = summarise(write_scores(tmp_path / "s.csv", cases))["metrics_in_words"]
    assert "374 mm" in words["lesion_hd95"] and words["mine"] == ""


def test_undefined_values_are_counted_and_left_out_of_means(tmp_path, scores_of, write_scores):
    cases = {
        "a": {"t1": scores_of(0.4, NAN), "t2": scores_of(0.8, NAN)},
        "b": {"t1": scores_of(0.6, 3.0), "t2": scores_of(NAN, NAN)},
    }
    summary = summarise(write_scores(tmp_path / "s.csv", cases, policy="nan"))
    nothing = {"mean": None, "sd": None, "low": None, "high": None}
    assert summary["per_subset"]["t1"]["wt"]["hd95"] == {**nothing, "mean": 3.0, "n": 1, "num_nan": 1}
    assert summary["per_subset"]["t2"]["wt"]["hd95"] == {**nothing, "n": 0, "num_nan": 2}
    # a subset without any value is no zero in the mean over subsets: it is not there
    overall = summary["overall"]["wt"]
    assert overall["hd95"] == {**nothing, "mean": 3.0, "n": 1, "num_nan": 3, "num_subsets": 1}
    assert overall["dice"]["mean"] == pytest.approx((0.5 + 0.8) / 2)
    assert (overall["dice"]["n"], overall["dice"]["num_nan"]) == (3, 1)


def test_rows_of_a_summary_are_ordered_as_subsets_are_enumerated(
    tmp_path, scores_of, write_scores, complete_study, modalities
):
    # the first case shows the modalities in an order that says little about flair
    cases = {"partial": {"t1+t2": scores_of(0.1), "t2": scores_of(0.1), "t1": scores_of(0.1)}, **complete_study(1)}
    summary = summarise(write_scores(tmp_path / "s.csv", cases))
    assert summary["modalities"] == list(modalities)
    assert list(summary["per_subset"]) == [subset_name(row, modalities) for row in modality_subsets(4).tolist()]


def test_other_modalities_and_regions_need_no_change(tmp_path, scores_of, write_scores):
    cases = {"a": {"c0": scores_of(0.5, regions=("scar",)), "c0+de": scores_of(0.7, regions=("scar",))}}
    summary = summarise(write_scores(tmp_path / "s.csv", cases))
    assert (summary["modalities"], summary["regions"]) == (["c0", "de"], ["scar"])
    assert "| modalities | c0 | de | SCAR " in markdown_table(summary)


def test_a_score_that_is_there_twice_is_refused(tmp_path, write_scores, unequal_study):
    rows = read_scores(write_scores(tmp_path / "s.csv", unequal_study))
    with pytest.raises(ValueError, match=r"8 scores are there more than once.*'case': 'both', 'subset': 't1ce'"):
        summarise(pd.concat([rows, rows]))


@pytest.mark.parametrize("column", ["empty_policy", "surface"])
def test_mixed_conventions_are_never_averaged(tmp_path, column, write_scores, unequal_study):
    rows = read_scores(write_scores(tmp_path / "s.csv", unequal_study))
    rows = rows.astype({column: str})
    rows.loc[0, column] = "other"
    with pytest.raises(ValueError, match=f"mix values of `{column}`"):
        summarise(rows)


def test_missing_columns_are_named(tmp_path, write_scores, unequal_study):
    rows = read_scores(write_scores(tmp_path / "s.csv", unequal_study))
    with pytest.raises(ValueError, match=r"lack the columns \['metric', 'surface'\]"):
        summarise(rows.drop(columns=["metric", "surface"]))


def test_subsets_that_contradict_each_other_in_order_are_refused(tmp_path, scores_of, write_scores, modalities):
    path = write_scores(tmp_path / "s.csv", {"a": {"t1+t2": scores_of(0.5)}, "b": {"t2+t1": scores_of(0.5)}})
    with pytest.raises(ValueError, match="order their modalities in different ways"):
        summarise(path)
