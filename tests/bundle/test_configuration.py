# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Configurations are found from any folder, and what nobody knows is refused; test_show_config.py has the merge."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from incomplete_segmentation.bundle.scripts.bundle import configuration as inside
from monai.bundle import ConfigParser

from scripts.bundle import configuration
from scripts.bundle.configuration import ROOT, UnknownId, find_files, leaves, merge, origin_of, read

TRAIN = str(ROOT / "configs" / "train.yaml")
UNET = str(ROOT / "configs" / "network_unet.yaml")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "files",
    [
        "configs/train.yaml,configs/network_unet.yaml",
        "['configs/train.yaml', 'configs/network_unet.yaml']",
        ["configs/train.yaml", "configs/network_unet.yaml"],
        (["configs/train.yaml"], "configs/network_unet.yaml"),
        ("['configs/train.yaml','configs/network_unet.yaml']",),
        [TRAIN, Path(UNET)],
    ],
)
def test_files_are_found_in_every_form_from_another_folder(files, elsewhere):
    assert find_files(files) == [TRAIN, UNET]


def test_the_current_folder_goes_before_the_bundles(elsewhere):
    (elsewhere / "configs").mkdir()
    (elsewhere / "configs" / "train.yaml").write_text("seed: 1")
    assert find_files("configs/train.yaml,configs/network_unet.yaml") == ["configs/train.yaml", UNET]
    assert read("configs/train.yaml").config == {"seed": 1}, "and no `bundle_root` where there was none"


@pytest.mark.parametrize(
    ("files", "error"), [("configs/none.yaml", FileNotFoundError), ([], ValueError), ("", ValueError)]
)
def test_a_file_that_is_nowhere_and_no_file_are_named(files, error):
    with pytest.raises(error, match="no configuration `configs/none.yaml`, neither here nor in|no file was given"):
        find_files(files)


@pytest.mark.parametrize(
    "names", [["train.yaml"], ["train.yaml", "network_unet.yaml", "evaluate.yaml"], ["inference.yaml"]]
)
def test_what_is_read_is_what_monai_reads(names):
    files = [str(ROOT / "configs" / name) for name in names]
    assert read(files).config == ConfigParser.load_config_files(files)


def test_values_are_set_none_among_them_and_parts_of_what_there_is():
    parser = read(TRAIN, {"seed": None, "network_def#width": 4, "network_def::new_argument": 1})
    assert parser["seed"] is None
    assert (parser["network_def::width"], parser["network_def::new_argument"]) == (4, 1)


@pytest.mark.parametrize("name", ["sed", "trian::trainer", "network_deff#width"])
def test_an_unknown_id_is_refused_with_the_files(name):
    with pytest.raises(
        UnknownId, match=rf"unknown option {name}; expected ids of the configuration \(.*train.yaml"
    ) as found:
        read(TRAIN, {"seed": 1, name: 4})
    assert found.value.names == [name] and "seed" in found.value.parser


def test_a_configuration_without_what_is_needed_is_refused_with_one_that_has_it():
    with pytest.raises(ValueError, match=r"have no \['evaluator'\]; expected configs/inference.yaml, then overlays"):
        read(TRAIN, needs=["network", "evaluator"], example="configs/inference.yaml")


def test_the_folder_of_the_bundle_is_known_from_elsewhere_and_may_be_set(elsewhere):
    parser, setters = merge("configs/train.yaml", {})
    assert (parser["bundle_root"], origin_of("bundle_root", setters)) == (str(ROOT), "the bundle's folder")
    assert read("configs/train.yaml", {"bundle_root": "mine"})["bundle_root"] == "mine"
    os.chdir(ROOT)
    assert read("configs/train.yaml")["bundle_root"] == ConfigParser.load_config_file(TRAIN)["bundle_root"]


def test_classes_are_called_as_the_package_was_imported():
    assert (configuration.PACKAGE, inside.PACKAGE) == ("scripts", "incomplete_segmentation.bundle.scripts")
    here, there = (dict(leaves(reader(TRAIN).config)) for reader in (read, inside.read))
    changed = {id for id in here if here[id] != there[id]}
    assert changed == {id for id, value in here.items() if str(value).startswith("scripts.")}
    assert {there[id].replace(inside.PACKAGE, "scripts", 1) for id in changed} == {here[id] for id in changed}
    assert all(id.endswith("_target_") for id in changed) and len(changed) > 10


@pytest.mark.parametrize("text", ["a: !!python/object/apply:os.system ['touch ran']", "a: [1, 2", "a: b: c"])
def test_a_file_with_tags_or_that_is_no_yaml_is_refused_in_one_line_unrun(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(ValueError, match="own.yaml cannot be read as a configuration: .*Expected plain YAML") as error:
        read("configs/train.yaml,own.yaml")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()
