# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from scripts.modalities import (
    acquired_in,
    acquired_modalities,
    evaluable_subsets,
    modality_subsets,
    parse_subset,
    subset_name,
    unique_rows,
)
from scripts.networks import base

MODALITIES = ["flair", "t1ce", "t1", "t2"]


def test_subsets_of_three_modalities_by_hand():
    expected = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1]]
    assert modality_subsets(3).int().tolist() == expected


@pytest.mark.parametrize("num_modalities", range(1, 7))
def test_every_non_empty_subset_comes_once_smallest_first(num_modalities):
    subsets = modality_subsets(num_modalities)
    assert subsets.dtype == torch.bool
    assert len({tuple(row) for row in subsets.tolist()}) == len(subsets) == 2**num_modalities - 1
    sizes = subsets.sum(dim=1).tolist()
    assert sizes == sorted(sizes) and sizes[0] == 1


@pytest.mark.parametrize("num_modalities", [0, -1])
def test_no_modality_has_no_subsets(num_modalities):
    with pytest.raises(ValueError, match=f"`num_modalities` is {num_modalities}; at least one modality is needed"):
        modality_subsets(num_modalities)


def test_a_channel_with_any_nan_is_absent_and_one_of_zeros_is_not():
    x = torch.ones(2, 3, 4, 4, 4)
    x[0, 0] = torch.nan
    x[0, 0, :2] = 0.0  # what a sliding window pads with
    x[1, 2, 3, 3, 3] = torch.nan
    x[1, 1] = 0.0
    expected = [[False, True, True], [True, True, False]]
    assert acquired_modalities(x).tolist() == expected
    assert acquired_modalities(x[..., 0]).tolist() == [[False, True, True], [True, True, True]], "a slice of its own"
    for image, row in zip(x, expected, strict=True):
        assert acquired_in(MetaTensor(image)).tolist() == acquired_in(image.numpy()).tolist() == row
        assert type(acquired_in(MetaTensor(image))) is torch.Tensor


def test_networks_go_by_the_same_rule_scripted_or_not():
    x = torch.ones(1, 2, 3, 3)
    x[0, 1, 2, 2] = torch.nan
    for rule in (base.acquired_modalities, torch.jit.script(acquired_modalities)):
        assert torch.equal(rule(x), acquired_modalities(x))


def test_a_subset_is_named_in_channel_order():
    assert subset_name([True, False, False, True], MODALITIES) == "flair+t2"
    assert subset_name(torch.tensor([0, 1, 0, 0]), MODALITIES) == "t1ce"
    assert subset_name([False] * 4, MODALITIES) == "none"


def test_a_subset_needs_a_flag_for_each_modality():
    with pytest.raises(ValueError):
        subset_name([True, False], MODALITIES)


def test_names_and_subsets_translate_into_each_other():
    for subset in modality_subsets(4):
        assert torch.equal(parse_subset(subset_name(subset, MODALITIES), MODALITIES), subset)


def test_a_name_may_have_any_order_and_spaces():
    assert parse_subset(" t2 + flair", MODALITIES).tolist() == [True, False, False, True]
    assert parse_subset(" all ", MODALITIES).all()


@pytest.mark.parametrize("name", ["flair+pet", "t", "flair,t2", "none"])
def test_an_unknown_modality_is_refused_with_the_known_ones(name):
    with pytest.raises(ValueError, match=r"expected one or more of \['flair', 't1ce', 't1', 't2'\] joined by '\+'"):
        parse_subset(name, MODALITIES)


@pytest.mark.parametrize("name", ["", " + "])
def test_an_empty_name_is_refused(name):
    with pytest.raises(ValueError, match="names no modality"):
        parse_subset(name, MODALITIES)


def test_a_case_can_be_shown_with_the_subsets_of_what_it_has():
    kept = evaluable_subsets(torch.tensor([True, False, False, True]))
    assert kept.int().tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [1, 0, 0, 1]]
    assert len(evaluable_subsets(torch.ones(4, dtype=torch.bool))) == 15


def test_asked_for_subsets_keep_their_order():
    asked = torch.stack([parse_subset(name, MODALITIES) for name in ("t2", "all", "t1+t2", "flair+t2", "flair")])
    kept = evaluable_subsets(torch.tensor([True, False, False, True]), asked)
    assert [subset_name(row, MODALITIES) for row in kept] == ["t2", "flair+t2", "flair"]


def test_a_case_that_fits_no_asked_for_subset_is_refused_in_words():
    asked = parse_subset("t1+t2", MODALITIES)[None]
    with pytest.raises(ValueError, match=r"modalities \[1, 0, 0, 1\], and none of the 1 asked-for subsets"):
        evaluable_subsets(torch.tensor([True, False, False, True]), asked)


def test_a_subset_that_stands_there_twice_is_kept_once():
    assert unique_rows(torch.tensor([[True, False], [True, True], [True, False]])).tolist() == [
        [True, False],
        [True, True],
    ]
