# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How threads wait, as a process of its own finds it in its environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOW = (
    "import json, os; print(json.dumps({name: os.environ.get(name) for name in ('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY')}))"
)


def environment(**choice):
    rest = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    return {**rest, "OMP_NUM_THREADS": "1", **choice}


def shown(code, **choice):
    """What is in the environment behind some lines of Python."""
    command = [sys.executable, "-c", f"{code}\n{SHOW}"]
    done = subprocess.run(command, cwd=ROOT, env=environment(**choice), capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return found["GOMP_SPINCOUNT"], found["OMP_WAIT_POLICY"]


def test_a_command_sets_it_before_torch_is_loaded():
    code = "import sys, scripts.tools\nassert 'torch' not in sys.modules"
    assert shown(code) == ("10000", None)


@pytest.mark.parametrize("choice", [{"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "ACTIVE"}])
def test_what_the_user_has_chosen_stays(choice):
    assert shown("import scripts.tools", **choice) == (choice.get("GOMP_SPINCOUNT"), choice.get("OMP_WAIT_POLICY"))


def test_processes_that_a_command_starts_get_it_too():
    inner = f"import subprocess, sys, scripts.tools; subprocess.run([sys.executable, '-c', {SHOW!r}], check=True)"
    command = [sys.executable, "-c", inner]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["GOMP_SPINCOUNT"] == "10000"


@pytest.mark.long
def test_the_library_leaves_the_environment_alone():
    assert shown("import scripts.segment") == (None, None)
    assert shown("import torch, scripts.tools") == (None, None), "too late, and no command of ours"


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="torch has another OpenMP there")
def test_openmp_reads_it():
    # the library shows its settings when it is loaded
    code = "import scripts.tools.segment"
    command = [sys.executable, "-c", code]
    own = environment(OMP_DISPLAY_ENV="VERBOSE")
    done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, check=True)
    assert "GOMP_SPINCOUNT = '10000'" in done.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, ("10000", None)),
        ({"GOMP_SPINCOUNT": "7"}, ("7", None)),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, (None, "PASSIVE")),
    ],
)
def test_commands_of_the_makefile_have_it_unless_the_user_has_chosen(tmp_path, choice, expected):
    (tmp_path / "show.mk").write_text(f'include {ROOT / "Makefile"}\nshow:\n\t@{sys.executable} -c "{SHOW}"\n')
    command = ["make", "--silent", "-f", str(tmp_path / "show.mk"), "show"]
    done = subprocess.run(command, cwd=ROOT, env=environment(**choice), capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert (found["GOMP_SPINCOUNT"], found["OMP_WAIT_POLICY"]) == expected
