# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Phantoms as the cases of a run: only where no data set was named, and never those that a training sees."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from scripts.data.cases import read_cases
from scripts.engines.case_evaluator import root_cause
from scripts.phantom import cases
from scripts.phantom.cases import cases_or_phantoms, held_back_phantoms

NAMES = ["flair", "t1ce", "t1", "t2"]
NUM_CASES = {"training": 2, "validation": 1, "testing": 1}


@pytest.fixture
def small_phantoms(monkeypatch):
    monkeypatch.setattr(cases, "PHANTOM_CASES", NUM_CASES)
    monkeypatch.setattr(cases, "PHANTOM_SPACING", 16.0)


def stamps(folder):
    return {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}


# --- training and evaluation -----------------------------------------------------------------------


def test_a_data_set_that_was_named_is_read_as_it_is(phantoms, tmp_path):
    for section in NUM_CASES:
        found = cases_or_phantoms(section, NAMES, str(phantoms), phantom_dir=str(tmp_path))
        assert found == read_cases(section, NAMES, str(phantoms)) and found
    complete = cases_or_phantoms("training", NAMES, str(phantoms), complete="true")
    assert complete == read_cases("training", NAMES, str(phantoms), complete=True) and complete
    assert not list(tmp_path.iterdir()), "and no phantoms are made"


def test_without_a_data_set_phantoms_are_made_with_a_warning(tmp_path, caplog, small_phantoms):
    folder = tmp_path / "data" / "phantoms"
    found = {section: cases_or_phantoms(section, NAMES, "", phantom_dir=str(folder)) for section in NUM_CASES}
    assert {section: len(entries) for section, entries in found.items()} == NUM_CASES
    assert f"no `dataset_dir` was given: using PHANTOMS, simulated images, in {folder}" in caplog.text
    assert caplog.records[0].levelname == "WARNING"
    for entries in found.values():
        assert all(list(entry["images"]) == NAMES for entry in entries)


def test_phantoms_that_are_there_are_used_again(tmp_path, small_phantoms):
    cases_or_phantoms("training", NAMES, "", phantom_dir=str(tmp_path))
    before = stamps(tmp_path)
    assert before
    cases_or_phantoms("validation", NAMES, "", phantom_dir=str(tmp_path))
    assert stamps(tmp_path) == before


@pytest.mark.parametrize("datalist_file", ["datalist.json", "folds/fold_0.json"])
def test_phantoms_never_stand_in_for_a_data_set_that_was_named(tmp_path, small_phantoms, datalist_file):
    named, phantom_dir = tmp_path / "brats", tmp_path / "phantoms"
    with pytest.raises(FileNotFoundError, match=f"no datalist at {named / datalist_file}; expected .*make_datalist"):
        cases_or_phantoms("training", NAMES, str(named), datalist_file, phantom_dir=str(phantom_dir))
    assert not phantom_dir.exists()


def test_without_a_data_set_and_a_place_for_phantoms_there_is_nothing_to_read():
    with pytest.raises(FileNotFoundError, match="`dataset_dir` is empty; expected the folder that holds the datalist"):
        cases_or_phantoms("training", NAMES)


# --- phantoms that no training sees -----------------------------------------------------------------


def held_back(folder, section="validation", **settings):
    defaults = {"seed": 0, "training_seed": 99, "spacing_mm": 16.0, "num_cases": {"validation": 1, "testing": 2}}
    return held_back_phantoms(section, NAMES, str(folder), **defaults | settings)


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


@pytest.mark.parametrize("seed", [7, "7", 7.0])
def test_held_back_phantoms_of_the_seed_of_the_training_are_refused(tmp_path, seed):
    reason = "held back for validation have the seed 7 and those of the training have the seed 7: .* the same patients"
    with pytest.raises(ValueError, match=f"{reason}; expected two different seeds. See `phantom_seed`"):
        held_back(tmp_path / "held_back", seed=seed, training_seed=7)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("overrides", "seed"),
    [
        ({"validate::cases::seed": 2026}, 2026),
        ({"validate::cases::seed": "2026"}, 2026),
        ({"train::load::seed": 2027}, 2027),
        ({"phantom_seed": 5, "validate::cases::seed": 5}, 5),
        ({"train::load::seed": 3, "validate::cases::seed": 3}, 3),
    ],
)
def test_no_override_lets_a_training_on_phantoms_be_validated_on_its_own_patients(workflow, tmp_path, overrides, seed):
    run = workflow("train.yaml", "train_phantom.yaml", phantom_dir=str(tmp_path / "made"), **overrides)
    with pytest.raises(RuntimeError) as caught:
        run.parser.get_parsed_content("validate::cases")
    reason = str(root_cause(caught.value))
    assert f"have the seed {seed} and those of the training have the seed {seed}" in reason
    assert not (tmp_path / "made" / "held_back").exists()


def test_a_training_on_phantoms_has_two_seeds_wherever_its_own_is_set(workflow, tmp_path):
    run = workflow("train.yaml", "train_phantom.yaml", phantom_dir=str(tmp_path), phantom_seed=8)
    settings = {id: run.parser.get_parsed_content(id) for id in ("train::load::seed", "validate::cases::seed")}
    assert settings == {"train::load::seed": 8, "validate::cases::seed": 9}
