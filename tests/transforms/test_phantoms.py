# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Phantoms imaged anew each time they are asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.transforms import Compose

from scripts.data.case_error import CaseError
from scripts.phantom.cases import phantom_entries
from scripts.transforms.phantoms import RandImagePhantomd

MODALITIES = ["flair", "t1ce", "t1", "t2"]


@pytest.fixture(scope="module")
def image_phantom(tmp_path_factory):
    return RandImagePhantomd(MODALITIES, str(tmp_path_factory.mktemp("patients")), spacing_mm=8.0, seed=4)


def test_entries_name_one_case_for_each_patient():
    entries = phantom_entries(3, tuple(MODALITIES))
    assert len({entry["case"] for entry in entries}) == 3
    assert all(entry["channels"] == MODALITIES for entry in entries)


def test_an_image_is_of_one_patient_on_one_grid(image_phantom):
    entry = phantom_entries(2, MODALITIES)[1]
    case = image_phantom(entry)
    image, label = case["image"], case["label"]
    assert set(case) == {"case", "image", "label"} and case["case"] == entry["case"]
    assert isinstance(image, MetaTensor) and isinstance(label, MetaTensor)
    assert image.dtype == torch.float32 and label.dtype == torch.uint8
    assert image.shape[0] == len(MODALITIES) and label.shape == (1, *image.shape[1:])
    torch.testing.assert_close(image.affine, label.affine)
    np.testing.assert_allclose(np.abs(np.diag(image.affine))[:3], 8.0)
    brain = image[0] > 0
    assert ((image > 0) == brain).all() and label[0][brain].any() and not label[0][~brain].any()


def test_the_seed_of_a_random_state_decides_the_image(image_phantom):
    entry = phantom_entries(1, MODALITIES)[0]
    first, again, other = (image_phantom.set_random_state(seed)(entry) for seed in (1, 1, 2))
    torch.testing.assert_close(first["image"], again["image"], rtol=0, atol=0)
    assert (first["image"] != other["image"]).any() and other["image"].isfinite().all()


def test_another_draw_is_another_image_of_the_same_patient(image_phantom):
    entry = phantom_entries(1, MODALITIES)[0]
    image_phantom.set_random_state(1)
    first, second = image_phantom(entry), image_phantom(entry)
    assert torch.equal(first["label"], second["label"]) and first["label"].any()
    assert (first["image"] != second["image"]).flatten(1).any(1).all()
    assert first["image"].isfinite().all() and second["image"].isfinite().all()


def test_a_worker_process_gives_the_same_batches_for_the_same_seed(image_phantom):
    dataset = Dataset(phantom_entries(2, MODALITIES), Compose([image_phantom]))

    def batch(seed):
        torch.manual_seed(seed)
        (found,) = DataLoader(dataset, batch_size=2, num_workers=1)
        return found

    first, again, other = batch(0), batch(0), batch(1)
    assert list(first["case"]) == [entry["case"] for entry in dataset.data]
    assert torch.equal(first["image"], again["image"]) and torch.equal(first["label"], other["label"])
    assert (first["image"] != other["image"]).any() and other["image"].isfinite().all()


def test_a_case_that_is_no_phantom_is_refused_by_name(image_phantom):
    with pytest.raises(CaseError, match="case `a`: this is no phantom .* expected an entry of `phantom_entries`"):
        image_phantom({"case": "a", "images": {"flair": "a_flair.nii.gz"}})


def test_unknown_modalities_and_varieties_are_refused():
    with pytest.raises(ValueError, match=r"\['bold'\] have no contrast"):
        RandImagePhantomd(["bold"])
    with pytest.raises(ValueError, match="`variety` of phantoms is 'wild'; expected one of"):
        RandImagePhantomd(MODALITIES, variety="wild")
