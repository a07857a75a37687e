# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import json
import math
import os
import statistics

import pandas as pd
import pytest

from scripts.metrics.tables import COLUMNS, ScoreWriter, markdown_table, read_scores, summarise, write_summary
from scripts.modalities import modality_subsets, subset_name

MODALITIES = ("flair", "t1ce", "t1", "t2")
REGIONS = ("wt", "tc", "et")
NAN = math.nan


def _scores(dice, hd95=1.0, regions=("wt",)):
    return {(region, metric): value for region in regions for metric, value in (("dice", dice), ("hd95", hd95))}


def _write(path, cases, policy="brats", surface="monai"):
    with ScoreWriter(path, policy, surface) as writer:
        for case, scores in cases.items():
            writer.write_case(case, scores)
    return path


def _complete_study(num_cases=3):
    """Distinct numbers for every case, subset, region and metric."""
    names = [subset_name(row, MODALITIES) for row in modality_subsets(4).tolist()]
    return {
        f"case_{c}": {
            subset: {
                (region, metric): scale * (1 + c * c + 0.1 * s + 0.01 * r)
                for r, region in enumerate(REGIONS)
                for metric, scale in (("dice", 0.05), ("hd95", 2.0))
            }
            for s, subset in enumerate(names)
        }
        for c in range(num_cases)
    }


def _unequal_study():
    """One case has two modalities, the other only one of them."""
    return {
        "both": {"t1ce": _scores(0.5), "t2": _scores(0.2), "t1ce+t2": _scores(0.8)},
        "only_t2": {"t2": _scores(0.6)},
    }


# ---- rows ----


def test_each_case_is_on_disk_before_the_next_one(tmp_path):
    path = tmp_path / "per_case.csv"
    writer = ScoreWriter(path, "brats")
    assert read_scores(path).empty, "the header is there at once"
    for number, case in enumerate(("a", "b"), start=1):
        writer.write_case(case, {"t2": _scores(0.5), "flair+t2": _scores(0.7)})
        rows = read_scores(path)
        assert len(rows) == 4 * number and rows["case"].iloc[-1] == case
    writer.close()
    writer.close()


def test_the_file_is_plain_csv_that_states_its_conventions_in_every_row(tmp_path):
    path = _write(tmp_path / "s.csv", {"a": {"flair+t2": _scores(0.5, 2.0)}}, "passion", "pooled")
    with path.open(newline="") as file:
        header, *rows = list(csv.reader(file))
    assert tuple(header) == COLUMNS
    assert rows == [
        ["a", "flair+t2", "2", "wt", "dice", "0.5", "passion", "pooled"],
        ["a", "flair+t2", "2", "wt", "hd95", "2.0", "passion", "pooled"],
    ]
    assert list(pd.read_csv(path)["value"]) == [0.5, 2.0], "no argument of pandas is needed"


@pytest.mark.parametrize("case", ["007", "NA", "none", 'comma, "quote"', "Müller"])
def test_case_names_survive_the_file(tmp_path, case):
    path = _write(tmp_path / "s.csv", {case: {"t2": _scores(0.5, NAN)}})
    rows = read_scores(path)
    assert rows["case"].tolist() == [case, case]
    assert rows["value"].isna().tolist() == [False, True]


def test_values_survive_the_file_to_the_last_digit(tmp_path):
    value = 1 / 3
    path = _write(tmp_path / "s.csv", {"a": {"t2": _scores(value)}})
    assert summarise(path)["overall"]["wt"]["dice"]["mean"] == value


def test_a_new_evaluation_replaces_the_rows_of_an_old_one(tmp_path):
    path = tmp_path / "s.csv"
    _write(path, _unequal_study())
    _write(path, {"new": {"t2": _scores(0.1)}})
    assert read_scores(path)["case"].unique().tolist() == ["new"]


def test_the_writer_refuses_unknown_conventions_and_leaves_the_old_file(tmp_path):
    path = _write(tmp_path / "s.csv", _unequal_study())
    before = path.read_bytes()
    with pytest.raises(ValueError, match="policy `mine` is unknown"):
        ScoreWriter(path, "mine")
    with pytest.raises(ValueError, match="`surface` is `mine`"):
        ScoreWriter(path, "brats", "mine")
    assert path.read_bytes() == before


# ---- summary ----


def test_every_number_of_the_summary_follows_from_the_rows(tmp_path):
    path = _write(tmp_path / "s.csv", _complete_study())
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


