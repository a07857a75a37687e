# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scripts.data.datalist import availability, read_section
from scripts.data.missing_rate import assign_availability
from scripts.tools.make_datalist import MakeDatalist

MODALITIES = ["flair", "t1ce", "t1", "t2"]
REPOSITORY = Path(__file__).parents[2]
REAL_DATA = REPOSITORY.parent / "shared" / "data"


def make_cases(folder: Path, number: int, names=MODALITIES, label: bool = True) -> Path:
    for place in range(number):
        case = folder / f"{folder.name}_{place:03d}"
        case.mkdir(parents=True)
        for name in [*names, *(["seg"] if label else [])]:
            (case / f"{case.name}_{name}.nii.gz").touch()
    return folder


def names(path: Path, section: str) -> list[str]:
    return [case.name for case in read_section(path, section)]


def test_split_datalist_records_how_it_was_made_and_prints_the_audit(tmp_path, capsys):
    output = tmp_path / "datalist.json"
    assert MakeDatalist(make_cases(tmp_path / "A", 10), output, split=(0.7, 0.1, 0.2), seed=3).write() == [output]
    assert [len(names(output, section)) for section in ("training", "validation", "testing")] == [7, 1, 2]
    content = json.loads(output.read_text())
    assert content["modalities"] == MODALITIES
    assert set(content["training"][0]) == {"case", "images", "label", "label_convention"}
    source = {"folder": str(tmp_path / "A"), "layout": "auto", "cases_by_layout": {"brats2021": 10}}
    assert content["made_from"] == {"folders": [source], "split": [0.7, 0.1, 0.2], "folds": None, "seed": 3}
    printed = capsys.readouterr().out
    assert "training: 7 cases (labels: 7 brats2021)" in printed and f"Datalist: {output}" in printed


def test_missing_rates_are_assigned_over_the_sorted_training_cases_only(tmp_path):
    output, rates = tmp_path / "datalist.json", {"t1": 0.2, "t1ce": 0.4, "flair": 0.6, "t2": 0.8}
    text = ",".join(f"{name}={rate}" for name, rate in rates.items())
    MakeDatalist(make_cases(tmp_path / "A", 30), output, split=(20, 10), missing_rates=text).write()
    training = read_section(output, "training")
    assert names(output, "training") == sorted(names(output, "training"))
    np.testing.assert_array_equal(availability(training, list(rates)), assign_availability(20, list(rates.values())))
    assert availability(read_section(output, "validation"), MODALITIES).all()
    recipe = json.loads(output.read_text())["made_from"]
    assert recipe["missing_rates"] == rates and recipe["rates_seed"] == 1037 and recipe["cases_not_reduced"] == []
    assert sum(path.is_file() for path in (tmp_path / "A").rglob("*")) == 30 * 5  # no file was touched


def test_hearts_have_the_published_order_of_modalities_and_rates_without_further_options(tmp_path):
    files = [f"train25/h_{number}_{ending}" for number in range(20) for ending in ("C0", "DE", "T2")]
    for file in files + [f"train25_myops_gd/h_{number}_gd" for number in range(20)]:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / f"{file}.nii.gz").touch()
    MakeDatalist(tmp_path, tmp_path / "list.json", missing_rates="bssfp=0.3,lge=0.5,t2=0.7").write()
    order = ["bssfp", "lge", "t2"]
    assert json.loads((tmp_path / "list.json").read_text())["modalities"] == order
    drawn = availability(read_section(tmp_path / "list.json", "training", order), order)
    np.testing.assert_array_equal(drawn, assign_availability(20, [0.3, 0.5, 0.7]))


def test_real_absence_stays_and_a_case_that_would_be_empty_keeps_what_it_has(tmp_path, capsys):
    output = tmp_path / "datalist.json"
    MakeDatalist(
        make_cases(tmp_path / "A", 20, ["flair", "t2"]), output, missing_rates="flair=0.7,t1=0.1,t2=0.7"
    ).write()
    training = availability(read_section(output, "training"), MODALITIES)
    drawn = assign_availability(20, [0.7, 0.1, 0.7, 0.0])[:, [0, 3, 1, 2]]  # not named: t1ce, with rate 0, comes last
    expected = drawn & [True, False, False, True]
    emptied = ~expected.any(axis=1)
    assert 0 < emptied.sum() < 20
    np.testing.assert_array_equal(training[~emptied], expected[~emptied])
    assert (training[emptied] == [True, False, False, True]).all()
    assert (
        f"{emptied.sum()} cases would be left without any modality and keep what they have" in capsys.readouterr().out
    )
    assert len(json.loads(output.read_text())["made_from"]["cases_not_reduced"]) == emptied.sum()


