# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""One image in several formats is one image."""

from __future__ import annotations

import sys

import nibabel as nib
import numpy as np
import pytest

from scripts.data.case_error import CaseError
from scripts.data.patient import describe_patient
from scripts.data.reading import ImageFile
from tests.conftest import oblique_affine

ENDINGS = ["nrrd", "nhdr", "mha", "mhd", "mgz", "mgh"]


@pytest.fixture
def written(tmp_path):
    """Write one oblique image as NIfTI and in another format, by its own library; of ITK through its NIfTI reader."""
    image = np.random.default_rng(0).normal(100, 30, (7, 9, 4)).astype(np.float32)
    affine = oblique_affine([1.25, 0.9, 5.0])
    nifti = tmp_path / "image.nii.gz"
    nib.save(nib.Nifti1Image(image, affine), nifti)

    def _written(ending):
        file = tmp_path / f"other.{ending}"
        if ending in ("mgz", "mgh"):
            nib.save(nib.MGHImage(image, affine), file)
        else:
            sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")
            sitk.WriteImage(sitk.ReadImage(str(nifti)), str(file))
        return str(nifti), str(file)

    return _written


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_is_read_as_nifti_is(written, ending):
    nifti, other = (ImageFile()(file, "case") for file in written(ending))
    assert other.shape == nifti.shape == (1, 7, 9, 4) and other.dtype == nifti.dtype
    np.testing.assert_array_equal(other.as_tensor(), nifti.as_tensor())
    np.testing.assert_allclose(other.affine, nifti.affine, atol=1e-4)
    assert other.meta["filename_or_obj"].endswith(ending)


def test_a_stack_keeps_its_channels(tmp_path):
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")
    stack = np.random.default_rng(0).normal(size=(3, 5, 6, 7)).astype(np.float32)  # channels, x, y, z
    image = sitk.GetImageFromArray(np.ascontiguousarray(stack.transpose(3, 2, 1, 0)), isVector=True)
    sitk.WriteImage(image, str(tmp_path / "stack.nrrd"))
    np.testing.assert_array_equal(ImageFile()(str(tmp_path / "stack.nrrd"), "case", channels=3).as_tensor(), stack)


def test_a_folder_of_other_formats_is_a_patient(tmp_path):
    for name in ("flair.nrrd", "t1ce.mha", "t1.mgz", "notes.txt"):
        (tmp_path / name).touch()
    assert list(describe_patient(tmp_path, ["flair", "t1ce", "t1", "t2"]).images) == ["flair", "t1ce", "t1"]


def test_what_cannot_be_read_is_said_with_its_file(written, tmp_path, monkeypatch):
    (tmp_path / "text.mha").write_text("no image")
    with pytest.raises(CaseError, match=r"the file cannot be read.*text\.mha"):
        ImageFile()(str(tmp_path / "text.mha"), "case")
    _, file = written("nrrd")
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(
        CaseError, match="needs the package `SimpleITK`, which is not installed; install it by `make se"
    ):
        ImageFile()(file, "case")
