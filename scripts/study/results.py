# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What a study found: scores of all runs in one table, means over seeds, differences with their intervals."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from ..evaluation.descriptions import plain_regions
from ..evaluation.tables import TEXT_COLUMNS, case_by_subset, read_scores
from ..handlers.latent_features import GAP_FILE
from ..metrics.modality_gap import ModalityGap
from ..metrics.paired_gap import PairedGap
from ..metrics.statistics import CONFIDENCE, mean_over_subsets
from ..metrics.undefined import or_nan
from ..records.scalars import read_scalars
from .plan import Run

ALL = "all"  # subsets of any number of modalities
KEYS = ["rates", "variant", "seed"]


def collect_scores(folders: Mapping[Run, Path]) -> pd.DataFrame:
    """Join the ``per_case.csv`` of finished evaluations; ``rates``, ``variant`` and ``seed`` become columns."""
    tables = [read_scores(folder / "per_case.csv").assign(**_keys(run)) for run, folder in folders.items()]
    return pd.concat(tables, ignore_index=True).astype(dict.fromkeys(TEXT_COLUMNS, str))


def collect_gaps(folders: Mapping[Run, Path]) -> pd.DataFrame:
    """Join the modality gaps that evaluations measured, and what they are made of.

    Returns:
        A row for each run and ``measure`` of ``ModalityGap`` and ``PairedGap``, with its ``value``; ``region`` is
        ``latent``, since these are of no region. What is not defined, or not measured then, is left out.
    """
    rows = []
    for run, folder in folders.items():
        found = json.loads((folder / GAP_FILE).read_text(encoding="utf-8"))
        names = (*ModalityGap._fields, *PairedGap._fields)
        rows += [{**_keys(run), "measure": name, "value": found.get(name)} for name in names]
    return pd.DataFrame(rows, columns=[*KEYS, "measure", "value"]).assign(region="latent").dropna(subset="value")


def collect_curves(folders: Mapping[Run, Path]) -> pd.DataFrame:
    """Join the scalars that trainings wrote for TensorBoard: rows of ``tag``, ``epoch`` and ``value`` of each run."""
    tables = [read_scalars(folder).assign(**_keys(run)) for run, folder in folders.items()]
    return pd.concat(tables, ignore_index=True)


def _keys(run: Run) -> dict[str, str | int]:
    return {name: getattr(run, name) for name in KEYS}


def mean_per_seed(scores: pd.DataFrame, metric: str = "dice") -> pd.DataFrame:
    """Average a metric over cases, then over subsets, for each run: the values that intervals are made of.

    Returns:
        A row for each ``rates``, ``variant``, ``seed``, ``num_modalities`` (numbers, and ``all``) and ``region`` (and
        their ``mean``), with its ``value``. Scores that are not defined are left out.
    """
    rows = scores[scores["metric"] == metric]
    by_number = _means(rows, [*KEYS, "num_modalities", "region"])
    overall = _means(rows, [*KEYS, "region"]).assign(num_modalities=ALL)
    return _with_mean_region(pd.concat([by_number, overall], ignore_index=True), "num_modalities")


def mean_per_modality(scores: pd.DataFrame, metric: str = "dice") -> pd.DataFrame:
    """Average a metric over cases where a single modality is shown; like ``mean_per_seed``, with ``subset``."""
    rows = scores[(scores["metric"] == metric) & (scores["num_modalities"] == 1)]
    return _with_mean_region(_means(rows, [*KEYS, "subset", "region"]), "subset")


def _means(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Average each group over cases, then over subsets, as the summary of an evaluation does."""
    groups = rows.groupby(keys, sort=False)
    found = [(*key, or_nan(mean_over_subsets(case_by_subset(group)))) for key, group in groups]
    return pd.DataFrame(found, columns=[*keys, "value"])


def _with_mean_region(means: pd.DataFrame, column: str) -> pd.DataFrame:
    plain = means[means["region"].isin(plain_regions(means["region"].unique()))]
    over_regions = plain.groupby([*KEYS, column], sort=False)["value"].mean().reset_index().assign(region="mean")
    return pd.concat([means, over_regions], ignore_index=True)


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Give the mean over seeds with its 95 % confidence interval (Student's t); NaN bounds for a single value."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, math.nan, math.nan
    half = float(stats.sem(values) * stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return mean, mean - half, mean + half


def compare(per_seed: pd.DataFrame, baseline: str, column: str = "num_modalities") -> pd.DataFrame:
    """Sum up over seeds, with the difference from the baseline, which is paired by seed.

    Args:
        per_seed: of ``mean_per_seed``, ``mean_per_modality`` or ``collect_gaps``.
        baseline: the variant that the others are compared with.
        column: ``num_modalities``, ``subset`` or ``measure``.

    Returns:
        A row for each ``rates``, ``variant``, ``column`` and ``region``: ``seeds``, ``mean``, ``low``, ``high``, and
        ``difference``, ``difference_low``, ``difference_high`` over the ``paired_seeds`` that both have.
    """
    reference = per_seed[per_seed["variant"] == baseline].drop(columns="variant")
    joined = per_seed.merge(
        reference, on=["rates", "seed", column, "region"], how="left", suffixes=("", "_of_baseline")
    )
    joined["gain"] = joined["value"] - joined["value_of_baseline"]
    rows = []
    for keys, group in joined.groupby(["rates", "variant", column, "region"], sort=False):
        gains = group["gain"].dropna()
        difference = mean_interval(gains) if len(gains) else (math.nan,) * 3
        rows.append((*keys, len(group), *mean_interval(group["value"]), len(gains), *difference))
    names = ["rates", "variant", column, "region", "seeds", "mean", "low", "high", "paired_seeds"]
    return pd.DataFrame(rows, columns=[*names, "difference", "difference_low", "difference_high"])
