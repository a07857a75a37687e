# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os

import numpy as np
import pytest

from scripts.data.case import Case
from scripts.data.case_error import CaseError
from scripts.data.datalist import availability, read_section, simulate_missing, write_datalist

MODALITIES = ["flair", "t1ce", "t1", "t2"]


def entry(case: str, *names: str, **more) -> dict:
    return {"case": case, "images": {name: f"{case}/{name}.nii.gz" for name in names}, **more}


def stacked(case: str, *channels: str | None) -> dict:
    return {"case": case, "image": f"{case}.nii.gz", "channels": list(channels)}


def write(path, *entries, modalities=MODALITIES) -> str:
    path = path / "datalist.json"
    path.write_text(json.dumps({"modalities": modalities, "training": list(entries)}))
    return str(path)


def test_paths_are_read_relative_to_the_datalist_and_other_keys_are_kept(tmp_path):
    file = write(tmp_path, entry("a", "flair", "t2", label="a/seg.nii.gz", label_convention="brats2021", site="X"))
    assert read_section(file, "training", MODALITIES) == [
        Case(
            "a",
            {"flair": str(tmp_path / "a/flair.nii.gz"), "t2": str(tmp_path / "a/t2.nii.gz")},
            label=str(tmp_path / "a/seg.nii.gz"),
            label_convention="brats2021",
            more={"site": "X"},
        )
    ]


def test_absolute_paths_stay_as_they_are(tmp_path):
    file = write(tmp_path, {"case": "a", "images": {"t1": "/elsewhere/t1.nii"}})
    assert read_section(file, "training")[0].images == {"t1": "/elsewhere/t1.nii"}


def test_what_is_written_is_read_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entries = [entry("a", "flair", label="a/seg.nii", label_convention="msd"), stacked("b", "flair", None, "t1ce")]
    write_datalist("lists/new/datalist.json", {"training": entries, "testing": []}, MODALITIES, seed=3)
    content = json.loads((tmp_path / "lists/new/datalist.json").read_text())
    assert content["modalities"] == MODALITIES and content["seed"] == 3
    assert content["training"][0]["images"] == {"flair": "../../a/flair.nii.gz"}
    first, second = read_section("lists/new/datalist.json", "training", MODALITIES)
    assert first.images == {"flair": str(tmp_path / "a/flair.nii.gz")}
    assert first.label == str(tmp_path / "a/seg.nii")
    assert second.image == str(tmp_path / "b.nii.gz") and second.channels == ("flair", None, "t1ce")
    assert read_section("lists/new/datalist.json", "testing") == []
    assert os.listdir(tmp_path / "lists/new") == ["datalist.json"]


def test_linked_folders_lead_to_the_same_files(tmp_path):
    data, lists = tmp_path / "disk/deep/data", tmp_path / "lists"
    data.mkdir(parents=True)
    lists.mkdir()
    (data / "t1.nii").touch()
    (tmp_path / "link").symlink_to(data)
    (tmp_path / "disk/list_link").symlink_to(lists)
    write_datalist(
        lists / "d.json", {"training": [{"case": "a", "images": {"t1": str(tmp_path / "link/t1.nii")}}]}, ["t1"]
    )
    for file in (lists / "d.json", tmp_path / "disk/list_link/d.json"):
        assert os.path.exists(read_section(file, "training")[0].images["t1"])


def test_failed_write_leaves_the_old_datalist(tmp_path):
    path = tmp_path / "datalist.json"
    write_datalist(path, {"training": [entry("a", "t1")]}, MODALITIES)
    before = path.read_text()
    with pytest.raises(TypeError):
        write_datalist(path, {"training": [entry("b", "t1")]}, MODALITIES, seed=object())
    assert path.read_text() == before and os.listdir(tmp_path) == ["datalist.json"]


def test_section_and_property_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"would have \['seed'\] both as a section and as a property"):
        write_datalist(tmp_path / "d.json", {"seed": []}, MODALITIES, seed=1)


def test_images_of_modalities_that_are_not_configured_are_left_out_with_a_warning(tmp_path, caplog):
    file = write(tmp_path, entry("a", "flair", "t1"), stacked("b", "flair", "t1", "t2"))
    first, second = read_section(file, "training", ["t1"])
    assert list(first.images) == ["t1"] and second.channels == (None, "t1", None)
    assert "['flair', 't1ce', 't2'] are not configured" in caplog.text


def test_case_without_any_configured_modality_is_named(tmp_path):
    file = write(tmp_path, entry("a", "flair", "t1"))
    with pytest.raises(CaseError, match=r"case `a`: has \['flair', 't1'\] but none of the configured .*\['t2'\]"):
        read_section(file, "training", ["t2"])


