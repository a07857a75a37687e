# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Each check of the model zoo finds what it is there for; test_verify_bundle.py has a bundle that passes them all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from scripts.bundle.verification import inference_config, verify_bundle
from scripts.records.side_files import write_side_file

ROOT = Path(__file__).parents[2]
QUICK = ["large files", "files", "version", "metadata", "training record"]
CHECKS = [*QUICK, "network input and output", "TorchScript"]


@pytest.fixture
def bundle(tmp_path):
    """A bundle with what is looked at, and with a network that was not trained."""
    root = tmp_path / "bundle"
    shutil.copytree(ROOT / "configs", root / "configs")
    for name in ("LICENSE", "tests/meta_schema_20240725.json"):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    (root / "models").mkdir()
    torch.save({}, root / "models" / "model.pt")
    return root


def failures(root, **options):
    results = dict(verify_bundle(root, **{"full": False, **options}))
    assert list(results) == (CHECKS if options.get("full") else QUICK)
    return {check: reason for check, reason in results.items() if reason is not None}


def change_metadata(root, **entries):
    file = root / "configs" / "metadata.json"
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), **entries}), encoding="utf-8")


def test_files_and_metadata_pass(bundle):
    assert failures(bundle) == {}


@pytest.mark.parametrize("name", ["LICENSE", "models/model.pt", "configs/inference.yaml"])
def test_a_missing_file_is_named(bundle, name):
    (bundle / name).unlink()
    found = failures(bundle)
    assert list(found) == ["files"] and name.removesuffix("yaml") in found["files"]


def test_json_goes_before_yaml_as_in_the_zoo(bundle):
    assert inference_config(bundle).name == "inference.yaml"
    (bundle / "configs" / "inference.json").write_text("{}")
    assert inference_config(bundle).name == "inference.json"


def test_a_version_without_its_line_in_the_changelog_is_found(bundle):
    change_metadata(bundle, version="9.9.9")
    assert "version 9.9.9 is not in the changelog" in failures(bundle)["version"]


def test_a_version_that_was_published_is_found(bundle, tmp_path):
    version = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))["version"]
    info = tmp_path / "model_info.json"
    info.write_text(json.dumps({f"bundle_v{version}": {}}))
    assert f"bundle_v{version} is already used" in failures(bundle, model_info=info)["version"]


def test_metadata_that_break_the_schema_are_found(bundle):
    change_metadata(bundle, authors=["one", "two"])
    assert "is not of type 'string'" in failures(bundle)["metadata"]


def test_a_training_record_that_does_not_fit_the_weights_is_found(bundle):
    weights = bundle / "models" / "model.pt"
    data = {"name": "made up", "synthetic": True, "section": "training", "num_cases": 1, "num_synthetic": 1}
    write_side_file(weights, "training.json", {"trained_on": data})
    assert failures(bundle) == {}
    torch.save({"more": 1}, weights)
    assert "training.json was made with other weights" in failures(bundle)["training record"]


def test_weights_that_cannot_be_fetched_are_found(bundle):
    entry = {"path": "models/large.pt", "url": (bundle / "nowhere.pt").as_uri()}
    (bundle / "large_files.yml").write_text(yaml.safe_dump({"large_files": [entry]}))
    assert list(failures(bundle)) == ["large files"]


def test_a_network_that_takes_other_images_and_weights_of_another_one_are_found(bundle):
    config = yaml.safe_load((bundle / "configs" / "inference.yaml").read_text(encoding="utf-8"))
    config["modalities"].append("another")
    (bundle / "configs" / "inference.json").write_text(json.dumps(config))
    found = failures(bundle, full=True)
    assert list(found) == CHECKS[len(QUICK) :]
    assert "the input has 4 channels; expected 5" in found["network input and output"]
    assert "Missing key(s) in state_dict" in found["TorchScript"]
