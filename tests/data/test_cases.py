# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Which cases a run works on: those of the data set that was named, and phantoms only where none was."""

from __future__ import annotations

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from scripts.data import cases
from scripts.data.cases import find_patients, held_back_phantoms, read_cases

NAMES = ["flair", "t1ce", "t1", "t2"]
NUM_CASES = {"training": 2, "validation": 1, "testing": 1}


@pytest.fixture
def small_phantoms(monkeypatch):
    monkeypatch.setattr(cases, "PHANTOM_CASES", NUM_CASES)
    monkeypatch.setattr(cases, "PHANTOM_SPACING", 16.0)


def stamps(folder):
    return {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}


# --- training and evaluation -----------------------------------------------------------------------


def test_each_section_of_the_named_datalist_is_read(phantoms):
    names = {section: [case["case"] for case in read_cases(section, NAMES, str(phantoms))] for section in NUM_CASES}
    assert {section: len(found) for section, found in names.items()} == {"training": 3, "validation": 1, "testing": 2}
    assert len({name for found in names.values() for name in found}) == 6


def test_a_datalist_may_lie_anywhere(phantoms, tmp_path):
    entry = read_cases("testing", NAMES, str(phantoms))[0]
    (tmp_path / "mine.json").write_text(json.dumps({"modalities": NAMES, "training": [entry]}))
    assert read_cases("training", NAMES, str(tmp_path), "mine.json") == [entry]
    assert read_cases("training", NAMES, str(phantoms), str(tmp_path / "mine.json")) == [entry]


def test_without_a_data_set_phantoms_are_made_with_a_warning(tmp_path, caplog, small_phantoms):
    folder = tmp_path / "data" / "phantoms"
    found = {section: read_cases(section, NAMES, "", phantom_dir=str(folder)) for section in NUM_CASES}
    assert {section: len(entries) for section, entries in found.items()} == NUM_CASES
    assert f"no `dataset_dir` was given: using PHANTOMS, simulated images, in {folder}" in caplog.text
    assert caplog.records[0].levelname == "WARNING"
    for entries in found.values():
        assert all(list(entry["images"]) == NAMES for entry in entries)


def test_phantoms_that_are_there_are_used_again(tmp_path, small_phantoms):
    read_cases("training", NAMES, "", phantom_dir=str(tmp_path))
    before = stamps(tmp_path)
    assert before
    read_cases("validation", NAMES, "", phantom_dir=str(tmp_path))
    assert stamps(tmp_path) == before


@pytest.mark.parametrize("datalist_file", ["datalist.json", "folds/fold_0.json"])
def test_phantoms_never_stand_in_for_a_data_set_that_was_named(tmp_path, small_phantoms, datalist_file):
    named, phantom_dir = tmp_path / "brats", tmp_path / "phantoms"
    with pytest.raises(FileNotFoundError, match=f"no datalist at {named / datalist_file}; expected .*make_datalist"):
        read_cases("training", NAMES, str(named), datalist_file, phantom_dir=str(phantom_dir))
    assert not phantom_dir.exists()


def test_without_a_data_set_and_a_place_for_phantoms_there_is_nothing_to_read():
    with pytest.raises(FileNotFoundError, match="`dataset_dir` is empty; expected the folder that holds the datalist"):
        read_cases("training", NAMES)


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


# --- phantoms that no training sees -----------------------------------------------------------------


def held_back(folder, section="validation", **settings):
    settings = {"spacing_mm": 16.0, "num_cases": {"validation": 1, "testing": 2}, **settings}
    return held_back_phantoms(section, NAMES, str(folder), **settings)


def label_of(entry):
    return np.asarray(nib.load(entry["label"]).dataobj)


def test_held_back_phantoms_are_made_and_then_read(tmp_path):
    first = held_back(tmp_path)
    before = stamps(tmp_path)
    assert len(first) == 1 and list(first[0]["images"]) == NAMES and before
    testing = held_back(tmp_path, "testing")
    assert len({entry["case"] for entry in first + testing}) == 3
    assert held_back(tmp_path) == first and stamps(tmp_path) == before


def test_held_back_phantoms_of_another_seed_are_other_patients(tmp_path):
    (first,), (second,), (same,) = (
        held_back(tmp_path / name, seed=seed) for name, seed in [("a", 1), ("b", 2), ("c", 1)]
    )
    assert (label_of(first) != label_of(second)).any() and label_of(first).any() and label_of(second).any()
    np.testing.assert_array_equal(label_of(first), label_of(same))


def test_held_back_phantoms_of_other_settings_are_refused(tmp_path):
    held_back(tmp_path, seed=1)
    with pytest.raises(ValueError, match="holds phantoms of other settings: `seed` is 1, asked for is 2"):
        held_back(tmp_path, seed=2)
    with pytest.raises(ValueError, match="other settings: `variety` is randomized, asked for is typical"):
        held_back(tmp_path, seed=1, variety="typical")


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
