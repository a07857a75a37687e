# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Images are examined where they are loaded, and the report of the case says so."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate

from scripts.handlers.predictions import PredictionWriter
from scripts.phantom.case import PhantomSettings, make_phantom
from scripts.transforms.plausibility import ExaminePlausibilityd

NAMES = list(PhantomSettings().modalities)


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(PhantomSettings(spacing_mm=4.0, seed=41), 0)


@pytest.fixture
def case(phantom):
    image = MetaTensor(torch.from_numpy(phantom.images.astype(np.float32)), affine=torch.from_numpy(phantom.affine))
    return {"case": "a", "image": image}


def report_of(case, label, folder):
    """Take a case through a batch to its report, with ``label`` ``(X, Y, Z)`` as the prediction."""
    item = decollate_batch(list_data_collate([case]))[0]
    affine = case["image"].affine
    item["pred"] = MetaTensor(torch.from_numpy(label)[None].float(), affine=affine)
    PredictionWriter(str(folder), NAMES, {"wt": [1, 2, 3]}).write_case(item)
    return json.loads((folder / "a.json").read_text())


def test_the_images_stay_as_they_are(case):
    before = case["image"].clone()
    found = ExaminePlausibilityd("image", NAMES)(case)
    assert found["image"] is case["image"]
    assert torch.equal(found["image"], before)


def test_the_report_has_the_numbers_and_no_warning_of_a_good_case(case, phantom, tmp_path):
    report = report_of(ExaminePlausibilityd("image", NAMES)(case), phantom.label, tmp_path)
    assert report["plausibility"]["doubts"] == []
    assert set(report["plausibility"]["numbers"]) == {"series", "brain_ml", "pairs", "modalities", "tumour"}
    voxels = int((phantom.label > 0).sum())
    assert report["plausibility"]["numbers"]["tumour"]["ml"] == pytest.approx(0.064 * voxels, abs=1e-3)
    assert report["warnings"] == []


def test_doubts_of_images_and_result_are_warnings_and_their_numbers_are_there(case, phantom, tmp_path):
    case["image"][NAMES.index("t2")] = case["image"][NAMES.index("t2")].flip(0)
    everything = (phantom.images[0] > 0).astype(np.uint8)
    report = report_of(ExaminePlausibilityd("image", NAMES)(case), everything, tmp_path)
    doubts = report["plausibility"]["doubts"]
    assert {"mirrored", "tumour_volume"} <= {doubt["name"] for doubt in doubts}
    assert [doubt["message"] for doubt in doubts] == report["warnings"]
    assert all(list(doubt) == ["name", "message", "value", "limit"] for doubt in doubts)


@pytest.mark.parametrize("enabled", [False, "false"])
def test_switched_off_nothing_is_written(case, phantom, tmp_path, enabled):
    found = ExaminePlausibilityd("image", NAMES, enabled)(case)
    assert list(found) == ["case", "image"]
    assert "plausibility" not in report_of(found, phantom.label, tmp_path)


def test_other_organs_and_slices_are_passed_over(case):
    assert list(ExaminePlausibilityd("image", ["bssfp", "lge", "t2", "t1"])(case)) == ["case", "image"]
    flat = {"image": MetaTensor(torch.ones(4, 8, 8))}
    assert list(ExaminePlausibilityd("image", NAMES)(flat)) == ["image"]
