# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from scripts.metrics.regions import region_masks, remove_small_region, volumes_ml

REGIONS = {"wt": [1, 2, 3], "tc": [1, 3], "et": [3]}
LABELS = torch.tensor([[0, 1], [2, 3]])
# class 0 is in no region, 1 in wt and tc, 2 in wt only, 3 in all
EXPECTED = torch.tensor([[[0, 1], [1, 1]], [[0, 1], [0, 1]], [[0, 0], [0, 1]]], dtype=torch.bool)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_regions_join_their_classes_whatever_the_type_of_the_labels(dtype):
    assert torch.equal(region_masks(LABELS.to(dtype), REGIONS), EXPECTED)


def test_masks_of_a_meta_tensor_are_plain_boolean_tensors():
    masks = region_masks(MetaTensor(LABELS), REGIONS)
    assert type(masks) is torch.Tensor and masks.dtype == torch.bool


def test_a_batch_gets_its_regions_on_the_channel_axis():
    batch = torch.stack([LABELS, LABELS.T])
    masks = region_masks(batch, REGIONS, dim=1)
    assert masks.shape == (2, 3, 2, 2)
    assert torch.equal(masks[0], EXPECTED) and torch.equal(masks[1], EXPECTED.transpose(1, 2))


def test_the_classes_of_a_region_are_not_changed_by_a_region_that_shares_them():
    assert torch.equal(region_masks(LABELS, {"tc": [3, 1], "et": [3]})[1], LABELS == 3)


@pytest.mark.parametrize("regions", [{}, {"wt": []}])
def test_no_region_or_an_empty_region_is_refused(regions):
    with pytest.raises(ValueError, match="at least one region, each with at least one class"):
        region_masks(LABELS, regions)


@pytest.mark.parametrize(("voxels", "kept"), [(499, False), (500, True), (0, False)])
def test_a_region_below_the_threshold_leaves_its_own_mask_only(voxels, kept):
    labels = torch.zeros(10, 10, 10, dtype=torch.uint8)
    labels.view(-1)[:voxels] = 3
    labels[9] = 2
    masks = region_masks(labels, REGIONS)
    before = masks.clone()
    after = remove_small_region(masks, REGIONS, "et", threshold=500)
    assert bool(after[2].any()) is kept
    assert torch.equal(after[:2], before[:2]), "wt and tc keep the voxels"
    assert torch.equal(masks, before), "the input is not changed"


def test_removal_names_the_regions_it_knows():
    with pytest.raises(ValueError, match=r"region `core` is not among \['wt', 'tc', 'et'\]"):
        remove_small_region(EXPECTED, REGIONS, "core")
    with pytest.raises(ValueError, match="`masks` has 2 regions; expected 3"):
        remove_small_region(EXPECTED[:2], REGIONS, "et")


def test_volumes_are_voxels_times_the_size_of_a_voxel():
    # one voxel is 2 x 5 x 10 = 100 mm^3 = 0.1 mL; wt has 3 voxels, tc 2, et 1
    volumes = volumes_ml(LABELS[None], REGIONS, (2, 5, 10))
    assert volumes == pytest.approx({"wt": 0.3, "tc": 0.2, "et": 0.1})


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 0.0, 1.0)])
def test_a_volume_needs_three_positive_spacings(spacing):
    with pytest.raises(ValueError, match="three positive voxel sizes in mm"):
        volumes_ml(LABELS, REGIONS, spacing)
