# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The modality gap, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scripts.metrics.modality_gap import modality_gap

NAN = [math.nan, math.nan]
# Two cases, two modalities, two features. Centroids (0, 0) and (3, 4), a distance of 5 apart; every vector of the first
# modality is 1 from its centroid, every vector of the second 3.
TWO = np.array([[[1.0, 0], [3, 7]], [[-1, 0], [3, 1]]])


def test_two_modalities_by_hand():
    assert modality_gap(TWO) == pytest.approx((5 / ((1 + 3) / 2), 5, 2))


def test_every_pair_of_three_modalities_counts_once():
    third = np.array(
        [[[0.0, -12]], [[0, -12]]]
    )  # 12 from the first centroid, (9 + 256)^(1/2) from the second; spread 0
    distance = (5 + 12 + math.hypot(3, 16)) / 3
    assert modality_gap(np.concatenate([TWO, third], axis=1)) == pytest.approx((distance / (4 / 3), distance, 4 / 3))


def test_a_case_counts_only_for_the_modalities_it_has():
    one_more = np.concatenate([TWO, [[[0.0, 3], NAN]]])  # centroid of the first: (0, 1)
    distance = math.hypot(3, 4 - 1)
    spread = (np.mean([math.sqrt(2), math.sqrt(2), 2]) + 3) / 2
    assert modality_gap(one_more) == pytest.approx((distance / spread, distance, spread))


def test_a_modality_that_no_case_has_changes_nothing():
    assert modality_gap(np.insert(TWO, 1, NAN, axis=1)) == modality_gap(TWO)


def test_a_modality_of_a_single_case_has_a_centroid_but_no_spread():
    single = TWO.copy()
    single[1, 1] = NAN  # the second centroid is (3, 7) now
    distance = math.hypot(3, 7)
    assert modality_gap(single) == pytest.approx((distance, distance, 1))


def test_the_gap_does_not_depend_on_the_scale_or_the_order_of_modalities():
    features = np.random.default_rng(0).normal(size=(6, 4, 5))
    gap = modality_gap(features).gap
    assert math.isfinite(gap) and gap > 0
    assert modality_gap(-7 * features).gap == pytest.approx(gap)
    assert modality_gap(features[:, [2, 0, 3, 1]]).gap == pytest.approx(gap)


def test_modalities_with_the_same_features_have_no_gap():
    same = np.random.default_rng(0).normal(size=(5, 1, 3)).repeat(4, axis=1)
    assert modality_gap(same).gap == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("features", "distance", "spread"),
    [
        (TWO[:, :1], math.nan, 1),  # one modality
        (TWO[:1].repeat(2, axis=0), math.hypot(2, 7), 0),  # no spread
        (TWO[:1], math.hypot(2, 7), math.nan),  # one case
        (np.full_like(TWO, math.nan), math.nan, math.nan),
        (np.empty((0, 2, 3)), math.nan, math.nan),
    ],
)
def test_where_it_is_not_defined_the_gap_is_nan(features, distance, spread):
    assert modality_gap(features) == pytest.approx((math.nan, distance, spread), nan_ok=True)


def test_features_without_a_modality_axis_are_refused():
    with pytest.raises(ValueError, match=r"`features` has shape \(4, 2\); expected \(cases, modalities, features\)"):
        modality_gap(np.zeros((4, 2)))
