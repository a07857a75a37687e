# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What inference writes for one case."""

from __future__ import annotations

import hashlib
import json

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.engines.utils import IterationEvents

from scripts.evaluation.expectation import ExpectedPerformance
from scripts.evaluation.origin import SYNTHETIC_ONLY
from scripts.handlers import predictions
from scripts.handlers.predictions import PredictionWriter
from scripts.records.side_files import write_side_file

NAMES = ["flair", "t1ce", "t2"]
REGIONS = {"wt": [1, 2, 3], "tc": [1, 3], "et": [3]}
GENERIC = "segmented without t1ce; expect lower accuracy than with every modality"
# voxels of 1 x 2 x 4 mm, turned by 30 degrees about the third axis, the first axis pointing left
COS, SIN = np.cos(np.pi / 6), np.sin(np.pi / 6)
AFFINE = np.array([[-COS, -2 * SIN, 0, 90], [-SIN, 2 * COS, 0, -120], [0, 0, 4, -70], [0, 0, 0, 1]])


def case(*voxels, absent=(), name="case_a"):
    """A case with the given classes at the first voxels of its prediction."""
    labels = torch.zeros(1, 4, 3, 2)
    labels.view(-1)[: len(voxels)] = torch.tensor([float(value) for value in voxels])
    image = torch.ones(3, 4, 3, 2)
    image[list(absent)] = torch.nan
    return {"case": name, "image": MetaTensor(image), "pred": MetaTensor(labels, affine=AFFINE)}


def write(folder, case, convention="brats2021"):
    PredictionWriter(str(folder), NAMES, REGIONS, convention).write_case(case)
    report = json.loads((folder / f"{case['case']}.json").read_text())
    return nib.load(folder / f"{case['case']}.nii.gz"), report


def test_the_label_map_lies_on_the_grid_of_the_input(tmp_path):
    image, _ = write(tmp_path / "new" / "folder", case(1, 2, 3, 3))
    assert image.shape == (4, 3, 2)
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-5)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert np.asarray(image.dataobj).ravel()[:5].tolist() == [1, 2, 4, 4, 0]


@pytest.mark.parametrize(("convention", "enhancing"), [("brats2021", 4), ("brats2023", 3)])
def test_volumes_follow_from_the_classes_whatever_convention_they_are_written_in(tmp_path, convention, enhancing):
    image, report = write(tmp_path, case(1, 2, 2, 3, 3, 3), convention)
    assert np.asarray(image.dataobj).ravel()[:7].tolist() == [1, 2, 2, enhancing, enhancing, enhancing, 0]
    # a voxel has 1 * 2 * 4 = 8 mm^3 = 0.008 mL; WT is all 6 voxels, TC is NCR and ET, 4 voxels, ET is 3 voxels
    assert report["volumes"] == {
        "wt": {"voxels": 6, "ml": 0.048},
        "tc": {"voxels": 4, "ml": 0.032},
        "et": {"voxels": 3, "ml": 0.024},
    }
    assert report["label_convention"] == convention
    assert report["warnings"] == []


def test_the_diameters_of_each_region_are_in_the_report(tmp_path):
    _, report = write(tmp_path, case(1, 2, 2, 3, 3, 3))
    # ET has two voxels of 1 x 2 mm in slice 1: a rectangle of 1 x 4 mm
    found, diagonal = report["diameters"]["et"], 17**0.5
    assert found.pop("slice") == 1
    assert found == {
        "longest_mm": pytest.approx(diagonal, abs=0.05),
        "perpendicular_mm": pytest.approx(diagonal / 4, abs=0.05),
        "product_mm2": pytest.approx(17 / 4, abs=0.06),
    }
    assert list(report["diameters"]) == ["wt", "tc", "et"]
    assert write(tmp_path, case(2))[1]["diameters"]["et"] is None


