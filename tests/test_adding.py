# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""docs/how_to/adding.md, followed to the letter in a copy of the repository, leaves every test of it green."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "how_to" / "adding.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^`([\w./]+)`[^\n]*\n\n```\w+\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL))
COPIED = ("configs", "docs", "scripts", "tests", "pyproject.toml")
HEADER = "".join(Path(__file__).read_text(encoding="utf-8").splitlines(keepends=True)[:2])  # which the page leaves out
# Of what is not a file of its own: the line behind which the page says that its text goes
PLACES = {
    "scripts/data/layouts.yaml": "layouts:\n",
    "scripts/data/label_conventions.yaml": "conventions:\n",
    "docs/reference/labels.md": "| `--layout` | data | files of a case |\n| --- | --- | --- |\n",
    "tests/data/test_label_conventions.py": "MEANINGS = {\n",
}
ADDED = ("max_fusion", "hide_one", "agreement", "prostate")
CONFIGS = "tests/test_configs.py"  # which finds the additions by itself
TRAINING = "test_every_network_trains_in_every_setting_and_by_every_method"
# Of the many trainings with something added, those that differ from what is there
TRAININGS = [
    "network_max_fusion.yaml+setting_pdt.yaml",
    "network_max_fusion.yaml+setting_hide_one.yaml",
    "network_max_fusion.yaml+setting_idt.yaml+method_agreement.yaml",
    "network_max_fusion.yaml+setting_idt.yaml+dataset_prostate.yaml",
    "network_mmformer.yaml+setting_hide_one.yaml",
    "network_m2ftrans.yaml+setting_hide_one.yaml",
    "network_segresnet.yaml+setting_idt.yaml+method_agreement.yaml",
]
OF_DATA = ("test_label_conventions", "test_data_document")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """Copy the repository and add everything on the page."""
    folder = tmp_path_factory.mktemp("adding") / "bundle"
    for name in COPIED:
        source = ROOT / name
        ignored = shutil.ignore_patterns("__pycache__", "*.png", "golden")
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)
    for path, block in BLOCKS.items():
        file = folder / path
        if path in PLACES:
            text = file.read_text(encoding="utf-8")
            assert text.count(PLACES[path]) == 1, path
            file.write_text(text.replace(PLACES[path], PLACES[path] + block), encoding="utf-8")
        else:
            assert not file.exists(), f"{path} is there already"
            file.write_text((HEADER if path.endswith(".py") else "") + block, encoding="utf-8")
    return folder


def test_the_page_adds_a_network_a_setting_a_loss_and_a_data_set():
    kinds = {re.match(r"(scripts/(networks|transforms|losses)|configs/\w+?_|tests/\w+)", path)[0] for path in BLOCKS
             if path not in PLACES}  # fmt: skip
    assert kinds == {
        *("scripts/networks", "scripts/transforms", "scripts/losses", "tests/networks", "tests/transforms"),
        *("tests/losses", "configs/network_", "configs/setting_", "configs/method_", "configs/dataset_"),
    }
    assert set(PLACES) <= set(BLOCKS)


@pytest.mark.long
def test_everything_stays_green_with_what_the_page_adds(copy):
    written = [path for path in BLOCKS if path.startswith("tests/") and path not in PLACES]
    files = [CONFIGS, *written, *(f"tests/data/{name}.py" for name in OF_DATA)]
    trainings = " or ".join(f"({' and '.join(re.split('[+]', files))})" for files in TRAININGS)
    chosen = f"({' or '.join([*ADDED, *OF_DATA])}) and (not {TRAINING} or {trainings})"
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(copy)}
    command = [sys.executable, "-m", "pytest", "-q", *files, "-k", chosen, "-rA"]
    result = subprocess.run(command, cwd=copy, env=settings, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    passed = re.findall(r"^PASSED (.*)$", result.stdout, flags=re.MULTILINE)
    assert sorted(TRAININGS) == sorted(re.search(r"\[(.*)\]", name)[1] for name in passed if TRAINING in name)
    for name in (*written, *(f"{CONFIGS}::test_{each}" for each in ("every_id", "the_properties", "expressions"))):
        assert any(each.startswith(name) for each in passed), name
    for word in ADDED:
        assert sum(word in name for name in passed if name.startswith(CONFIGS)) > 5, word


def test_what_the_page_adds_is_in_the_style_of_the_house(copy):
    ruff = Path(sys.executable).with_name("ruff")
    files = [path for path in BLOCKS if path.endswith(".py") and path not in PLACES]
    for command in (["check"], ["format", "--check"]):
        result = subprocess.run([ruff, *command, *files], cwd=copy, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
