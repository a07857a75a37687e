# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Means, intervals and tests against what can be counted out."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy.stats import bootstrap

from scripts.metrics import statistics
from scripts.metrics.statistics import bootstrap_interval, holm, mean_over_subsets, signed_rank_test

NAN = math.nan


def enumerated_interval(statistic, num_cases):
    """Find the percentiles of a statistic over all equally likely draws of cases."""
    found = [statistic(list(drawn)) for drawn in product(range(num_cases), repeat=num_cases)]
    return list(np.percentile(found, [2.5, 97.5], method="inverted_cdf"))


# ---- means and intervals ----


def test_means_are_over_cases_then_over_the_subsets_that_have_values():
    # 0.5; (0.2 + 0.6) / 2 = 0.4; nothing
    assert mean_over_subsets([[0.5, 0.2, NAN], [NAN, 0.6, NAN]]) == pytest.approx((0.5 + 0.4) / 2)
    assert mean_over_subsets([NAN, NAN]) is None and mean_over_subsets([]) is None


def test_two_cases_reach_from_one_to_the_other():
    # means a, (a + b) / 2, b with 1/4, 1/2, 1/4: the 2.5th percentile is a, the 97.5th is b
    assert bootstrap_interval([0.25, 0.75]) == pytest.approx((0.25, 0.75))


def test_the_interval_of_four_cases_is_that_of_all_their_draws():
    # the number of ones drawn is binomial(4, 1/4): P(0) = 0.316, P(<= 2) = 0.949, P(<= 3) = 0.996
    values = np.array([0.0, 0.0, 0.0, 1.0])
    expected = enumerated_interval(lambda drawn: values[drawn].mean(), 4)
    assert expected == [0.0, 0.75]
    assert bootstrap_interval(values) == pytest.approx(expected)


def test_values_that_are_all_the_same_have_an_interval_of_no_width():
    assert bootstrap_interval([0.5] * 7) == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize("values", [[], [0.5], [NAN, 0.5, NAN], [[0.5, 0.6]], [[NAN, 0.6], [NAN, NAN]]])
def test_fewer_than_two_cases_have_no_interval(values):
    assert bootstrap_interval(values) is None


def test_undefined_values_are_not_drawn():
    values = np.random.default_rng(0).random(9)
    with_undefined = np.insert(values, [2, 5], NAN)
    assert bootstrap_interval(with_undefined) == bootstrap_interval(values)


def test_one_subset_gives_what_scipy_gives_for_the_mean():
    values = np.random.default_rng(0).random(20)
    expected = bootstrap((values,), np.mean, n_resamples=500, method="percentile", rng=np.random.default_rng(3))
    assert bootstrap_interval(values, 500, seed=3) == pytest.approx(tuple(expected.confidence_interval))


def test_subsets_of_a_case_are_drawn_together():
    values = np.random.default_rng(0).random(12)
    alone = bootstrap_interval(values)
    # 15 copies of the same scores tell nothing more; drawn one by one they would narrow the interval to a quarter
    assert bootstrap_interval(np.tile(values[:, None], 15)) == pytest.approx(alone)
    low, high = bootstrap_interval(np.tile(values, 15))
    assert high - low < 0.5 * (alone[1] - alone[0])


def test_subsets_that_cases_lack_are_left_out_of_each_draw():
    values = np.array([[0.5, 0.2], [NAN, 0.6], [0.9, NAN]])
    expected = enumerated_interval(lambda drawn: mean_over_subsets(values[drawn]), 3)
    # the first case three times (1/27 > 2.5 %): (0.5 + 0.2) / 2; the last three times: 0.9
    assert expected == pytest.approx([0.35, 0.9])
    assert bootstrap_interval(values) == pytest.approx(expected)


def test_draws_in_batches_are_the_same_draws(monkeypatch):
    values = np.random.default_rng(0).random((10, 3))
    at_once = bootstrap_interval(values)
    monkeypatch.setattr(statistics, "BATCH_ELEMENTS", 70)
    assert bootstrap_interval(values) == at_once


# ---- paired tests ----


def test_signed_ranks_of_five_differences_are_those_of_all_signs():
    differences = np.array([0.3, -0.1, 0.4, 0.2, 0.5])
    # ranks 3, 1, 4, 2, 5; under the null hypothesis each of the 2**5 signs is as likely
    ranks = np.array([3, 1, 4, 2, 5])
    observed = abs(ranks @ np.sign(differences))  # 14 - 1
    sums = [abs(ranks @ np.array(signs)) for signs in product((-1, 1), repeat=5)]
    expected = sum(found >= observed for found in sums) / 32
    assert expected == 4 / 32
    p, note = signed_rank_test(differences)
    assert p == pytest.approx(expected)
    # five differences of one sign would give 2 / 32
    assert note == "n too small: p is at least 0.0625"


def test_differences_that_are_tied_are_counted_out_too():
    differences = [0.25, 0.25, 0.25, -0.25, 0.25, 0.25]
    # every rank is 3.5: |sum| >= 4 * 3.5 where at most one sign of six differs, 2 * (1 + 6) of 64
    assert signed_rank_test(differences)[0] == pytest.approx(14 / 64)


def test_zero_and_undefined_differences_are_left_out_of_the_ranks():
    differences = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert signed_rank_test([*differences, 0.0, NAN]) == (pytest.approx(2 / 64), "")


def test_differences_that_are_all_zero_have_p_one():
    assert signed_rank_test([0.0, 0.0, 0.0]) == (1.0, "all differences are zero")


@pytest.mark.parametrize("differences", [[], [NAN, NAN]])
def test_without_a_pair_there_is_no_p(differences):
    assert signed_rank_test(differences) == (None, "no pair")


def test_a_mean_that_one_outlier_turns_is_not_taken_for_what_the_ranks_say():
    # nine small falls and one huge rise: ranks 1 to 9 against 10
    p, note = signed_rank_test([-0.1 * k for k in range(1, 10)] + [99.0])
    assert p > 0.05 and note == ""
    p, note = signed_rank_test([-0.1 * k for k in range(1, 20)] + [99.0])
    assert p < 0.05 and note == "ranks and mean disagree in sign"


# ---- many comparisons ----


def test_holm_by_hand():
    # sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.04, and none below the one before
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])


def test_holm_goes_no_higher_than_one_and_leaves_a_single_p():
    assert holm([0.7, 0.6]) == [1.0, 1.0]
    assert holm([0.3]) == [0.3] and holm([]) == []
