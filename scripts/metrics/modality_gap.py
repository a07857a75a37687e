# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How far apart the latent features of different modalities lie."""

from __future__ import annotations

import math
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class ModalityGap(NamedTuple):
    """The modality gap and what it is made of; NaN where it is not defined.

    Attributes:
        gap: ``centroid_distance / spread``, dimensionless; 0 where modalities share one centroid.
        centroid_distance: mean distance between the centroids of two modalities, over all pairs.
        spread: mean over modalities of the mean distance of a modality's vectors to its centroid.
    """

    gap: float
    centroid_distance: float
    spread: float


def modality_gap(features: NDArray) -> ModalityGap:
    """Measure the modality gap: distance between the modalities' centroids, relative to the spread around them.

    With the vectors z_mi of the cases i that have modality m, and their mean c_m:

        gap = mean over pairs m < n of |c_m - c_n|  /  mean over m of mean over i of |z_mi - c_m|

    Distances are Euclidean. The gap does not change when all features are multiplied by a number.

    Edge cases: a modality that no case has is left out; one of a single case has a centroid but no spread, and is left
    out of the mean spread. With fewer than two modalities the distance is NaN, without any spread the spread is. A
    spread of 0 makes the gap NaN.

    Args:
        features: ``(N, M, F)``, one vector for each case and modality, NaN where the case lacks the modality. A vector
            that is not finite throughout counts as lacking.

    Raises:
        ValueError: if ``features`` has not three axes.
    """
    if features.ndim != 3:
        raise ValueError(f"`features` has shape {features.shape}; expected (cases, modalities, features).")
    acquired = np.isfinite(features).all(axis=2)  # (N, M)
    vectors = [features[rows, m].astype(float) for m, rows in enumerate(acquired.T) if rows.any()]
    centroids = [of_modality.mean(axis=0) for of_modality in vectors]
    distances = [np.linalg.norm(one - other) for one, other in combinations(centroids, 2)]
    spreads = [
        np.linalg.norm(of_modality - centroid, axis=1).mean()
        for of_modality, centroid in zip(vectors, centroids, strict=True)
        if len(of_modality) > 1
    ]
    distance, spread = (float(np.mean(each)) if each else math.nan for each in (distances, spreads))
    return ModalityGap(distance / spread if spread > 0 else math.nan, distance, spread)
