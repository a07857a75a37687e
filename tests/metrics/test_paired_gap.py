# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Paired gap measures on constructed features: aligned, collapsed, shifted."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scripts.metrics.modality_gap import modality_gap
from scripts.metrics.paired_gap import paired_gap


def signal(modalities=3, seed=0):
    """Six cases of 40 voxels with the same features in every modality, ``(6, 40, M, 4)``."""
    return np.random.default_rng(seed).normal(size=(6, 40, 1, 4)).repeat(modalities, axis=2)


def noise(scale, seed=1):
    return scale * np.random.default_rng(seed).normal(size=(6, 40, 3, 4))


def test_two_modalities_of_three_voxels_by_hand():
    one, other = [0.0, 1.0, 2.0], [1.0, 1.0, 4.0]
    found = paired_gap(np.array([one, other]).T[None, :, :, None])
    # covariance 1 + 0 + 2 = 3 over sqrt(2 * 6); half of three voxels is one: 0-4, 1-1, 2-1
    assert found.voxel_correlation == pytest.approx(3 / math.sqrt(12))
    assert found.matched_ratio == pytest.approx(((1 + 0 + 2) / 3) / ((4 + 0 + 1) / 3))
    assert math.isnan(found.probe_accuracy)  # one case


def test_aligned_features_correlate_are_at_no_distance_and_tell_no_modality():
    found = paired_gap(signal())
    assert found[:2] == pytest.approx((1, 0))
    assert found.probe_accuracy == pytest.approx(1 / 3, abs=0.02)  # the same vector under three names


def test_shifted_features_correlate_and_are_told_apart():
    found = paired_gap(signal() + 10 * np.arange(3)[:, None])
    assert found.voxel_correlation == pytest.approx(1)
    # apart by 10, 20 and 10 in each of 4 channels, 26.7 on average; voxels differ by sqrt(8) across that at random,
    # which lengthens a distance d to about d + 6 / (2 d): under 2 %
    assert 0.98 < found.matched_ratio < 1
    assert found.probe_accuracy == 1


def test_a_collapse_is_seen_that_the_gap_between_centroids_does_not_see():
    before, collapsed = signal() + noise(0.5), 5 + noise(0.01)
    good, bad = paired_gap(before), paired_gap(collapsed)
    # correlation 1 / (1 + 0.25); for 960 numbers without any an error of 0.03
    assert good.voxel_correlation == pytest.approx(0.8, abs=0.05) and abs(bad.voxel_correlation) < 0.1
    # distances go with sqrt(2 * 0.25) and sqrt(2 * 1.25)
    assert good.matched_ratio == pytest.approx(math.sqrt(0.2), abs=0.03) and bad.matched_ratio == pytest.approx(
        1, abs=0.1
    )
    assert bad.probe_accuracy == pytest.approx(1 / 3, abs=0.1)  # as of aligned features: alone it says nothing
    centroids = [modality_gap(each.mean(axis=1)).centroid_distance for each in (before, collapsed)]
    assert centroids[1] < 0.1 * centroids[0]


def test_scale_and_order_change_nothing():
    voxels = signal() + noise(0.5) + np.arange(3)[:, None]
    expected = paired_gap(voxels)
    assert all(math.isfinite(value) for value in expected) and 0.4 < expected.probe_accuracy < 1
    assert paired_gap(1e-4 * voxels) == pytest.approx(expected, abs=1e-3)
    assert paired_gap(voxels[:, :, [2, 0, 1]])[0] == pytest.approx(expected[0])


def test_a_case_counts_for_the_pairs_it_has_and_a_constant_channel_for_none():
    voxels = signal() + noise(0.5)
    more = np.concatenate([voxels, np.where(np.arange(3)[:, None] == 0, voxels[:1], math.nan)])
    assert paired_gap(more)[:2] == pytest.approx(paired_gap(voxels)[:2])
    for constant in (0.0, 0.1, 1 / 3):  # of which only the first is its mean to the last digit
        with_constant = np.concatenate([voxels, np.full((6, 40, 3, 1), constant)], axis=3)
        assert paired_gap(with_constant).voxel_correlation == pytest.approx(paired_gap(voxels).voxel_correlation)


def test_features_without_any_spread_have_no_correlation_though_they_are_told_apart():
    found = paired_gap(0.1 + np.broadcast_to(0.1 * np.arange(3)[:, None], (6, 40, 3, 4)))
    assert math.isnan(found.voxel_correlation)
    assert found[1:] == pytest.approx((1, 1))


@pytest.mark.parametrize("voxels", [np.full((3, 5, 2, 4), math.nan), np.ones((0, 5, 2, 4)), np.ones((3, 5, 1, 4))])
def test_what_is_not_defined_is_nan(voxels):
    assert all(math.isnan(value) for value in paired_gap(voxels))


def test_nothing_is_at_a_distance_where_all_features_are_the_same_number():
    found = paired_gap(np.ones((3, 5, 2, 4)))
    assert math.isnan(found.voxel_correlation) and math.isnan(found.matched_ratio)
    assert found.probe_accuracy == 0.5


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"shape \(3, 2, 4\); expected \(cases, voxels, modalities, features\)"):
        paired_gap(np.zeros((3, 2, 4)))
