# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Compares evaluations of the same cases by paired differences."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..metrics.statistics import NUM_RESAMPLES, bootstrap_interval, holm, mean_over_subsets, signed_rank_test
from ..metrics.undefined import mean_of_defined, or_nan
from .descriptions import directed_metric
from .store import SETTINGS_FILE
from .tables import CONVENTIONS, case_by_subset, check_rows, num_modalities, read_scores, subsets_in_order

PER_CASE_FILE = "per_case.csv"
SUBSET, NUM_MODALITIES, OVERALL = "subset", "num_modalities", "overall"
SHARED_SETTINGS = ("regions", "surface_tolerance")  # that the numbers of all must be made with, beside the conventions
READINGS = {1: "better", 0: "same", -1: "worse"}
DIFFERENCE_COLUMNS = (
    *("run", "metric", "level", "group", "region", "n", "num_undefined", "baseline_mean", "run_mean"),
    *("difference", "low", "high", "p", "num_comparisons", "p_holm", "reading", "note"),
)


class Evaluation(NamedTuple):
    """What an evaluation found.

    Attributes:
        rows: as `read_scores` returns them.
        settings: what the numbers depend on; empty where that was not kept.
    """

    rows: pd.DataFrame
    settings: Mapping[str, Any]


def read_evaluation(path: str | Path) -> Evaluation:
    """Read an evaluation from its folder or its ``per_case.csv``.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is not what an evaluation writes.
    """
    path = Path(path)
    file = path / PER_CASE_FILE if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(
            f"no {PER_CASE_FILE} at {path}; expected the `output_dir` of an evaluation, or its {PER_CASE_FILE}. The "
            "workflow `evaluating` with configs/evaluate.yaml writes it."
        )
    rows = read_scores(file)
    check_rows(rows)
    settings = file.parent / SETTINGS_FILE
    return Evaluation(rows, json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {})


def common_cases(evaluations: Mapping[str, Evaluation]) -> list[str]:
    """Name the cases that all evaluations have, once it is sure that their numbers mean the same.

    Args:
        evaluations: name of each run to what it found.

    Raises:
        ValueError: if there are fewer than two, their conventions differ, or no case is common.
    """
    if len(evaluations) < 2:
        raise ValueError(f"{len(evaluations)} evaluation to compare: {list(evaluations)}; expected two or more.")
    for name in CONVENTIONS:
        _require_one(name, {run: " ".join(each.rows[name].unique()) for run, each in evaluations.items()})
    for name in SHARED_SETTINGS:
        known = {run: each.settings[name] for run, each in evaluations.items() if name in each.settings}
        _require_one(name, {run: json.dumps(value, sort_keys=True) for run, value in known.items()})
    cases = {run: list(each.rows["case"].unique()) for run, each in evaluations.items()}
    first, *others = cases.values()
    common = set(first).intersection(*others)
    if not common:
        some = {run: found[:3] for run, found in cases.items()}
        raise ValueError(f"the evaluations have no case in common; the first of each are {some}. Expected the same.")
    return [case for case in first if case in common]


def _require_one(name: str, found: Mapping[str, str]) -> None:
    if len(set(found.values())) > 1:
        listed = ", ".join(f"{run} {value or 'no score'}" for run, value in found.items())
        raise ValueError(
            f"the evaluations differ in `{name}`: {listed}; paired differences need one. Evaluate again with the same."
        )


