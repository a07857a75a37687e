# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from scripts.data.missing_rate import assign_availability, availability_patterns, parse_missing_rates, parse_pairs

TABLES = ["2020_mr2468", "2020_mr5582", "2020_mr8825", "2018_mr1379"]


def as_text(patterns) -> list[str]:
    return ["".join("01"[present] for present in pattern) for pattern in patterns]


@pytest.mark.parametrize("table", TABLES)
def test_published_tables_are_reproduced(golden, table):
    numbers = golden("imb_masks")
    expected = numbers[f"{table}/mask_flair_t1ce_t1_t2"]
    available = assign_availability(len(expected), numbers[f"{table}/p_t1_t1c_flair_t2"])
    np.testing.assert_array_equal(available[:, [2, 1, 0, 3]], expected)  # columns from T1, T1ce, FLAIR, T2


def test_patterns_of_four_modalities_come_in_the_published_order():
    published = "1111 1101 1110 1100 1011 1010 1001 1000 0111 0101 0110 0100 0011 0010 0001"
    assert as_text(availability_patterns(4)) == published.split()


def test_one_more_modality_puts_present_then_absent_before_the_shorter_patterns():
    for num_modalities in (4, 5, 6):
        shorter = as_text(availability_patterns(num_modalities - 1))
        empty = "0" * (num_modalities - 1)
        expected = [f"1{text}" for text in [*shorter, empty]] + [f"0{text}" for text in shorter]
        assert as_text(availability_patterns(num_modalities)) == expected


@pytest.mark.parametrize("num_modalities", [1, 2, 3, 5])
def test_every_non_empty_pattern_comes_once(num_modalities):
    patterns = list(availability_patterns(num_modalities))
    assert len(patterns) == 2**num_modalities - 1
    assert set(patterns) == {row for row in product([True, False], repeat=num_modalities) if any(row)}


@pytest.mark.parametrize(
    "rates", [(0.3,), (0.1, 0.4), (0.2, 0.5, 0.3), (0.2, 0.4, 0.6, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5)]
)
def test_rates_are_nearly_met_and_no_case_is_empty(rates):
    num_cases = 4000
    available = assign_availability(num_cases, rates)
    assert available.shape == (num_cases, len(rates)) and available.dtype == bool
    assert available.any(axis=1).all()
    # Cases that would have nothing, a share of all = prod(rates), redraw until they have something: each modality is
    # then missing at the rate (p - all) / (1 - all) among them. The rest is exact but for the rounding.
    nothing = np.prod(rates)
    expected = np.array(rates) - nothing + nothing * (np.array(rates) - nothing) / (1 - nothing)
    np.testing.assert_allclose(1 - available.mean(axis=0), expected, atol=0.02)


def test_each_pattern_gets_its_share_of_rows_by_hand():
    # N = 8, rates 1/2: each of 11, 10, 01 has 8/4 = 2 rows, the two rows left redraw
    available = assign_availability(8, [0.5, 0.5])
    counts = [int((available == pattern).all(axis=1).sum()) for pattern in ([1, 1], [1, 0], [0, 1])]
    assert min(counts) >= 2 and sum(counts) == 8


def test_same_seed_gives_the_same_table_and_another_seed_another():
    rates = [0.2, 0.4, 0.6]
    table = assign_availability(50, rates, seed=3)
    np.testing.assert_array_equal(table, assign_availability(50, rates, seed=3))
    assert (table != assign_availability(50, rates, seed=4)).any()


def test_global_random_state_is_left_alone():
    np.random.seed(0)
    expected = np.random.rand()
    np.random.seed(0)
    assign_availability(20, [0.5, 0.5])
    assert np.random.rand() == expected


@pytest.mark.parametrize("num_cases", [1, 2, 5, 30])
def test_modality_with_rate_zero_is_never_missing(num_cases):
    assert assign_availability(num_cases, [0.0, 0.7, 0.5])[:, 0].all()
    assert assign_availability(num_cases, [0.0, 0.0]).all()


@pytest.mark.parametrize("rates", [[0.2, 1.0], [-0.1, 0.2], [float("nan"), 0.2]])
def test_rate_outside_the_range_is_refused(rates):
    with pytest.raises(ValueError, match=r"missing rate of modality number \d is .*expected 0 <= rate < 1"):
        assign_availability(10, rates)


def test_no_case_or_no_modality_is_refused():
    with pytest.raises(ValueError, match=r"`num_cases` is 0"):
        assign_availability(0, [0.5])
    with pytest.raises(ValueError, match=r"shape \(0,\); expected one rate for each of M >= 1"):
        assign_availability(3, [])


def test_rates_keep_the_order_of_their_names():
    rates = parse_missing_rates("t1=0.2, t1ce=0.4,flair=0.6,t2=0.8", ["flair", "t1ce", "t1", "t2"])
    assert list(rates.items()) == [("t1", 0.2), ("t1ce", 0.4), ("flair", 0.6), ("t2", 0.8)]
    assert parse_missing_rates({"t2": 0.1}) == {"t2": 0.1}


def test_modality_that_the_rates_leave_out_is_never_missing():
    assert list(parse_missing_rates("t1=0.2", ["flair", "t1"]).items()) == [("t1", 0.2), ("flair", 0.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t1=0.2,t1=0.3", r"name \['t1'\] more than once"),
        ("t1", "expected `name=value` pairs"),
        ("", "expected `name=value` pairs"),
        ("t1=much", "missing rate of `t1` is `much`"),
        ("t1=1.0", "missing rate of modality t1 is 1.0; expected 0 <= rate < 1"),
        ("t3=0.2", r"name the modalities \['t3'\]; expected some of \['flair', 't1'\]"),
    ],
)
def test_rates_that_cannot_be_used_are_refused_by_name(text, message):
    with pytest.raises(ValueError, match=message):
        parse_missing_rates(text, ["flair", "t1"])


def test_pairs_that_are_neither_text_nor_mapping_are_refused():
    with pytest.raises(TypeError, match="patterns are 3; expected"):
        parse_pairs(3, "patterns")