def test_values_above_255_are_written_and_read_back_exactly(tmp_path):
    classes, values = [3, 1, 2, 4, 5], [200, 500, 600, 1220, 2221]
    writer = PredictionWriter(str(tmp_path), NAMES, {"scar": [5], "myo": [3, 4, 5]}, "myops2020")
    writer.write_case(case(*classes))
    image = nib.load(tmp_path / "case_a.nii.gz")
    assert image.get_data_dtype() == np.uint16
    assert np.asarray(image.dataobj).ravel()[:6].tolist() == [*values, 0]
    volumes = json.loads((tmp_path / "case_a.json").read_text())["volumes"]
    assert {region: volume["voxels"] for region, volume in volumes.items()} == {"scar": 1, "myo": 3}


def test_the_report_says_what_was_used_and_what_was_not(tmp_path):
    _, report = write(tmp_path, case(1, 2, 3, absent=[1]))
    assert report["case"] == "case_a"
    assert report["segmentation"] == "case_a.nii.gz"
    assert report["modalities_used"] == ["flair", "t2"]
    assert report["modalities_absent"] == ["t1ce"]
    assert report["subset"] == "flair+t2"
    assert report["warnings"] == [GENERIC]


@pytest.fixture
def expected(tmp_path):
    """Weights of which only flair+t2 was evaluated, with a Dice of 0.25 for ET."""
    weights = tmp_path / "model.pt"
    weights.write_bytes(b"weights")
    data_set = {"name": "hospital", "synthetic": False, "section": "testing"}
    cell = {"mean": 0.25, "low": 0.2, "high": 0.3, "n": 9}
    content = {"data_set": data_set, "num_cases": 9, "num_failed": 0, "settings": {}, "gains": {}}
    write_side_file(weights, "performance.json", content | {"per_subset": {"flair+t2": {"et": {"dice": cell}}}})
    result = ExpectedPerformance(str(weights), NAMES, REGIONS)
    result.load()
    return result


def test_what_to_expect_takes_the_place_of_the_general_warning(tmp_path, expected, caplog):
    with caplog.at_level("INFO"):
        PredictionWriter(str(tmp_path), NAMES, REGIONS, expected=expected).write_case(case(1, 2, 3, absent=[1]))
    report = json.loads((tmp_path / "case_a.json").read_text())
    assert report["expected_performance"]["dice"]["et"]["mean"] == 0.25
    words = "region et: expected Dice 0.25 [0.20, 0.30] from flair+t2 is below 0.50; do not rely on it"
    assert report["warnings"] == [words]
    lines = caplog.text.splitlines()
    assert f"  warning: {words}" in lines and any(line.endswith("case_a.nii.gz from flair+t2") for line in lines)


@pytest.mark.parametrize("reason", ["the subset was not evaluated", "there is no file"])
def test_the_general_warning_stays_where_nothing_is_known(tmp_path, expected, reason):
    absent = [0, 1] if reason == "the subset was not evaluated" else [1]
    if reason == "there is no file":
        (tmp_path / "performance.json").unlink()
        expected.load()
    PredictionWriter(str(tmp_path), NAMES, REGIONS, expected=expected).write_case(case(1, 2, 3, absent=absent))
    report = json.loads((tmp_path / "case_a.json").read_text())
    assert report["warnings"] == [GENERIC.replace("t1ce", ", ".join(NAMES[index] for index in absent))]
    if reason == "there is no file":
        assert report["expected_performance"] is None
        words = "no performance.json beside the weights; run the evaluation to make one"
        assert report["expected_performance_note"] == words
    else:
        assert report["expected_performance"]["dice"] == {"wt": None, "tc": None, "et": None}


@pytest.fixture
def written(tmp_path, caplog):
    """Write a case with weights and a record of a training on four cases, so many of them synthetic; with the log."""

    def _written(num_synthetic, initial_file=None, changed=False):
        weights = tmp_path / "model.pt"
        weights.write_bytes(b"weights")
        data = {"name": "made up", "synthetic": num_synthetic > 0, "section": "training", "num_cases": 4}
        data["num_synthetic"] = num_synthetic
        write_side_file(weights, "training.json", {"trained_on": data, "initial_file": initial_file})
        weights.write_bytes(b"others" if changed else b"weights")
        writer = PredictionWriter(str(tmp_path), NAMES, REGIONS, model_file=str(weights))
        engine = Engine(lambda engine, batch: writer.write_case(case(2, 2)))
        engine.register_events(*IterationEvents)
        writer.attach(engine)
        with caplog.at_level("INFO"):
            engine.run([0])
        return json.loads((tmp_path / "case_a.json").read_text()), data, caplog.text.splitlines()

    return _written