def test_subsets_weigh_the_same_however_many_cases_have_them(tmp_path):
    summary = summarise(_write(tmp_path / "s.csv", _unequal_study()))
    n = {subset: entry["wt"]["dice"]["n"] for subset, entry in summary["per_subset"].items()}
    assert n == {"t1ce": 1, "t2": 2, "t1ce+t2": 1}
    # t1ce 0.5; t2 (0.2 + 0.6) / 2 = 0.4; both 0.8
    assert summary["per_num_modalities"]["1"]["wt"]["dice"]["mean"] == pytest.approx((0.5 + 0.4) / 2)
    assert summary["overall"]["wt"]["dice"]["mean"] == pytest.approx((0.5 + 0.4 + 0.8) / 3)
    assert summary["overall"]["wt"]["dice"]["n"] == 4
    assert summary["per_subset"]["t1ce"]["wt"]["dice"]["sd"] is None, "one case has no spread"


def test_undefined_values_are_counted_and_left_out_of_means(tmp_path):
    cases = {
        "a": {"t1": _scores(0.4, NAN), "t2": _scores(0.8, NAN)},
        "b": {"t1": _scores(0.6, 3.0), "t2": _scores(NAN, NAN)},
    }
    summary = summarise(_write(tmp_path / "s.csv", cases, policy="nan"))
    assert summary["per_subset"]["t1"]["wt"]["hd95"] == {"mean": 3.0, "sd": None, "n": 1, "num_nan": 1}
    assert summary["per_subset"]["t2"]["wt"]["hd95"] == {"mean": None, "sd": None, "n": 0, "num_nan": 2}
    # a subset without any value is no zero in the mean over subsets: it is not there
    overall = summary["overall"]["wt"]
    assert overall["hd95"] == {"mean": 3.0, "sd": None, "n": 1, "num_nan": 3, "num_subsets": 1}
    assert overall["dice"]["mean"] == pytest.approx((0.5 + 0.8) / 2)
    assert (overall["dice"]["n"], overall["dice"]["num_nan"]) == (3, 1)


def test_rows_of_a_summary_are_ordered_as_subsets_are_enumerated(tmp_path):
    # the first case shows the modalities in an order that says little about flair
    cases = {"partial": {"t1+t2": _scores(0.1), "t2": _scores(0.1), "t1": _scores(0.1)}, **_complete_study(1)}
    summary = summarise(_write(tmp_path / "s.csv", cases))
    assert summary["modalities"] == list(MODALITIES)
    assert list(summary["per_subset"]) == [subset_name(row, MODALITIES) for row in modality_subsets(4).tolist()]


def test_other_modalities_and_regions_need_no_change(tmp_path):
    cases = {"a": {"c0": _scores(0.5, regions=("scar",)), "c0+de": _scores(0.7, regions=("scar",))}}
    summary = summarise(_write(tmp_path / "s.csv", cases))
    assert (summary["modalities"], summary["regions"]) == (["c0", "de"], ["scar"])
    assert "| modalities | c0 | de | n | Dice SCAR" in markdown_table(summary)


def test_a_score_that_is_there_twice_is_refused(tmp_path):
    rows = read_scores(_write(tmp_path / "s.csv", _unequal_study()))
    with pytest.raises(ValueError, match=r"8 scores are there more than once.*'case': 'both', 'subset': 't1ce'"):
        summarise(pd.concat([rows, rows]))


@pytest.mark.parametrize("column", ["empty_policy", "surface"])
def test_mixed_conventions_are_never_averaged(tmp_path, column):
    rows = read_scores(_write(tmp_path / "s.csv", _unequal_study()))
    rows.loc[0, column] = "other"
    with pytest.raises(ValueError, match=f"mix values of `{column}`"):
        summarise(rows)


def test_missing_columns_are_named(tmp_path):
    rows = read_scores(_write(tmp_path / "s.csv", _unequal_study()))
    with pytest.raises(ValueError, match=r"lack the columns \['metric', 'surface'\]"):
        summarise(rows.drop(columns=["metric", "surface"]))


def test_subsets_that_contradict_each_other_in_order_are_refused(tmp_path):
    path = _write(tmp_path / "s.csv", {"a": {"t1+t2": _scores(0.5)}, "b": {"t2+t1": _scores(0.5)}})
    with pytest.raises(ValueError, match="order their modalities in different ways"):
        summarise(path)


# ---- the table for people ----


