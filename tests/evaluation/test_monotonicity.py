# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What one modality more does, on a table made by hand."""

from __future__ import annotations

import math

import pytest

from scripts.evaluation.monotonicity import modality_steps, monotonicity
from scripts.evaluation.tables import read_scores

NAN = math.nan
# the first case gains with t2 and loses with t1; the second has only t1; the third has an undefined score
CASES = {
    "full": {"t1": 0.5, "t2": 0.75, "t1+t2": 0.625},
    "only_t1": {"t1": 0.25},
    "undefined": {"t1": 0.5, "t2": NAN, "t1+t2": 0.25},
}


@pytest.fixture
def rows(tmp_path, write_scores):
    """Write and read the cases, with an ET region of half the score."""
    cases = {
        case: {
            subset: {("wt", "dice"): value, ("et", "dice"): value / 2, ("wt", "hd95"): 8 * value, ("wt", "mine"): value}
            for subset, value in subsets.items()
        }
        for case, subsets in CASES.items()
    }
    return read_scores(write_scores(tmp_path / "s.csv", cases, "nan"))


def as_dict(found):
    """Turn rows into numbers by region and modality."""
    return {(row.region, row.added): row for row in found.itertuples()}


def test_every_pair_of_a_subset_and_one_modality_more_is_a_step(rows):
    steps = modality_steps(rows)
    found = {(s.case, s.subset, s.added): s.change for s in steps[steps["region"] == "wt"].itertuples()}
    assert found == {
        ("full", "t1", "t2"): 0.125,
        ("full", "t2", "t1"): -0.125,
        ("undefined", "t1", "t2"): -0.25,  # its step from t2 is undefined
    }


def test_steps_of_four_modalities_are_28(tmp_path, complete_study, write_scores):
    rows = read_scores(write_scores(tmp_path / "s.csv", complete_study(1)))
    steps = modality_steps(rows[rows["region"] == "wt"])
    # a subset of k of 4 modalities takes one of the 4 - k others: 4 * 3 + 6 * 2 + 4 * 1
    assert len(steps) == len(steps.drop_duplicates(["subset", "added"])) == 28
    assert steps["added"].value_counts().to_dict() == {"flair": 7, "t1ce": 7, "t1": 7, "t2": 7}


def test_the_rate_says_how_often_a_modality_does_harm_and_how_much(rows):
    found = as_dict(monotonicity(rows))
    assert list(found) == [(region, added) for region in ("wt", "et") for added in ("all", "t1", "t2")]
    every, t1, t2 = (found["wt", added] for added in ("all", "t1", "t2"))
    assert (every.n, every.num_worse, every.rate) == (3, 2, pytest.approx(2 / 3))
    assert every.mean_change == pytest.approx((0.125 - 0.125 - 0.25) / 3)
    assert every.mean_worsening == pytest.approx((0.125 + 0.25) / 2)
    assert (t1.n, t1.rate, t1.mean_change, t1.mean_worsening) == (1, 1.0, -0.125, 0.125)
    assert (t2.n, t2.rate, t2.mean_change, t2.mean_worsening) == (2, 0.5, -0.0625, 0.25)
    assert found["et", "all"].mean_worsening == pytest.approx(every.mean_worsening / 2)


def test_small_changes_do_not_count_within_the_tolerance(rows):
    found = as_dict(monotonicity(rows, tolerance=0.125))
    assert (found["wt", "all"].n, found["wt", "all"].num_worse) == (3, 1)
    assert found["wt", "t1"].rate == 0.0 and math.isnan(found["wt", "t1"].mean_worsening)


def test_a_distance_is_worse_when_it_rises(rows):
    found = as_dict(monotonicity(rows, "hd95"))
    # eight times Dice: only the first case's step to t1+t2 from t1 rises, by 8 * 0.125
    assert (found["wt", "all"].num_worse, found["wt", "all"].mean_worsening) == (1, 1.0)


def test_single_subsets_have_no_steps(rows):
    assert monotonicity(rows[rows["num_modalities"] == 1]).empty


def test_a_metric_of_unknown_direction_is_refused(rows):
    with pytest.raises(ValueError, match="which values of the metric `mine` are better is not known"):
        monotonicity(rows, "mine")
