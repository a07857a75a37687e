# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What showing a network one modality more does to the scores, and how often it does harm."""

from __future__ import annotations

import pandas as pd

from ..modalities import ALL
from .descriptions import directed_metric
from .tables import case_by_subset, modalities_in_order, subsets_in_order

STEP_COLUMNS = ("case", "region", "subset", "added", "before", "after", "change")
MONOTONICITY_COLUMNS = ("region", "added", "n", "num_worse", "rate", "mean_change", "mean_worsening")


def modality_steps(rows: pd.DataFrame, metric: str = "dice") -> pd.DataFrame:
    """Pair the scores of each case under a subset S with those under S and one modality more.

    Args:
        rows: of one evaluation, as `read_scores` returns them.
        metric: to look at; errors of either sign (volume) count by their size.

    Returns:
        A row for each ``case``, ``region``, ``subset`` (S) and ``added`` modality: ``before``, ``after``, ``change``
        (after minus before). Pairs that a case lacks, or of which one score is undefined, are left out.
    """
    rows = rows[rows["metric"] == metric]
    members = {name: frozenset(name.split("+")) for name in subsets_in_order(rows["subset"].unique())}
    pairs = [
        (small, large, next(iter(members[large] - members[small])))
        for small in members
        for large in members
        if members[small] < members[large] and len(members[large] - members[small]) == 1
    ]
    tables = []
    for region, group in rows.groupby("region", sort=False, observed=True):
        values = directed_metric(metric).comparable(case_by_subset(group))
        for small, large, added in pairs:
            if small in values and large in values:
                step = pd.DataFrame({"before": values[small], "after": values[large]}).dropna().reset_index()
                tables.append(step.assign(region=region, subset=small, added=added))
    steps = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(STEP_COLUMNS))
    return steps.assign(change=steps["after"] - steps["before"])[list(STEP_COLUMNS)]


def monotonicity(rows: pd.DataFrame, metric: str = "dice", tolerance: float = 0.0) -> pd.DataFrame:
    """Count how often one modality more makes a score worse.

    Args:
        rows: of one evaluation, as `read_scores` returns them.
        metric: to look at; for distances and errors, worse is a rise.
        tolerance: changes for the worse up to this size do not count; in the metric's unit.

    Returns:
        A row for each ``region`` and ``added`` modality, and before them for ``all`` together: ``n`` pairs of a case's
        subset with and without it, ``num_worse`` of them, their share ``rate``, ``mean_change`` over all pairs (after
        minus before), and ``mean_worsening``, how much those that are worse are worse (NaN if there is none).

    Raises:
        ValueError: if it is not known which way the metric is better.
    """
    direction = directed_metric(metric).direction
    steps = modality_steps(rows, metric)
    found = []
    for region, of_region in steps.groupby("region", sort=False):
        groups = {ALL: of_region}
        groups |= {name: of_region[of_region["added"] == name] for name in modalities_in_order(rows["subset"].unique())}
        for added, group in groups.items():
            drops = -direction * group["change"]
            drops = drops[drops > tolerance]
            if len(group):
                rate, change = len(drops) / len(group), group["change"].mean()
                found.append((region, added, len(group), len(drops), rate, change, drops.mean()))
    return pd.DataFrame(found, columns=list(MONOTONICITY_COLUMNS))
