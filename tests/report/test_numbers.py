# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Tables of the report: heat maps, differences, the order of the cases."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from scripts.report.differences import difference_map, monotonicity_table
from scripts.report.inputs import read_evaluation
from scripts.report.numbers import cases_from_worst, heat_maps

NAN = math.nan


@pytest.fixture
def evaluation(write_evaluation, tmp_path):
    return read_evaluation(write_evaluation(tmp_path))


def cells(heat_map):
    """Look up every cell by row and region."""
    rows = [*(row for group in heat_map.groups for row in group), *heat_map.means]
    return {(row.label, r): cell for row in rows for r, cell in zip(heat_map.regions, row.cells, strict=True)}


def brightness(cell):
    return sum(to_rgb(cell.background))


def test_the_cells_of_a_heat_map_are_the_means_of_the_summary(evaluation):
    for heat_map in heat_maps(evaluation.summary):
        decimals = {"dice": 3, "hd95": 2}[heat_map.metric]
        found = cells(heat_map)
        for subset, statistics in evaluation.summary["per_subset"].items():
            for region, of_region in statistics.items():
                mean = of_region[heat_map.metric]["mean"]
                assert found[subset.replace("+", " + "), region].text == f"{mean:.{decimals}f}"
        overall = evaluation.summary["overall"]["x"][heat_map.metric]["mean"]
        assert found["mean of all subsets", "x"].text == f"{overall:.{decimals}f}"


def test_rows_are_grouped_by_the_number_of_modalities_and_show_which(evaluation):
    heat_map, _ = heat_maps(evaluation.summary)
    assert [len(group) for group in heat_map.groups] == [3, 3, 1]
    shown = {row.label: row.available for group in heat_map.groups for row in group}
    assert (shown["p"], shown["q + r"], shown["p + q + r"]) == (
        (True, False, False),
        (False, True, True),
        (True, True, True),
    )
    assert [row.label for row in heat_map.means] == ["mean of 1", "mean of 2", "mean of 3", "mean of all subsets"]


def test_the_better_cell_is_the_brighter_one_whichever_way_the_metric_goes(evaluation):
    for heat_map in heat_maps(evaluation.summary):
        found = cells(heat_map)
        assert brightness(found["p + q + r", "x"]) > brightness(found["q", "x"]) > brightness(found["p", "x"])
        for cell in found.values():
            light = 0.21 * to_rgb(cell.background)[0] + 0.72 * to_rgb(cell.background)[1]
            assert cell.colour == ("#000000" if light + 0.07 * to_rgb(cell.background)[2] > 0.45 else "#ffffff")


def test_fewer_values_undefined_cells_and_intervals_are_said(evaluation):
    summary = evaluation.summary
    entry = summary["per_subset"]["p"]["y"]["dice"]
    assert (entry["n"], entry["num_nan"]) == (2, 1), "the first case has no region y from p alone"
    entry |= {"low": None, "high": None}
    summary["per_subset"]["q"]["x"]["dice"] |= {"low": 0.15, "high": 0.25}
    summary["per_subset"]["r"]["x"]["dice"] |= {"mean": None, "sd": None, "n": 0, "num_nan": 3}
    found = cells(heat_maps(summary)[0])
    assert found["p", "y"].small.endswith("n 2") and "±" in found["p", "y"].small
    assert found["q", "x"].small == "0.150–0.250"
    assert "95 % interval 0.150–0.250" in found["q", "x"].words
    assert found["r", "x"][:3] == ("–", "", "not defined") and not found["r", "x"].background


