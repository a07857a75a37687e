# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.data.case import Case
from scripts.data.case_error import CaseError
from scripts.data.label_conventions import convention_names
from scripts.data.layouts import find_cases, order_modalities, read_layout_file

REAL_DATA = Path(__file__).parents[2].parent / "shared" / "data"
CUSTOM = {"patterns": "flair=Flair_*.nii.gz,t1ce=T1c_*.nii.gz"}
CUSTOM_LABEL = {"label_pattern": "OTMultiClass.nii.gz", "label_convention": "brats2015"}


def make(root: Path, *files: str) -> Path:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def short(cases: list[Case], root: Path) -> dict[str, dict]:
    """Entries and layouts by case, with paths below the root."""

    def below(value: object) -> object:
        if isinstance(value, dict):
            return {key: below(inner) for key, inner in value.items()}
        return str(Path(value).relative_to(root)) if str(value).startswith(str(root)) else value

    entries = [{**case.to_entry(), "layout": case.layout} for case in cases]
    return {entry.pop("case"): {key: below(value) for key, value in entry.items()} for entry in entries}


def make_decathlon(root: Path, **changes) -> Path:
    make(root, "imagesTr/BRATS_001.nii.gz", "imagesTr/._BRATS_001.nii.gz", "labelsTr/BRATS_001.nii.gz")
    make(root, "labelsTr/._BRATS_001.nii.gz", "imagesTs/BRATS_485.nii.gz", "._dataset.json")
    description = {
        "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
        "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
    }
    (root / "dataset.json").write_text(json.dumps({**description, **changes}))
    return root


def test_brats_2018_to_2021_with_grade_folders_and_incomplete_cases(tmp_path):
    make(
        tmp_path,
        "HGG/A_1/A_1_flair.nii.gz",
        "HGG/A_1/A_1_t1.nii.gz",
        "HGG/A_1/A_1_t1ce.nii.gz",
        "HGG/A_1/A_1_t2.nii.gz",
    )
    make(tmp_path, "HGG/A_1/A_1_seg.nii.gz", "LGG/B_1/B_1_t1ce.nii", "LGG/B_1/B_1_seg.nii", "name_mapping.csv")
    assert short(find_cases(tmp_path), tmp_path) == {
        "A_1": {
            "layout": "brats2021",
            "images": {name: f"HGG/A_1/A_1_{name}.nii.gz" for name in ("flair", "t1ce", "t1", "t2")},
            "label": "HGG/A_1/A_1_seg.nii.gz",
            "label_convention": "brats2021",
        },
        "B_1": {
            "layout": "brats2021",
            "images": {"t1ce": "LGG/B_1/B_1_t1ce.nii"},
            "label": "LGG/B_1/B_1_seg.nii",
            "label_convention": "brats2021",
        },
    }


def test_label_of_the_case_that_was_published_under_another_name(tmp_path):
    name = "BraTS20_Training_355"
    make(tmp_path, f"{name}/{name}_t1.nii", f"{name}/W39_1998.09.19_Segm.nii")
    assert short(find_cases(tmp_path), tmp_path)[name]["label"] == f"{name}/W39_1998.09.19_Segm.nii"


@pytest.mark.parametrize(("layout", "convention"), [("auto", "brats2023"), ("brats2024", "brats2024")])
def test_brats_2023_and_the_convention_of_2024_when_asked(tmp_path, layout, convention):
    name = "BraTS-GLI-00000-000"
    make(tmp_path, *(f"{name}/{name}-{suffix}.nii.gz" for suffix in ("t2f", "t1n", "t1c", "t2w", "seg")))
    (entry,) = find_cases(tmp_path, layout)
    expected = {"flair": "t2f", "t1ce": "t1c", "t1": "t1n", "t2": "t2w"}
    assert {key: Path(path).name for key, path in entry.images.items()} == {
        key: f"{name}-{suffix}.nii.gz" for key, suffix in expected.items()
    }
    assert entry.label_convention == convention and entry.layout == convention


