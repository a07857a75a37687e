# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from scripts.data.datalist import SIMULATED_FILE, read_section
from scripts.phantom import record
from scripts.phantom.dataset import PhantomSettings, make_phantom, write_phantoms
from scripts.phantom.variety import get_variety
from scripts.tools.draw_phantoms import main as draw_phantoms
from scripts.tools.make_phantoms import MakePhantoms

MODALITIES = ("flair", "t1ce", "t1", "t2")
SETTINGS = PhantomSettings(spacing_mm=8.0, grid_shape=(22, 26, 24), modalities=MODALITIES, seed=1)
NUM_CASES = {"training": 8, "validation": 1, "testing": 2}
RATES = {"t1": 0.2, "t1ce": 0.4, "flair": 0.6, "t2": 0.8}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms")
    return write_phantoms(folder, NUM_CASES, SETTINGS, RATES, progress=False)


def voxels(path):
    return np.asarray(nibabel.load(path).dataobj)


def test_files_hold_the_phantoms_in_brats_names_and_labels(written):
    phantom = make_phantom(SETTINGS, 9)
    stem = written.parent / "phantom_0009" / "phantom_0009"
    for m, modality in enumerate(MODALITIES):
        np.testing.assert_array_equal(voxels(f"{stem}_{modality}.nii.gz"), phantom.images[m])
    label = nibabel.load(f"{stem}_seg.nii.gz")
    np.testing.assert_allclose(label.affine, phantom.affine)
    assert label.get_data_dtype() == np.uint8 and phantom.label.max() == 3
    np.testing.assert_array_equal(np.asarray(label.dataobj), np.array([0, 1, 2, 4])[phantom.label])


def test_datalist_lists_what_was_acquired_and_how_it_was_made(written):
    content = json.loads(written.read_text())
    assert content["modalities"] == list(MODALITIES) and content["missing_rates"] == RATES
    assert content["phantom"]["seed"] == 1 and content["phantom"]["spacing_mm"] == 8.0
    assert {section: len(content[section]) for section in NUM_CASES} == NUM_CASES
    entry = content["testing"][0]
    assert entry["case"] == "phantom_0009" and entry["label_convention"] == "brats2021"
    assert entry["images"]["t1"] == "phantom_0009/phantom_0009_t1.nii.gz"


def test_only_training_cases_lack_modalities_and_absent_ones_have_no_file(written):
    for section in NUM_CASES:
        for entry in read_section(written, section, MODALITIES):
            case = written.parent / entry.name
            files = {file.name for file in case.iterdir()}
            assert files == {f"{entry.name}_{name}.nii.gz" for name in (*entry.images, "seg")}
            assert section == "training" or entry.listed == list(MODALITIES)
    counts = [len(entry.images) for entry in read_section(written, "training")]
    assert min(counts) >= 1 and sum(counts) < 8 * 4


def test_a_complete_folder_is_returned_untouched(written):
    before = {file: file.stat().st_mtime_ns for file in written.parent.rglob("*")}
    assert write_phantoms(written.parent, NUM_CASES, SETTINGS, RATES, progress=False) == written
    assert {file: file.stat().st_mtime_ns for file in written.parent.rglob("*")} == before


def test_an_interrupted_run_goes_on_and_makes_the_same_files(tmp_path, written, monkeypatch):
    made = []

    def make(settings, index):
        made.append(index)
        if made == [0, 1, 2]:
            raise KeyboardInterrupt
        return make_phantom(settings, index)

    monkeypatch.setattr("scripts.phantom.dataset.make_phantom", make)
    with pytest.raises(KeyboardInterrupt):
        write_phantoms(tmp_path, {"testing": 4}, SETTINGS, progress=False)
    assert not (tmp_path / "datalist.json").exists()
    made.append("again")
    write_phantoms(tmp_path, {"testing": 4}, SETTINGS, progress=False)
    assert made == [0, 1, 2, "again", 2, 3]
    for entry in read_section(tmp_path / "datalist.json", "testing"):
        other = written.parent / entry.name / f"{entry.name}_seg.nii.gz"
        np.testing.assert_array_equal(voxels(entry.label), voxels(other))


