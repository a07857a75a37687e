# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Whether different modalities have the same features at the same voxel, and whether they can be told apart."""

from __future__ import annotations

import math
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FOLDS = 5
ITERATIONS = 1000  # of the probe, at most


class PairedGap(NamedTuple):
    """How well the features of modalities agree voxel by voxel; NaN where it is not defined.

    Attributes:
        voxel_correlation: -1 to 1; 1 where the features of two modalities rise and fall together, 0 where they have
            nothing in common.
        matched_ratio: from 0; 0 where the modalities have the same features, 1 where those of one voxel are no closer
            than those of different voxels.
        probe_accuracy: 0 to 1; 1 / M where a linear model cannot tell the M modalities by their features.
    """

    voxel_correlation: float
    matched_ratio: float
    probe_accuracy: float


def paired_gap(voxels: NDArray) -> PairedGap:
    """Compare the features of modalities at the same voxels.

    With z_m the features of modality m at the K voxels of all cases that have both modalities of a pair::

        voxel_correlation = mean over pairs and channels of Pearson's correlation over the voxels
        matched_ratio     = mean over pairs of mean_i |z_mi - z_ni|  /  mean over pairs of mean_i |z_mi - z_nj|
        probe_accuracy    = balanced accuracy of a logistic regression that tells the modality from z_mi

    where j is i moved on by half of the voxels, which are in the order of the cases. The probe is trained on
    standardised features and tested on cases that it has not seen, in five folds.

    None of the three changes when all features are multiplied by a number. Features that shrink towards a constant keep
    the noise around it, which is not paired: the correlation falls to 0 and the ratio rises to 1, while the distance of
    centroids may fall. The probe is at chance there, as it is for aligned features: read it beside the other two. A
    constant offset between modalities, which the correlation does not see, raises the ratio and the probe.

    Edge cases: a channel that is constant in one modality of a pair is left out of the correlation. A pair that no case
    has is left out. The probe leaves out modalities that fewer than two cases have. What nothing is left for is NaN.

    Args:
        voxels: ``(N, P, M, F)``, of N cases and P voxels of each; NaN where the case lacks the modality.

    Raises:
        ValueError: if ``voxels`` has not four axes.
    """
    if voxels.ndim != 4:
        raise ValueError(f"`voxels` has shape {voxels.shape}; expected (cases, voxels, modalities, features).")
    voxels = voxels.astype(float)
    rows = voxels.reshape(-1, *voxels.shape[2:])  # (N * P, M, F)
    correlations, matched, mismatched = [], [], []
    for m, n in combinations(range(voxels.shape[2]), 2):
        pair = rows[np.isfinite(rows[:, [m, n]]).all(axis=(1, 2))][:, [m, n]]  # (K, 2, F)
        if len(pair) < 2:
            continue
        one, other = pair[:, 0], pair[:, 1]
        correlations.append(_correlations(one, other))
        matched.append(np.linalg.norm(one - other, axis=1).mean())
        mismatched.append(np.linalg.norm(one - np.roll(other, len(pair) // 2, axis=0), axis=1).mean())
    found = np.concatenate(correlations) if correlations else np.empty(0)
    apart = float(np.mean(mismatched)) if mismatched else math.nan
    return PairedGap(
        float(found.mean()) if len(found) else math.nan,
        float(np.mean(matched)) / apart if apart > 0 else math.nan,
        _probe(voxels),
    )


def _correlations(one: NDArray, other: NDArray) -> NDArray:
    """Correlate ``(K, F)`` with ``(K, F)`` over the first axis, of the channels that vary in both."""
    varies = (np.ptp(one, axis=0) > 0) & (np.ptp(other, axis=0) > 0)  # a constant less its mean is rounding noise
    one, other = (each[:, varies] - each[:, varies].mean(axis=0) for each in (one, other))
    return (one * other).sum(axis=0) / (np.linalg.norm(one, axis=0) * np.linalg.norm(other, axis=0))


def _probe(voxels: NDArray) -> float:
    seen = np.isfinite(voxels).all(axis=3)  # (N, P, M)
    seen &= seen.any(axis=1).sum(axis=0) >= 2  # in two cases or more
    case, _, modality = seen.nonzero()
    cases = len(np.unique(case))
    if len(np.unique(modality)) < 2 or cases < 2:
        return math.nan
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=ITERATIONS))
    folds = GroupKFold(min(FOLDS, cases))
    scores = cross_val_score(probe, voxels[seen], modality, groups=case, cv=folds, scoring="balanced_accuracy")
    return float(np.mean(scores))