def test_ucsf_pdgm_takes_no_derived_image(tmp_path):
    folder, name = "UCSF-PDGM-0004_nifti", "UCSF-PDGM-0004"
    acquired = {"flair": "FLAIR", "t1ce": "T1c", "t1": "T1", "t2": "T2"}
    make(tmp_path, *(f"{folder}/{name}_{suffix}.nii.gz" for suffix in acquired.values()))
    make(tmp_path, *(f"{folder}/{name}_{suffix}_bias.nii.gz" for suffix in acquired.values()))
    make(tmp_path, *(f"{folder}/{name}_{more}.nii.gz" for more in ("DWI", "brain_segmentation", "tumor_segmentation")))
    assert short(find_cases(tmp_path), tmp_path) == {
        name: {
            "layout": "ucsf_pdgm",
            "images": {key: f"{folder}/{name}_{suffix}.nii.gz" for key, suffix in acquired.items()},
            "label": f"{folder}/{name}_tumor_segmentation.nii.gz",
            "label_convention": "brats2021",
        }
    }


def test_upenn_gbm_with_labels_in_a_folder_of_their_own(tmp_path):
    name = "UPENN-GBM-00001_11"
    acquired = {"flair": "FLAIR", "t1ce": "T1GD", "t1": "T1", "t2": "T2"}
    make(tmp_path, *(f"images_structural/{name}/{name}_{suffix}.nii.gz" for suffix in acquired.values()))
    make(tmp_path, f"images_unstripped/{name}/{name}_T1_unstripped.nii.gz", f"images_segm/{name}_segm.nii.gz")
    make(tmp_path, f"automated_segm/{name}_automated_approx_segm.nii.gz")
    (short_entry,) = short(find_cases(tmp_path), tmp_path).values()
    assert short_entry["layout"] == "upenn_gbm" and list(short_entry["images"]) == list(acquired)
    assert short_entry["label"] == f"images_segm/{name}_segm.nii.gz" and short_entry["label_convention"] == "brats2021"


def test_myops_with_labels_in_a_folder_of_their_own_and_incomplete_cases(tmp_path):
    make(tmp_path, *(f"train25/myops_training_101_{ending}.nii.gz" for ending in ("C0", "DE", "T2")))
    make(tmp_path, "train25/myops_training_102_T2.nii.gz")
    make(tmp_path, *(f"train25_myops_gd/myops_training_{number}_gd.nii.gz" for number in (101, 102)))
    found = short(find_cases(tmp_path), tmp_path)
    assert found["myops_training_101"] == {
        "layout": "myops2020",
        "images": {
            "bssfp": "train25/myops_training_101_C0.nii.gz",
            "lge": "train25/myops_training_101_DE.nii.gz",
            "t2": "train25/myops_training_101_T2.nii.gz",
        },
        "label": "train25_myops_gd/myops_training_101_gd.nii.gz",
        "label_convention": "myops2020",
    }
    assert list(found["myops_training_102"]["images"]) == ["t2"]
    assert found["myops_training_102"]["layout"] == "myops2020"


def test_a_t2_image_belongs_to_the_layout_whose_label_or_other_images_lie_beside_it(tmp_path):
    # `<case>_T2` alone is a name of three layouts
    make(tmp_path, "h1/A_T2.nii", "h1/A_gd.nii", "h2/B_T2.nii", "h2/B_C0.nii")
    make(tmp_path, "u1/C_T2.nii", "u1/C_tumor_segmentation.nii", "p1/D_T2.nii", "p1/D_T1GD.nii", "p1/D_segm.nii")
    found = {entry.name: (entry.layout, entry.label_convention) for entry in find_cases(tmp_path)}
    assert found == {
        "A": ("myops2020", "myops2020"),
        "B": ("myops2020", None),
        "C": ("ucsf_pdgm", "brats2021"),
        "D": ("upenn_gbm", "brats2021"),
    }


def test_a_t2_image_alone_follows_its_neighbours_and_is_called_t2_in_any_case(tmp_path):
    heart = make(tmp_path / "hearts", "A_C0.nii", "A_T2.nii", "B_T2.nii")
    brain = make(tmp_path / "brains", "A_FLAIR.nii", "A_T1c.nii", "B_T2.nii")
    for folder, layout in ((heart, "myops2020"), (brain, "ucsf_pdgm")):
        (alone,) = [entry for entry in find_cases(folder) if entry.name == "B"]
        assert (alone.layout, list(alone.images)) == (layout, ["t2"])
    (entry,) = find_cases(make(tmp_path / "one", "X_T2.nii"), modalities=["bssfp", "lge", "t2"])
    assert list(entry.images) == ["t2"]


