# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Stacks of the heart from files to files: a 2D network, six classes, three modalities, label values up to 2221."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from scripts.data.datalist import availability, read_section
from scripts.evaluation.tables import read_scores

DATASET = "dataset_myops2020.yaml"
ORDER = ["bssfp", "lge", "t2"]
VALUES = {0, 200, 500, 600, 1220, 2221}
REGION_VALUES = {"lvb": [500], "rvb": [600], "myo": [200, 1220, 2221], "edema_scar": [1220, 2221], "scar": [2221]}


@pytest.fixture(scope="module")
def learned(train, hearts, tmp_path_factory):
    """Train with PASSION for a few epochs: the folder and the metrics of each epoch."""
    folder = tmp_path_factory.mktemp("learned")
    settings = {**hearts, "max_epochs": 6, "val_interval": 3, "validation_subsets": ["all"]}
    return folder, train(folder, "train.yaml", DATASET, "method_passion.yaml", **settings)


def test_training_data_are_incomplete_at_the_published_rates(hearts):
    training = read_section(f"{hearts['dataset_dir']}/datalist.json", "training", ORDER)
    assert 0 < availability(training, ORDER).sum() < 12
    assert availability(training, ORDER).any(axis=1).all()


def test_training_on_slices_learns_with_finite_weights(learned, workflow):
    folder, epochs = learned
    losses = {name: [epoch[name] for epoch in epochs.values()] for name in ("loss_fused", "loss_unimodal")}
    assert np.isfinite(list(losses.values())).all()
    assert all(np.mean(values[-2:]) < 0.9 * values[0] for values in losses.values())
    assert {f"dice_{region}" for region in REGION_VALUES} <= set(epochs[6])
    model = torch.load(folder / "model.pt", weights_only=True)
    untrained = workflow("train.yaml", DATASET).parser.get_parsed_content("network_def").state_dict()
    assert all(torch.isfinite(value).all() for value in model.values())
    assert not any(torch.equal(model[name], value) for name, value in untrained.items() if value.ndim > 1)


def test_patches_are_turned_within_the_slice_alone(workflow, hearts):
    run = workflow("train.yaml", DATASET, **hearts)
    (turn,) = [t for t in run.parser.get_parsed_content("train::preprocessing").transforms if hasattr(t, "weights")]
    assert turn.weights == (0.0, 0.0, 1.0)
    patch = torch.zeros(1, 32, 32, 1)
    patch[:, 8:24, 14:18] = 1.0  # a bar
    turn.set_random_state(0)
    for _ in range(20):
        turned = turn({"image": patch, "label": patch})["image"].as_tensor()
        # about an axis within the slice the bar would leave the plane, down to a line
        assert turned.sum() == pytest.approx(float(patch.sum()), rel=0.1)
        assert not torch.equal(turned, patch)


def test_every_region_and_every_subset_is_scored(workflow, learned, hearts, tmp_path):
    places = {"output_dir": str(tmp_path), "model_file": str(learned[0] / "model.pt")}
    run = workflow("train.yaml", "evaluate.yaml", DATASET, run_id="evaluating", **hearts, **places)
    run.run()
    run.finalize()
    rows = read_scores(tmp_path / "per_case.csv")
    assert set(rows["region"]) == set(REGION_VALUES)
    pairs = {"bssfp+lge", "bssfp+t2", "lge+t2"}
    assert set(rows["subset"]) == {*ORDER, *pairs, "bssfp+lge+t2"}
    assert rows[rows["metric"] == "dice"]["value"].between(0, 1).all()
    assert rows[(rows["metric"] == "dice") & (rows["region"] == "rvb")]["value"].max() > 0.3


@pytest.fixture(scope="module")
def patients(write_hearts, tmp_path_factory):
    """Three patients: two of the modalities; a single slice; slices along the first axis of the files."""
    folder = write_hearts(tmp_path_factory.mktemp("patients"), 3, missing={0: ["DE"]}, seed=7)
    for file in folder.glob("train25/*"):
        image = nib.load(file)
        if "102" in file.name:
            image = image.slicer[..., 1:2]
        if "103" in file.name:
            order = nib.orientations.axcodes2ornt("SRA")
            image = image.as_reoriented(nib.orientations.ornt_transform(order, nib.orientations.axcodes2ornt("RAS")))
            assert np.argmin(image.shape) != 2
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine), file)
    return folder / "train25"


def test_patients_are_segmented_from_what_they_have_on_their_own_grid(workflow, learned, hearts, patients, tmp_path):
    places = {"dataset_dir": str(patients), "output_dir": str(tmp_path), "model_file": str(learned[0] / "model.pt")}
    run = workflow("inference.yaml", DATASET, run_id="evaluating", workflow_type="infer", **{**hearts, **places})
    run.run()
    with pytest.raises(SystemExit, match="1 of 3 cases failed:\n.*`myops_training_103`.*expected them along that axis"):
        run.finalize()
    for name, absent in (("myops_training_101", ["lge"]), ("myops_training_102", [])):
        source, result = nib.load(patients / f"{name}_C0.nii.gz"), nib.load(tmp_path / f"{name}.nii.gz")
        assert result.shape == source.shape
        np.testing.assert_allclose(result.affine, source.affine, atol=1e-4)
        assert result.get_data_dtype() == np.uint16
        labels = np.asarray(result.dataobj)
        assert set(np.unique(labels)) <= VALUES and len(np.unique(labels)) > 1
        report = json.loads((tmp_path / f"{name}.json").read_text())
        assert report["modalities_absent"] == absent
        counts = {region: int(np.isin(labels, values).sum()) for region, values in REGION_VALUES.items()}
        assert {region: volume["voxels"] for region, volume in report["volumes"].items()} == counts
