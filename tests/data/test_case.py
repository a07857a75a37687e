# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""One patient's files, typed, and as the dictionary that MONAI carries."""

from __future__ import annotations

import json

import pytest

from scripts.data.case import Case, as_case
from scripts.data.case_error import CaseError
from scripts.data.cases import find_patients, read_cases
from scripts.data.request import understand

ENTRIES = [
    {"case": "a", "images": {"flair": "f", "t2": "t"}, "label": "s", "label_convention": "brats2021"},
    {"case": "b", "image": "stack", "channels": ["flair", None, "t2"], "label": "s", "label_convention": {0: 0, 9: 1}},
    {"case": "c", "images": {"t1": "t"}, "patient": 3, "site": "X", "layout": "mine"},
    {"case": "d", "channels": ["flair", "t2"], "phantom": 0},
]


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_case_and_its_entry_say_the_same(entry):
    case = as_case(entry)
    assert case.to_entry() == entry
    assert Case.from_entry(case.to_entry()) == case and as_case(case) is case


def test_every_kind_of_case_says_what_it_lists_and_where_it_lies():
    listed = [(case.listed, case.files) for case in map(as_case, ENTRIES)]
    assert listed == [
        (["flair", "t2"], ["f", "t"]),
        (["flair", "t2"], ["stack"]),
        (["t1"], ["t"]),
        (["flair", "t2"], []),
    ]


def test_how_files_were_found_is_no_part_of_an_entry():
    assert Case("a", {"t1": "t"}, layout="brats2021").to_entry() == {"case": "a", "images": {"t1": "t"}}


def test_an_entry_of_monai_label_is_a_case_without_a_name():
    case = as_case({"image": "studies/a.mri", "label": "final/a.nii.gz", "images": "all"})
    assert (case.name, case.image, case.label, case.images, case.listed) == (
        "",
        "studies/a.mri",
        "final/a.nii.gz",
        {},
        [],
    )


def test_cases_that_lose_modalities_are_copies():
    separate, stacked = map(as_case, ENTRIES[:2])
    assert separate.keep(["t2", "t1"]).images == {"t2": "t"} and list(separate.images) == ["flair", "t2"]
    assert stacked.keep(["t2"]).channels == (None, None, "t2") and stacked.listed == ["flair", "t2"]
    assert separate.keep(["t2"]).label == "s"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../../x", "case `../../x`: results are called after the name"),
        ("/etc/x", "case `/etc/x`: .*without slashes and control characters"),
        ("a\\b", "without slashes"),
        (".", "case `.`: results"),
        ("..", "case `..`: results"),
        ("a\0b", r"case `a\\x00b`: results"),
        ("a\nb", r"case `a\\nb`: results"),
        ("\udcff", r"case `\\udcff`: results"),
        ("é" * 101, "case `é+…`: its name has 202 bytes; expected at most 200"),
    ],
)
def test_a_name_that_results_cannot_be_called_after_is_refused_wherever_it_is_read(tmp_path, name, said):
    entry = {"case": name, "images": {"t1": "t1.nii.gz"}}
    (tmp_path / "datalist.json").write_text(json.dumps({"testing": [entry]}))
    for read in (
        lambda: Case.from_entry(entry),
        lambda: read_cases("testing", ["t1"], str(tmp_path)),
        lambda: understand(entry, ["t1"]),
    ):
        with pytest.raises(CaseError, match=said):
            read()


def test_a_folder_with_such_a_name_does_not_lose_the_others(tmp_path):
    for name in ("good", "a\nb"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}_t1.nii.gz").touch()
    good, bad = find_patients(str(tmp_path), ["t1"])
    assert good["case"] == "good"
    assert "control characters" in bad["failure"]


@pytest.mark.parametrize("name", ["", "BraTS-GLI-00000-000", "ok-1_é (2)", "é" * 100])
def test_other_names_are_taken(name):
    assert Case(name).name == name