def test_decathlon_channels_come_in_the_order_its_description_states(tmp_path):
    make_decathlon(tmp_path / "Task01", modality={"1": "T1w", "0": "T2w", "2": "FLAIR", "3": "t1gd"})
    assert short(find_cases(tmp_path), tmp_path) == {
        "BRATS_001": {
            "layout": "msd",
            "image": "Task01/imagesTr/BRATS_001.nii.gz",
            "channels": ["t2", "t1", "flair", "t1ce"],
            "label": "Task01/labelsTr/BRATS_001.nii.gz",
            "label_convention": "msd",
        },
        "BRATS_485": {
            "layout": "msd",
            "image": "Task01/imagesTs/BRATS_485.nii.gz",
            "channels": ["t2", "t1", "flair", "t1ce"],
        },
    }


def test_channels_that_are_not_asked_for_stay_in_place_without_a_name(tmp_path):
    entries = find_cases(make_decathlon(tmp_path), modalities=["t1", "t2"])
    assert entries[0].channels == (None, "t1", None, "t2")


def test_decathlon_task_with_other_channels_or_labels_is_refused(tmp_path):
    make_decathlon(tmp_path, modality={"0": "T2", "1": "ADC"})
    with pytest.raises(ValueError, match=r"dataset.json` names the channels \['ADC'\]; expected any of"):
        find_cases(tmp_path)
    make_decathlon(tmp_path, labels={"1": "necrosis", "2": "edema", "3": "enhancing"})
    with pytest.raises(ValueError, match=r"says that the labels are .*necrosis.*; expected .*edema"):
        find_cases(tmp_path)
    assert find_cases(tmp_path, label_convention="brats2023")[0].label_convention == "brats2023"
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(ValueError, match="does not state its channels under `modality`"):
        find_cases(tmp_path)


def test_folders_in_the_manner_of_nnunet_are_not_taken_for_stacked_images(tmp_path):
    make_decathlon(tmp_path)
    make(tmp_path, "imagesTr/X_0000.nii.gz", "imagesTr/X_0001.nii.gz", "labelsTr/X.nii.gz")
    with pytest.raises(ValueError, match="no case found"):
        find_cases(tmp_path)
    patterns = {"flair": "{case}_0000.nii.gz", "t1": "{case}_0001.nii.gz"}
    entries = find_cases(
        tmp_path, "custom", patterns=patterns, label_pattern="labelsTr/{case}.nii.gz", label_convention="brats2023"
    )
    assert short(entries, tmp_path)["X"]["images"] == {
        "flair": "imagesTr/X_0000.nii.gz",
        "t1": "imagesTr/X_0001.nii.gz",
    }
    assert short(entries, tmp_path)["X"]["label"] == "labelsTr/X.nii.gz"


def test_custom_patterns_make_each_folder_a_case(tmp_path):
    make(tmp_path, "p1/Flair_x.nii.gz", "p1/T1c_x.nii.gz", "p1/OTMultiClass.nii.gz", "p1/brainmask.nii.gz")
    make(tmp_path, "p2/T1c_y.nii.gz")
    assert short(find_cases(tmp_path, **CUSTOM, **CUSTOM_LABEL), tmp_path) == {
        "p1": {
            "layout": "custom",
            "images": {"flair": "p1/Flair_x.nii.gz", "t1ce": "p1/T1c_x.nii.gz"},
            "label": "p1/OTMultiClass.nii.gz",
            "label_convention": "brats2015",
        },
        "p2": {"layout": "custom", "images": {"t1ce": "p2/T1c_y.nii.gz"}},
    }


def test_custom_patterns_may_lead_into_sub_folders_and_equal_folder_names_are_told_apart(tmp_path):
    make(tmp_path, "sub1/ses1/anat/x_FLAIR.nii", "sub2/ses1/anat/y_FLAIR.nii")
    entries = find_cases(tmp_path, patterns={"flair": "anat/*_FLAIR"})
    assert [entry.name for entry in entries] == ["sub1_ses1", "sub2_ses1"]


