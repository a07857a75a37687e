# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The package as ``pip install`` leaves it in a fresh environment, used from a folder that has a ``scripts`` too.

Run by ``make install-test``, which names the environment in ``INSTALLED``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(os.environ.get("INSTALLED", ROOT / ".venv-install")) / "bin"
NAMES = ("flair", "t1ce")
FOREIGN = "raise RuntimeError('a package of somebody else was imported')\n"


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder of a user who has a package `scripts`."""
    folder = tmp_path_factory.mktemp("here")
    (folder / "scripts").mkdir()
    (folder / "scripts" / "__init__.py").write_text(FOREIGN)
    return folder


@pytest.fixture(scope="module")
def call(here):
    def _call(*words: object, cwd: Path = here, program: Path = BIN / "incomplete-seg") -> str:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        command = [str(program), *map(str, words)]
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return _call


@pytest.fixture(scope="module")
def files(call, here):
    """Two sequences of a phantom, made by the command."""
    call("phantoms", "--folder", "data", "--training", 1, "--validation", 1, "--testing", 1, "--spacing_mm", 3)
    case = here / "data" / "phantom_0002"
    return {name: case / f"{case.name}_{name}.nii.gz" for name in NAMES}


@pytest.fixture(scope="module")
def expected(call, files, tmp_path_factory):
    """What the tool of the checkout makes of it."""
    output = tmp_path_factory.mktemp("checkout") / "seg.nii.gz"
    words = [f"--{name}={file}" for name, file in files.items()]
    python = Path(sys.executable)
    call("-m", "scripts.tools.segment", *words, "--output", output, cwd=ROOT, program=python)
    return output


def same(one: Path, other: Path) -> None:
    images = [nib.load(file) for file in (one, other)]
    np.testing.assert_array_equal(*(np.asanyarray(image.dataobj) for image in images))
    np.testing.assert_array_equal(*(image.affine for image in images))
    reports = [json.loads(file.with_name("seg.json").read_text()) for file in (one, other)]
    assert reports[0]["volumes"] == reports[1]["volumes"]


def test_the_command_segments_as_the_checkout_does(call, files, expected, here):
    words = [word for name, file in files.items() for word in (f"--{name}", file)]
    assert "wt " in call("segment", *words, "--output", "command/seg.nii.gz", "--device", "cpu")
    same(here / "command" / "seg.nii.gz", expected)


def test_python_segments_as_the_checkout_does(call, files, expected, here):
    given = {name: str(file) for name, file in files.items()}
    code = f"""
from incomplete_segmentation import segment
segment({given!r}, output="python/seg.nii.gz")
try:
    import scripts
except RuntimeError as error:
    print(error)
"""
    assert "somebody else" in call("-c", code, program=BIN / "python")
    same(here / "python" / "seg.nii.gz", expected)


def test_there_is_no_scripts_on_top(call, tmp_path):
    code = "from importlib.util import find_spec; print([find_spec(name) for name in ('scripts', 'tests', 'configs')])"
    assert call("-c", code, cwd=tmp_path, program=BIN / "python").strip() == "[None, None, None]"


def test_training_starts_from_another_folder_and_writes_there_only(call, files, here):
    code = "import incomplete_segmentation; print(incomplete_segmentation.bundle_folder)"
    bundle = Path(call("-c", code, program=BIN / "python").strip())
    kept = {file for file in bundle.rglob("*") if file.suffix != ".pyc"}
    assert not bundle.is_relative_to(ROOT / "scripts") and (bundle / "models" / "model.pt") in kept
    size = ["--spacing", "[8,8,8]", "--patch_size", "[16,16,16]", "--network_def#width", 4, "--num_workers", 0]
    files_ = "configs/train.yaml,configs/setting_pdt.yaml"
    words = ["--dataset_dir", "data", "--model_file", "model.pt", "--max_epochs", 1, "--device", "cpu"]
    call("run", "training", "--config_file", files_, *size, *words)
    assert (here / "runs" / "training" / "run.json").is_file()
    assert {file for file in bundle.rglob("*") if file.suffix != ".pyc" and file.name != "__pycache__"} <= kept


def test_the_bundle_inside_passes_the_checks_of_files_and_metadata(call):
    shown = call("verify", "--mode", "min")
    assert "FAILED" not in shown and "passed  metadata" in shown
