# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Sums up the rows of an evaluation: means with their intervals for each subset, number of modalities and overall."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..metrics.statistics import CONFIDENCE, NUM_RESAMPLES, SEED, bootstrap_interval, mean_over_subsets
from .descriptions import SURFACES_IN_WORDS, metric_of, policy_in_words, region_in_words
from .tables import (
    CONVENTIONS,
    case_by_subset,
    check_rows,
    modalities_in_order,
    num_modalities,
    read_scores,
    subsets_in_order,
)

AVERAGING = (
    "Each row of a subset is the mean over its cases. Rows of several subsets are the mean over those subsets' means, "
    "so that every subset weighs the same however many cases have it (cases first, then subsets, as in the "
    "literature). ± is the standard deviation (n - 1) of all single scores behind the row."
)
INTERVALS = (
    f"In brackets the {CONFIDENCE:.0%} bootstrap interval of the mean: percentiles over {{num_resamples}} resamples of "
    f"the cases (seed {SEED}), each case drawn with all its subsets. It says what other test cases would give, not "
    "what another training would. Fewer than two cases have none."
)

Statistics = dict[str, dict[str, dict[str, Any]]]
"""``[region][metric]`` to mean, sd, low, high, n and num_nan."""

Matrices = Mapping[tuple[str, str], tuple[pd.DataFrame, pd.Series]]
"""Region and metric to the scores, a row for each case and a column for each subset, and the rows of each subset."""


def summarise(
    scores: str | Path | pd.DataFrame,
    failed_cases: Mapping[str, str] | None = None,
    unlabelled_cases: Iterable[str] = (),
    num_resamples: int = NUM_RESAMPLES,
) -> dict[str, Any]:
    """Reduce per-case rows to means, standard deviations, bootstrap intervals and counts.

    Every number is recomputed from the rows. NaN values are left out of means and counted as ``num_nan``. A case that
    lacks modalities has rows for its own subsets only, so ``n`` differs between subsets. How averages over several
    subsets are formed is said in the entry ``averaging``, their intervals in ``intervals``. Regions are never averaged.

    Args:
        scores: path of the CSV file, or its rows as `read_scores` returns them.
        failed_cases: case to reason, for those that could not be scored.
        unlabelled_cases: names of those that were not scored because they have no label.
        num_resamples: of the bootstrap.

    Returns:
        JSON-ready dictionary; ``per_subset[subset][region][metric]``, ``per_num_modalities["1", ...][region][metric]``
        and ``overall[region][metric]`` hold ``mean``, ``sd``, ``low``, ``high`` (``None`` where there is none), ``n``
        and ``num_nan``; the last two also ``num_subsets``.

    Raises:
        ValueError: if columns are missing, conventions are mixed, or a score is there twice.
    """
    rows = scores if isinstance(scores, pd.DataFrame) else read_scores(scores)
    check_rows(rows)
    modalities = modalities_in_order(rows["subset"].unique())
    metrics = rows["metric"].unique().tolist()
    return {
        **conventions(rows),
        "averaging": AVERAGING,
        "intervals": INTERVALS.format(num_resamples=num_resamples),
        "num_cases": int(rows["case"].nunique()),
        "failed_cases": dict(failed_cases or {}),
        "unlabelled_cases": list(unlabelled_cases),
        "modalities": modalities,
        "regions": rows["region"].unique().tolist(),
        "metrics": metrics,
        "metrics_in_words": {metric: metric_of(metric).in_words for metric in metrics},
        **_levels(rows, modalities, num_resamples),
    }


def conventions(rows: pd.DataFrame) -> dict[str, Any]:
    """Say what the numbers of an evaluation depend on: names and words, ``None`` where there are none."""
    policy, surface = (rows[name].iloc[0] if len(rows) else None for name in CONVENTIONS)
    rules = {region: region_in_words(region) for region in rows["region"].unique()}
    return {
        "empty_policy": policy,
        "empty_policy_in_words": policy_in_words(policy),
        "surface": surface,
        "surface_in_words": None if surface is None else SURFACES_IN_WORDS.get(surface),
        "regions_in_words": {region: words for region, words in rules.items() if words},
    }


def _levels(rows: pd.DataFrame, modalities: list[str], num_resamples: int) -> dict[str, Any]:
    """Make the statistics of each subset, of each number of modalities, and overall."""
    matrices = {
        key: (case_by_subset(group), group["subset"].value_counts())
        for key, group in rows.groupby(["region", "metric"], sort=False, observed=True)
    }
    names = subsets_in_order(rows["subset"].unique(), modalities)
    sizes: dict[str, list[str]] = {}
    for name in names:
        sizes.setdefault(str(num_modalities(name)), []).append(name)
    return {
        "per_subset": {name: _statistics(matrices, [name], num_resamples) for name in names},
        "per_num_modalities": {
            size: _over_subsets(matrices, of_size, num_resamples) for size, of_size in sizes.items()
        },
        "overall": _over_subsets(matrices, names, num_resamples),
    }


def _statistics(matrices: Matrices, subsets: list[str], num_resamples: int) -> Statistics:
    """Reduce the scores of some subsets."""
    table: Statistics = {}
    for (region, metric), (values, num_rows) in matrices.items():
        found = [name for name in subsets if name in values]
        if not found:
            continue
        matrix = values[found].to_numpy()  # (cases, subsets)
        defined = matrix[np.isfinite(matrix)]
        low, high = bootstrap_interval(matrix, num_resamples) or (None, None)
        table.setdefault(region, {})[metric] = {
            "mean": mean_over_subsets(matrix),
            "sd": float(defined.std(ddof=1)) if defined.size > 1 else None,
            "low": low,
            "high": high,
            "n": defined.size,
            "num_nan": int(num_rows[found].sum()) - defined.size,
        }
    return table


def _over_subsets(matrices: Matrices, subsets: list[str], num_resamples: int) -> Statistics:
    """Reduce the scores of several subsets, and count the subsets behind each mean."""
    table = _statistics(matrices, subsets, num_resamples)
    for (region, metric), (values, _) in matrices.items():
        if metric in table.get(region, {}):
            defined = values[[name for name in subsets if name in values]].notna().any()
            table[region][metric]["num_subsets"] = int(defined.sum())
    return table