def test_folder_of_one_patient_can_be_given_directly(tmp_path):
    folder = make(tmp_path / "patient", "X_flair.nii.gz", "X_t2.nii.gz")
    assert [entry.name for entry in find_cases(folder)] == ["X"]
    make(folder, "Flair_a.nii.gz")
    (entry,) = find_cases(folder, **CUSTOM)
    assert entry.name == "patient" and list(entry.images) == ["flair"]


def test_all_files_may_lie_in_one_folder(tmp_path):
    make(tmp_path, "X_flair.nii.gz", "Y_flair.nii.gz", "Y_t1ce.nii.gz", "Z-t2f.nii.gz")
    found = {entry.name: (entry.layout, list(entry.images)) for entry in find_cases(tmp_path)}
    assert found == {
        "X": ("brats2021", ["flair"]),
        "Y": ("brats2021", ["flair", "t1ce"]),
        "Z": ("brats2023", ["flair"]),
    }


def test_folder_with_several_layouts_is_read_case_by_case(tmp_path):
    make(
        tmp_path, "new/N-t1c.nii.gz", "new/N-seg.nii.gz", "old/O_t1ce.nii.gz", "old/O_seg.nii.gz", "own/Flair_1.nii.gz"
    )
    found = {entry.name: entry.layout for entry in find_cases(tmp_path, **CUSTOM)}
    assert found == {"N": "brats2023", "O": "brats2021", "own": "custom"}


def test_incomplete_case_follows_the_layout_of_its_neighbours(tmp_path):
    make(tmp_path, "A_FLAIR.nii.gz", "A_T1GD.nii.gz", "A_T1.nii.gz", "B_FLAIR.nii.gz")  # B fits UCSF-PDGM as well
    assert {entry.layout for entry in find_cases(tmp_path)} == {"upenn_gbm"}


def test_order_of_modalities_is_that_asked_for(tmp_path):
    make(tmp_path, *(f"X_{name}.nii" for name in ("flair", "t1ce", "t1", "t2")))
    assert list(find_cases(tmp_path)[0].images) == read_layout_file()["modalities"]
    assert list(find_cases(tmp_path, modalities=["t2", "flair", "pd"])[0].images) == ["t2", "flair"]


def test_case_without_any_modality_asked_for_is_left_out_with_a_warning(tmp_path, caplog):
    make(tmp_path, "X_flair.nii", "Y_t1.nii")
    assert [entry.name for entry in find_cases(tmp_path, modalities=["t1"])] == ["Y"]
    assert "case `X` has none of the modalities ['t1']" in caplog.text


def test_two_files_for_one_modality_are_both_named(tmp_path):
    make(tmp_path, "X/X_t1.nii", "X/X_t1.nii.gz", "Y/Y_t1.nii")
    with pytest.raises(
        CaseError, match=r"case `X`: 2 files match `t1`, expected one: \['X/X_t1.nii', 'X/X_t1.nii.gz'\]"
    ):
        find_cases(tmp_path)
    failures = []
    assert [entry.name for entry in find_cases(tmp_path, failures=failures)] == ["Y"]
    assert [error.case for error in failures] == ["X"]


def test_two_labels_are_both_named(tmp_path):
    make(tmp_path, "a/X_t1.nii", "a/X_seg.nii", "b/X_seg.nii")
    with pytest.raises(CaseError, match=r"2 files match `label`, expected one: \['a/X_seg.nii', 'b/X_seg.nii'\]"):
        find_cases(tmp_path)


def test_folder_without_cases_is_reported_with_what_was_tried_and_seen(tmp_path):
    make(tmp_path, "p1/image.nii.gz", "notes.txt")
    with pytest.raises(
        ValueError, match=r"no case found in .*: 1 image files seen among 2 files, such as p1/image.nii.gz"
    ) as e:
        find_cases(tmp_path, **CUSTOM)
    for layout, description in read_layout_file()["layouts"].items():
        assert (f"{layout} (" in str(e.value)) == description.get("detected", True)
    assert "custom (Flair_*.nii.gz, T1c_*.nii.gz)" in str(e.value) and "`patterns`" in str(e.value)


