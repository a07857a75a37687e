# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""One image file to an array: damaged files are refused by name, the background becomes 0."""

from __future__ import annotations

import pickle
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from scripts.data.case_error import CaseError
from scripts.data.reading import (
    ImageFile,
    check_image,
    cut_background,
    grid_difference,
    is_blank,
    reorient_to,
    resample_to,
)
from tests.toys import save_as_is

LPS = np.diag([-1.0, -1.0, 2.0, 1.0])


def clean_image(image, case, file, non_finite="refuse", name="the image", doubts=None, fills=False):
    """Do to an image what loading does."""
    return cut_background(check_image(image, case, file, non_finite, name, doubts), file, name, doubts, fills)


@pytest.fixture(scope="module")
def read():
    return ImageFile()


@pytest.fixture
def write(tmp_path):
    def _write(array, name="scan.nii.gz", affine=LPS):
        nib.save(nib.Nifti1Image(np.asarray(array, dtype=np.float32), affine), tmp_path / name)
        return str(tmp_path / name)

    return _write


def head(shape=(6, 7, 8), outside=0.0):
    """A block of distinct values in the middle, the same value around it."""
    volume = torch.full(shape, outside)
    inner = tuple(slice(1, size - 1) for size in shape)
    volume[inner] = torch.arange(1.0, volume[inner].numel() + 1).reshape(volume[inner].shape)
    return volume


def test_an_image_is_read_channel_first_with_its_affine(read, write):
    volume = head().numpy()
    image = read(write(volume), "case_a")
    assert image.shape == (1, 6, 7, 8)
    assert image.dtype == torch.float32
    assert np.array_equal(image[0].numpy(), volume)
    assert np.array_equal(image.affine.numpy(), LPS)
    assert np.array_equal(image.meta["original_affine"], LPS)
    assert image.meta["filename_or_obj"].endswith("scan.nii.gz")
    assert image.meta["spatial_shape"].tolist() == [6, 7, 8]


@pytest.mark.parametrize(
    ("stored", "shape"), [((6, 7, 8, 1), (1, 6, 7, 8)), ((6, 7, 8, 1, 1), (1, 6, 7, 8)), ((6, 7, 1), (1, 6, 7, 1))]
)
def test_trailing_dimensions_of_size_one_are_dropped_down_to_a_single_slice(read, write, stored, shape):
    assert read(write(np.random.default_rng(0).random(stored)), "case_a").shape == shape


def test_a_two_dimensional_image_stays_so(read, write):
    assert read(write(np.random.default_rng(0).random((6, 7))), "case_a").shape == (1, 6, 7)


@pytest.mark.parametrize(
    ("stored", "shape"), [((6, 7, 8, 4), (4, 6, 7, 8)), ((6, 7, 8, 1, 4), (4, 6, 7, 8)), ((6, 7, 4), (4, 6, 7))]
)
def test_stacked_images_are_found_along_the_last_dimension(read, write, stored, shape):
    volume = np.random.default_rng(0).random(stored).astype(np.float32)
    image = read(write(volume), "case_a", channels=4)
    assert image.shape == shape
    assert np.array_equal(image[2].numpy(), volume[..., 2].reshape(shape[1:]))


@pytest.mark.parametrize(("stored", "channels"), [((6, 7, 8, 4), 1), ((6, 7, 8, 3), 4), ((6, 7, 8), 4), ((6,), 1)])
def test_other_dimensions_are_refused(read, write, stored, channels):
    with pytest.raises(CaseError, match=r"case `case_a`: the file has .*shape.*; expected \d image.*scan.nii.gz"):
        read(write(np.ones(stored)), "case_a", channels)


def test_a_missing_file_is_named(read, tmp_path):
    with pytest.raises(CaseError, match="case `case_a`: the file does not exist.*nowhere.nii.gz"):
        read(str(tmp_path / "nowhere.nii.gz"), "case_a")


