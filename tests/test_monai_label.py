# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What MONAI Label relies on in the configurations; `tests_label` asks a real server."""

from __future__ import annotations

import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.data import MetaTensor

from scripts.bundle.serving import copy_bundle
from scripts.evaluation.origin import origin_of, synthetic_only
from scripts.records.side_files import sha256

CONFIGS = Path(__file__).parents[1] / "configs"
SHIPPED = sha256(CONFIGS.parent / "models" / "model.pt")


def read(name):
    return yaml.safe_load((CONFIGS / name).read_text(encoding="utf-8"))


def test_what_a_request_may_change_is_text_that_a_viewer_can_show(workflow, modalities):
    shown = workflow("inference.yaml", workflow_type="infer").parser.get_parsed_content("displayable_configs")
    assert shown["channels"].split(",") == modalities
    assert all(isinstance(value, str) and value for value in shown.values())
    assert "displayable_configs" not in read("train.yaml"), "there it would be demanded of every request"


def test_nothing_refers_to_what_a_request_may_change():
    # MONAI Label writes the request's text into the configuration: a reference to it would run what begins with `$`
    assert "displayable_configs" not in str(list(read("inference.yaml").values()))


def test_monai_label_gets_label_values_where_the_bundle_itself_gets_classes(workflow, phantoms):
    # MONAI Label 0.8.5 takes the last of the two that is there, and writes `pred` as it comes out
    parser = workflow("inference.yaml", workflow_type="infer", label_convention="brats2021").parser
    served, own = (parser.get_parsed_content(id) for id in ("post_transforms", "postprocessing"))
    assert parser["evaluator"]["postprocessing"] == "@postprocessing"
    case = parser.get_parsed_content("preprocessing")({"image": str(phantoms / "phantom_0004")})
    shape = case["image"].shape[1:]
    classes = torch.arange(math.prod(shape)).reshape(shape) % 4
    probabilities = torch.nn.functional.one_hot(classes, 4).movedim(-1, 0).float()
    case["pred"] = MetaTensor(probabilities, affine=case["image"].affine)
    values = {name: transform(dict(case))["pred"].unique().tolist() for name, transform in (("s", served), ("o", own))}
    assert values == {"s": [0, 1, 2, 4], "o": [0, 1, 2, 3]}
    asked = served({**case, "result_label_convention": "brats2023"})["pred"]
    assert asked.unique().tolist() == [0, 1, 2, 3] and asked.dtype == torch.uint8


@pytest.fixture
def corrected(phantoms, tmp_path):
    """Make two entries as MONAI Label hands them over: a stacked file with a label of 3D Slicer, and a folder."""
    folder = phantoms / "phantom_0004"
    files = [folder / f"phantom_0004_{name}.nii.gz" for name in ("flair", "t1ce", "t1", "t2")]
    label = nib.load(folder / "phantom_0004_seg.nii.gz")
    values = np.asarray(label.dataobj)
    assert set(np.unique(values)) == {0, 1, 2, 4}
    nib.save(nib.Nifti1Image(np.where(values == 4, 3, values), label.affine), tmp_path / "label.nii.gz")
    volume = np.stack([np.asarray(nib.load(file).dataobj) for file in files], axis=-1)
    nib.save(nib.Nifti1Image(volume, label.affine), tmp_path / "stacked.nii.gz")
    stacked = {"image": str(tmp_path / "stacked.nii.gz"), "label": str(tmp_path / "label.nii.gz")}
    return [stacked, {"image": str(folder), "label": str(folder / "phantom_0004_seg.nii.gz")}]


def test_corrected_labels_are_learnt_from_without_a_datalist(workflow, corrected, tmp_path):
    places = {"dataset_dir": "", "bundle_root": str(tmp_path), "model_file": str(tmp_path / "model.pt")}
    data = {"train::dataset::data": corrected, "validate::dataset::data": []}  # so few that none is kept
    run = workflow("train.yaml", **places, **data, max_epochs=3, val_interval=2, label_convention="monai_label")
    one, other = run.parser.get_parsed_content("validate::preprocessing")(corrected)
    assert torch.equal(one["label"], other["label"]), "3 and 4 are both the enhancing tumour"
    run.run()
    trainer, evaluator = map(run.parser.get_parsed_content, ("train::trainer", "validate::evaluator"))
    assert math.isnan(evaluator.state.metrics["mean_dice"])
    last = torch.load(tmp_path / "model.pt", weights_only=True)
    assert all(torch.equal(value, trainer.network.state_dict()[name]) for name, value in last.items())
    assert all(torch.isfinite(value).all() for value in last.values())
    assert not (tmp_path / "data").exists(), "no phantoms stand in for a data set"
    origin = origin_of(tmp_path / "model.pt")
    assert (origin["trained_on"]["num_cases"], origin["initial_file"]) == (2, None)
    assert not synthetic_only(origin), "nor in the record of the weights"


def test_its_training_begins_with_what_the_copy_serves_and_writes_it_there(tiny, corrected, phantoms, tmp_path):
    settings = {name: value for name, value in tiny.items() if name != "dataset_dir"}
    network = merged(CONFIGS / "train.yaml", settings).get_parsed_content("network_def")
    torch.save(network.state_dict(), tmp_path / "mine.pt")
    copy = copy_bundle(tmp_path / "copy", tmp_path / "mine.pt")
    # what its trainer puts in place of the configuration's own, see docs/how_to/monai_label.md
    file, weights = str(copy / "configs" / "train.yaml"), copy / "models" / "model.pt"
    load = {"load_path": str(weights), "load_dict": {"model": "$@network"}, "strict": False}
    handlers = [{"_target_": "CheckpointLoader", **load}, *ConfigParser.load_config_file(file)["train"]["handlers"]]
    data = {"train#dataset#data": corrected, "validate#dataset#data": [], "train#trainer#max_epochs": 1}
    places = {"bundle_root": str(copy), "dataset_dir": str(phantoms), "train#handlers": handlers}
    before = torch.load(weights, weights_only=True)
    run = ConfigWorkflow(file, logging_file=False, **settings, **places, **data)
    run.initialize()
    run.run()
    after = torch.load(weights, weights_only=True)
    assert before.keys() == after.keys()
    distance = max(float((after[name] - before[name]).abs().max()) for name in before)
    assert 0 < distance < 0.01, "it went on from the weights that were there, by steps of 2e-4"
    initial = origin_of(weights)["initial_file"]
    assert initial["sha256"] == sha256(tmp_path / "mine.pt")
    assert sha256(CONFIGS.parent / "models" / "model.pt") == SHIPPED


def merged(file, settings):
    parser = ConfigParser(ConfigParser.load_config_file(str(file)))
    parser.update(settings)
    return parser