def test_folders_with_images_that_no_case_uses_are_logged(tmp_path, caplog):
    make(tmp_path, "X/X_t1.nii", "misspelt/Y_T1.nii.gz.nii")
    find_cases(tmp_path)
    assert "no case was read from 1 folders with images: ['misspelt']" in caplog.text


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    make(tmp_path, "X_t1.nii", "._X_t1.nii", ".cache/X_t1.nii")
    assert [entry.name for entry in find_cases(tmp_path)] == ["X"]


def test_folders_that_link_in_a_circle_are_read_once(tmp_path):
    make(tmp_path, "data/X_t1.nii")
    (tmp_path / "data" / "back").symlink_to(tmp_path)
    assert len(find_cases(tmp_path)) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layout": "brats1999"}, "layout `brats1999` is unknown; expected auto, custom or one of"),
        ({"layout": "custom"}, "layout is `custom` and `patterns` is None; patterns go with"),
        ({"layout": "msd", **CUSTOM}, "layout is `msd` and `patterns` is .*; patterns go with"),
        ({**CUSTOM, "label_pattern": "x.nii"}, "`label_pattern` is `x.nii` but no `label_convention`"),
        ({"patterns": "flair={case}_a,t1=b"}, "expected {case} in all of them or in none"),
        ({"patterns": "flair"}, "patterns are `flair`; expected `name=value` pairs"),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        find_cases(tmp_path, **arguments)


