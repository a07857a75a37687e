# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What the loader refuses: every problem names the case and the file."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import Compose

from scripts.data.case_error import CaseError
from scripts.transforms.load import LoadCased


def test_nan_in_a_part_of_a_stacked_channel_is_refused(load, write, volumes):
    stack = np.stack(list(volumes.values()), -1)
    stack[3, 3, 3, 2] = np.nan
    with pytest.raises(CaseError, match="case `case_b`: channel `t1` has 1 NaN or infinite voxels.*stack.nii.gz"):
        load({"case": "case_b", "image": write(stack, "stack.nii.gz")})


def test_a_stacked_file_with_another_number_of_channels_is_refused(load, write, volumes):
    file = write(np.stack([volumes["flair"]] * 3, -1), "stack.nii.gz")
    with pytest.raises(CaseError, match="case `case_b`: the file has 3 channels of shape .*; expected 4 images.*stack"):
        load({"case": "case_b", "image": file})


def test_nothing_acquired_is_refused(load, write):
    stack = write(np.zeros((5, 5, 5, 4)), "stack.nii.gz")
    for entry in ({"case": "case_b", "images": {}}, {"case": "case_b", "image": stack}):
        with pytest.raises(CaseError, match="case `case_b`: no modality was acquired; expected at least one of"):
            load(entry)


def test_modalities_that_are_not_configured_are_refused(load, entry, write):
    entry["images"]["dwi"] = entry["images"]["t1"]
    with pytest.raises(CaseError, match=r"case `case_a`: the entry lists .*'dwi'.*expected names out of \['flair'"):
        load(entry)
    for channels in (["flair", "dwi"], ["flair", "flair"]):
        with pytest.raises(CaseError, match="case `case_b`: the entry lists .*each at most once.*stack.nii.gz"):
            load({"case": "case_b", "image": "stack.nii.gz", "channels": channels})


@pytest.mark.parametrize("images", [None, 3.0])
def test_an_entry_without_paths_is_refused(load, images):
    with pytest.raises(CaseError, match="case `case_b`: the entry gives .* for its images; expected `images`"):
        load({"case": "case_b", "image": images})


def test_a_damaged_file_is_refused_by_name(load, entry):
    file = Path(entry["images"]["t1"])
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(CaseError, match="case `case_a`: the file cannot be read.*case_a_t1.nii.gz"):
        load(entry)


def test_an_empty_image_is_refused_by_name(load, entry, write, volumes):
    entry["images"]["t1"] = write(0 * volumes["t1"], "empty.nii.gz")
    with pytest.raises(CaseError, match="case `case_a`: the image is empty.*empty.nii.gz"):
        load(entry)


def test_voxels_that_are_not_finite_are_repaired_if_asked(modalities, entry, write, volumes, caplog):
    damaged = volumes["t1"].copy()
    damaged[6, 6, 6:8] = np.nan, np.inf
    entry["images"]["t1"] = write(damaged, "damaged.nii.gz")
    with pytest.raises(CaseError, match="case `case_a`: the image has 2 NaN or infinite voxels.*damaged.nii.gz"):
        LoadCased(modalities)(entry)
    with caplog.at_level(logging.WARNING):
        image = LoadCased(modalities, non_finite="repair")(entry)["image"]
    assert "case `case_a`: the image of damaged.nii.gz: 2 NaN or infinite voxels set to the background" in caplog.text
    assert "damaged.nii.gz" in caplog.text
    assert np.array_equal(image[2].numpy(), np.nan_to_num(damaged, nan=0.0, posinf=0.0))


@pytest.mark.parametrize("key", ["t2", "label"])
def test_files_on_different_grids_are_refused_naming_both(load, entry, volumes, write, key):
    affine = nib.load(entry["images"]["t2"]).affine
    affine[1, 3] += 5
    other = write(volumes["t2"] if key == "t2" else np.zeros(volumes["t2"].shape), "shifted.nii.gz", affine)
    (entry["images"] if key == "t2" else entry)[key] = other
    with pytest.raises(CaseError) as caught:
        load(entry)
    message = str(caught.value)
    assert "case `case_a`: the files lie on different grids" in message
    assert "case_a_flair.nii.gz` has shape (16, 14, 12)" in message
    assert "shifted.nii.gz` has shape (16, 14, 12)" in message
    assert "affines differ by up to 5 (allowed: 0.001)" in message


def test_a_difference_within_the_tolerance_is_accepted(modalities, entry, volumes, write):
    affine = nib.load(entry["images"]["t2"]).affine
    affine[1, 3] += 0.01
    entry["images"]["t2"] = write(volumes["t2"], "shifted.nii.gz", affine)
    LoadCased(modalities, affine_tolerance=0.1)(entry)
    with pytest.raises(CaseError, match="different grids"):
        LoadCased(modalities)(entry)


def test_an_image_beside_the_first_is_not_resampled_into_nothing(modalities, entry, volumes, write):
    affine = nib.load(entry["images"]["t2"]).affine
    affine[0, 3] += 500
    entry["images"]["t2"] = write(volumes["t2"], "far.nii.gz", affine)
    with pytest.raises(CaseError, match="case `case_a`: the image does not overlap with .*flair.*far.nii.gz"):
        LoadCased(modalities, grid="resample")(entry)


def test_label_values_against_the_convention_are_refused(load, entry):
    with pytest.raises(CaseError, match=r"case `case_a`: the label has the values \[0, 1, 2, 4\].*`msd`.*case_a_seg"):
        load({**entry, "label_convention": "msd"})


def test_a_label_needs_a_convention(modalities, entry):
    del entry["label_convention"]
    with pytest.raises(
        CaseError,
        match="case `case_a`: nothing says what the values of the label mean; expected `label_conv.*case_a_seg.nii.gz",
    ):
        LoadCased(modalities)(entry)
    assert LoadCased(modalities, label_convention="brats2021")(entry)["label"].max() == 3


def test_a_label_is_optional_unless_required(modalities, entry):
    del entry["label"]
    assert "label" not in LoadCased(modalities)(entry)
    with pytest.raises(CaseError, match="case `case_a`: the entry has no `label`, which is required here"):
        LoadCased(modalities, label_required=True)(entry)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": "resmple"}, "resmple"),
        ({"non_finite": "ignore"}, "ignore"),
        ({"label_convention": "brats1999"}, "`brats1999` is unknown"),
        ({"conventions": {"ours": {0: 0, 1: 1, 2: 1}}}, "label convention `custom` reads"),
        ({"keys": ("image", "label", "mask")}, "expected the image's key and at most one more"),
        ({"modalities": ("flair", "flair")}, "each once"),
    ],
)
def test_a_mistake_in_the_configuration_is_found_at_once(modalities, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        LoadCased(**{"modalities": modalities, **options})


def test_the_reason_is_the_cause_of_the_error_of_a_chain(load):
    # MONAI's Compose wraps whatever a transform raises; who goes on with the other cases has to look at the cause
    with pytest.raises(RuntimeError, match="applying transform") as caught:
        Compose([load])({"case": "case_b", "images": {}})
    assert isinstance(caught.value.__cause__, CaseError)
