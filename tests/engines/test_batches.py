# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Batches on their way to the network."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor, list_data_collate

from scripts.engines.batches import prepare_batch, prepare_case


def item(case):
    return {"case": case, "image": MetaTensor(torch.ones((2, 3, 3, 3)))}


def test_a_training_batch_becomes_plain_tensors_and_what_is_available():
    available = torch.tensor([[True, False], [True, True]])
    cases = [item(name) | {"label": MetaTensor(torch.full((1, 3, 3, 3), float(i)))} for i, name in enumerate("ab")]
    batch = list_data_collate([case | {"available": row} for case, row in zip(cases, available, strict=True)])
    image, label, arguments, keywords = prepare_batch(batch, "cpu", non_blocking=True)
    assert type(image) is torch.Tensor
    assert type(label) is torch.Tensor
    assert image.shape == (2, 2, 3, 3, 3)
    assert label.flatten(1).mean(dim=1).tolist() == [0, 1]
    assert arguments == ()
    assert list(keywords) == ["available"]
    assert torch.equal(keywords["available"], available)


def test_patches_of_a_stack_reach_a_2d_network_as_slices():
    case = {"case": "a", "image": torch.rand(2, 3, 4, 1), "label": torch.ones(1, 3, 4, 1)}
    image, label, _, _ = prepare_batch(list_data_collate([case]), "cpu", spatial_dims=2)
    assert torch.equal(image[0], case["image"][..., 0])
    assert label.shape == (1, 1, 3, 4)
    with pytest.raises(ValueError, match=r"a patch has \(3, 3, 3\) voxels.*`spatial_dims: 2`"):
        prepare_batch(list_data_collate([item("b") | {"label": torch.zeros(1, 3, 3, 3)}]), "cpu", spatial_dims=2)


def test_without_a_setting_the_network_is_left_to_read_nan_channels_itself():
    batch = list_data_collate([item("a") | {"label": torch.zeros(1, 3, 3, 3)}])
    assert prepare_batch(batch, "cpu")[2:] == ((), {})


def test_an_evaluated_image_keeps_its_metadata_and_needs_no_label():
    batch = list_data_collate([item("a")])
    image, label, arguments, keywords = prepare_case(batch, "cpu")
    assert isinstance(image, MetaTensor)
    assert label is None
    assert (arguments, keywords) == ((), {})


# --- failures --------------------------------------------------------------------------------------
