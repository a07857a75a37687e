# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What data are called, and whether they are simulated."""

from __future__ import annotations

import pytest

from scripts.data.datalist import read_section, write_datalist
from scripts.data.description import PHANTOMS, describe_data, describe_training
from scripts.phantom.cases import cases_or_phantoms, phantom_entries
from scripts.phantom.dataset import PhantomSettings
from scripts.tools.make_datalist import MakeDatalist


def describe(folder, section="testing", **places):
    cases = read_section(folder / places.get("datalist_file", "datalist.json"), section)
    return describe_data(cases, section, str(folder), **places)


@pytest.fixture
def patients(tmp_path):
    """A folder of two patients, whose images nobody opens."""
    folder = tmp_path / "hospital"
    for case in ("a", "b"):
        for name in ("flair", "t1ce", "t1", "t2", "seg"):
            (folder / case).mkdir(parents=True, exist_ok=True)
            (folder / case / f"{case}_{name}.nii.gz").touch()
    return folder


def test_a_data_set_is_called_as_its_folder(patients):
    MakeDatalist(patients, patients / "datalist.json", sections="testing").write()
    assert describe(patients) == {"name": "hospital", "synthetic": False, "section": "testing", "num_cases": 2}


@pytest.mark.parametrize(("given", "expected"), [("Hospital, 2026", "Hospital, 2026"), (2026, "2026")])
def test_a_datalist_may_name_its_data_set(patients, given, expected):
    MakeDatalist(patients, patients / "datalist.json", sections="testing", name=given).write()
    assert describe(patients)["name"] == expected


def test_phantoms_are_called_so_wherever_they_lie(phantoms):
    found = describe(phantoms, "training")
    assert found == {"name": PHANTOMS, "synthetic": True, "section": "training", "num_cases": 3}


def test_another_datalist_does_not_turn_phantoms_into_patients(phantoms, patients):
    entries = read_section(phantoms / "datalist.json", "testing")
    real = {"case": "a", "image": str(patients / "a" / "a_flair.nii.gz"), "channels": ["flair"]}
    for name, cases, synthetic in (("real", [real], False), ("both", [real, *entries], True)):
        write_datalist(patients / f"{name}.json", {"testing": cases}, ["flair", "t1ce", "t1", "t2"], name="of mine")
        found = describe(patients, datalist_file=f"{name}.json")
        expected = f"of mine, {PHANTOMS}" if synthetic else "of mine"
        assert (found["name"], found["synthetic"], found["num_cases"]) == (expected, synthetic, len(cases))


def test_phantoms_made_on_the_spot_are_described_where_there_is_no_data_set(tmp_path, monkeypatch):
    monkeypatch.setattr("scripts.phantom.cases.PHANTOM_CASES", {"training": 0, "validation": 0, "testing": 1})
    monkeypatch.setattr("scripts.phantom.cases.PHANTOM_SPACING", 16.0)
    place = str(tmp_path / "made")
    cases = cases_or_phantoms("testing", PhantomSettings().modalities, phantom_dir=place)
    found = describe_data(cases, "testing", "", phantom_dir=place)
    assert found == {"name": PHANTOMS, "synthetic": True, "section": "testing", "num_cases": 1}


def test_without_a_data_set_and_a_place_for_phantoms_nothing_can_be_described():
    with pytest.raises(FileNotFoundError, match="`dataset_dir` is empty"):
        describe_data([], "testing")


@pytest.mark.parametrize("phantom_dir", [None, "nowhere"])
def test_phantoms_that_are_made_while_a_network_trains_are_phantoms_without_any_datalist(phantom_dir):
    entries = phantom_entries(5, ["flair", "t2"])
    expected = {"name": PHANTOMS, "synthetic": True, "section": "training", "num_cases": 5}
    assert describe_data(entries, "training", phantom_dir=phantom_dir) == expected
    assert describe_training(entries, phantom_dir=phantom_dir) == {**expected, "num_synthetic": 5}


def test_cases_of_monai_label_are_not_taken_for_the_phantoms_that_lie_where_there_is_no_data_set(phantoms, tmp_path):
    cases = [{"image": str(tmp_path / "studies" / "a.mri"), "label": str(tmp_path / "final" / "a.nii.gz")}]
    found = describe_training(cases, phantom_dir=str(phantoms))
    expected = {"name": "studies", "synthetic": False, "section": "training", "num_cases": 1, "num_synthetic": 0}
    assert found == expected


def test_of_a_training_each_phantom_is_counted(phantoms, patients):
    entries = read_section(phantoms / "datalist.json", "testing")
    real = {"case": "a", "image": str(patients / "a" / "a_flair.nii.gz"), "channels": ["flair"]}
    write_datalist(patients / "both.json", {"training": [real, *entries]}, ["flair", "t1ce", "t1", "t2"])
    cases = read_section(patients / "both.json", "training")
    for number, each in ((2, cases), (0, cases[:1]), (2, cases[1:]), (5, [*cases, *phantom_entries(3, ["flair"])])):
        found = describe_training(each, dataset_dir=str(patients), datalist_file="both.json")
        assert (found["num_cases"], found["num_synthetic"], found["synthetic"]) == (len(each), number, number > 0)
