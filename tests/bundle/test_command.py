# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How `python -m monai.bundle run` ends where something is wrong, from any folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.bundle.command import begin, in_one_line, refuse_unknown, show_error
from scripts.bundle.place import ROOT, bundle_root
from scripts.data.case_error import CaseError


def chained(*errors):
    """Raise errors, each from the one before; return the last."""
    earlier = None
    for error in errors:
        try:
            raise error from earlier
        except Exception as raised:
            earlier = raised
    return earlier


@pytest.mark.parametrize(
    ("errors", "line"),
    [
        ([ValueError("no such\n  thing"), RuntimeError("Failed to instantiate")], "no such thing"),
        ([OSError("disk"), CaseError("a", "cannot be read"), RuntimeError("wrapped")], "case `a`: cannot be read"),
        ([KeyError("x"), ValueError("wrapped")], "KeyError: 'x'"),
        ([AssertionError()], "AssertionError"),
    ],
)
def test_the_reason_is_that_of_the_first_cause(errors, line):
    assert in_one_line(chained(*errors)) == line


def test_the_line_stands_behind_the_traceback(capsys):
    error = chained(ValueError("no datalist"), RuntimeError("Failed to instantiate"))
    show_error(type(error), error, error.__traceback__)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "error: no datalist" and "RuntimeError: Failed to instantiate" in lines


@pytest.mark.parametrize("wanted", ["", "1"])
def test_what_this_package_says_stands_alone(capsys, monkeypatch, wanted):
    monkeypatch.setenv("BUNDLE_TRACEBACK", wanted)
    try:
        refuse_unknown(["run", "evaluating", FILES, "--misspelt", "1"])
    except ValueError as said:
        error = chained(said, RuntimeError("Failed to instantiate"))
    show_error(type(error), error, error.__traceback__)
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("error: `--misspelt` is no id of")
    assert (len(lines) == 1) == (not wanted)


@pytest.mark.parametrize("program", ["/usr/bin/pytest", "monai/bundle/scripts.py", ""])
def test_a_process_of_another_kind_is_left_as_it_is(monkeypatch, program):
    monkeypatch.setattr("sys.argv", [program])
    before = sys.excepthook
    begin()
    assert sys.excepthook is before


def test_the_root_is_named_by_a_dot_from_within_alone(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    assert bundle_root() == "."
    monkeypatch.chdir(tmp_path)
    assert bundle_root() == str(ROOT) and (Path(bundle_root()) / "configs" / "train.yaml").is_file()


FILES = f"--config_file={[str(ROOT / 'configs' / f'{name}.yaml') for name in ('train', 'evaluate')]}"


@pytest.mark.parametrize(
    "options",
    [
        ["--spacing", "[1,1,1]", "--network_def#width=4", "--+validate::inferer", "{}", "--store::resume", "true"],
        ["--tracking", "mlflow", "--run_name=x", "--meta_file", "configs/metadata.json", "--keep-performance", "true"],
    ],
)
def test_options_that_change_something_pass(options):
    refuse_unknown(["run", "evaluating", FILES, *options])


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--write_performance", "expected .*`--keep_performance`"),
        ("--networkdef#width", "expected .*`--network_def`"),
        ("--xyzzy", "expected one of those that scripts.tools.show_config lists"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused_with_what_is_spelt_like_it(option, words):
    with pytest.raises(ValueError, match=f"`{option}` is no id of .* and would change nothing; {words}"):
        refuse_unknown(["run", "evaluating", FILES, option, "1"])
    refuse_unknown(["run", "evaluating", option, "1"])


@pytest.mark.long
@pytest.mark.parametrize(
    ("run_id", "files", "options", "line"),
    [
        ("training", ["train"], {"dataset_dir": "{}"}, "no datalist at {}/datalist.json"),
        ("evaluating", ["train", "evaluate"], {"model_file": "{}/x.pt"}, "no weights at {}/x.pt; expected the file"),
        ("training", ["train"], {"max_epoch": "3"}, "`--max_epoch` is no id of"),
    ],
    ids=["datalist", "weights", "id"],
)
def test_a_run_that_fails_in_another_folder_says_why_in_its_last_line(tmp_path, run_id, files, options, line):
    listed = [str(ROOT / "configs" / f"{name}.yaml") for name in files]
    given = [f"--{name}={value.format(tmp_path)}" for name, value in options.items()]
    command = [sys.executable, "-m", "monai.bundle", "run", run_id, f"--config_file={listed}", "--device=cpu", *given]
    quick = {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **quick}, capture_output=True, text=True, check=False
    )
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("error: ") and line.format(tmp_path) in last, ended.stderr[-2000:]
    assert ended.returncode == 1
    assert list(tmp_path.iterdir()) == []
