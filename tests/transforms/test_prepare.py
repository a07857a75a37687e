# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Preparation as the first transform of inference, and the last step back."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from scripts.data.case_error import CaseError
from scripts.data.reading import file_of
from scripts.modalities import modality_subsets, subset_name
from scripts.transforms.load import LoadCased
from scripts.transforms.missing import KeepModalitiesd
from scripts.transforms.prepare import PrepareCased, ToSeriesGrid, file_on_grid, on_series, preparation_of
from tests.conftest import REAL_DATA
from tests.heads import REFERENCE, THICK, Head, outlined

NAMES = ["flair", "t1ce", "t1", "t2"]


@pytest.fixture(scope="module")
def head():
    return Head()


@pytest.fixture(scope="module")
def files(head, tmp_path_factory):
    """Two raw series, two brains on one grid, and a mask."""
    pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")
    folder = tmp_path_factory.mktemp("series")
    images = {"t1ce": head.image("t1ce", *REFERENCE), "flair": head.image("flair", *THICK)}
    images |= {f"cut_{name}": head.image(name, *REFERENCE, extracted=True) for name in ("t1ce", "flair")}
    images["mask"] = nib.Nifti1Image(head.brain(*REFERENCE).astype(np.uint8), REFERENCE[0])
    for name, image in images.items():
        nib.save(image, folder / f"{name}.nii.gz")
    return {name: str(folder / f"{name}.nii.gz") for name in images}


def transform(load=None, **options):
    return PrepareCased(load or LoadCased(NAMES, keys="image"), reference="t1ce", **options)


def raw(files, *names):
    return {"case": "a", "images": {name: files[name] for name in names}}


def cut(files):
    return {"case": "a", "images": {name: files[f"cut_{name}"] for name in ("flair", "t1ce")}}


def test_a_prepared_case_is_one_image_whose_absent_modalities_are_nan(files):
    result = transform(brain_mask=files["mask"], spacing=[4.0, 4.0, 4.0])(raw(files, "flair", "t1ce"))
    image = result["image"]
    assert image.shape == (4, 36, 42, 33) and image.dtype == torch.float32
    np.testing.assert_allclose(nib.affines.voxel_sizes(image.affine.numpy()), 4.0)
    assert torch.isnan(image[2:]).all() and torch.isfinite(image[:2]).all()
    assert (image[0, 0] == 0).all() and image[0].std() > 0
    said = preparation_of(result)
    assert said["record"]["reference"] == "t1ce" and said["files"]["flair"] == files["flair"]
    assert isinstance(result["preparation"], str), "which collates"
    assert result["doubts"] == "", "what preparation takes away is no doubt"


def test_only_the_series_of_the_subset_are_prepared(files, head):
    case = raw(files, "flair", "t1ce")
    with outlined(head) as asked:
        result = transform(subset="flair")(case)
        other = transform(subset_key="subset")({**case, "subset": "t1ce"})
    assert list(preparation_of(result)["record"]["series"]) == ["flair"] and len(asked) == 2
    assert list(preparation_of(other)["record"]["series"]) == ["t1ce"]
    assert torch.isnan(result["image"][1]).all()


def test_what_is_cut_and_aligned_is_loaded_as_before_in_every_subset(files):
    load = LoadCased(NAMES, keys="image")
    before = load(cut(files))
    result = transform(load)(cut(files))
    assert result.pop("preparation") and result.keys() == before.keys()
    torch.testing.assert_close(result["image"].as_tensor(), before["image"].as_tensor(), rtol=0, atol=0, equal_nan=True)
    assert torch.equal(result["image"].affine, before["image"].affine)


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="no real cases on this machine")
def test_a_case_of_brats_is_seen_bit_for_bit_as_before_in_every_subset():
    load = LoadCased(NAMES, keys="image")
    (folder,) = REAL_DATA.glob("brats2023_gli/*")
    loaded = load.read({"image": str(folder)})
    load.read = lambda data: (*loaded[:2], list(loaded[2]))  # once for all subsets
    for flags in modality_subsets(4).tolist():
        subset = subset_name(flags, NAMES)
        keep = KeepModalitiesd(subset, NAMES)
        before = keep(load.assemble(*load.read({})))["image"]
        result = Compose([transform(load, subset=subset, spacing=[1.0, 1.0, 1.0]), keep])({"case": "a"})
        assert preparation_of(result)["record"]["done"] is False
        image = result["image"]
        assert torch.equal(torch.nan_to_num(image.as_tensor(), -1e9), torch.nan_to_num(before.as_tensor(), -1e9))
        assert torch.equal(image.affine, before.affine)


