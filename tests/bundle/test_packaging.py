# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What is in a package, that its bytes depend on nothing else, and what is not packed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from monai.bundle import ConfigParser

from scripts.bundle.packaging import BUNDLE_NAME, FILES, FOLDERS, build_package
from scripts.networks.rfnet import RFNet
from scripts.records.side_files import sha256, write_side_file

ROOT = Path(__file__).parents[2]
NOT_PACKED = {".gitignore", ".ci/run", ".pre-commit-config.yaml"}


def performance(spacing):
    """What an evaluation with these voxels writes beside the weights, without a single figure."""
    of_whom = {"data_set": {"name": "phantoms", "synthetic": True, "section": "testing"}, "num_cases": 1}
    return {**of_whom, "num_failed": 0, "settings": {"spacing": spacing}, "per_subset": {}, "gains": {}}


@pytest.fixture(scope="module")
def weights(trained, tmp_path_factory):
    """Weights with what training, evaluation and calibration wrote beside them."""
    folder = tmp_path_factory.mktemp("weights")
    shutil.copy(trained[0] / "model.pt", folder / "model.pt")
    write_side_file(folder / "model.pt", "performance.json", performance([8.0, 8.0, 8.0]))
    write_side_file(folder / "model.pt", "temperatures.json", {"temperatures": {"1": 1.5}})
    shutil.copy(trained[0] / "training.json", folder)
    return folder / "model.pt"


@pytest.fixture(scope="module")
def package(weights, trained, tmp_path_factory):
    return build_package(tmp_path_factory.mktemp("package"), weights, training=trained[0])


@pytest.fixture(scope="module")
def content(package):
    """What is in the package, by its place in the bundle."""
    with zipfile.ZipFile(package.path) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert {name.split("/")[0] for name in names} == {BUNDLE_NAME}, "one folder, called like the bundle"
        return {name.removeprefix(f"{BUNDLE_NAME}/"): archive.read(name) for name in names}


def test_the_package_is_named_by_its_version_and_states_its_hashes(package, content):
    version = json.loads(content["configs/metadata.json"])["version"]
    assert package.path.name == f"{BUNDLE_NAME}_v{version}.zip"
    data = package.path.read_bytes()
    assert (package.sha1, package.sha256) == (hashlib.sha1(data).hexdigest(), hashlib.sha256(data).hexdigest())
    assert package.num_files == len(content)


def test_links_are_resolved_and_weights_and_what_is_true_of_them_inside(content, weights):
    assert (ROOT / "metadata.json").is_symlink()
    assert content["metadata.json"] == content["configs/metadata.json"]
    assert content["models/model.pt"] == weights.read_bytes()
    for name in ("training.json", "performance.json", "temperatures.json"):
        assert content[f"models/{name}"] == (weights.parent / name).read_bytes()
    assert "large_files.yml" not in content


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no checkout")
def test_everything_that_is_kept_in_git_is_packed_as_it_is(content):
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    made = {"configs/train.yaml", "configs/inference.yaml"}  # the trained network is another one
    made |= {"configs/metadata.json", "metadata.json"}  # with other figures, see below
    made |= {f"models/{name}" for name in ("model.pt", "training.json", "performance.json")}
    kept = set(listed) - NOT_PACKED - made
    assert [name for name in kept if content.get(name) != (ROOT / name).read_bytes()] == []


def test_the_metadata_has_the_figures_of_these_weights_and_is_otherwise_that_of_the_bundle(content, weights, trained):
    here = json.loads((ROOT / "metadata.json").read_text(encoding="utf-8"))
    assert json.loads(content["metadata.json"]) == {**here, "eval_metrics": {}} != here  # not a figure was measured
    record = performance([8.0, 8.0, 8.0]) | {"date": "2026-01-01", "modalities": ["flair", "t1"]}
    record["per_subset"] = {"flair+t1": {"wt": {"dice": {"mean": 0.51239, "low": 0.4, "high": 0.6, "n": 1}}}}
    other = weights.parent / "measured" / "model.pt"
    shutil.copytree(weights.parent, other.parent)
    write_side_file(other, "performance.json", record)
    with zipfile.ZipFile(build_package(other.parent, other, training=trained[0]).path) as archive:
        found = json.loads(archive.read(f"{BUNDLE_NAME}/configs/metadata.json"))["eval_metrics"]
    assert found["dice_wt"] == 0.5124 and found["measured_on"].startswith("phantoms, not on patients; section testing")


def test_the_configurations_are_those_of_the_weights_in_yaml_and_in_json(content):
    for name in ("train", "inference"):
        config = yaml.safe_load(content[f"configs/{name}.yaml"])
        assert config == json.loads(content[f"configs/{name}.json"])
        assert (config["network_def"]["width"], config["spacing"]) == (4, [8.0, 8.0, 8.0])
        here = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text(encoding="utf-8"))
        assert {id_ for id_ in here if here[id_] != config[id_]} == {"network_def", "spacing", "patch_size"}


def test_without_the_run_voxels_and_patch_are_those_of_the_record_beside_the_weights(tmp_path):
    file = tmp_path / "model.pt"
    torch.save(RFNet(4, 4).state_dict(), file)
    settings = {"spacing": [2.0, 2.0, 2.0], "patch_size": [64, 64, 64]}
    data = {"name": "phantoms", "synthetic": True, "section": "training", "num_cases": 1, "num_synthetic": 1}
    write_side_file(file, "training.json", {"trained_on": data, "initial_file": None, "settings": settings})
    write_side_file(file, "performance.json", performance(settings["spacing"]))
    with zipfile.ZipFile(build_package(tmp_path, file).path) as archive:
        config = json.loads(archive.read(f"{BUNDLE_NAME}/configs/inference.json"))
    assert {name: config[name] for name in settings} == settings


