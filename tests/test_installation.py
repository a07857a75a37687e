# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What ``pip install .`` brings, as far as it shows without installing; ``make install-test`` does the rest."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml

from incomplete_segmentation.command import COMMANDS, PROGRAM, main

ROOT = Path(__file__).parents[1]
METADATA = json.loads((ROOT / "configs" / "metadata.json").read_text(encoding="utf-8"))
NAMES = {name: command for group in COMMANDS.values() for name, command in group.items()}
PLACE = "incomplete_segmentation/bundle"


@pytest.fixture(autouse=True)
def own_process(monkeypatch):
    """The command expects a process of its own: what it changes there is undone."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    with patch.dict(os.environ):
        yield


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Names and contents of what lies in the wheel; nothing is downloaded for it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (file,) = folder.iterdir()
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_has_one_package_and_its_version_is_that_of_the_metadata(wheel):
    info = f"incomplete_segmentation-{METADATA['version']}.dist-info"
    assert {name.split("/")[0] for name in wheel} == {"incomplete_segmentation", info}, "no `scripts` on top"
    assert f"\nVersion: {METADATA['version']}\n" in wheel[f"{info}/METADATA"].decode()
    assert "incomplete_segmentation/py.typed" in wheel


def test_the_bundle_is_inside_of_the_wheel_as_it_is(wheel):
    packed = {name.removeprefix(f"{PLACE}/"): content for name, content in wheel.items() if name.startswith(PLACE)}
    folders = ("configs", "docs", "scripts")
    command = ["git", "ls-files", *folders, "models"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    kept = {*listed.stdout.split(), "LICENSE", "README.md", "metadata.json", "tests/meta_schema_20240725.json"}
    assert {name for name in kept if packed.get(name) != (ROOT / name).read_bytes()} == set()
    untracked = set(packed) - kept - {"__init__.py"}
    assert not [name for name in untracked if not (ROOT / name).is_file() or name.startswith("models/")]
    assert not [name for name in packed if "__pycache__" in name]


def test_the_entry_point_is_the_command(wheel):
    points = ConfigParser()
    points.read_string(next(text for name, text in wheel.items() if name.endswith("entry_points.txt")).decode())
    module, _, name = points["console_scripts"][PROGRAM].partition(":")
    assert getattr(import_module(module), name) is main


def test_what_is_asked_for_contains_what_is_tested_against(wheel):
    """Each requirement of the package is pinned, and the pin is no older than the bound."""
    text = next(content for name, content in wheel.items() if name.endswith("METADATA")).decode()
    bounds = dict(re.findall(r"^Requires-Dist: ([\w-]+)(?:<\d+,)?>=([\d.]+)$", text, re.MULTILINE))
    pinned = {}
    for name in ("requirements-torch.txt", "requirements.txt"):
        pins = re.findall(r"^([\w-]+)==([\d.]+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
        pinned |= {name.lower(): version for name, version in pins}
    assert set(bounds) == set(pinned)
    older = [name for name in bounds if _numbers(pinned[name]) < _numbers(bounds[name])]
    assert older == []


def _numbers(version):
    return tuple(map(int, version.split(".")))


def test_the_overview_names_every_command_in_a_line_that_a_terminal_shows(capsys):
    main([])
    shown = capsys.readouterr().out
    for name, command in NAMES.items():
        assert re.search(rf"^  {name} +{re.escape(command.line)}$", shown, re.MULTILINE)
    lines = shown.split("\nThe bundle lies in")[0].splitlines()
    assert max(map(len, lines)) <= 80


def test_every_tool_has_a_command():
    tools = {file.stem for file in (ROOT / "scripts" / "tools").glob("*.py")} - {"__init__", "command_line"}
    assert {command.tool for command in NAMES.values()} == tools


@pytest.mark.parametrize("name", NAMES)
def test_the_help_of_every_command_says_what_each_option_means(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    main([name, "--help"])
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: {PROGRAM} {name}") and f"\n  {PROGRAM} {name}" in shown, "usage, example"
    assert "python -m" not in shown.partition("Example:")[2].partition("\n\n")[0]
    options = shown.partition("Example:")[2].partition("\n\n")[2]
    rows = re.findall(r"^  (?:--)?[\w]+.*(?:\n {26}.*)*", options, re.MULTILINE)
    assert rows
    for row in rows:
        assert re.search(r"( {2,}|\n {26})\S.*", row), f"no meaning: {row}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sgment"], f"{PROGRAM}: no command `sgment`; did you mean `segment`? See {PROGRAM} --help."),
        (["datalist", "--foldr", "x"], f"{PROGRAM} datalist: unknown option --foldr; expected --folder? Try --help."),
        (["datalist", "--folder", "x"], f"{PROGRAM} datalist: --output OUTPUT is not given. Try --help."),
        (["run", "training", "--config_file", "configs/none.yaml"], "no configuration `configs/none.yaml`, neither"),
        (["show-config", "configs/train.yaml", "configs/none.yaml"], "no configuration `configs/none.yaml`, neither"),
        (["segment", "--output", "x.nii.gz"], "Cannot segment: no modality given; expected one of"),
    ],
)
def test_what_is_mistyped_is_one_line(arguments, message):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert message in str(ended.value) and "\n" not in str(ended.value)


@pytest.fixture
def elsewhere(tmp_path):
    """Run Python in a folder with a package `scripts` of its own; the package is on the path, this checkout is not."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "incomplete_segmentation").symlink_to(ROOT / "incomplete_segmentation")
    here = tmp_path / "here"
    (here / "scripts").mkdir(parents=True)
    (here / "scripts" / "__init__.py").write_text("MINE = True\n")

    def _elsewhere(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
        return subprocess.run([sys.executable, *arguments], cwd=here, env=environment, capture_output=True, text=True)

    return _elsewhere


def test_a_package_scripts_of_the_user_stays_theirs(elsewhere):
    code = """
import incomplete_segmentation, sys
assert not [name for name in sys.modules if name.split(".")[0] in ("scripts", "torch")], "nothing loaded yet"
from incomplete_segmentation import Segmenter, segment
assert not [name for name in sys.modules if name.split(".")[0] == "scripts"]
import scripts
assert scripts.MINE
network = Segmenter(device="cpu")._evaluator.network
print(type(network).__module__, incomplete_segmentation.__version__, segment.__module__)
"""
    done = elsewhere("-c", code)
    assert done.returncode == 0, done.stderr
    inside = "incomplete_segmentation.bundle.scripts"
    assert done.stdout.split() == [f"{inside}.networks.rfnet", METADATA["version"], f"{inside}.segment"]


def test_the_command_takes_the_bundles_scripts_and_says_where_another_is_in_the_way(elsewhere):
    done = elsewhere("-m", "incomplete_segmentation", "show-config", "configs/train.yaml", "--grep", "bundle_root ")
    assert done.returncode == 0, done.stderr
    assert str(ROOT) in done.stdout and "the bundle's folder" in done.stdout
    done = elsewhere("-c", "import scripts; from incomplete_segmentation.command import main; main(['datalist'])")
    assert done.returncode == 1 and "expected a process of its own" in done.stderr.splitlines()[-1]


def test_an_unknown_name_of_the_package_is_refused():
    package = import_module("incomplete_segmentation")
    with pytest.raises(AttributeError, match="has no attribute `segmnt`; it has PatientSegmentation"):
        _ = package.segmnt


def test_changelog_and_citation_go_with_the_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[([\d.]+)\]", text, re.MULTILINE)
    assert versions == list(METADATA["changelog"])
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == METADATA["version"]
    assert [author["name"] for author in citation["authors"]] == [METADATA["authors"]]
    quoted = " ".join(METADATA["references"])
    assert all(each["title"] in quoted for each in citation["references"])
