# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""One patient, handed over in any form."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.data.case import Case
from scripts.data.case_error import CaseError
from scripts.data.patient import describe_patient, read_channels

NAMES = ["flair", "t1ce", "t1", "t2"]


def make(root, *files):
    paths = [root / file for file in files]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return [str(path) for path in paths]


def test_files_by_modality_come_in_the_configured_order(tmp_path):
    t2, flair = make(tmp_path, "a.nii.gz", "b.nii")
    entry = describe_patient({"t2": Path(t2), "flair": flair, "t1": None, "t1ce": ""}, NAMES)
    assert entry == Case("a", {"flair": flair, "t2": t2})
    assert list(entry.images) == ["flair", "t2"]
    assert describe_patient({"t2": t2}, NAMES, case="mine").name == "mine"


def test_one_file_is_a_stack_of_the_configured_modalities(tmp_path):
    (file,) = make(tmp_path, "patient.7.nii.gz")
    assert describe_patient(Path(file), NAMES) == Case("patient.7", image=file, channels=tuple(NAMES))


@pytest.mark.parametrize(
    ("files", "case"),
    [
        (["P_1_t1ce.nii.gz", "P_1_flair.nii.gz", "P_1_seg.nii.gz"], "P_1"),
        (["B-0-t1c.nii.gz", "B-0-t2f.nii.gz", "B-0-seg.nii.gz"], "B-0"),
        (["t1ce.nii.gz", "flair.nii.gz"], "visit"),  # called after the modality, by no known layout
    ],
)
@pytest.mark.parametrize("folder", ["visit", "visit.nii.gz", "deep/visit"])  # MONAI Label's folders end like files
def test_a_folder_and_the_list_of_its_files_are_recognised_by_name(tmp_path, files, case, folder):
    paths = make(tmp_path / folder, *files)
    expected = Case(case, {"flair": paths[1], "t1ce": paths[0]})
    assert describe_patient(tmp_path / folder, NAMES) == expected
    assert describe_patient(paths, NAMES) == expected


def test_a_single_file_of_a_list_is_recognised_by_name(tmp_path):
    files = make(tmp_path, "x/P_t2.nii.gz")
    assert describe_patient(files, NAMES) == Case("P", {"t2": files[0]})


def test_own_patterns_recognise_a_folder_and_a_list(tmp_path):
    paths = make(tmp_path / "visit", "Flair_x.nii.gz", "T2_x.nii.gz", "mask.nii.gz")
    how = {"patterns": {"flair": "Flair_*", "t2": "T2_*"}}
    expected = Case("visit", {"flair": paths[0], "t2": paths[1]})
    found = describe_patient(tmp_path / "visit", NAMES, **how)
    assert replace(found, unused=(), more={}) == expected
    assert found.more["doubts"].startswith("mask.nii.gz: beside the images of this case, but")
    assert describe_patient(paths[:2], NAMES, layout="custom", **how) == expected


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ({}, "no modality was given; expected at least one of ['flair', 't1ce', 't1', 't2']"),
        ({"t1": ""}, "no modality was given"),
        ({"flare": "P_t1.nii.gz"}, "['flare'] are no modalities here; expected names out of ['flair'"),
        ({"t1": "nowhere.nii.gz"}, "there is no such file (file: {root}/nowhere.nii.gz)"),
        ({"t1": "P_t1.nii.gz", "t2": "link.nii.gz"}, "the same file is given for t1 and t2"),
        ({"t1": 7}, "7 is given as a file; expected a path"),
        ("nowhere.nii.gz", "there is no such file"),
        (".", "the names of the files tell of 2 patients, ['P', 'Q']; expected one"),
        (["P_t1.nii.gz", "Q_t2.nii.gz"], "the names of the files tell of 2 patients"),
        (["P_t1.nii.gz", "scan.nii.gz"], "the name does not say which of ['flair', 't1ce', 't1', 't2'] this is"),
        (["scan.nii.gz"], "no case with any of ['flair', 't1ce', 't1', 't2'] found"),
        (["P_t1.nii.gz", "P_t1.nii"], "2 files match `t1`, expected one"),
        ([], "the patient is given as []; expected a file for each modality, a folder"),
        ([3], "the patient is given as [3]"),
        (None, "the patient is given as None"),
    ],
)
def test_what_is_wrong_is_said_in_words(tmp_path, source, reason):
    make(tmp_path, "P_t1.nii.gz", "Q_t2.nii.gz", "scan.nii.gz")
    (tmp_path / "link.nii.gz").symlink_to(tmp_path / "P_t1.nii.gz")
    if source == ["P_t1.nii.gz", "P_t1.nii"]:
        make(tmp_path, "P_t1.nii")

    def placed(value):
        return str(tmp_path / value) if value and isinstance(value, str) else value

    if isinstance(source, dict):
        source = {name: placed(value) for name, value in source.items()}
    else:
        source = [placed(each) for each in source] if isinstance(source, list) else placed(source)
    with pytest.raises(CaseError, match=re.escape(reason.format(root=tmp_path))):
        describe_patient(source, NAMES)


@pytest.mark.parametrize("given", ["flair, none,t2", ["flair", None, "t2"], ("flair", "", "t2")])
def test_channels_may_be_text_and_none_is_not_used(given):
    assert read_channels(given) == ["flair", None, "t2"]
    assert read_channels(None) is None
