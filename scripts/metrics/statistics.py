# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Means over cases and subsets with bootstrap intervals, paired tests, correction for many comparisons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from .undefined import mean_of_defined

CONFIDENCE = 0.95
NUM_RESAMPLES = 2000
SEED = 0
BATCH_ELEMENTS = 2**21  # resampled cases held at a time: 16 MiB for each intermediate array
SIGNIFICANT = 0.05


def mean_over_subsets(values: ArrayLike) -> float | None:
    """Average over cases, then over subsets; ``None`` where nothing is defined.

    Args:
        values: ``(N, K)`` a value for each case and subset, NaN where there is none; ``(N,)`` for one subset.
    """
    return mean_of_defined(map(mean_of_defined, _matrix(values).T.tolist()))


def bootstrap_interval(
    values: ArrayLike, num_resamples: int = NUM_RESAMPLES, seed: int = SEED
) -> tuple[float, float] | None:
    """Give the 95 % bootstrap interval of ``mean_over_subsets``: 2.5th and 97.5th percentile of its resamples.

    Resampled are the cases that have a value, each with all its subsets: the scores of one case under several subsets
    are no independent observations. A subset that none of the drawn cases has is left out of that resample's mean.

    Args:
        values: as for ``mean_over_subsets``.
        num_resamples: how often cases are drawn with replacement.
        seed: of the draws.

    Returns:
        Lower and upper bound; ``None`` for fewer than two cases.

    Reference:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile interval).
    """
    matrix = _matrix(values)
    matrix = matrix[np.isfinite(matrix).any(axis=1)]  # (N, K)
    if len(matrix) < 2:
        return None
    defined = np.isfinite(matrix)
    filled, weights = np.where(defined, matrix, 0.0), defined.astype(float)

    def statistic(drawn: NDArray, axis: int) -> NDArray:  # (B, N) numbers of cases to (B,)
        counts = _counts(drawn)
        with np.errstate(invalid="ignore"):
            means = (counts @ filled) / (counts @ weights)  # (B, K)
        return np.nanmean(means, axis=1)

    found = stats.bootstrap(
        (np.arange(len(matrix)),),
        statistic,
        vectorized=True,
        n_resamples=num_resamples,
        batch=max(1, BATCH_ELEMENTS // len(matrix)),
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def _matrix(values: ArrayLike) -> NDArray:
    array = np.asarray(values, dtype=float)
    return array[:, None] if array.ndim == 1 else array


def _counts(drawn: NDArray) -> NDArray:
    """Count how often each case is in each resample: ``(B, N)`` numbers of cases to ``(B, N)`` counts."""
    num_resamples, num_cases = drawn.shape
    places = drawn + num_cases * np.arange(num_resamples)[:, None]
    return np.bincount(places.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(float)


def signed_rank_test(differences: ArrayLike) -> tuple[float | None, str]:
    """Test paired differences by Wilcoxon's signed ranks, two-sided; those of exactly zero are left out.

    Exact up to 50 differences without ties and up to 13 with ties, a normal approximation otherwise (scipy's choice).

    Args:
        differences: one of each case, NaN where there is none.

    Returns:
        p, ``None`` without any difference; and what is to be said of it, mostly nothing.

    Reference:
        Wilcoxon, Individual Comparisons by Ranking Methods, Biometrics Bulletin 1945.
    """
    values = np.asarray(differences, dtype=float)
    values = values[np.isfinite(values)]
    changed = values[values != 0]
    if not values.size:
        return None, "no pair"
    if not changed.size:
        return 1.0, "all differences are zero"
    p = min(1.0, float(stats.wilcoxon(changed).pvalue))
    smallest = 2 * 0.5**changed.size
    if smallest > SIGNIFICANT:
        return p, f"n too small: p is at least {smallest:.3g}"
    ranks = stats.rankdata(np.abs(changed))
    if p < SIGNIFICANT and (ranks @ np.sign(changed)) * values.mean() < 0:
        return p, "ranks and mean disagree in sign"
    return p, ""


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct the p-values of one family of comparisons by Holm's step-down method.

    The k-th smallest of m is multiplied by m - k + 1; none may be below the one before it, none above 1.

    Reference:
        Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 1979.
    """
    p = np.asarray(p_values, dtype=float)
    order = p.argsort(kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)), 1.0)
    return corrected.tolist()
