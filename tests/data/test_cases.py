# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Which cases a run works on: those of the data set that was named."""

from __future__ import annotations

import json
import shutil

import pytest

from scripts.data.cases import find_patients, read_cases
from scripts.data.split import SECTIONS

NAMES = ["flair", "t1ce", "t1", "t2"]


# --- training and evaluation -----------------------------------------------------------------------


def test_each_section_of_the_named_datalist_is_read(phantoms):
    names = {section: [case["case"] for case in read_cases(section, NAMES, str(phantoms))] for section in SECTIONS}
    assert {section: len(found) for section, found in names.items()} == {"training": 3, "validation": 1, "testing": 2}
    assert len({name for found in names.values() for name in found}) == 6


def test_a_datalist_may_lie_anywhere(phantoms, tmp_path):
    entry = read_cases("testing", NAMES, str(phantoms))[0]
    (tmp_path / "mine.json").write_text(json.dumps({"modalities": NAMES, "training": [entry]}))
    assert read_cases("training", NAMES, str(tmp_path), "mine.json") == [entry]
    assert read_cases("training", NAMES, str(phantoms), str(tmp_path / "mine.json")) == [entry]


@pytest.mark.parametrize("datalist_file", ["datalist.json", "folds/fold_0.json"])
def test_a_datalist_that_is_not_there_is_named_with_the_tool_that_writes_it(tmp_path, datalist_file):
    with pytest.raises(FileNotFoundError, match=f"no datalist at {tmp_path / datalist_file}; expected .*make_datalist"):
        read_cases("training", NAMES, str(tmp_path), datalist_file)


def test_without_a_data_set_there_is_nothing_to_read():
    with pytest.raises(FileNotFoundError, match="`dataset_dir` is empty; expected the folder that holds the datalist"):
        read_cases("training", NAMES, "")


@pytest.mark.parametrize("word", [True, "true", "True"])
def test_only_complete_cases_are_read_where_they_are_asked_for(phantoms, word):
    every = read_cases("training", NAMES, str(phantoms))
    complete = [case for case in every if list(case["images"]) == NAMES]
    assert 0 < len(complete) < len(every)
    assert read_cases("training", NAMES, str(phantoms), complete=word) == complete
    assert read_cases("training", NAMES, str(phantoms), complete="false") == every


def test_complete_is_said_of_the_configured_modalities(phantoms):
    counts = [len(read_cases("training", NAMES[:m], str(phantoms), complete=True)) for m in (2, 3, 4)]
    every = read_cases("training", NAMES, str(phantoms))
    assert counts == [sum(set(NAMES[:m]) <= set(case["images"]) for case in every) for m in (2, 3, 4)]


def test_a_section_without_any_complete_case_is_refused(phantoms, tmp_path):
    entries = [case for case in read_cases("training", NAMES, str(phantoms)) if len(case["images"]) < len(NAMES)]
    (tmp_path / "datalist.json").write_text(json.dumps({"modalities": NAMES, "training": entries}))
    problem = rf"none of the {len(entries)} cases in section `training` of .*datalist.json has all of .*'t2'\]"
    with pytest.raises(ValueError, match=f"{problem}; expected at least one, since `train::cases::complete` is set"):
        read_cases("training", NAMES, str(tmp_path), complete=True)


def test_complete_takes_no_other_word(phantoms):
    with pytest.raises(ValueError, match="`complete` is `perhaps`; expected true or false"):
        read_cases("training", NAMES, str(phantoms), complete="perhaps")


# --- inference -------------------------------------------------------------------------------------


@pytest.fixture
def patients(phantoms, tmp_path):
    """Two patients in folders of their own, one of them incomplete, with labels beside the images."""
    for entry in read_cases("testing", NAMES, str(phantoms)):
        shutil.copytree(phantoms / entry["case"], tmp_path / "patients" / entry["case"])
    second = tmp_path / "patients" / entry["case"]
    (second / f"{second.name}_t1.nii.gz").unlink()
    return tmp_path / "patients"


def test_patients_come_with_what_was_acquired_and_without_labels(patients):
    found = find_patients(str(patients), NAMES)
    assert [set(case) for case in found] == [{"case", "images"}] * 2
    assert [list(case["images"]) for case in found] == [NAMES, ["flair", "t1ce", "t2"]]
    assert list(patients.rglob("*_seg.nii.gz")), "labels were there"


def test_one_patients_own_folder_is_enough(patients):
    folder = next(patients.iterdir())
    (case,) = find_patients(str(folder), NAMES)
    assert case["case"] == folder.name


def test_own_file_names_are_taken_from_patterns(patients):
    folder = next(patients.iterdir())
    for file in folder.iterdir():
        file.rename(folder / f"scan-{file.name.rpartition('_')[2]}")
    (case,) = find_patients(str(folder), NAMES, patterns={"flair": "scan-flair", "t2": "scan-t2"})
    assert list(case["images"]) == ["flair", "t2"]


def test_an_ambiguous_patient_is_a_failure_and_does_not_lose_the_others(patients):
    first, second = sorted(patients.iterdir())
    shutil.copy(second / f"{second.name}_t2.nii.gz", second / f"{second.name}_t2.nii")
    found = find_patients(str(patients), NAMES)
    assert [case["case"] for case in found] == [first.name, second.name]
    assert "images" in found[0]
    assert set(found[1]) == {"case", "failure"}
    assert f"case `{second.name}`: 2 files match `t2`, expected one" in found[1]["failure"]


def test_a_folder_without_patients_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no case with any of .* found in"):
        find_patients(str(tmp_path), NAMES)
    with pytest.raises(ValueError, match="is not a folder"):
        find_patients(str(tmp_path / "nowhere"), NAMES)


@pytest.mark.parametrize("section", ["training", "testing"])
def test_a_section_without_a_case_is_refused_but_for_validation(tmp_path, section):
    (tmp_path / "datalist.json").write_text(json.dumps({section: [], "validation": []}))
    with pytest.raises(
        ValueError, match=f"section `{section}` of .*datalist.json lists no case; expected at least one"
    ):
        read_cases(section, ["t1"], str(tmp_path))
    assert read_cases("validation", ["t1"], str(tmp_path)) == []