def compare(
    evaluations: Mapping[str, Evaluation], metric: str = "dice", num_resamples: int = NUM_RESAMPLES
) -> pd.DataFrame:
    """Compare runs with the first one, the baseline, over the cases that all of them have.

    A pair is a score of the same case, subset and region in both; pairs of which one is undefined are left out. Errors
    of either sign (volume) are compared by their size. Means, and their bootstrap intervals, over several subsets are
    formed as in the summary; the test then takes one value for each case, its mean difference over those subsets.
    Holm's correction is over a family: all subsets x regions of one metric and run; averages are a family of their own.

    Args:
        evaluations: name of each run to what it found, the baseline first.
        metric: to compare.
        num_resamples: of the bootstrap.

    Returns:
        A row for each run, ``level`` (``subset``, ``num_modalities``, ``overall``), ``group`` (the subset, or the
        number) and ``region``: ``n`` cases, ``num_undefined`` pairs left out, ``baseline_mean``, ``run_mean``,
        ``difference`` (run minus baseline) with ``low`` and ``high``, ``p`` of Wilcoxon's signed ranks, ``p_holm`` for
        ``num_comparisons``, ``reading`` (``better``, ``worse``, ``same``: the sign of the difference), ``note``.

    Raises:
        ValueError: if the evaluations cannot be compared, lack the metric, or it is not a known one.
    """
    direction = directed_metric(metric).direction
    cases = common_cases(evaluations)
    scores = {run: _scores_of(run, each.rows, metric, cases) for run, each in evaluations.items()}
    baseline, *others = scores
    tables = []
    for run in others:
        pairs = scores[baseline].merge(scores[run], on=["case", "subset", "region"], suffixes=("_baseline", "_run"))
        if pairs.empty:
            raise ValueError(
                f"`{run}` and `{baseline}` have no subset and region of a case in common; the first scores are "
                f"{[tuple(each.iloc[0, :3]) for each in (scores[run], scores[baseline])]}. Expected some of the same."
            )
        pairs["difference"] = pairs["value_run"] - pairs["value_baseline"]
        found = pd.DataFrame(_compared(pairs, direction, num_resamples))
        tables.append(_corrected(found).assign(run=run, metric=metric))
    return pd.concat(tables, ignore_index=True)[list(DIFFERENCE_COLUMNS)]


def _scores_of(run: str, rows: pd.DataFrame, metric: str, cases: list[str]) -> pd.DataFrame:
    """Choose the scores of a metric and of some cases."""
    chosen = rows[(rows["metric"] == metric) & rows["case"].isin(cases)]
    if chosen.empty:
        raise ValueError(f"`{run}` has no scores of `{metric}`; it has {rows['metric'].unique().tolist()}.")
    chosen = chosen[["case", "subset", "region", "value"]].astype({"case": str, "subset": str, "region": str})
    return chosen.assign(value=directed_metric(metric).comparable(chosen["value"]))


def _compared(pairs: pd.DataFrame, direction: int, num_resamples: int) -> Iterator[dict[str, Any]]:
    """Compare each region over each subset, each number of modalities, and all subsets."""
    subsets = subsets_in_order(pairs["subset"].unique())
    groups = [(SUBSET, name, [name]) for name in subsets]
    for size in sorted({num_modalities(name) for name in subsets}):
        groups.append((NUM_MODALITIES, str(size), [name for name in subsets if num_modalities(name) == size]))
    groups.append((OVERALL, OVERALL, subsets))
    for region, of_region in pairs.groupby("region", sort=False):
        num_pairs = of_region["subset"].value_counts()
        defined = of_region.dropna(subset="difference")
        tables = {name: case_by_subset(defined, name) for name in ("value_baseline", "value_run", "difference")}
        for level, group, names in groups:
            asked = int(num_pairs.reindex(names).sum())
            if asked:
                baseline, run, difference = (table.reindex(columns=names).to_numpy() for table in tables.values())
                found = _difference(baseline, run, difference, direction, num_resamples)
                found["num_undefined"] = asked - found.pop("num_pairs")
                yield {"level": level, "group": group, "region": region, **found}


def _difference(
    baseline: NDArray, run: NDArray, differences: NDArray, direction: int, num_resamples: int
) -> dict[str, Any]:
    """Compare paired scores: ``(N, K)`` of each case and subset, NaN where there is no pair."""
    defined = np.isfinite(differences)
    differences = differences[defined.any(axis=1)]
    mean = mean_over_subsets(differences)
    low, high = bootstrap_interval(differences, num_resamples) or (None, None)
    p, note = signed_rank_test([or_nan(mean_of_defined(of_case)) for of_case in differences.tolist()])
    return {
        "n": len(differences),
        "num_pairs": int(defined.sum()),
        "baseline_mean": mean_over_subsets(baseline),
        "run_mean": mean_over_subsets(run),
        "difference": mean,
        "low": low,
        "high": high,
        "p": p,
        "reading": "" if mean is None else READINGS[int(np.sign(mean)) * direction],
        "note": note,
    }


def _corrected(found: pd.DataFrame) -> pd.DataFrame:
    """Correct p within the family of the subsets, and within that of the averages."""
    found = found.astype(dict.fromkeys(("baseline_mean", "run_mean", "difference", "low", "high", "p"), float))
    found = found.assign(p_holm=np.nan, num_comparisons=0)
    for _, family in found.dropna(subset="p").groupby(found["level"] == SUBSET):
        found.loc[family.index, "p_holm"] = holm(family["p"])
        found.loc[family.index, "num_comparisons"] = len(family)
    return found
