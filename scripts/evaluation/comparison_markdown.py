# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""A comparison of evaluations, written for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from ..metrics.statistics import CONFIDENCE, SEED, SIGNIFICANT
from .comparison import NUM_MODALITIES, OVERALL, SUBSET, Evaluation, common_cases
from .descriptions import UNDEFINED, ZERO, metric_of
from .markdown import LEGEND, convention_lines, padded, subset_cells
from .summary import conventions
from .tables import modalities_in_order

METHOD = (
    "Scores are paired by case, subset and region. n: cases with a pair. Rows of several subsets average over cases, "
    "then over subsets, so that every subset weighs the same."
)
INTERVALS = (
    f"In brackets the {CONFIDENCE:.0%} bootstrap interval of the mean difference: percentiles over {{num_resamples}} "
    f"resamples of the cases (seed {SEED}), each case drawn with all its subsets. It says what other test cases would "
    "give, not what another training would."
)
TESTS = (
    "p: Wilcoxon's signed ranks, two-sided, differences of exactly zero left out; in rows of several subsets, of each "
    "case's mean difference. p (Holm): corrected for the number of comparisons in the family, which stands above the "
    f"tables of each run; * where it is below {SIGNIFICANT}. Better and worse tell the sign of the mean difference."
)
MONOTONICITY = (
    "Pairs of a case's subset with the same and one modality more (the added one), over the cases that all runs have. "
    "Worse: how often that makes the score worse{by_more}; mean worsening: by how much where it does."
)


def comparison_markdown(
    evaluations: Mapping[str, Evaluation],
    differences: Mapping[str, pd.DataFrame],
    rates: Mapping[str, pd.DataFrame],
    num_resamples: int,
    tolerance: float = 0.0,
) -> str:
    """Render a comparison: what was compared, a table for each metric, run and region, and the monotonicity.

    Args:
        evaluations: name of each run to what it found, the baseline first.
        differences: metric to the rows of `compare`.
        rates: metric to the rows of `monotonicity`, with ``run``.
        num_resamples: of the bootstrap, as told to `compare`.
        tolerance: as told to `monotonicity`.
    """
    subsets = dict.fromkeys(name for each in evaluations.values() for name in each.rows["subset"].unique())
    modalities = modalities_in_order(subsets)
    intervals = INTERVALS.format(num_resamples=num_resamples)
    lines = ["# Comparison of evaluations", "", *_origin_lines(evaluations)]
    lines += [f"- {text}" for text in (METHOD, intervals, TESTS)]
    lines += ["", LEGEND]
    for metric, found in differences.items():
        for run, of_run in found.groupby("run", sort=False):
            lines += ["", f"## {metric_of(metric).title}: `{run}` minus `{next(iter(evaluations))}`"]
            lines += ["", _family_line(metric, of_run)]
            for region, of_region in of_run.groupby("region", sort=False):
                lines += ["", f"### {region.upper()}", "", *padded(_difference_table(metric, of_region, modalities))]
    by_more = f" by more than {tolerance:g}" if tolerance else ""
    for metric, found in rates.items():
        lines += ["", f"## {metric_of(metric).title}: monotonicity", "", MONOTONICITY.format(by_more=by_more)]
        lines += ["", *padded(_rate_table(metric, found))]
    return "\n".join(lines) + "\n"


def _origin_lines(evaluations: Mapping[str, Evaluation]) -> Iterator[str]:
    """Say which runs and cases are compared, what is left out, and the conventions."""
    baseline, *others = evaluations
    yield f"- Baseline: `{baseline}`. Compared with it: " + ", ".join(f"`{run}`" for run in others) + "."
    num_common = len(common_cases(evaluations))
    left_out = (f"`{run}` {each.rows['case'].nunique() - num_common}" for run, each in evaluations.items())
    yield f"- Cases that all of them have: {num_common}. Not common, left out: " + ", ".join(left_out) + "."
    for column in ("subset", "region"):
        found = [set(each.rows[column].unique()) for each in evaluations.values()]
        partial = sorted(set.union(*found) - set.intersection(*found))
        if partial:
            yield f"- Not in all of them: {column}s " + ", ".join(f"`{name}`" for name in partial) + "."
    yield from convention_lines(conventions(evaluations[baseline].rows))


def _family_line(metric: str, found: pd.DataFrame) -> str:
    """Say which way is better, and how many comparisons p is corrected for."""
    of_subsets = found["level"] == SUBSET
    subsets, averages = (found.loc[chosen, "num_comparisons"].max() for chosen in (of_subsets, ~of_subsets))
    better = metric_of(metric).better
    size = " Errors are compared by their size, without their sign." if better == ZERO else ""
    return (
        f"Better: {better}.{size} Comparisons: {subsets} of subsets and regions are one family, {averages} of averages "
        "and regions another."
    )


def _difference_table(metric: str, found: pd.DataFrame, modalities: Sequence[str]) -> list[list[str]]:
    """Lay out the differences of one region: a row for each subset and average."""
    text = metric_of(metric).text
    titles = ["baseline", "run", "difference", "p", "p (Holm)", "reading", "note"]
    table = [["modalities", *modalities, "n", *titles]]
    blank = [""] * len(modalities)
    for row in found.to_dict("records"):
        start = {
            SUBSET: subset_cells(row["group"], modalities) if row["level"] == SUBSET else [],
            NUM_MODALITIES: [f"mean of {row['group']}", *blank],
            OVERALL: [OVERALL, *blank],
        }[row["level"]]
        means = [text(row[name]) for name in ("baseline_mean", "run_mean")]
        star = " *" if row["p_holm"] < SIGNIFICANT else ""
        table.append([*start, str(row["n"]), *means, _difference_cell(row, text), _p(row["p"]), _p(row["p_holm"])])
        undefined = f"{row['num_undefined']} undefined" if row["num_undefined"] else ""
        table[-1] += [row["reading"] + star, "; ".join(filter(None, (row["note"], undefined)))]
    return table


def _difference_cell(row: Mapping[str, Any], text: Callable[[float, str], str]) -> str:
    difference, low, high = (text(row[name], "+") for name in ("difference", "low", "high"))
    return difference if pd.isna(row["low"]) else f"{difference} [{low}, {high}]"


def _p(value: float) -> str:
    return UNDEFINED if pd.isna(value) else "<0.0001" if value < 1e-4 else f"{value:.4f}"


def _rate_table(metric: str, found: pd.DataFrame) -> list[list[str]]:
    """Lay out the monotonicity: a row for each region, added modality and run."""
    text = metric_of(metric).text
    table = [["region", "added", "run", "n", "worse", "mean change", "mean worsening"]]
    for (region, added), rows in found.groupby(["region", "added"], sort=False):
        for row in rows.itertuples():
            numbers = [text(row.mean_change, "+"), text(row.mean_worsening)]
            table.append([region.upper(), added, row.run, str(row.n), f"{row.rate:.1%}", *numbers])
    return table
