# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What a preparation leaves in its folder, and what it leaves alone."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from scripts.preparation.geometry import from_itk_transform
from scripts.preparation.keeping import check_folder, folder_beside, keep, kept_files
from scripts.preparation.prepare import prepare
from scripts.preparation.settings import Preparation
from tests.heads import outlined

sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")


@pytest.fixture(scope="module")
def prepared(head, raw):
    with outlined(head):
        return prepare(raw, Preparation(reference="t1ce"))


@pytest.fixture(scope="module")
def files(prepared):
    return kept_files(prepared)


def test_images_masks_and_transforms_are_there_to_be_used_elsewhere(prepared, files, tmp_path):
    folder = folder_beside(tmp_path / "seg.nii.gz")
    assert folder == tmp_path / "seg_prepared" == folder_beside(tmp_path / "seg.nii")
    keep(files, folder)
    for name, image in {**prepared.images, "brain_mask": prepared.brain_mask}.items():
        found = nib.load(folder / f"{name}.nii.gz")
        np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(image.dataobj))
        np.testing.assert_allclose(found.affine, image.affine, atol=1e-4)
    own = nib.load(folder / "flair_brain_mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(own.dataobj) > 0, prepared.masks["flair"])
    content = json.loads((folder / "preparation.json").read_text())
    np.testing.assert_array_equal(content["transforms"]["flair"], prepared.transforms["flair"])
    of_itk = from_itk_transform(sitk.ReadTransform(str(folder / "flair.tfm")))
    np.testing.assert_allclose(of_itk, prepared.transforms["flair"], atol=1e-9)
    assert content["files"] == sorted(path.name for path in folder.iterdir())
    assert content["series"] == prepared.record["series"] and content["warnings"] == []


def test_an_earlier_preparation_is_replaced_and_what_else_lies_there_stays(files, tmp_path):
    folder = tmp_path / "seg_prepared"
    keep({**files, "preparation.json": files["preparation.json"], "flair.tfm": b"old"}, folder)
    (folder / "notes.txt").write_text("mine")
    fewer = {name: content for name, content in files.items() if not name.startswith("flair")}
    keep(fewer, folder)
    assert not list(folder.glob("flair*")) and (folder / "notes.txt").read_text() == "mine"


def test_a_folder_or_file_of_another_origin_is_refused(files, tmp_path):
    folder = tmp_path / "seg_prepared"
    folder.mkdir()
    keep(files, folder)  # an empty one is nobody's
    content = json.loads(files["preparation.json"])
    content["files"].remove("flair.tfm")
    (folder / "preparation.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"flair.tfm exists and is of no earlier preparation"):
        keep(files, folder)
    (folder / "preparation.json").unlink()
    for check in (lambda: keep(files, folder), lambda: check_folder(folder)):
        with pytest.raises(ValueError, match="exists and holds no preparation that was kept before"):
            check()
    (tmp_path / "file_prepared").write_text("a file")
    with pytest.raises(ValueError, match="exists and holds no preparation"):
        check_folder(tmp_path / "file_prepared")
