# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""One rule for what is not defined."""

from __future__ import annotations

import json
import math

import pytest

from scripts.metrics.statistics import bootstrap_interval, mean_over_subsets, signed_rank_test
from scripts.metrics.undefined import mean_of_defined, or_nan, or_none

UNDEFINED = [math.nan, math.inf, -math.inf]


@pytest.mark.parametrize("value", UNDEFINED)
def test_what_is_not_finite_is_null_in_json_and_nan_again(value):
    assert json.dumps(or_none(value), allow_nan=False) == "null"
    assert math.isnan(or_nan(or_none(value)))
    assert or_nan(or_none(0.5)) == 0.5


@pytest.mark.parametrize("value", [*UNDEFINED, None])
def test_means_leave_out_what_is_not_defined(value):
    assert mean_of_defined([value, 1.0, 2.0, value]) == 1.5
    assert mean_of_defined([value]) is mean_of_defined([]) is None


@pytest.mark.parametrize("value", UNDEFINED)
def test_statistics_follow_the_same_rule(value):
    with_it, without = [[value, 1.0], [0.5, 3.0], [value, value]], [[0.5, 3.0], [math.nan, 1.0]]
    assert mean_over_subsets(with_it) == mean_over_subsets(without) == (0.5 + 2.0) / 2, "cases first, then subsets"
    assert bootstrap_interval(with_it) == bootstrap_interval([[math.nan, 1.0], [0.5, 3.0]])
    assert signed_rank_test([value, 1.0, 2.0]) == signed_rank_test([1.0, 2.0])
