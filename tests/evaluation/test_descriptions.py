# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What people are told of metrics and regions."""

from __future__ import annotations

import pandas as pd
import pytest

from scripts.evaluation.descriptions import (
    directed_metric,
    metric_of,
    plain_regions,
    policy_in_words,
    region_in_words,
    small_region_rule,
    tissue_names,
)


def test_the_name_of_a_region_tells_its_rule():
    assert small_region_rule("et_min500") == ("et", 500)
    assert small_region_rule("core_a_min50") == ("core_a", 50)
    assert small_region_rule("et") is None and small_region_rule("et_min") is None
    assert region_in_words("et") is None and "fewer than 500 voxels" in region_in_words("et_min500")


def test_distances_and_errors_are_better_when_they_are_lower_and_overlaps_when_higher():
    better = {"dice": 1, "nsd": 1, "lesion_dice": 1, "hd95": -1, "lesion_hd95": -1, "ece": -1, "volume_error": -1}
    assert {name: directed_metric(name).direction for name in better} == better


def test_only_errors_of_either_sign_are_compared_by_their_size():
    values = pd.Series([-2.0, 1.0])
    assert metric_of("volume_error").comparable(values).tolist() == [2.0, 1.0]
    assert metric_of("dice").comparable(values).tolist() == [-2.0, 1.0]


def test_a_metric_that_is_not_known_goes_by_its_name_and_has_no_better():
    assert (metric_of("mine").title, metric_of("mine").decimals) == ("mine", 3)
    with pytest.raises(ValueError, match=r"better is not known; expected one of \['dice', 'hd95', 'nsd'"):
        directed_metric("mine")


def test_policies_are_told_in_words():
    assert policy_in_words("brats") == (
        "prediction and truth both empty: dice 1, hd95 0, nsd 1; exactly one of them empty: dice 0, hd95 373.13, nsd 0"
    )
    assert "hd95 undefined" in policy_in_words("nan")
    assert policy_in_words(None) is policy_in_words("strict") is None


def test_plain_regions_are_those_that_follow_from_no_other():
    assert plain_regions(["wt", "et", "et_min500", "min_one"]) == ["wt", "et", "min_one"]


def test_what_classes_are_is_told_by_the_conventions_of_their_labels():
    glioma = {0: "background", 1: "necrotic core", 2: "edema", 3: "enhancing tumor"}
    assert tissue_names(["brats2021", "none", "msd"]) == glioma, "of one task, where there are labels"
    for unclear in ([], ["brats2021", "myops2020"], ["somebody's"]):
        assert tissue_names(unclear) == {}