def test_path_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nowhere` is not a folder"):
        find_cases(tmp_path / "nowhere")


def test_modalities_of_own_patterns_come_after_the_known_ones():
    own = Case("a", {"de": "x", "t2": "x", "c0": "x"})
    assert order_modalities([own]) == ["t2", "de", "c0"]
    assert order_modalities([Case("b", image="x", channels=("t2", None))]) == ["flair", "t1ce", "t1", "t2"]


def test_modalities_of_a_layout_have_its_order():
    hearts = [Case(case, {name: "x"}) for case, name in (("a", "t2"), ("b", "lge"))]
    assert order_modalities(hearts) == ["bssfp", "lge", "t2"]
    assert order_modalities([*hearts, Case("c", {"flair": "x"})]) == ["flair", "t2", "lge"]


def test_every_layout_names_a_label_convention_that_exists():
    conventions = {layout["label_convention"] for layout in read_layout_file()["layouts"].values()}
    assert conventions <= set(convention_names())


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"the real cases are not at {REAL_DATA}")
def test_real_cases_of_two_layouts_are_told_apart():
    entries = find_cases(REAL_DATA, **CUSTOM, **CUSTOM_LABEL)
    found = {e.name: (e.layout, e.label_convention, list(e.images)) for e in entries}
    two = ("custom", "brats2015", ["flair", "t1ce"])
    assert found == {
        "TCGA-FG-6692": ("synonyms", None, ["flair", "t1ce", "t1", "t2"]),
        "BraTS-GLI-00000-000": ("brats2023", "brats2023", ["flair", "t1ce", "t1", "t2"]),
        "brats_2013_pat0005_1": two,
        "brats_2013_pat0006_1": two,
    }
    assert all(Path(path).is_file() for e in entries for path in (*e.files, *filter(None, [e.label])))


NAMES = ["flair", "t1ce", "t1", "t2"]


def found_in(root, *files, **how):
    return {case.name: short([case], root)[case.name]["images"] for case in find_cases(make(root, *files), **how)}


@pytest.mark.parametrize(
    ("flair", "t1ce", "t1", "t2"),
    [
        ("P1_FLAIR", "P1_T1C", "P1_T1", "P1_T2"),
        ("P1-t2f", "P1-T1Gd", "P1-T1w", "P1-T2w"),
        ("P1_T2_FLAIR", "P1_t1_post", "P1_T1_pre", "P1_t2"),
        ("P1.Flair", "P1.T1CE", "P1.T1", "P1.T2"),
        ("P1_t2flair", "P1_T1post", "P1_t1n", "P1_T2W"),
    ],
)
@pytest.mark.parametrize("ending", [".nii.gz", ".NII.GZ", ".nii"])
@pytest.mark.parametrize("folder", ["P1/", ""])
def test_names_in_circulation_are_recognised_in_any_case(tmp_path, flair, t1ce, t1, t2, ending, folder):
    files = {name: f"{folder}{stem}{ending}" for name, stem in zip(NAMES, (flair, t1ce, t1, t2), strict=True)}
    assert found_in(tmp_path, *files.values()) == {"P1": files}


def test_bids_names_say_patient_and_visit_first_and_contrast_agent_between(tmp_path):
    start = "sub-01/ses-2/anat/sub-01_ses-2"
    files = {
        "flair": f"{start}_acq-space_FLAIR.nii.gz",
        "t1ce": f"{start}_ce-gadolinium_T1w.nii.gz",
        "t1": f"{start}_run-1_T1w.nii.gz",
        "t2": f"{start}_T2w.nii.gz",
    }
    other = {"flair": "sub-02/anat/sub-02_FLAIR.nii.gz"}
    found = found_in(tmp_path, *files.values(), *other.values(), f"{start}_dir-AP_dwi.nii.gz")
    assert found == {"sub-01_ses-2": files, "sub-02": other}


def test_names_of_a_modality_alone_belong_to_the_folder(tmp_path):
    files = ["A/T1C.nii.gz", "A/flair.nii", "B/scan_T1w.nii.gz", "C/scan_T1w.nii.gz"]
    assert found_in(tmp_path, *files) == {
        "A": {"flair": files[1], "t1ce": files[0]},
        "B": {"t1": files[2]},
        "C": {"t1": files[3]},
    }


def test_a_layout_that_explains_as_much_goes_before_synonyms(tmp_path):
    make(tmp_path, "A_1/A_1_flair.nii.gz", "A_1/A_1_t1.nii.gz", "A_1/A_1_seg.nii.gz", "B/B_T1Gd.nii", "B/B_T2w.nii")
    assert {case.name: (case.layout, bool(case.label)) for case in find_cases(tmp_path)} == {
        "A_1": ("brats2021", True),
        "B": ("synonyms", False),
    }


def test_labels_beside_synonyms_count_where_it_is_said_what_they_mean(tmp_path):
    make(tmp_path, "P1_T1Gd.nii.gz", "P1_T2w.nii.gz", "P1_Seg.nii.gz")
    (case,) = find_cases(tmp_path, label_convention="brats2023")
    assert Path(case.label).name == "P1_Seg.nii.gz" and case.label_convention == "brats2023" and not case.unused
    (case,) = find_cases(tmp_path)
    assert case.label is None and [Path(file).name for file in case.unused] == ["P1_Seg.nii.gz"]


def test_two_candidates_for_one_modality_are_an_error(tmp_path):
    make(tmp_path, "P1_FLAIR.nii.gz", "P1_T1Gd.nii.gz", "P1_T1_post.nii.gz")
    with pytest.raises(CaseError, match="case `P1`: 2 files match `t1ce`, expected one"):
        find_cases(tmp_path)


def test_an_image_that_nothing_explains_is_named_with_its_case(tmp_path, caplog):
    make(tmp_path, "A/A_flair.nii.gz", "A/A_ADC.NII.GZ", "A/notes.txt", "A/brainmask.nii")
    make(tmp_path, "flat/P1_T1w.nii.gz", "flat/P1_SWI.nii.gz", "flat/P10_T1w.nii.gz", "flat/P10_DWI.nii.gz")
    make(tmp_path, "flat/atlas.nii.gz")
    found = {case.name: [Path(file).name for file in case.unused] for case in find_cases(tmp_path)}
    assert found == {"A": ["A_ADC.NII.GZ", "brainmask.nii"], "P1": ["P1_SWI.nii.gz"], "P10": ["P10_DWI.nii.gz"]}
    assert "`flat/atlas.nii.gz` is not used" in caplog.text


def test_another_modality_is_not_taken_for_one_that_is_asked_for(tmp_path):
    files = ["P1_T2_FLAIR.nii.gz", "P1_T1w.nii.gz"]
    assert found_in(tmp_path, *files, modalities=["t1", "t2"]) == {"P1": {"t1": files[1]}}
    assert found_in(tmp_path, "P1_LGE.nii.gz", modalities=["lge", "t1"]) == {
        "P1": {"lge": "P1_LGE.nii.gz", "t1": files[1]}
    }