def test_folds_are_written_to_a_file_each(tmp_path):
    paths = MakeDatalist(make_cases(tmp_path / "A", 7), tmp_path / "list.json", folds=3).write()
    assert [path.name for path in paths] == ["list_fold0.json", "list_fold1.json", "list_fold2.json"]
    assert sorted(name for path in paths for name in names(path, "validation")) == names_of(tmp_path / "A")
    assert not (tmp_path / "list.json").exists()


def names_of(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_cases_without_a_label_go_to_a_section_of_their_own(tmp_path):
    folders = f"{make_cases(tmp_path / 'A', 2)},{make_cases(tmp_path / 'B', 3, label=False)}"
    MakeDatalist(folders, tmp_path / "list.json", sections="training,validation").write()
    for section, expected in (("training", "A"), ("validation", "A"), ("unlabelled", "B")):
        assert names(tmp_path / "list.json", section) == names_of(tmp_path / expected)


def test_folders_with_a_layout_each(tmp_path):
    first, second = make_cases(tmp_path / "A", 1), tmp_path / "B"
    (second / "p").mkdir(parents=True)
    (second / "p" / "Flair_1.nii.gz").touch()
    recipe = MakeDatalist((first, second), tmp_path / "l.json", ("brats2021", "custom"), "flair=Flair_*,adc=ADC_*")
    recipe.write()
    content = json.loads((tmp_path / "l.json").read_text())
    assert [source["layout"] for source in content["made_from"]["folders"]] == ["brats2021", "custom"]
    assert [entry["images"] for entry in content["unlabelled"]] == [{"flair": "B/p/Flair_1.nii.gz"}]
    recipe.layout = ("auto", "auto", "auto")
    with pytest.raises(ValueError, match="3 layouts for 2 folders; expected one, or one for each"):
        recipe.write()


def test_case_found_in_two_folders_is_refused(tmp_path):
    folder = make_cases(tmp_path / "A", 1)
    with pytest.raises(ValueError, match="case `A_000`: comes twice in the folders"):
        MakeDatalist((folder, folder), tmp_path / "l.json").write()


def test_all_ambiguous_cases_are_named_and_nothing_is_written(tmp_path):
    folder = make_cases(tmp_path / "A", 3)
    for place in (0, 2):
        (folder / f"A_{place:03d}" / f"A_{place:03d}_t1.nii").touch()
    with pytest.raises(
        SystemExit, match="No datalist written: .*ambiguous:\ncase `A_000`: 2 files .*\ncase `A_002`: 2"
    ):
        MakeDatalist(folder, tmp_path / "l.json")()
    assert not (tmp_path / "l.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": (0.5, 0.5), "folds": 2}, "expected only one of them"),
        ({"missing_rates": "t9=0.1"}, r"name the modalities \['t9'\]"),
        (
            {"missing_rates": "t1=0.1", "sections": "testing"},
            "missing rates are for the section `training`, which has no",
        ),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        MakeDatalist(make_cases(tmp_path / "A", 2), tmp_path / "l.json", **options).write()
    assert not (tmp_path / "l.json").exists()


def test_nothing_to_divide_without_labels(tmp_path):
    with pytest.raises(ValueError, match="none of the cases has a label"):
        MakeDatalist(make_cases(tmp_path / "A", 2, label=False), tmp_path / "l.json", split=(0.5, 0.5)).write()


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"the real cases are not at {REAL_DATA}")
def test_command_line_makes_one_datalist_of_all_real_cases(tmp_path):
    command = [sys.executable, "-m", "scripts.tools.make_datalist", "--output", str(tmp_path / "list.json")]
    command += ["--folder", f"{REAL_DATA}/brats2023_gli,{REAL_DATA}/brats2015_two_modalities"]
    command += ["--patterns", "flair=Flair_*.nii.gz,t1ce=T1c_*.nii.gz", "--label_pattern", "OTMultiClass.nii.gz"]
    command += ["--label_convention", "brats2015"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    cases = read_section(tmp_path / "list.json", "training", MODALITIES)
    assert [case.label_convention for case in cases] == ["brats2023", "brats2015", "brats2015"]
    assert availability(cases, MODALITIES).sum(axis=1).tolist() == [4, 2, 2]
    assert all(Path(path).is_file() for case in cases for path in case.files)
    assert "flair+t1ce             2    66.7 %" in done.stdout