def test_other_settings_in_the_same_folder_are_refused(written):
    with pytest.raises(ValueError, match="holds phantoms of other settings: `seed` is 1, asked for is 2"):
        write_phantoms(written.parent, NUM_CASES, PhantomSettings(8.0, (22, 26, 24), MODALITIES, 2), RATES)
    with pytest.raises(ValueError, match="other settings: `missing_rates`"):
        write_phantoms(written.parent, NUM_CASES, SETTINGS, {**RATES, "t2": 0.7})


def test_a_variety_that_was_edited_since_is_refused(written, monkeypatch):
    edited = replace(get_variety("typical"), shear=0.5)
    monkeypatch.setattr(record, "get_variety", lambda name: edited)
    with pytest.raises(ValueError, match=f"`shear` is {get_variety('typical').shear}, asked for is 0.5"):
        write_phantoms(written.parent, NUM_CASES, SETTINGS, RATES, progress=False)


def test_a_folder_from_before_there_were_varieties_stays_valid(tmp_path):
    few = {"testing": 1}
    datalist = write_phantoms(tmp_path, few, SETTINGS, progress=False)
    file = tmp_path / SIMULATED_FILE
    old = {name: value for name, value in json.loads(file.read_text()).items() if name not in ("variety", "ranges")}
    file.write_text(json.dumps(old))
    assert write_phantoms(tmp_path, few, SETTINGS, progress=False) == datalist
    assert json.loads(file.read_text()) == old
    with pytest.raises(ValueError, match="`variety` is typical, asked for is randomized"):
        write_phantoms(tmp_path, few, replace(SETTINGS, variety="randomized"), progress=False)


def test_unknown_sections_and_modalities_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"names the sections \['test'\]; expected some of \['training'"):
        write_phantoms(tmp_path / "a", {"test": 1}, SETTINGS)
    with pytest.raises(ValueError, match="missing rates name the modalities"):
        write_phantoms(tmp_path / "a", NUM_CASES, SETTINGS, {"t1gd": 0.5})
    assert not (tmp_path / "a").exists()


def test_the_tool_makes_phantoms_and_says_where(tmp_path, capsys):
    MakePhantoms(str(tmp_path), 2, 0, 1, 10.0, (16, 18, 16), "flair,t1ce", missing_rates="flair=0.5")()
    assert f"3 phantoms: {tmp_path / 'datalist.json'}" in capsys.readouterr().out
    assert len(read_section(tmp_path / "datalist.json", "training", ["flair", "t1ce"])) == 2
    with pytest.raises(SystemExit, match="No phantoms made: .*other settings"):
        MakePhantoms(str(tmp_path), 3, 0, 1, 10.0, (16, 18, 16), "flair,t1ce")()


def test_the_tool_makes_phantoms_of_the_variety_asked_for(tmp_path):
    MakePhantoms(str(tmp_path), 0, 0, 1, 8.0, (22, 26, 24), MODALITIES, 1, variety="randomized")()
    phantom = make_phantom(replace(SETTINGS, variety="randomized"), 0)
    (entry,) = read_section(tmp_path / "datalist.json", "testing")
    np.testing.assert_array_equal(voxels(entry.images["t1ce"]), phantom.images[1])
    with pytest.raises(
        SystemExit, match=r"No phantoms made: `variety` of phantoms is 'wild'; expected one of \['typical'"
    ):
        MakePhantoms(str(tmp_path / "other"), variety="wild")()


def test_the_figure_is_a_png(tmp_path):
    draw_phantoms(str(tmp_path / "figure.png"), (0, 1), 8.0, MODALITIES)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_the_figure_shows_the_variety_asked_for(tmp_path):
    files = [tmp_path / f"{variety}.png" for variety in ("typical", "randomized", "wild")]
    for file in files[:2]:
        draw_phantoms(str(file), 0, 8.0, "flair,t1ce", variety=file.stem)
    assert files[0].read_bytes() != files[1].read_bytes()
    with pytest.raises(SystemExit, match="No phantoms drawn: `variety` of phantoms is 'wild'"):
        draw_phantoms(str(files[2]), variety="wild")
