# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Resampling of a case, whatever else its dictionary carries."""

from __future__ import annotations

import math

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Spacingd

from scripts.data.case_error import CaseError
from scripts.transforms.spacing import CaseSpacingd


def case(**more):
    """An image of 2 mm with a ramp along the first axis in two modalities; the third was not acquired."""
    image = torch.arange(6.0).reshape(1, 6, 1, 1).repeat(3, 1, 4, 4)
    image[1] += 10
    image[2] = torch.nan
    affine = torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0]))
    return {"image": MetaTensor(image, affine=affine, meta={"filename_or_obj": "image.nii.gz"}), **more}


def test_whatever_monai_label_adds_to_a_case_is_kept():
    extra = {"image_path": "/data/image.nii.gz", "image_weight": torch.tensor(2.0), "images": {"t2": "file"}}
    with pytest.raises(AttributeError):
        Spacingd("image", pixdim=1.0)(case(image_path="/data/image.nii.gz"))  # why this transform exists
    result = CaseSpacingd("image", pixdim=1.0)(case(**extra))
    assert {key: result[key] for key in extra} == extra
    assert result["image"].shape == (3, 11, 7, 7)  # 6 voxels of 2 mm: (6 - 1) * 2 / 1 + 1


def test_metadata_dictionaries_of_the_image_stay_where_they_are():
    meta = {"affine": torch.eye(4)}
    result = CaseSpacingd("image", pixdim=1.0)(case(image_meta_dict=meta))
    assert result["image_meta_dict"] is meta
    torch.testing.assert_close(meta["affine"], result["image"].affine)  # which Spacingd keeps up to date


def test_an_absent_modality_stays_absent_and_does_not_touch_the_others():
    result = CaseSpacingd("image", pixdim=1.0, mode="bilinear")(case())["image"]
    assert torch.isnan(result[2]).all()
    # a ramp of one per voxel of 2 mm is a ramp of a half per voxel of 1 mm
    expected = (torch.arange(11.0) / 2).reshape(11, 1, 1).expand(11, 7, 7)
    torch.testing.assert_close(result[0].as_tensor(), expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(result[1].as_tensor(), expected + 10, rtol=0, atol=1e-4)
    assert result.pixdim.tolist() == [1.0, 1.0, 1.0]


def test_the_given_case_is_left_as_it_was():
    data = case(image_path="file")
    CaseSpacingd("image", pixdim=1.0)(data)
    assert data["image"].shape == (3, 6, 4, 4)
    assert data["image_path"] == "file"


def test_a_prediction_is_brought_back_to_the_grid_of_the_input():
    transform = Compose([CaseSpacingd("image", pixdim=1.0)])
    data = transform(case())
    data["pred"] = MetaTensor(data["image"][:1].clone(), meta=data["image"].meta)
    data["pred"].applied_operations = data["image"].applied_operations
    inverse = Invertd("pred", transform, orig_keys="image", nearest_interp=False)(data)["pred"]
    assert inverse.shape == (1, 6, 4, 4)
    torch.testing.assert_close(inverse.as_tensor(), case()["image"][:1].as_tensor(), rtol=0, atol=1e-4)


def stack(voxel, shape=(8, 6, 3)):
    """A stack whose value is the number of the slice, its axes turned by 40 degrees about the first one."""
    angle = math.radians(40)
    turn = [[1, 0, 0], [0, math.cos(angle), -math.sin(angle)], [0, math.sin(angle), math.cos(angle)]]
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, :3] = torch.tensor(turn, dtype=torch.float64) @ torch.diag(torch.tensor(voxel, dtype=torch.float64))
    image = torch.arange(float(shape[-1])).expand(1, *shape).clone()
    return {"case": "case_a", "image": MetaTensor(image, affine=affine, meta={"filename_or_obj": "stack.nii.gz"})}


@pytest.mark.parametrize("slices", [1, 3])
def test_slices_of_an_oblique_stack_stay_as_they_are(slices):
    data = stack([2.0, 2.0, 11.0], (8, 6, slices))
    result = CaseSpacingd("image", pixdim=[1.0, 1.0, -1])(data)["image"]
    assert result.shape == (1, 15, 11, slices)  # (8 - 1) * 2 / 1 + 1 and (6 - 1) * 2 / 1 + 1
    torch.testing.assert_close(result.pixdim, torch.tensor([1.0, 1.0, 11.0], dtype=result.pixdim.dtype))
    expected = torch.arange(float(slices)).expand(1, 15, 11, slices)
    torch.testing.assert_close(result.as_tensor(), expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(result.affine[:3, 2], data["image"].affine[:3, 2])


def test_a_stack_whose_slices_lie_along_another_axis_is_refused():
    transform = CaseSpacingd("image", pixdim=[1.0, 1.0, -1])
    with pytest.raises(
        CaseError, match=r"case `case_a`: the voxels have \[11.0, 2.0, 2.0\] mm.*along that axis.*stack"
    ):
        transform(stack([11.0, 2.0, 2.0], (3, 8, 6)))
    assert transform(stack([1.0, 1.0, 1.0]))["image"].shape == (1, 8, 6, 3)  # cubes tell nothing


@pytest.mark.parametrize("size", [130.0, 140.0])
def test_an_image_that_would_fill_the_memory_is_refused_before_it_is_made(size):
    image = case()
    image["image"].affine = torch.diag(torch.tensor([size, size, size, 1.0]))
    small = CaseSpacingd("image", pixdim=[1.0, 1.0, 1.0])
    voxels = 6 * size * 4 * size * 4 * size  # 211 and 263 million
    assert voxels > 64e6
    with pytest.raises(CaseError, match=r"are \[\d+, \d+, \d+\] at `spacing` .* at most 64 million.*allow.*image.nii"):
        small(image)
    coarse = size / 4
    for options in ({"pixdim": [coarse] * 3}, {"pixdim": [size] * 3, "unusual_grids": "allow"}):
        assert bool(torch.isfinite(CaseSpacingd("image", **options)(image)["image"][:2]).all())
