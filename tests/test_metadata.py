# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The metadata of the bundle: valid, true, and enough for MONAI's own checks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
import yaml
from monai.bundle import ckpt_export, verify_metadata, verify_net_in_out

from scripts.data.label_conventions import get_convention
from scripts.evaluation.origin import SYNTHETIC_ONLY
from scripts.evaluation.performance import eval_metrics, read_performance

ROOT = Path(__file__).parents[1]
META = ROOT / "configs" / "metadata.json"
INFERENCE = ROOT / "configs" / "inference.yaml"
SCHEMA = ROOT / "tests" / "meta_schema_20240725.json"
SCHEMA_MD5 = "06954cad2cc5d3784e72077ac76f0fc8"  # as MONAI's own tests have it


@pytest.fixture(scope="module")
def metadata():
    return json.loads(META.read_text(encoding="utf-8"))


def test_the_metadata_keeps_the_schema_it_names(metadata):
    assert metadata["schema"].endswith(f"/{SCHEMA.name}")
    # the schema is here already, so that nothing is downloaded
    verify_metadata(meta_file=str(META), filepath=str(SCHEMA), hash_val=SCHEMA_MD5, hash_type="md5")


def test_metadata_that_breaks_the_schema_would_be_found(metadata, tmp_path):
    broken = {**metadata, "authors": ["one", "two"]}
    (tmp_path / "metadata.json").write_text(json.dumps(broken))
    with pytest.raises(ValueError, match="is not of type 'string'"):
        verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=str(SCHEMA), hash_val=SCHEMA_MD5)


def test_the_file_at_the_top_is_a_link_to_the_one_monai_reads():
    assert (ROOT / "metadata.json").is_symlink()
    assert (ROOT / "metadata.json").resolve() == META.resolve()


@pytest.mark.parametrize("place", ["description", "intended_use"])  # MONAI Label shows the first
def test_whoever_meets_the_weights_is_told_what_they_are_for(metadata, place):
    assert f"The weights that ship with it were {SYNTHETIC_ONLY}." in metadata[place]


def test_the_figures_are_those_of_the_weights_that_ship(metadata):
    assert metadata["eval_metrics"] == eval_metrics(read_performance(ROOT / "models" / "model.pt")) != {}
    assert "phantoms" in metadata["eval_metrics"]["measured_on"]


def test_the_changelog_has_the_version_first(metadata):
    assert re.fullmatch(r"\d+\.\d+\.\d+", metadata["version"])
    assert next(iter(metadata["changelog"])) == metadata["version"]


def test_versions_are_those_that_are_installed_for_the_tests(metadata):
    pins = {}
    for file in ROOT.glob("requirements*.txt"):
        for name, pin in re.findall(r"^([\w.-]+)==([^\s;]+)", file.read_text(encoding="utf-8"), flags=re.MULTILINE):
            pins.setdefault(name.lower(), set()).add(pin)
    named = {"monai": "monai_version", "torch": "pytorch_version", "numpy": "numpy_version"}
    stated = {**{name: metadata[key] for name, key in named.items()}, **metadata["required_packages_version"]}
    assert {name: pins.get(name.lower()) for name in stated} == {name: {value} for name, value in stated.items()}


def test_channels_and_labels_are_those_of_the_configuration(metadata):
    config = yaml.safe_load(INFERENCE.read_text(encoding="utf-8"))
    image, pred = metadata["network_data_format"]["inputs"]["image"], metadata["network_data_format"]["outputs"]["pred"]
    assert [name.lower() for name in image["channel_def"].values()] == config["modalities"]
    assert list(image["channel_def"]) == [str(channel) for channel in range(image["num_channels"])]
    assert pred["num_channels"] == config["num_classes"]
    # MONAI Label reads the values of the written label map from here
    written = set(get_convention(config["label_convention"]).write.values())
    assert {int(value) for value in pred["channel_def"]} == written


def test_the_network_takes_and_gives_what_the_metadata_says():
    verify_net_in_out(net_id="network_def", meta_file=str(META), config_file=str(INFERENCE), device="cpu", n=1)


def test_a_trained_network_can_be_exported_with_its_weights(workflow, trained, tmp_path):
    folder, _ = trained
    ckpt_export(
        net_id="network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(folder / "model.pt"),
        meta_file=str(META),
        config_file=str(INFERENCE),
        **{"network_def#width": 4},
    )
    exported = torch.jit.load(tmp_path / "model.ts").eval()
    network = workflow("inference.yaml", workflow_type="infer").parser.get_parsed_content("network_def").eval()
    image = torch.randn(1, 4, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    image[:, 2] = torch.nan
    with torch.no_grad():
        untrained = network(image).softmax(dim=1)
        network.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
        # probabilities: rounding in logits is magnified by normalising the few voxels of the deepest level
        expected, found = network(image).softmax(dim=1), exported(image).softmax(dim=1)
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert (expected - untrained).abs().max() > 0.01