def test_grids_that_the_user_says_are_aligned_are_not_registered(files):
    load = LoadCased(NAMES, keys="image", grid="resample")
    result = transform(load, brain_mask=files["mask"])(raw(files, "flair", "t1ce"))
    assert "registered" not in preparation_of(result)["record"]["series"]["flair"]


def test_off_is_as_if_there_were_no_preparation_and_excludes_its_options(files):
    with pytest.raises(CaseError, match="the files lie on different grids"):
        transform(prepare="off")(raw(files, "flair", "t1ce"))
    assert "preparation" not in transform(prepare=False)(cut(files))
    with pytest.raises(
        ValueError, match="`prepare` is off, but `brain_mask`, `bias_field` or `keep_prepared` is given"
    ):
        transform(prepare="off", brain_mask=files["mask"])


def test_what_goes_wrong_names_the_case(files, head, monkeypatch):
    def fails(image, grid, mode):
        raise ValueError("HD-BET finds no brain in the image.")

    monkeypatch.setattr("scripts.preparation.prepare.extract_brain", fails)
    with pytest.raises(CaseError, match="case `a`: HD-BET finds no brain in the image"):
        transform()(raw(files, "t1ce"))


def test_prepared_files_are_kept_by_the_name_of_the_case(files, tmp_path):
    transform(brain_mask=files["mask"], kept_in=str(tmp_path), keep_prepared=True)(raw(files, "t1ce"))
    names = sorted(path.name for path in (tmp_path / "a_prepared").iterdir())
    assert names == ["brain_mask.nii.gz", "preparation.json", "t1ce.nii.gz", "t1ce.tfm", "t1ce_brain_mask.nii.gz"]
    assert json.loads((tmp_path / "a_prepared" / "preparation.json").read_text())["files"] == names


def test_a_prediction_goes_to_the_grid_asked_for_or_to_all(files, head):
    case = transform(brain_mask=files["mask"], spacing=[2.0, 2.0, 2.0])(raw(files, "flair", "t1ce"))
    grid = case["image"].affine.numpy(), tuple(case["image"].shape[1:])
    lesion = head.lesion_in(*grid)
    maps = torch.from_numpy(np.stack([~lesion, lesion]).astype(np.float32))
    case["pred"] = MetaTensor(maps, affine=case["image"].affine)
    everywhere = ToSeriesGrid("all")(case)
    assert list(on_series(everywhere)) == ["flair", "t1ce"]
    for result, there, name in (
        (ToSeriesGrid()(case)["pred"], REFERENCE, "t1ce"),
        (ToSeriesGrid("flair")(case)["pred"], THICK, "flair"),
        (everywhere["pred"], REFERENCE, "t1ce"),
        (on_series(everywhere)["flair"], THICK, "flair"),
    ):
        assert result.shape == (2, *there[1])
        np.testing.assert_allclose(result.affine, there[0], atol=1e-4)
        label, truth = result.argmax(dim=0).numpy() == 1, head.lesion_in(*there)
        assert 2 * (label & truth).sum() / (label.sum() + truth.sum()) > 0.9
        assert file_on_grid(result, case) == files[name]
    with pytest.raises(CaseError, match="case `a`: `output_grid` is `t2`, which this patient does not have"):
        ToSeriesGrid("t2")(case)


def test_a_prediction_that_lies_there_already_is_left_as_it_is(files):
    case = transform()(cut(files))
    case["pred"] = MetaTensor(torch.rand(2, *REFERENCE[1]), affine=case["image"].affine)
    assert ToSeriesGrid()(case)["pred"] is case["pred"] and ToSeriesGrid("flair")(case)["pred"] is case["pred"]
    assert file_on_grid(case["pred"], case) == file_of(case["image"])
    without = {"pred": case["pred"]}
    assert ToSeriesGrid("flair")(without)["pred"] is case["pred"], "with `prepare` off"