def test_weights_that_have_seen_synthetic_images_alone_say_so_before_anything_else(written):
    report, data, log = written(num_synthetic=4)
    digest = hashlib.sha256(b"weights").hexdigest()
    assert report["weights"] == {"file": "model.pt", "sha256": digest, "trained_on": data, "initial_file": None}
    assert report["warnings"] == [SYNTHETIC_ONLY, *(f"nothing was found for region {name}" for name in ("tc", "et"))]
    assert f"  warning: {SYNTHETIC_ONLY}" in log
    assert any(f"model.pt, {SYNTHETIC_ONLY}: made up, section training, 4 cases" in line for line in log)


@pytest.mark.parametrize("real", ["a training case", "a case that the network was trained on before"])
def test_weights_that_have_seen_a_real_image_do_not_say_so(written, real):
    data = {"name": "hospital", "synthetic": False, "section": "training", "num_cases": 9, "num_synthetic": 0}
    initial = {"file": "first.pt", "sha256": "0", "trained_on": data, "initial_file": None}
    first = real == "a training case"
    report, found, log = written(3 if first else 4, initial_file=None if first else initial)
    assert report["weights"]["trained_on"] == found
    assert len(report["warnings"]) == 2 and SYNTHETIC_ONLY not in "".join(log)


@pytest.mark.parametrize("reason", ["of other weights", "not there", "damaged"])
def test_a_record_that_cannot_be_trusted_is_noted_and_ends_nothing(written, tmp_path, reason):
    report, _, log = written(num_synthetic=4, changed=reason == "of other weights")
    if reason != "of other weights":
        file = tmp_path / "training.json"
        file.unlink() if reason == "not there" else file.write_text("{")
        writer = PredictionWriter(str(tmp_path), NAMES, REGIONS, model_file=str(tmp_path / "model.pt"))
        writer.load_origin()
        writer.write_case(case(2, 2))
        report = json.loads((tmp_path / "case_a.json").read_text())
    words = {"of other weights": "made with other weights", "not there": "no training.json", "damaged": "as JSON"}
    assert report["weights"]["trained_on"] is None and words[reason] in report["weights"]["note"]
    assert report["weights"]["note"].endswith("what these weights were trained on is not known")
    assert len(report["warnings"]) == 2
    if reason == "of other weights":
        assert any("WARNING" in line and report["weights"]["note"] in line for line in log)


def test_a_region_that_was_not_found_is_a_warning(tmp_path):
    _, report = write(tmp_path, case(2, 2))
    assert report["volumes"]["et"] == {"voxels": 0, "ml": 0.0}
    assert report["warnings"] == ["nothing was found for region tc", "nothing was found for region et"]


def test_classes_that_the_convention_does_not_have_are_refused(tmp_path):
    with pytest.raises(ValueError, match="classes that label convention `brats2021` cannot write; it has .0, 1, 2, 3."):
        write(tmp_path, case(4), "brats2021")
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_convention_is_found_before_anything_is_segmented(tmp_path):
    with pytest.raises(ValueError, match="label convention `brats21` is unknown; expected one of"):
        PredictionWriter(str(tmp_path), NAMES, REGIONS, "brats21")


def test_a_failed_write_leaves_the_earlier_result_whole(tmp_path, monkeypatch):
    write(tmp_path, case(1))

    def full_disk(image, path):
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(predictions.nib, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        write(tmp_path, case(2))
    monkeypatch.undo()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["case_a.json", "case_a.nii.gz"]
    assert np.asarray(nib.load(tmp_path / "case_a.nii.gz").dataobj).max() == 1
