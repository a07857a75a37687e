# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Predictions from several subsets, back on the grid of the input."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, CropForegroundd, Invertd, Orientationd

from scripts.transforms import subsets
from scripts.transforms.spacing import CaseSpacingd
from scripts.transforms.subsets import InvertSubsetsd

SHAPE, SPACING = (14, 18, 10), (1.0, 1.5, 2.0)


def preprocessed(pixdim):
    """An image that was turned, resampled to ``pixdim`` and cropped; how, and what it is now."""
    torch.manual_seed(0)
    image = torch.zeros(2, *SHAPE)
    image[:, 2:12, 3:15, 1:9] = torch.rand(2, 10, 12, 8) + 1
    image = MetaTensor(image, affine=torch.diag(torch.tensor([-1.0, *SPACING[1:], 1.0])))
    image.meta["original_affine"] = image.affine.clone()
    steps = [
        Orientationd(keys="image", axcodes="PSR", labels=None),
        CaseSpacingd(keys="image", pixdim=pixdim, mode="bilinear"),
        CropForegroundd(keys="image", source_key="image", allow_smaller=True),
    ]
    transform = Compose(steps)
    return transform, transform({"image": image})["image"]


def predicted(image, num_subsets=3):
    torch.manual_seed(1)
    return (2 * torch.randn(num_subsets, 4, *image.shape[1:])).softmax(dim=1)


def inverted(transform, image, probabilities, nearest):
    """One subset, as MONAI inverts it: classes ``(1, *L)``."""
    prediction = probabilities.argmax(dim=0, keepdim=True).float() if nearest else probabilities
    invert = Invertd("pred", transform, "image", nearest_interp=nearest)
    result = invert({"pred": MetaTensor(prediction), "image": image})["pred"]
    return result if nearest else result.argmax(dim=0, keepdim=True)


@pytest.mark.parametrize("pixdim", [(2.0, 2.5, 3.0), (1.5, 2.0, 1.0)])
def test_each_subset_is_inverted_as_an_inference_from_it_would_be(pixdim):
    transform, image = preprocessed(pixdim)
    probabilities = predicted(image)
    data = {"image": image, "pred": MetaTensor(probabilities)}
    result = InvertSubsetsd(transform, "image")(data)["pred"]
    assert result.shape == (3, *SHAPE) and result.dtype == torch.uint8
    for found, each in zip(result, probabilities, strict=True):
        assert torch.equal(found.as_tensor(), inverted(transform, image, each, nearest=False)[0].to(torch.uint8))
    assert data["pred"].shape == probabilities.shape, "what came in is left alone"


def test_where_voxels_differ_the_most_probable_class_is_not_the_nearest_one():
    transform, image = preprocessed((2.0, 2.5, 3.0))
    probabilities = predicted(image, 1)
    result = InvertSubsetsd(transform, "image")({"image": image, "pred": MetaTensor(probabilities)})["pred"]
    nearest = inverted(transform, image, probabilities[0], nearest=True)
    assert 0.05 < (result != nearest).float().mean() < 0.7


def test_where_voxels_are_as_before_classes_are_moved_in_place_of_probabilities(monkeypatch):
    transform, image = preprocessed((1.5, 2.0, 1.0))  # the axes were turned
    probabilities, seen = predicted(image), []
    plain = InvertSubsetsd(transform, "image")({"image": image, "pred": MetaTensor(probabilities)})["pred"]
    monkeypatch.setattr(subsets, "_resampled", lambda image: seen.append(1) or True)
    slow = InvertSubsetsd(transform, "image")({"image": image, "pred": MetaTensor(probabilities)})["pred"]
    assert seen and torch.equal(plain.as_tensor(), slow.as_tensor())
    assert set(plain.unique().tolist()) == {0, 1, 2, 3}


def test_the_result_lies_where_the_input_lay():
    transform, image = preprocessed((2.0, 2.5, 3.0))
    result = InvertSubsetsd(transform, "image")({"image": image, "pred": MetaTensor(predicted(image))})["pred"]
    torch.testing.assert_close(result.affine.float(), torch.diag(torch.tensor([-1.0, *SPACING[1:], 1.0])))