def cut(data):
    return data[: len(data) // 2]


def damage(data):
    middle = len(data) // 2
    return data[:middle] + bytes(255 - byte for byte in data[middle : middle + 40]) + data[middle + 40 :]


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nii"])
@pytest.mark.parametrize("change", [cut, lambda _: b"", lambda _: b"this is not an image, it is a letter"])
def test_a_truncated_or_foreign_file_is_refused_by_name(read, write, tmp_path, name, change):
    file = write(np.random.default_rng(0).random((12, 12, 12)), name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(change(data))
    with pytest.raises(CaseError, match=f"case `case_a`: the file cannot be read; it may be truncated.*{name}"):
        read(file, "case_a")


def test_a_damaged_compressed_file_is_refused_by_name(read, write, tmp_path):
    file = write(np.random.default_rng(0).random((12, 12, 12)))
    (tmp_path / "scan.nii.gz").write_bytes(damage((tmp_path / "scan.nii.gz").read_bytes()))
    with pytest.raises(CaseError, match="cannot be read.*scan.nii.gz"):
        read(file, "case_a")


class Payload:
    """Would create a file when unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def test_an_array_file_that_would_run_code_is_refused_unrun(read, tmp_path):
    marker = tmp_path / "it ran"
    (tmp_path / "scan.npy").write_bytes(pickle.dumps(Payload(marker)))
    with pytest.raises(CaseError, match="cannot be read"):
        read(str(tmp_path / "scan.npy"), "case_a")
    assert not marker.exists()


def test_a_singular_affine_is_refused(read, write, tmp_path):
    image = nib.Nifti1Image(head().numpy(), None)
    image.set_sform(np.diag([1.0, 1.0, 0.0, 1.0]), code=1)
    nib.save(image, tmp_path / "flat.nii.gz")
    with pytest.raises(CaseError, match=r"in no usable way where the voxels lie: sform \[\[.*flat.nii.gz"):
        read(str(tmp_path / "flat.nii.gz"), "case_a")


@pytest.mark.parametrize(("fill", "blank"), [(0.0, True), (-3.5, True), (torch.nan, True)])
def test_an_image_without_content_is_blank(fill, blank):
    assert is_blank(torch.full((3, 3, 3), fill)) == blank


def test_an_image_with_one_other_voxel_is_not_blank():
    for fill, voxel in [(0.0, 1.0), (torch.nan, 1.0), (0.0, torch.nan)]:
        image = torch.full((3, 3, 3), fill)
        image[1, 1, 1] = voxel
        assert not is_blank(image)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_voxels_that_are_not_finite_are_refused_with_their_number(value):
    image = head()
    image[2, 2, 2:4] = value
    with pytest.raises(CaseError, match=r"case `a`: the image has 2 NaN or infinite voxels out of 336.*repair.*x\.nii"):
        clean_image(image, "a", "x.nii")


@pytest.mark.parametrize("outside", [0.0, -3.5])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_repaired_voxels_become_background_and_are_reported(outside, value):
    image = head(outside=outside)
    expected = image.clone()
    expected[2, 2, 2:4] = outside
    image[2, 2, 2:4] = value
    doubts = []
    result = clean_image(image, "case_a", "folder/x.nii", "repair", doubts=doubts)
    assert torch.equal(result, clean_image(expected, "case_a", "x.nii"))
    assert doubts == ["the image of x.nii: 2 NaN or infinite voxels set to the background"]


def test_a_background_of_nan_is_repaired_to_zero():
    image = head(outside=torch.nan)
    result = clean_image(image, "case_a", "x.nii", non_finite="repair")
    assert torch.equal(result, torch.nan_to_num(image, nan=0.0))


@pytest.mark.parametrize("fill", [0.0, 7.0, torch.nan])
def test_an_empty_image_is_refused(fill):
    with pytest.raises(CaseError, match="case `a`: the image is empty: every voxel is .*not acquired.*x.nii"):
        clean_image(torch.full((3, 3, 3), fill), "a", "x.nii", non_finite="repair")


def test_an_image_of_zeros_and_nan_is_refused_even_when_repairing():
    image = torch.zeros(3, 3, 3)
    image[1, 1, 1] = torch.nan
    with pytest.raises(CaseError, match="the image is empty but for voxels that are NaN"):
        clean_image(image, "a", "x.nii", non_finite="repair")


@pytest.mark.parametrize("factor", [1e33, 1e-33])
def test_values_that_float32_cannot_normalise_are_refused_with_their_range(factor):
    with pytest.raises(CaseError, match=r"case `a`: the image has values from 0 to .*expected a range.*1e\+12.*x\.nii"):
        clean_image(head() * factor, "a", "x.nii")


def test_what_is_changed_or_not_as_expected_is_said():
    image = np.random.default_rng(0).uniform(1, 2, (40, 40, 40)).astype(np.float32)
    doubts = []
    clean_image(torch.from_numpy(image), "a", "folder/x.nii", name="channel `t1`", doubts=doubts)
    assert doubts == [
        "channel `t1` of x.nii has no background: 100% of its voxels count as brain. Expected an image without skull, "
        "with one value around the brain"
    ]
    clean_image(torch.from_numpy(image), "a", "x.nii", doubts=doubts, fills=True)
    assert len(doubts) == 1
    image = np.pad(image, 5)
    image[20, 20, 20] = 1000
    doubts.clear()
    clean_image(torch.from_numpy(image), "a", "x.nii", doubts=doubts)
    assert doubts == ["the image of x.nii: 1 voxels are far brighter or darker than all others; clipped"]


@pytest.mark.parametrize(
    ("size", "allowed"), [(0.003, False), (0.09, False), (0.11, True), (19.0, True), (50.0, False)]
)
def test_voxels_that_no_scanner_makes_are_refused_with_their_size(read, write, size, allowed):
    file = write(head().numpy(), affine=np.diag([1.0, size, 1.0, 1.0]))
    assert ImageFile("allow")(file, "a").shape == (1, 6, 7, 8)
    if allowed:
        read(file, "a")
    else:
        with pytest.raises(
            CaseError, match=rf"the voxels have \[1.0, {size}, 1.0\] mm; expected 0.1 to 20 mm.*allow.*scan"
        ):
            read(file, "a")


@pytest.mark.parametrize("name", ["scan.npy", "scan.png", "scan.npz", "scan"])
def test_a_format_without_geometry_is_refused_by_name(read, tmp_path, name):
    (tmp_path / name).write_bytes(b"whatever")
    with pytest.raises(CaseError, match=f"cannot be read: its format does not say how large voxels are.*NIfTI.*{name}"):
        read(str(tmp_path / name), "a")


def test_an_axis_without_voxels_is_refused(read, tmp_path):
    header = header_of([3, 3, 3])
    file = save_as_is(np.zeros((4, 5, 0), np.float32), header, tmp_path / "none.nii")
    with pytest.raises(CaseError, match=r"(the file cannot be read|expected voxels along each axis).*none.nii"):
        read(file, "a")


def test_an_image_of_other_dimensions_than_those_of_a_patch_is_refused(write):
    flat, volume = write(np.random.default_rng(0).random((6, 7)), "flat.nii.gz"), write(head().numpy())
    with pytest.raises(
        CaseError, match=r"has 2 dimensions, \(6, 7\) voxels; expected 3, as `patch_size` has.*flat.nii.gz"
    ):
        ImageFile(dimensions=3)(flat, "a")
    with pytest.raises(CaseError, match="has 3 dimensions, .*expected 2"):
        ImageFile(dimensions=2)(volume, "a")
    assert ImageFile(dimensions=2)(flat, "a").shape == (1, 6, 7)


def header_of(sizes, code=0):
    header = nib.Nifti1Header()
    header.set_sform(np.diag([3.0, 3.0, 3.0, 1.0]), 1)
    header.set_qform(LPS, code)
    header["pixdim"][1:4] = sizes
    return header


def test_an_image_whose_header_contradicts_itself_is_refused(read, tmp_path):
    """MONAI alone takes pixdim, so that the image has 1 / 27 of its volume."""
    file = save_as_is(head().numpy(), header_of([1, 1, 1]), tmp_path / "scan.nii")
    with pytest.raises(CaseError, match=r"sform the voxels have \[3.0, 3.0, 3.0\] mm, by pixdim \[1.0, 1.0, 1.0\]"):
        read(file, "a")
    good = save_as_is(head().numpy(), header_of([3, 3, 3]), tmp_path / "good.nii")
    assert read(good, "a").pixdim.tolist() == [3, 3, 3]


def test_the_affine_is_that_of_the_form_that_can_be_used_and_the_doubt_is_handed_on(read, tmp_path):
    header = header_of([1, 1, 2], code=1)
    for broken in (np.nan, 0):
        header["srow_x"] = broken
        doubts = []
        found = read(save_as_is(head().numpy(), header, tmp_path / "scan.nii"), "a", 1, doubts)
        assert np.allclose(found.affine.numpy(), LPS) and np.allclose(found.meta["original_affine"], LPS)
        assert doubts == ["scan.nii: its sform cannot be used; qform says where it lies"]


def grid(shape=(4, 5, 6), shift=0.0, file="first.nii"):
    affine = LPS.copy()
    affine[0, 3] += shift
    return MetaTensor(torch.zeros(1, *shape), meta={"affine": affine, "filename_or_obj": file})


def test_grids_agree_to_the_tolerance():
    assert grid_difference(grid(), grid(), 1e-3) is None
    assert grid_difference(grid(), grid(shift=0.0009), 1e-3) is None


@pytest.mark.parametrize("other", [grid(shift=0.0011, file="b.nii"), grid(shape=(4, 5, 7), file="b.nii")])
def test_differing_grids_are_described_with_both_files(other):
    difference = grid_difference(grid(), other, 1e-3)
    assert "`first.nii` has shape (4, 5, 6)" in difference
    assert f"`b.nii` has shape {tuple(other.shape[1:])}" in difference
    assert "affines differ by up to 0" in difference


def test_resampling_follows_the_affine_and_pads_with_zero():
    first, other = grid(shape=(6, 4, 4)), grid(shape=(6, 4, 4), shift=-2.0, file="other.nii")
    other[0] = torch.arange(1.0, 7.0)[:, None, None]
    # index i of `first` lies at x = -i, which is index i - 2 of `other`, whose index j lies at x = -2 - j
    expected = torch.tensor([0.0, 0.0, 1.0, 2.0, 3.0, 4.0])
    for mode in ("bilinear", "nearest"):
        result = resample_to(first, other, mode, "case_a")
        assert torch.allclose(result[0, :, 1, 1].as_tensor(), expected, atol=1e-5)
        assert torch.equal(result.affine, first.affine)
        assert result.meta["filename_or_obj"] == "other.nii"
        assert not result.applied_operations


def test_an_image_of_other_dimensionality_is_not_resampled():
    with pytest.raises(CaseError, match="cannot resample.*first.nii.*other.nii"):
        resample_to(grid(), grid(shape=(4, 5), file="other.nii"), "bilinear", "case_a")


def turned(image, permutation, flips):
    """The same image with other axes, as another program writes it."""
    volume = image.as_tensor().numpy()[0]
    orientation = np.stack([np.argsort(permutation), np.where(flips, -1, 1)], axis=1).astype(float)
    affine = image.affine.numpy() @ nib.orientations.inv_ornt_aff(orientation, volume.shape)
    data = nib.orientations.apply_orientation(volume, orientation)
    meta = {"affine": affine, "filename_or_obj": "turned.nii"}
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(data))[None], meta=meta)


@pytest.mark.parametrize("permutation", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("flips", [(True, False, False), (False, True, True), (False, False, False)])
def test_a_grid_that_differs_by_the_order_and_direction_of_axes_is_reached_exactly(permutation, flips):
    first = grid()
    first[0] = torch.rand(4, 5, 6, generator=torch.Generator().manual_seed(0))
    other = turned(first, permutation, flips)
    found = reorient_to(first, other, 1e-3)
    assert torch.equal(found.as_tensor(), first.as_tensor())
    assert torch.equal(found.affine, first.affine)
    assert found.meta["filename_or_obj"] == "turned.nii"


def test_other_grids_are_not_reoriented():
    assert reorient_to(grid(), grid(shift=0.5), 1e-3) is None
    assert reorient_to(grid(), grid(shape=(4, 5, 7)), 1e-3) is None
    tilted = grid()
    tilted.affine = torch.from_numpy(nib.affines.from_matvec(np.diag([-1, -1, 2.0]) @ rotation(5), [0, 0, 0]))
    assert reorient_to(grid(), tilted, 1e-3) is None


def rotation(degrees):
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
