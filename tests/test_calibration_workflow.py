# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Calibration from files to files, as a user runs it: fit temperatures, measure with them, segment with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scripts.engines.case_evaluator import root_cause
from scripts.evaluation.tables import read_scores

WINDOW = {"patch_size": [24, 24, 16]}
FIT = ("train.yaml", "evaluate.yaml", "calibrate.yaml")


@pytest.fixture(scope="module")
def calibrated(workflow, trained, tmp_path_factory):
    """Copy the trained weights and fit temperatures: the weights' file."""
    folder = tmp_path_factory.mktemp("calibrated")
    model_file = shutil.copy(trained[0] / "model.pt", folder)
    places = {"model_file": model_file, "output_dir": str(folder / "fit"), "keep_temperatures": "true"}
    finish(workflow(*FIT, run_id="evaluating", **places, **WINDOW))
    return model_file


def finish(run):
    run.run()
    run.finalize()


def segment(workflow, phantoms, model_file, folder, **settings):
    """Segment one test case from FLAIR and T2: label map, and maps by region."""
    places = {"dataset_dir": str(phantoms / "phantom_0004"), "output_dir": str(folder), "model_file": str(model_file)}
    more = {"workflow_type": "infer", "subset": "flair+t2", **WINDOW, **settings}
    finish(workflow("inference.yaml", run_id="evaluating", **places, **more))
    maps = {path.name.split("_")[2]: nib.load(path) for path in folder.glob("*_probability.nii.gz")}
    return nib.load(folder / "phantom_0004.nii.gz"), maps


def test_fitting_leaves_temperatures_beside_the_weights(calibrated):
    report = json.loads(Path(calibrated).with_name("temperatures.json").read_text())
    assert list(report["temperatures"]) == ["1", "2", "3", "4"]
    assert all(report["nll"][n]["after"] <= report["nll"][n]["before"] for n in report["temperatures"])
    assert report["fitted_on"]["section"] == "validation"
    assert report["cases"] == dict.fromkeys(report["temperatures"], 1)
    assert Path(calibrated).with_name("fit").joinpath("temperatures.json").is_file()
    assert not Path(calibrated).with_name("performance.json").exists(), "these cases are not those to measure on"
    assert not Path(calibrated).with_name("fit").joinpath("performance.json").exists()


def test_an_evaluation_has_the_error_of_each_case_with_and_without_scaling(workflow, calibrated, tmp_path):
    errors = {}
    for scaling in ("false", "true"):
        places = {"model_file": calibrated, "output_dir": str(tmp_path / scaling), "validation_subsets": ["flair+t2"]}
        settings = {"metrics": ["dice"], "temperature_scaling": scaling, **WINDOW}
        finish(workflow("train.yaml", "evaluate.yaml", run_id="evaluating", **places, **settings))
        rows = read_scores(tmp_path / scaling / "per_case.csv")
        values = rows[rows["metric"] == "ece"].set_index(["case", "region"])["value"]
        assert len(values) == 2 * 3 and values.between(0, 1).all()
        pooled = json.loads((tmp_path / scaling / "calibration.json").read_text())["per_subset"]["flair+t2"]
        for region in ("wt", "tc", "et"):
            of_cases = values.xs(region, level="region")
            # errors of two cases in one bin may cancel each other, but never add up to more than those of the worse
            assert 0 <= pooled[region]["ece"] <= of_cases.max()
        errors[scaling] = (values, rows[rows["metric"] == "dice"]["value"].tolist())
    assert (errors["true"][0] != errors["false"][0]).all()
    assert errors["true"][1] == errors["false"][1], "classes do not depend on temperatures"


def test_maps_of_a_patient_lie_on_its_grid_and_agree_with_the_label_map(workflow, phantoms, calibrated, tmp_path):
    labels, none = segment(workflow, phantoms, calibrated, tmp_path / "without")
    assert none == {}
    for name, scaling in (("plain", "false"), ("scaled", "true")):
        settings = {"probability_maps": "true", "temperature_scaling": scaling}
        same, maps = segment(workflow, phantoms, calibrated, tmp_path / name, **settings)
        np.testing.assert_array_equal(same.dataobj, labels.dataobj)
        assert set(maps) == {"wt", "tc", "et"}
        values = {region: image.get_fdata() for region, image in maps.items()}
        for region, image in maps.items():
            assert image.get_data_dtype() == np.float32 and image.shape == labels.shape
            np.testing.assert_allclose(image.affine, labels.affine)
            assert np.isfinite(values[region]).all() and values[region].min() >= 0 and values[region].max() <= 1
        assert (values["et"] <= values["tc"] + 1e-6).all() and (values["tc"] <= values["wt"] + 1e-6).all()
        found = np.asarray(labels.dataobj) > 0
        assert found.any() and values["wt"][found].min() >= 1 / 4, "the most probable of four classes has at least 1/4"
        assert values["wt"][found].mean() > values["wt"][~found].mean()
    plain, scaled = (nib.load(tmp_path / name / "phantom_0004_wt_probability.nii.gz") for name in ("plain", "scaled"))
    assert (plain.get_fdata() != scaled.get_fdata()).any()


def test_maps_scaled_by_no_temperatures_are_refused(workflow, phantoms, trained, tmp_path):
    settings = {"probability_maps": "true", "temperature_scaling": "true"}
    with pytest.raises(RuntimeError) as refusal:  # MONAI wraps what a workflow raises
        segment(workflow, phantoms, trained[0] / "model.pt", tmp_path, **settings)
    assert "no temperatures.json beside" in str(root_cause(refusal.value))
