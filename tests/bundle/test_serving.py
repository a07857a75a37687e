# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The copy that MONAI Label serves: it trains where it serves, and the bundle itself stays as it is."""

from __future__ import annotations

import re
import shutil

import pytest
from monai.bundle import ConfigParser

from scripts.bundle.place import ROOT
from scripts.bundle.serving import copy_bundle
from scripts.records.side_files import sha256, write_side_file
from scripts.tools.copy_bundle import main


def test_a_copy_trains_what_it_serves_and_is_the_same_otherwise(tmp_path):
    copy = copy_bundle(tmp_path / "apps" / "x_segmentation")
    trained, served = (str(copy / "configs" / f"{name}.yaml") for name in ("train", "inference"))
    places = [ConfigParser(ConfigParser.load_config_files([file])) for file in (trained, served)]
    for parser in places:
        parser["bundle_root"] = str(copy)  # as MONAI Label does
    assert {parser.get_parsed_content("model_file") for parser in places} == {str(copy / "models" / "model.pt")}
    files = {path.relative_to(copy) for path in copy.rglob("*") if path.is_file()}
    for name in ("metadata.json", "logging.conf"):
        assert any(path.name == name and path.parent.name == "configs" for path in files)
    differing = [str(path) for path in files if sha256(copy / path) != sha256(ROOT / path)]
    assert differing == ["configs/train.yaml"]
    lines = [(path / "configs" / "train.yaml").read_text().splitlines() for path in (copy, ROOT)]
    assert [new.split(":")[0] for new, old in zip(*lines, strict=True) if new != old] == [
        "model_file",
        "label_convention",
    ]
    assert {path.name for path in files if path.parent.name == "models"} == {
        "README.md",
        "model.pt",
        "performance.json",
        "training.json",
    }


def test_other_weights_may_be_served_with_what_is_true_of_them(tmp_path):
    (tmp_path / "mine.pt").write_bytes(b"weights")
    write_side_file(tmp_path / "mine.pt", "temperatures.json", {"temperatures": {}})
    copy = copy_bundle(tmp_path / "copy", tmp_path / "mine.pt")
    assert (copy / "models" / "model.pt").read_bytes() == b"weights"
    assert (copy / "models" / "temperatures.json").is_file() and not (copy / "models" / "performance.json").exists()


def test_an_earlier_copy_is_never_touched(tmp_path):
    (tmp_path / "copy").mkdir()
    with pytest.raises(SystemExit, match=f"Nothing copied: {tmp_path}/copy is there already, perhaps with weights"):
        main(str(tmp_path / "copy"))
    assert list((tmp_path / "copy").iterdir()) == []
    with pytest.raises(SystemExit, match="Nothing copied: no weights at /nowhere.pt"):
        main(str(tmp_path / "new"), "/nowhere.pt")


def test_a_configuration_that_does_not_say_what_training_writes_is_refused(tmp_path):
    for name in ("configs", "models"):
        shutil.copytree(ROOT / name, tmp_path / "root" / name)
    file = tmp_path / "root" / "configs" / "train.yaml"
    file.write_text(re.sub("^model_file", "weights_file", file.read_text(), flags=re.MULTILINE))
    with pytest.raises(ValueError, match="`model_file` stands 0 times at the root of"):
        copy_bundle(tmp_path / "copy", root=tmp_path / "root")
    assert not (tmp_path / "copy").exists()