def test_a_metric_of_either_sign_is_best_at_zero(evaluation):
    summary = evaluation.summary
    summary["metrics"].append("bias")
    for number, subset in enumerate(summary["per_subset"]):
        entry = {"mean": 2.0 - number, "sd": None, "n": 3, "num_nan": 0}  # 2 to -4
        summary["per_subset"][subset]["x"]["bias"] = entry
    summary["overall"]["x"]["bias"] = {"mean": None, "sd": None, "n": 0, "num_nan": 21}
    *_, heat_map = heat_maps(summary)
    found = cells(heat_map)
    assert heat_map.regions == ["x"] and found["p + q + r", "x"].text == "−4.000"
    order = [brightness(found[label, "x"]) for label in ("p + q + r", "p", "q", "r")]  # -4, 2, 1, 0
    assert order == sorted(set(order)) and brightness(found["p + q", "x"]) == order[2], "-1 is as good as 1"


def test_cases_are_ordered_by_the_mean_over_regions_of_the_mean_over_subsets():
    rows = [
        ("a", "p", "x", 0.2), ("a", "q", "x", 0.6), ("a", "p", "y", 0.1),  # 0.4 and 0.1
        ("b", "p", "x", 0.1), ("b", "p", "y", NAN),  # 0.1
        ("c", "p", "x", NAN), ("c", "p", "z", 0.9),  # nothing of the regions that count
    ]  # fmt: skip
    order = cases_from_worst(pd.DataFrame(rows, columns=["case", "subset", "region", "value"]), ["x", "y"])
    assert list(order.index) == ["b", "a"]
    assert order["mean"].tolist() == pytest.approx([0.1, 0.25])
    assert order.loc["a", "x"] == pytest.approx(0.4) and math.isnan(order.loc["b", "y"])


def differences(*rows):
    names = ["level", "group", "region", "n", "difference", "low", "high", "p_holm", "reading"]
    return pd.DataFrame(rows, columns=names).assign(metric="hd95", run="new")


def test_differences_are_coloured_by_which_run_is_better_and_starred_where_they_are_significant():
    found = difference_map(
        differences(
            ("subset", "p", "x", 3, -4.0, -6.0, -2.0, 0.01, "better"),
            ("subset", "p+q", "x", 3, 4.0, NAN, NAN, NAN, "worse"),
            ("subset", "p+q", "y", 2, NAN, NAN, NAN, NAN, ""),
            ("num_modalities", "2", "x", 3, 0.0, -1.0, 1.0, 0.5, "same"),
            ("overall", "overall", "x", 3, 0.5, 0.0, 1.0, 0.5, "worse"),
        ),
        ["p", "q"],
    )
    table = cells(found)
    better, worse, same = (table[label, "x"] for label in ("p", "p + q", "mean of 2"))
    assert (better.text, better.small) == ("−4.00 *", "−6.00 to −2.00")
    assert (worse.text, worse.small) == ("+4.00", "")
    red, _, blue = to_rgb(better.background)
    assert red > blue, "orange"
    red, _, blue = to_rgb(worse.background)
    assert red < blue, "purple"
    assert brightness(same) > 2.8, "nearly white"
    assert table["p + q", "y"].text == table["p", "y"].text == "–"
    assert [row.label for row in found.means] == ["mean of 2", "mean of all subsets"]
    assert "p 0.01 (Holm)" in better.words


def test_a_comparison_in_which_nothing_is_defined_is_a_table_of_dashes():
    found = difference_map(differences(("overall", "overall", "x", 0, NAN, NAN, NAN, NAN, "")), ["p"])
    assert [cell.text for cell in cells(found).values()] == ["–"]


def test_monotonicity_has_a_row_for_each_added_modality():
    columns = ["region", "added", "n", "rate", "mean_change"]
    rows = [("x", "all", 24, 0.25, 0.1), ("x", "p", 12, 0.5, -0.02), ("y", "all", 20, 0.0, 0.3)]
    found = monotonicity_table(pd.DataFrame(rows, columns=columns))
    assert list(found.columns) == ["added modality", "X", "Y", "pairs"]
    assert found.rows == [["all", "25 % (+0.100)", "0 % (+0.300)", 24], ["p", "50 % (−0.020)", "–", 12]]
