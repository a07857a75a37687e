# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Predictions in the label convention that was asked for."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from scripts.transforms.labels import ToLabelConventiond

CLASSES = torch.tensor([0, 1, 2, 3]).reshape(1, 2, 2, 1)


@pytest.mark.parametrize(
    ("convention", "values"),
    [("brats2021", [0, 1, 2, 4]), ("brats2015", [0, 1, 2, 4]), ("brats2023", [0, 1, 2, 3]), ("msd", [0, 2, 1, 3])],
)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_classes_become_the_values_of_the_convention(convention, values, dtype):
    result = ToLabelConventiond("pred", convention)({"pred": CLASSES.to(dtype), "case": "case_a"})
    assert result["pred"].dtype == torch.uint8
    assert result["pred"].shape == CLASSES.shape
    assert result["pred"].flatten().tolist() == values
    assert result["case"] == "case_a"


def test_values_above_255_are_kept():
    classes = torch.arange(6).reshape(1, 2, 3, 1)
    result = ToLabelConventiond("pred", "myops2020")({"pred": MetaTensor(classes)})["pred"]
    assert result.dtype == torch.int32
    assert result.flatten().tolist() == [0, 500, 600, 200, 1220, 2221]


def test_metadata_and_applied_operations_are_kept():
    affine = torch.diag(torch.tensor([-1.0, -1.0, 2.0, 1.0], dtype=torch.float64))
    pred = MetaTensor(CLASSES, affine=affine, applied_operations=[{"class": "Flip"}])
    result = ToLabelConventiond()({"pred": pred})["pred"]
    assert isinstance(result, MetaTensor)
    assert torch.equal(result.affine, affine)
    assert result.applied_operations == [{"class": "Flip"}]
    assert pred.flatten().tolist() == [0, 1, 2, 3]


def test_a_convention_from_configuration_is_written():
    ours = {"0": 0, "10": 1, "20": 2, "30": 3}
    for arguments in ({"convention": ours}, {"convention": "ours", "conventions": {"ours": ours}}):
        assert ToLabelConventiond(**arguments)({"pred": CLASSES})["pred"].flatten().tolist() == [0, 10, 20, 30]


@pytest.mark.parametrize(("own", "values"), [("brats2023", [0, 1, 2, 3]), ("", [0, 1, 2, 4]), (None, [0, 1, 2, 4])])
def test_a_request_may_name_its_own_convention(own, values):
    transform = ToLabelConventiond("pred", "brats2021", convention_key="asked")
    assert transform({"pred": CLASSES, "asked": own})["pred"].flatten().tolist() == values
    assert ToLabelConventiond("pred", "brats2021")({"pred": CLASSES, "asked": own})["pred"].max() == 4


def test_an_unknown_convention_is_found_at_once():
    with pytest.raises(ValueError, match="label convention `brats1999` is unknown; expected one of"):
        ToLabelConventiond("pred", "brats1999")


def test_probabilities_are_not_a_class_map():
    with pytest.raises(ValueError, match="classes that label convention `brats2023` cannot write"):
        ToLabelConventiond()({"pred": torch.full((1, 2, 2, 2), 0.25)})
