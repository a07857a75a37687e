# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The code of docs/adding.md does what the page says."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest
import yaml
from monai.bundle import ConfigParser

from scripts.data import label_conventions
from scripts.data.label_conventions import get_convention

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^`([\w./]+)`[^\n]*\n\n```\w+\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL))
MODULES = [path for path in BLOCKS if path.startswith("scripts/") and path.endswith(".py")]
TESTS = [path for path in BLOCKS if path.startswith("tests/")]


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """Make the modules of the page importable, as if they lay in the package; give a folder for its tests."""
    folder = tmp_path_factory.mktemp("adding")
    with pytest.MonkeyPatch.context() as patch:
        for path in MODULES:
            module = load(path, folder)
            package, _, name = module.__name__.rpartition(".")
            patch.setitem(sys.modules, module.__name__, module)
            patch.setattr(importlib.import_module(package), name, module, raising=False)
        yield folder


def load(path, folder):
    name = path.removesuffix(".py").replace("/", ".")
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(BLOCKS[path], encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", TESTS)
def test_the_tests_on_the_page_pass(modules, path):
    module = load(path, modules)
    tests = [each for name, each in vars(module).items() if name.startswith("test_")]
    assert tests
    for test in tests:
        test()


@pytest.mark.parametrize("path", [path for path in BLOCKS if path.startswith("configs/")])
def test_the_overlays_on_the_page_change_what_exists(modules, path):
    overlay = yaml.safe_load(BLOCKS[path])
    base = ConfigParser(ConfigParser.load_config_files([str(ROOT / "configs" / "train.yaml")]))
    new = [] if "method_" not in path else ["loss::agreement"]  # which the page says to add to the base
    inference = ConfigParser.load_config_file(str(ROOT / "configs" / "inference.yaml"))
    assert [id for id in overlay if id not in base and id not in inference] == new
    base.update(overlay)
    for id in ("network_def", "train::missing"):
        assert base.get_parsed_content(id) is not None


def test_network_setting_and_data_set_of_the_page_go_together(modules, workflow, tmp_path, monkeypatch):
    written = yaml.safe_load(BLOCKS["scripts/data/label_conventions.yaml"])["prostate"]
    monkeypatch.setitem(label_conventions._table()["conventions"], "prostate", written)
    names = [name for name in BLOCKS if name.startswith("configs/") and "method_" not in name]
    for name in names:
        (tmp_path / Path(name).name).write_text(BLOCKS[name])
    run = workflow("train.yaml", *(str(tmp_path / Path(name).name) for name in names))
    network = run.parser.get_parsed_content("network")
    assert (type(network).__name__, network.num_modalities, network.num_classes) == ("MaxFusion", 3, 3)
    assert type(run.parser.get_parsed_content("train::preprocessing").transforms[-1]).__name__ == "RandHideOned"


def test_layout_and_label_convention_of_the_page_are_well_formed():
    layout = yaml.safe_load(BLOCKS["scripts/data/layouts.yaml"])["prostate"]
    convention = yaml.safe_load(BLOCKS["scripts/data/label_conventions.yaml"])["prostate"]
    overlay = yaml.safe_load(BLOCKS["configs/dataset_prostate.yaml"])
    assert list(layout["images"]) == overlay["modalities"]
    assert set(get_convention(convention).write) == set(range(overlay["num_classes"]))
    assert set().union(*overlay["regions"].values()) == set(range(1, overlay["num_classes"]))
