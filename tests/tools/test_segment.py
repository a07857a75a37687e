# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The command for one patient, as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import pytest
import torch

from scripts.segment import read_configuration
from scripts.tools import segment as segment_tool
from scripts.tools.segment import run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def options(tiny, tmp_path_factory):
    """Options that segment quickly, with untrained weights."""
    settings = {key: value for key, value in tiny.items() if key != "dataset_dir"}
    settings["model_file"] = str(tmp_path_factory.mktemp("weights") / "model.pt")
    torch.save(read_configuration(**settings).get_parsed_content("network_def").state_dict(), settings["model_file"])
    return [f"--{name}={value}" for name, value in settings.items()]


@pytest.fixture(scope="module")
def files(phantoms):
    folder = phantoms / "phantom_0004"
    return {name: str(folder / f"{folder.name}_{name}.nii.gz") for name in ("flair", "t2")}


def test_a_patient_is_segmented_from_any_folder_with_a_progress_bar(options, files, tmp_path):
    arguments = [*options, "--t2", files["t2"], "--output", "seg.nii.gz", "--flair", files["flair"]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "scripts.tools.segment", *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "seg.json").read_text())
    assert report["modalities_used"] == ["flair", "t2"]
    assert done.stdout.startswith(f"seg.nii.gz: from flair+t2; wt {report['volumes']['wt']['ml']:g} mL")
    assert [f"  warning: {line}" for line in report["warnings"]] == done.stdout.splitlines()[1:]
    assert "100%" in done.stderr
    assert nib.load(tmp_path / "seg.nii.gz").shape == nib.load(files["flair"]).shape
    assert sorted(file.name for file in tmp_path.iterdir()) == ["seg.json", "seg.nii.gz"]


def test_a_folder_is_a_patient_too(options, files, tmp_path, monkeypatch):
    kept = []  # a command has a process of its own
    monkeypatch.setattr(segment_tool, "keep_freed_memory", lambda: kept.append(1))
    run(["--patient", str(Path(files["t2"]).parent), f"--output={tmp_path / 's.nii'}", "--subset", "t2", *options])
    assert json.loads((tmp_path / "s.json").read_text())["subset"] == "t2"
    assert kept == [1]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "no modality given; expected one of: files by modality (any of --flair FILE --t1ce FILE"),
        (["--patient", "p", "--image", "i"], "patient and image given; expected one of"),
        (["--flair", "{t2}", "--t2", "{t2}"], "the same file is given for flair and t2"),
        (["--flair", "--t2", "{t2}"], "`--flair` is given without a file; expected `--flair FILE`"),
        (["--t2={t2}", "--t2", "{t2}"], "--t2 is given more than once"),
        (["--flare", "{t2}"], "unknown option flare; expected modalities out of"),
        (["--t2", "nowhere.nii"], "there is no such file"),
        (["--t2", "{text}"], "the file cannot be read"),
        (["--t2", "{t2}", "--channels", "t2"], "`--channels` goes with `--image`"),
        (["--t2", "{t2}", "--model_file", "nowhere.pt"], "no weights at nowhere.pt"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line_and_a_status(options, files, tmp_path, capfd, arguments, reason):
    (tmp_path / "text.nii.gz").write_text("no image")
    given = [each.format(**files, text=tmp_path / "text.nii.gz") for each in arguments]
    others = [each for each in options if each.partition("=")[0] not in given]
    with pytest.raises(SystemExit) as ended:
        run([*given, "--output", str(tmp_path / "out.nii.gz"), *others])
    message = str(ended.value)
    assert message.startswith("Cannot segment: ") and reason in message
    assert "\n" not in message
    assert not (tmp_path / "out.nii.gz").exists()
    assert "failed" not in capfd.readouterr().err  # what the evaluator logs of a failed case
