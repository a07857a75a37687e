# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The two forms of a NIfTI header: which one holds, what is refused, and how results get them."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from scripts.data.headers import image_like, read_forms
from tests.toys import save_as_is

SHAPE = (4, 5, 6)
AFFINE = np.array([[-1.0, 0, 0, 90], [0, -1.0, 0, 126], [0, 0, 2.0, -72], [0, 0, 0, 1]])
MOVED = AFFINE + np.array([[0, 0, 0, 0], [0, 0, 0, 120], [0, 0, 0, 0], [0, 0, 0, 0]])


@pytest.fixture
def write(tmp_path):
    def _write(sform=None, qform=None, codes=(0, 0), sizes=None):
        header = nib.Nifti1Header()
        header.set_qform(AFFINE if qform is None else qform, codes[1])
        header["sform_code"] = codes[0]
        for row, values in zip(
            ("srow_x", "srow_y", "srow_z"), np.zeros((4, 4)) if sform is None else sform, strict=False
        ):
            header[row] = values
        if sizes is not None:
            header["pixdim"][1:4] = sizes
        return save_as_is(np.zeros(SHAPE, np.float32), header, tmp_path / "scan.nii")

    return _write


def test_sform_goes_before_qform(write):
    forms = read_forms(write(AFFINE, AFFINE, (1, 2)))
    assert np.array_equal(forms.affine, AFFINE) and forms.codes == (1, 2) and forms.doubts == ()


def test_qform_alone_holds(write):
    forms = read_forms(write(None, AFFINE, (0, 1)))
    assert np.allclose(forms.affine, AFFINE) and forms.sform is None and forms.doubts == ()


@pytest.mark.parametrize("broken", [np.zeros((4, 4)), np.full((4, 4), np.nan)])
def test_a_broken_sform_gives_way_to_qform_with_a_word(write, broken):
    forms = read_forms(write(broken, AFFINE, (1, 1)))
    assert np.allclose(forms.affine, AFFINE) and forms.sform is None
    assert forms.doubts == ("scan.nii: its sform cannot be used; qform says where it lies",)


@pytest.mark.parametrize("broken", [np.zeros((4, 4)), np.full((4, 4), np.nan)])
def test_a_broken_sform_alone_is_refused_naming_both(write, broken):
    with pytest.raises(ValueError, match=r"no usable way.*sform \[\[.*qform absent.*pixdim \[1.0, 1.0, 2.0\] mm"):
        read_forms(write(broken, None, (1, 0)))


def test_a_rotation_that_is_none_gives_way_to_sform(write, tmp_path):
    header = nib.load(write(AFFINE, AFFINE, (1, 1))).header
    header["quatern_b"], header["quatern_c"] = 1.0, 1.0
    forms = read_forms(save_as_is(np.zeros(SHAPE, np.float32), header, tmp_path / "odd.nii"))
    assert np.array_equal(forms.affine, AFFINE) and "odd.nii: its qform cannot be used" in forms.doubts[0]


@pytest.mark.parametrize("codes", [(1, 0), (1, 1)])
def test_voxel_sizes_that_contradict_each_other_are_refused_naming_both(write, codes):
    file = write(3 * AFFINE, AFFINE, codes, sizes=(1, 1, 2))
    with pytest.raises(
        ValueError, match=r"its sform the voxels have \[3.0, 3.0, 6.0\] mm, by pixdim \[1.0, 1.0, 2.0\]"
    ):
        read_forms(file)


def test_voxel_sizes_may_differ_by_rounding(write):
    assert read_forms(write(AFFINE, None, (1, 0), sizes=(1.005, 1, 2))).doubts == ()
    with pytest.raises(ValueError, match="contradicts itself"):
        read_forms(write(AFFINE, None, (1, 0), sizes=(1.02, 1, 2)))


def test_a_file_that_does_not_say_where_it_lies_is_named(write):
    assert "neither sform nor qform" in read_forms(write()).doubts[0]


def test_forms_that_place_an_image_differently_are_named_with_the_distance(write):
    forms = read_forms(write(AFFINE, MOVED, (1, 1)))
    assert np.array_equal(forms.affine, AFFINE)
    assert "differently, by up to 120.0 mm; sform is followed" in forms.doubts[0]


def test_another_format_has_no_forms(tmp_path):
    nib.save(nib.MGHImage(np.zeros(SHAPE, np.float32), AFFINE), tmp_path / "scan.mgz")
    assert read_forms(tmp_path / "scan.mgz") is None


@pytest.mark.parametrize(
    ("sform", "qform", "codes"),
    [(AFFINE, AFFINE, (1, 1)), (None, AFFINE, (0, 1)), (AFFINE, None, (4, 0)), (AFFINE, MOVED, (2, 3))],
)
def test_a_result_has_the_forms_and_codes_of_its_reference(write, tmp_path, sform, qform, codes):
    reference = write(sform, qform, codes)
    image = image_like(np.ones(SHAPE, np.uint8), read_forms(reference).affine, reference)
    nib.save(image, tmp_path / "result.nii.gz")
    found, wanted = (nib.load(file).header for file in (tmp_path / "result.nii.gz", reference))
    assert (int(found["sform_code"]), int(found["qform_code"])) == codes
    for get in ("get_sform", "get_qform"):
        one, other = (getattr(header, get)(coded=True)[0] for header in (found, wanted))
        assert (one is None) == (other is None) and (one is None or np.allclose(one, other, atol=1e-4))
    assert np.allclose(nib.load(tmp_path / "result.nii.gz").affine, AFFINE)


@pytest.mark.parametrize("reference", ["none", "gone", "other"])
def test_a_result_on_a_grid_of_its_own_says_in_both_forms_where_it_lies(write, tmp_path, reference):
    file = {"none": None, "gone": tmp_path / "gone.nii", "other": write(MOVED, MOVED, (1, 1))}[reference]
    image = image_like(np.ones(SHAPE, np.uint8), AFFINE, file)
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (2, 2)
    assert np.allclose(image.get_sform(), AFFINE) and np.allclose(image.get_qform(), AFFINE)