def test_configuration_may_have_more_modalities_than_the_datalist(tmp_path):
    file = write(tmp_path, entry("a", "flair"), modalities=["flair", "t1ce"])
    assert list(read_section(file, "training", MODALITIES)[0].images) == ["flair"]


def test_modalities_spelt_differently_are_refused(tmp_path):
    file = write(tmp_path, entry("a", "flair"), modalities=["flair", "t1c"])
    with pytest.raises(ValueError, match=r"names the modalities \['flair', 't1c'\] but the configuration"):
        read_section(file, "training", MODALITIES)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (entry("a"), "case `a`: section .* lists no modality"),
        (stacked("a", None, None), "case `a`: section .* lists no modality"),
        (entry("a", "t1", "adc"), r"case `a`: section .* lists the unknown modalities \['adc'\]; expected any of"),
        (stacked("a", "t1", "t1"), "lists the channels .* expected every modality once"),
        ({"case": "a"}, r"has the keys \['case'\]; expected either `images`"),
        ({"case": "a", "image": "a.nii"}, "expected either `images` by modality, or one `image` and its `channels`"),
        ({"case": "a", "images": ["a.nii"]}, "expected either `images`"),
        ({"case": "a", "images": {"t1": None}}, "has None in place of a path"),
        (entry("a", "t1", label=""), "has '' in place of a path"),
        (entry("a", "t1", label="seg.nii"), "has a label but no `label_convention`"),
    ],
)
def test_entry_that_is_not_understood_is_named(tmp_path, bad, message):
    with pytest.raises(CaseError, match=message):
        read_section(write(tmp_path, bad), "training", MODALITIES)
    with pytest.raises(CaseError, match=message):
        write_datalist(tmp_path / "new.json", {"training": [bad]}, MODALITIES)
    assert not (tmp_path / "new.json").exists()


def test_case_that_comes_twice_is_named_with_both_images(tmp_path):
    file = write(tmp_path, entry("a", "t1"), entry("a", "t2"))
    with pytest.raises(CaseError, match="case `a`: comes twice in section `training` .*a/t1.nii.gz.*a/t2.nii.gz"):
        read_section(file, "training")


def test_entry_without_a_name_is_counted(tmp_path):
    file = write(tmp_path, entry("a", "t1"), {"images": {"t1": "b.nii"}})
    with pytest.raises(ValueError, match="entry 1 of section `training` of .* has no `case`"):
        read_section(file, "training")


def test_missing_section_is_reported_with_those_there_are(tmp_path):
    with pytest.raises(ValueError, match=r"has no section `testing`; its sections are \['training'\]"):
        read_section(write(tmp_path, entry("a", "t1")), "testing")


def test_file_that_is_no_datalist_is_refused(tmp_path):
    file = tmp_path / "datalist.json"
    with pytest.raises(ValueError, match="does not exist; .*make_datalist"):
        read_section(file, "training")
    file.write_text("{")
    with pytest.raises(ValueError, match="cannot be read as JSON"):
        read_section(file, "training")
    file.write_text("[]")
    with pytest.raises(ValueError, match="holds a list; expected an object of sections"):
        read_section(file, "training")


def test_availability_has_a_row_for_each_case_and_a_column_for_each_modality():
    entries = [entry("a", "t2", "flair"), stacked("b", "t1", None, "t1ce")]
    for cases in (entries, [Case.from_entry(each) for each in entries]):
        np.testing.assert_array_equal(availability(cases, MODALITIES), [[1, 0, 0, 1], [0, 1, 1, 0]])
    assert availability([], MODALITIES).shape == (0, 4)


def test_simulated_absence_adds_to_real_absence_and_never_empties_a_case():
    cases = [
        Case.from_entry(each) for each in (entry("a", "flair", "t1"), entry("b", "flair"), stacked("c", "flair", "t1"))
    ]
    removed_flair = np.array([[False, True]] * 3)
    result, untouched = simulate_missing(cases, removed_flair, ["flair", "t1"])
    assert [list(result[0].images), list(result[1].images), list(result[2].channels)] == [
        ["t1"],
        ["flair"],
        [None, "t1"],
    ]
    assert untouched == ["b"]  # would have nothing left


@pytest.mark.parametrize("modalities", [5, "flair", [1, 2], {"flair": 0}])
def test_modalities_that_are_no_list_of_names_are_refused(tmp_path, modalities):
    (tmp_path / "d.json").write_text(json.dumps({"training": [entry("a", "t1")], "modalities": modalities}))
    with pytest.raises(ValueError, match=r"datalist `.*d.json` has `modalities` .*; expected a list of names"):
        read_section(tmp_path / "d.json", "training", MODALITIES)
