# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/reference/labels.md and the audit of docs/how_to/data.md say what the package does."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import fire
import pytest

from scripts.data.datalist import read_section
from scripts.data.label_conventions import convention_names, get_convention
from scripts.data.layouts import read_layout_file
from scripts.data.missing_rate import assign_availability
from scripts.tools import trace_case
from scripts.tools.make_datalist import MakeDatalist
from scripts.tools.make_phantoms import MakePhantoms

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LABELS, TEXT = ((DOCS / name).read_text(encoding="utf-8") for name in ("reference/labels.md", "how_to/data.md"))
MEANINGS = {0: "background", 1: "NCR", 2: "ED", 3: "ET", None: "refused"}
RATES = "t1=0.2,t1ce=0.4,flair=0.6,t2=0.8"


def table(first_column: str) -> dict[str, list[str]]:
    """Rows of the table whose first column has this title, by their first cell."""
    lines = LABELS[LABELS.index(f"| {first_column} |") :].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0].strip(" `|"): row[1:] for row in cells}


def test_label_conventions_are_those_of_the_package():
    rows = table("`label_convention` | 0")
    gliomas = get_convention("internal").class_names
    assert set(rows) == {name for name in convention_names() if get_convention(name).class_names == gliomas}
    assert [name for name in convention_names() if f"`{name}`" not in LABELS] == []
    for name, row in rows.items():
        read = get_convention(name).read
        assert row[:5] == [MEANINGS[read.get(value)] for value in range(5)]
        assert max(read) <= 4


def test_values_of_hearts_are_those_of_the_package():
    convention = get_convention("myops2020")
    expected = {str(v): [str(label), convention.class_names[label]] for v, label in convention.read.items()}
    assert table("value in the file") == expected


def test_layouts_are_those_of_the_package():
    rows, layouts = table("`--layout`"), read_layout_file()["layouts"]
    assert set(rows) == set(layouts)
    for name, (_, files) in rows.items():
        patterns = [layouts[name]["label"][0], *layouts[name]["images"].values()]
        if files.startswith("`<case>"):
            named = {text.removeprefix("<case>") for text in re.findall(r"`([^`]+)`", files)}
            assert named == {pattern.removeprefix("{case}") for pattern in patterns}


def test_example_of_a_datalist_can_be_read(tmp_path):
    (tmp_path / "datalist.json").write_text(re.search(r"```json\n(.*?)```", LABELS, re.DOTALL)[1])
    first, second = read_section(tmp_path / "datalist.json", "training", ["flair", "t1ce", "t1", "t2"])
    assert list(first.images) == ["t1ce", "t1"] and second.channels == ("flair", "t1", "t1ce", "t2")


def test_audit_is_the_one_that_the_command_prints(tmp_path, capsys):
    for number in range(20):
        name = f"phantom_{number:04d}"
        (tmp_path / name).mkdir()
        for image in ("flair", "t1ce", "t1", "t2", "seg"):
            (tmp_path / name / f"{name}_{image}.nii.gz").touch()
    MakeDatalist(tmp_path, tmp_path / "idt.json", split=(0.7, 0.1, 0.2), missing_rates=RATES).write()
    example = re.search(r"```\n(training: .*?)```", TEXT, re.DOTALL)[1]
    assert example in capsys.readouterr().out
    listed = json.loads((tmp_path / "idt.json").read_text())["training"][0]["images"]
    assert list(listed) == ["t1ce", "t1"]  # as in the example of a datalist


def command(name: str) -> list[str]:
    """Arguments of the command of the document that works on the phantoms."""
    commands = re.sub(r" \\\n *", " ", TEXT).splitlines()
    (found,) = [line for line in commands if line.startswith(f"    incomplete-seg {name} ") and "data/phantoms" in line]
    return shlex.split(found)[2:]


@pytest.mark.long
def test_the_case_that_is_traced_is_one_of_the_phantoms_that_the_commands_before_made(tmp_path, monkeypatch, capsys):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    fire.Fire(MakePhantoms, command("phantoms"))
    fire.Fire(MakeDatalist, command("datalist"))
    capsys.readouterr()
    arguments = command("trace-case")
    fire.Fire(trace_case.main, arguments)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[-2:] == ["case", arguments[-1]]
    encoders = {line.split()[-1]: "norm" in line for line in lines if line.startswith("network.encoders.")}
    assert encoders == {"flair": False, "t1ce": True, "t1": True, "t2": False}, "as in the example of a datalist"


def test_rates_that_are_met_are_those_of_the_text():
    many, few = ((1 - assign_availability(number, [0.2, 0.4, 0.6, 0.8]).mean(axis=0)).tolist() for number in (219, 14))
    many, few = (", ".join(f"{share:.2f}" for share in shares) for shares in (many, few))
    assert f"become {many} with 219 cases, and {few} with the 14" in " ".join(TEXT.split())