def test_the_table_shows_dots_counts_means_and_spreads(tmp_path):
    table = markdown_table(summarise(_write(tmp_path / "s.csv", _unequal_study())))
    lines = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in line] for line in lines]
    assert header == ["modalities", "t1ce", "t2", "n", "Dice WT", "HD95 [mm] WT"]
    assert rows == [
        ["1", "●", "○", "1", "0.500", "1.00"],
        # 0.2 and 0.6: half the difference times sqrt(2) = 0.283
        ["1", "○", "●", "2", "0.400 ± 0.283", "1.00 ± 0.00"],
        ["2", "●", "●", "1", "0.800", "1.00"],
        # 0.5, 0.2, 0.6: mean of means 0.45; deviations from 0.4333 squared sum 0.0867, / 2, root 0.208
        ["mean of 1", "", "", "3", "0.450 ± 0.208", "1.00 ± 0.00"],
        ["mean of 2", "", "", "1", "0.800", "1.00"],
        # means 0.5, 0.4, 0.8; values 0.5, 0.2, 0.8, 0.6: sum of squared deviations from 0.525 is 0.1875, / 3, root 0.25
        ["overall", "", "", "4", "0.567 ± 0.250", "1.00 ± 0.00"],
    ]


def test_columns_are_metric_by_metric_with_the_regions_in_order(tmp_path):
    table = markdown_table(summarise(_write(tmp_path / "s.csv", _complete_study())))
    header = next(line for line in table.splitlines() if line.startswith("|"))
    titles = [cell.strip() for cell in header.strip("|").split("|")]
    expected = ["Dice WT", "Dice TC", "Dice ET", "HD95 [mm] WT", "HD95 [mm] TC", "HD95 [mm] ET"]
    assert titles == ["modalities", *MODALITIES, "n", *expected]
    assert sum(line.startswith("|") for line in table.splitlines()) == 2 + 15 + 4 + 1


def test_cells_behind_which_values_are_undefined_say_so(tmp_path):
    cases = {"a": {"t2": _scores(0.4, NAN)}, "b": {"t2": _scores(NAN, NAN)}}
    table = markdown_table(summarise(_write(tmp_path / "s.csv", cases, policy="nan")))
    row = next(line for line in table.splitlines() if line.startswith("| 1 "))
    assert [cell.strip() for cell in row.strip("|").split("|")][2:] == ["2", "0.400 (n=1)", "undefined"]


def test_conventions_and_failed_cases_are_told_above_the_table(tmp_path):
    path = _write(tmp_path / "s.csv", _unequal_study(), "passion", "pooled")
    summary = summarise(path, {"broken": "the file ends early\nafter 3 bytes"})
    above = markdown_table(summary).split("\n|")[0]
    assert "policy `passion`" in above and "exactly one of them empty: dice 0, hd95 1, nsd 0." in above
    assert "convention `pooled`" in above and "medpy" in above
    assert "Cases scored: 2. Cases failed: 1." in above
    assert "  - `broken`: the file ends early after 3 bytes" in above


def test_a_study_in_which_every_case_failed_still_has_a_summary(tmp_path):
    summary = summarise(_write(tmp_path / "s.csv", {}), {"a": "no label"})
    assert (summary["num_cases"], summary["per_subset"], summary["overall"]) == (0, {}, {})
    text = markdown_table(summary)
    assert "`a`: no label" in text and "|" not in text


def test_the_json_file_holds_the_summary_and_nothing_that_is_not_json(tmp_path):
    summary = summarise(_write(tmp_path / "s.csv", {"a": {"t2": _scores(0.4, NAN)}}, policy="nan"), {"b": "no label"})
    write_summary(summary, tmp_path / "summary.json", tmp_path / "summary.md")
    text = (tmp_path / "summary.json").read_text(encoding="utf-8")
    assert "NaN" not in text and json.loads(text) == summary
    assert (tmp_path / "summary.md").read_text(encoding="utf-8") == markdown_table(summary)
    assert sorted(os.listdir(tmp_path)) == ["s.csv", "summary.json", "summary.md"]


def test_a_write_that_fails_leaves_the_old_summary_and_no_litter(tmp_path, monkeypatch):
    def broken(source, target):
        raise OSError("disk gone")

    (tmp_path / "summary.json").write_text("old")
    summary = summarise(_write(tmp_path / "s.csv", _unequal_study()))
    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="disk gone"):
        write_summary(summary, tmp_path / "summary.json", tmp_path / "summary.md")
    assert (tmp_path / "summary.json").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["s.csv", "summary.json"]