def test_another_copy_with_other_times_and_modes_and_with_more_in_it_gives_the_same_bytes(
    package, weights, trained, tmp_path
):
    copy = tmp_path / "copy"
    for name in FOLDERS:
        shutil.copytree(ROOT / name, copy / name, copy_function=shutil.copyfile)
    (copy / "models").mkdir()
    for name in [*FILES, *(file.name for file in ROOT.glob("requirements*.txt"))]:
        shutil.copyfile(ROOT / name, copy / name)  # the link becomes a file
    os.utime(copy / "LICENSE", (0, 0))
    (copy / "LICENSE").chmod(0o700)
    more = ["runs/train/run.json", "data/patients/case/case_flair.nii.gz", ".venv/x.py", "docs/scan.nii.gz", "x.py"]
    more += ["scripts/__pycache__/x.json", "scripts/.cache/x.py", "configs/.hidden.yaml", "models/teacher.pt"]
    for name in more:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("not part of the bundle")
    again = build_package(tmp_path, weights, training=trained[0], root=copy)
    assert again.path.read_bytes() == package.path.read_bytes()


def test_weights_that_are_kept_elsewhere_are_named_with_their_hash(weights, trained, tmp_path):
    url = "https://example.org/model.pt"
    package = build_package(tmp_path, weights, training=trained[0], large_files_url=url)
    with zipfile.ZipFile(package.path) as archive:
        names = {name.removeprefix(f"{BUNDLE_NAME}/") for name in archive.namelist()}
        written = yaml.safe_load(archive.read(f"{BUNDLE_NAME}/large_files.yml"))
    assert "models/performance.json" in names and not [name for name in names if name.endswith(".pt")]
    entry = {"path": "models/model.pt", "url": url, "hash_val": sha256(weights), "hash_type": "sha256"}
    assert written == {"large_files": [entry]}


def test_nothing_is_packed_without_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weights at .*nowhere.pt; expected the file that training writes"):
        build_package(tmp_path, tmp_path / "nowhere.pt")
    assert list(tmp_path.iterdir()) == []


def test_weights_of_another_network_are_refused_and_the_way_out_is_named(weights, tmp_path):
    # train.yaml as it is has a wider network
    with pytest.raises(ValueError, match="of another network or alignment: .*--training <its output_dir>"):
        build_package(tmp_path, weights)
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_its_configuration_is_refused(weights, tmp_path):
    with pytest.raises(FileNotFoundError, match="no configuration at .*config.yaml; expected the one that"):
        build_package(tmp_path, weights, training=tmp_path)


@pytest.mark.parametrize(
    ("spacing", "changed", "message"),
    [
        (1.0, False, r"evaluated with spacing \[1.0, 1.0, 1.0\]; the package would have spacing \[8.0, "),
        (8.0, True, "performance.json was made with other weights"),
    ],
)
def test_figures_of_other_settings_or_of_other_weights_are_refused(
    weights, trained, tmp_path, spacing, changed, message
):
    model_file = tmp_path / "model.pt"
    shutil.copy(weights, model_file)
    write_side_file(model_file, "performance.json", performance([spacing] * 3))
    if changed:
        state = torch.load(model_file, weights_only=True)
        torch.save({name: value + 1 for name, value in state.items()}, model_file)
    with pytest.raises(ValueError, match=message):
        build_package(tmp_path / "output", model_file, training=trained[0])


def test_the_weights_that_ship_are_packed_with_their_voxels_and_inference_takes_their_flips(tmp_path):
    with zipfile.ZipFile(build_package(tmp_path).path) as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / BUNDLE_NAME
    config = ConfigParser.load_config_file(str(folder / "configs" / "inference.json"))
    parser = ConfigParser({**config, "bundle_root": str(folder)})
    measured = json.loads((folder / "models" / "performance.json").read_text(encoding="utf-8"))["settings"]
    assert {name: parser.get_parsed_content(name) for name in measured} == measured
    assert measured["flips"] == "opposite" and measured["spacing"] == [2.0, 2.0, 2.0]


def test_an_alignment_is_packed_with_what_the_weights_do_not_hold(trained, tmp_path):
    config = yaml.safe_load((trained[0] / "config.yaml").read_text(encoding="utf-8"))
    overlay = yaml.safe_load((ROOT / "configs" / "method_medmap.yaml").read_text(encoding="utf-8"))
    config["alignment"] = {**overlay["alignment"], "fill": False}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    network = ConfigParser(config).get_parsed_content("network_def")
    torch.save(network.state_dict(), tmp_path / "model.pt")
    package = build_package(tmp_path, tmp_path / "model.pt", training=tmp_path)
    with zipfile.ZipFile(package.path) as archive:
        assert not [name for name in archive.namelist() if name.endswith(("training.json", "temperatures.json"))]
        packed = json.loads(archive.read(f"{BUNDLE_NAME}/configs/inference.json"))
    alignment = ConfigParser(packed).get_parsed_content("network_def").alignment
    assert alignment.fill is False and torch.equal(alignment.theta, network.alignment.theta)


def test_a_training_record_of_other_weights_is_not_packed(weights, trained, tmp_path):
    for name in ("model.pt", "training.json"):
        shutil.copy(weights.parent / name, tmp_path / name)
    torch.save({name: value + 1 for name, value in torch.load(weights).items()}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"training.json was made with other weights: .* is not known"):
        build_package(tmp_path / "output", tmp_path / "model.pt", training=trained[0])
    assert not (tmp_path / "output").exists()
