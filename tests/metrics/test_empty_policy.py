# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest

from scripts.metrics.empty_policy import EMPTY_POLICIES, empty_policy

NAN = math.nan
# policy: (dice, hd95, nsd) where both masks are empty, (dice, hd95, nsd) where exactly one is
TABLE = {"brats": ((1, 0, 1), (0, 373.13, 0)), "passion": ((1, 0, 1), (0, 1, 0)), "nan": ((NAN, NAN, NAN), (0, NAN, 0))}


@pytest.mark.parametrize("name", TABLE)
def test_each_policy_says_what_it_is_known_for(name):
    policy = empty_policy(name)
    for metric, both, one in zip(("dice", "hd95", "nsd"), *TABLE[name], strict=True):
        assert policy.is_for(metric)
        assert policy.value(metric, True, True) == pytest.approx(both, nan_ok=True)
        assert policy.value(metric, True, False) == pytest.approx(one, nan_ok=True)
        assert policy.value(metric, False, True) == pytest.approx(one, nan_ok=True)


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("metric", ["volume_error", "lesion_dice", "lesion_hd95"])
def test_policies_leave_alone_what_is_always_defined(name, metric):
    assert not empty_policy(name).is_for(metric)


def test_the_table_of_policies_is_complete():
    assert set(EMPTY_POLICIES) == set(TABLE)


def test_the_penalty_of_brats_is_the_diagonal_of_its_volume():
    diagonal = math.sqrt(240**2 + 240**2 + 155**2)
    assert empty_policy("brats").value("hd95", True, False) == pytest.approx(diagonal, abs=0.005)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"`strict` is unknown; expected one of \['brats', 'passion', 'nan'\]"):
        empty_policy("strict")
    with pytest.raises(ValueError, match="no value for `surface_dice`"):
        empty_policy("brats").value("surface_dice", True, True)
    with pytest.raises(ValueError, match="two masks with voxels"):
        empty_policy("brats").value("dice", False, False)
