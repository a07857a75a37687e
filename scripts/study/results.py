# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What a study found: scores of all runs in one table, means over seeds, differences with their intervals."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from ..evaluation.descriptions import plain_regions
from ..evaluation.tables import TEXT_COLUMNS, case_by_subset, read_scores
from ..handlers.latent_features import GAP_FILE
from ..metrics.modality_gap import ModalityGap
from ..metrics.paired_gap import PairedGap
from ..metrics.statistics import CONFIDENCE, holm, mean_over_subsets, signed_rank_test
from ..metrics.undefined import or_nan
from ..records.scalars import read_scalars
from .plan import ALL, PAIRED_T, WILCOXON, Outcome, Run, Study

KEYS = ["rates", "variant", "seed"]
NO_SPREAD = 1e-12  # differences in Dice that are closer than this are the same


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


class Comparison(NamedTuple):
    """A primary comparison of a variant with the baseline, paired by seed; NaN where it is not defined.

    Attributes:
        rates: name of the missing rates.
        variant: that is compared.
        num_modalities: of the outcome.
        region: of the outcome.
        seeds: finished in both.
        planned_seeds: that both are to run with.
        difference: mean over seeds, variant minus baseline.
        low: of its 95 % confidence interval (Student's t).
        high: of the interval.
        d_z: Cohen's: the mean difference over the standard deviation of the differences, with its sign.
        p: of the planned test, two-sided.
        wins: seeds in which the variant is better.
        note: what is to be said of p, mostly nothing.
    """

    rates: str
    variant: str
    num_modalities: int | str
    region: str
    seeds: int
    planned_seeds: int
    difference: float
    low: float
    high: float
    d_z: float
    p: float
    wins: int
    note: str


def primary_comparisons(per_seed: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Make the planned comparisons, with the planned test, of what is finished.

    Args:
        per_seed: of ``mean_per_seed``.
        study: which names outcomes and test.

    Returns:
        A row for each comparison that is planned, of the attributes of ``Comparison`` and ``p_holm``: corrected for all
        that are planned. Those that cannot be made yet count as p = 1 there, so that no p is too small before its time.

    Raises:
        ValueError: if an outcome is of a region that was not scored.
    """
    regions = list(per_seed["region"].unique())
    for outcome in study.outcomes:
        if len(per_seed) and outcome.region not in regions:
            raise ValueError(f"an outcome is of the region `{outcome.region}`; expected one of {regions}.")
    found = pd.DataFrame(
        [_comparison(per_seed, study, *each) for each in study.comparisons()], columns=Comparison._fields
    )
    return found.assign(p_holm=pd.Series(holm(found["p"].fillna(1.0)), dtype=float).where(found["p"].notna()))


def _comparison(per_seed: pd.DataFrame, study: Study, rates: str, variant: str, outcome: Outcome) -> Comparison:
    of_outcome = (per_seed["rates"] == rates) & (per_seed["num_modalities"] == outcome.num_modalities)
    rows = per_seed[of_outcome & (per_seed["region"] == outcome.region)]
    values = rows.pivot(index="seed", columns="variant", values="value")
    pairs = values.reindex(columns=[variant, study.baseline]).dropna().astype(float)
    gains = pairs[variant] - pairs[study.baseline]
    planned = set(study.seeds_of(variant)) & set(study.seeds_of(study.baseline))
    mean, low, high = mean_interval(gains.tolist()) if len(gains) else (math.nan,) * 3
    spread = len(gains) > 1 and np.ptp(gains) > NO_SPREAD
    p, note = _TESTS[study.test](pairs[variant].to_numpy(), pairs[study.baseline].to_numpy())
    return Comparison(
        *(rates, variant, outcome.num_modalities, outcome.region, len(gains), len(planned), mean, low, high),
        d_z=float(mean / gains.std(ddof=1)) if spread else math.nan,
        p=p,
        wins=int((gains > 0).sum()),
        note=note,
    )


def _paired_t(values: NDArray, reference: NDArray) -> tuple[float, str]:
    """Test paired values by Student's t, two-sided: p, and what is to be said of it."""
    if len(values) < 2:
        return math.nan, "fewer than two seeds"
    gains = values - reference
    if np.ptp(gains) <= NO_SPREAD:
        return (1.0, "all differences are zero") if not gains.any() else (math.nan, "all differences are the same")
    return float(stats.ttest_rel(values, reference).pvalue), ""


def _wilcoxon(values: NDArray, reference: NDArray) -> tuple[float, str]:
    p, note = signed_rank_test(values - reference)
    return or_nan(p), note


_TESTS = {PAIRED_T: _paired_t, WILCOXON: _wilcoxon}


def gap_ratios(gaps: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Divide every measure of the modality gap by that of the baseline with the same seed.

    Args:
        gaps: of ``collect_gaps``.
        baseline: the variant that the others are compared with.

    Returns:
        A row for each ``rates``, ``measure``, ``variant`` and ``seed`` that both have, with its ``ratio``. What the
        baseline has none of, or less, is left out.
    """
    reference = gaps[(gaps["variant"] == baseline) & (gaps["value"] > 0)]
    keys = ["rates", "measure", "seed"]
    joined = gaps[gaps["variant"] != baseline].merge(
        reference[[*keys, "value"]], on=keys, suffixes=("", "_of_baseline")
    )
    ratio = joined["value"] / joined["value_of_baseline"]
    return joined.assign(ratio=ratio.astype(float))[["rates", "measure", "variant", "seed", "ratio"]]


class Findings(NamedTuple):
    """What the finished runs of a study say.

    Attributes:
        summaries: of ``compare``, by the column that they are grouped by.
        primary: of ``primary_comparisons``.
        ratios: of ``gap_ratios``.
        minutes: training and evaluation of each finished run.
        records: what ``RunRecordHandler`` wrote for each: commit, versions, machine.
    """

    summaries: Mapping[str, pd.DataFrame]
    primary: pd.DataFrame
    ratios: pd.DataFrame
    minutes: Mapping[Run, float]
    records: Mapping[Run, Mapping[str, Any]]
