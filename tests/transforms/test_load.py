# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""From a datalist entry to tensors: what is read, what is refused, and that MONAI can undo what it did."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor, list_data_collate
from monai.transforms import Compose, CropForegroundd, Invertd, Orientationd, SaveImaged

from scripts.data import reading
from scripts.data.case_error import CaseError
from scripts.data.label_conventions import to_internal
from scripts.transforms.foreground import acquired_foreground
from scripts.transforms.load import LoadCased


def test_a_case_becomes_channels_in_the_configured_order(load, entry, volumes, modalities):
    entry["images"] = dict(reversed(entry["images"].items()))  # the order of the datalist must not matter
    result = load(entry)
    assert set(result) == {"case", "image", "label", "doubts"}
    assert isinstance(result["image"], MetaTensor)
    assert result["image"].dtype == torch.float32
    for channel, name in zip(result["image"], modalities, strict=True):
        assert np.array_equal(channel.numpy(), volumes[name])


def test_the_label_becomes_internal_classes(load, entry):
    label = load(entry)["label"]
    file = np.asanyarray(nib.load(entry["label"]).dataobj)
    assert isinstance(label, MetaTensor)
    assert label.dtype == torch.uint8
    assert label.shape == (1, *file.shape)
    for value, internal in {0: 0, 1: 1, 2: 2, 4: 3}.items():
        assert np.array_equal(label[0].numpy() == internal, file == value)


def test_absent_modalities_are_nan_and_the_others_as_they_were(load, entry, listing, volumes):
    image = load(listing(entry, "t1ce", "t2"))["image"]
    assert bool(torch.isnan(image[[0, 2]]).all())
    assert np.array_equal(image[1].numpy(), volumes["t1ce"])
    assert np.array_equal(image[3].numpy(), volumes["t2"])


def test_only_listed_files_are_opened(load, entry, listing, monkeypatch):
    opened = []
    original = reading.ImageFile.__call__

    def spy(self, file, *arguments, **options):
        opened.append(file)
        return original(self, file, *arguments, **options)

    monkeypatch.setattr(reading.ImageFile, "__call__", spy)
    load(listing(entry, "t1ce", "t2"))
    assert opened == [entry["images"]["t1ce"], entry["images"]["t2"], entry["label"]]


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_modality_listed_without_a_file_is_absent(load, entry, nothing):
    entry["images"]["t1"] = nothing
    assert bool(torch.isnan(load(entry)["image"][2]).all())


def test_what_a_request_for_a_batch_says_of_its_images_is_passed_over(load, entry):
    file = entry["images"]["t1"]
    result = load({"image": [file], "images": "all"})
    assert torch.isnan(result["image"]).flatten(1).all(1).tolist() == [True, True, False, True]


def test_cases_with_different_modalities_collate(load, entry, listing):
    batch = list_data_collate([load(listing(entry, "flair")), load({**listing(entry, "t1", "t2"), "case": "case_b"})])
    assert batch["image"].shape[:2] == (2, 4)
    assert batch["case"] == ["case_a", "case_b"]
    absent = torch.isnan(batch["image"]).flatten(2).all(2)
    assert absent.tolist() == [[False, True, True, True], [True, True, False, False]]


def test_other_plain_items_of_an_entry_are_kept_and_nested_ones_are_not(load, entry):
    result = load({**entry, "fold": 2, "site": "a", "notes": {"seen": True}, "files": ["x"]})
    assert result["fold"] == 2
    assert result["site"] == "a"
    assert set(result) == {"case", "image", "label", "doubts", "fold", "site"}


def test_no_key_of_the_loader_extends_the_name_of_another(load, entry):
    # MONAI's Spacingd takes every key that begins with "image_" or "label_" for a dictionary of metadata
    assert not [key for key in load(entry) if key.startswith(("image_", "label_"))]


@pytest.mark.parametrize("images", ["separate", "stacked"])
def test_a_case_without_a_name_is_named_after_its_file(load, entry, write, volumes, images):
    del entry["case"]
    if images == "stacked":
        entry["image"] = write(np.stack(list(volumes.values()), -1), "patient.7.nii.gz")
        del entry["images"]
    assert load(entry)["case"] == ("patient.7" if images == "stacked" else "case_a_flair")


def test_a_stacked_file_is_taken_apart_by_its_channel_names(load, entry, write, volumes):
    order = ["t2", "flair", "t1ce"]
    file = write(np.stack([volumes[name] for name in order], -1), "stack.nii.gz")
    image = load({"case": "case_b", "image": file, "channels": order})["image"]
    separate = load({"case": "case_b", "images": {name: entry["images"][name] for name in order}})["image"]
    assert torch.equal(torch.nan_to_num(image, nan=-1.0), torch.nan_to_num(separate, nan=-1.0))
    assert bool(torch.isnan(image[2]).all())


def test_an_unnamed_channel_of_a_stacked_file_is_left_out(load, write, volumes):
    file = write(np.stack(list(volumes.values()), -1), "stack.nii.gz")
    image = load({"case": "case_b", "image": file, "channels": ["flair", None, "t1", None]})["image"]
    assert torch.isnan(image).flatten(1).all(1).tolist() == [False, True, False, True]
    assert np.array_equal(image[2].numpy(), volumes["t1"])


def test_a_stacked_file_alone_has_the_configured_modalities(load, write, volumes):
    result = load({"image": write(np.stack(list(volumes.values()), -1), "stack.nii.gz"), "image_path": "kept.nii.gz"})
    assert set(result) == {"case", "image", "doubts", "image_path"}
    assert np.array_equal(result["image"].numpy(), np.stack(list(volumes.values())))


# --- the forms in which a server or a script hands over a patient -----------------------------------


@pytest.mark.parametrize("form", ["folder", "list", "names", "folder alone", "list alone", "mapping"])
def test_every_form_of_a_patient_gives_the_same_image(load, entry, listing, tmp_path, form):
    images = listing(entry, "t2", "flair")["images"]
    expected = load({"case": "case_a", "images": images})["image"]
    (tmp_path / "case7.nii.gz").mkdir()
    moved = {}
    for name, file in images.items():
        moved[name] = str(Path(file).rename(tmp_path / "case7.nii.gz" / Path(file).name))
    request = {"model": "m", "device": "cpu", "image_path": "elsewhere", "result_dtype": "uint8", "top": {"k": 1}}
    source = {
        "folder": {**request, "image": str(tmp_path / "case7.nii.gz")},
        "list": {**request, "image": list(moved.values())},
        "names": {**request, "image": "item.of.the.store", **moved},
        "mapping": {**request, "image": moved},
        "folder alone": tmp_path / "case7.nii.gz",
        "list alone": tuple(moved.values()),
    }[form]
    result = load(source)
    assert torch.equal(torch.nan_to_num(result["image"], nan=-1.0), torch.nan_to_num(expected, nan=-1.0))
    assert torch.isnan(result["image"]).flatten(1).all(1).tolist() == [False, True, True, False]
    kept = set() if "alone" in form else {"model", "device", "image_path", "result_dtype"}
    assert set(result) == {"case", "image", "doubts", *kept}
    assert result["case"] == {"names": "case_a_flair", "mapping": "case_a_t2"}.get(form, "case_a")


def test_a_request_may_say_how_its_files_are_named_and_which_channels_a_stack_has(load, entry, write, volumes):
    folder = Path(entry["images"]["t1"]).parent
    patterns = "t1=case_a_flair,t2=case_a_t1ce"
    named = load({"image": str(folder), "patterns": patterns})["image"]
    assert np.array_equal(named[2].numpy(), volumes["flair"])
    stack = write(np.stack([volumes["t1"], volumes["t2"]], -1), "stack.nii.gz")
    stacked = load({"image": stack, "channels": "t1,none"})["image"]
    assert np.array_equal(stacked[2].numpy(), volumes["t1"])
    assert torch.isnan(stacked).flatten(1).all(1).tolist() == [True, True, False, True]


def test_the_label_of_a_request_is_read_beside_any_form(load, entry):
    flat = {**entry["images"], **{key: entry[key] for key in ("label", "label_convention")}}
    assert torch.equal(load(flat)["label"], load(entry)["label"])


@pytest.mark.parametrize("fill", [0.0, 4.0, np.nan])
def test_an_empty_channel_of_a_stacked_file_is_absent(load, write, volumes, fill):
    stack = np.stack(list(volumes.values()), -1)
    stack[..., 2] = fill
    image = load({"case": "case_b", "image": write(stack, "stack.nii.gz")})["image"]
    assert torch.isnan(image).flatten(1).all(1).tolist() == [False, False, True, False]
    assert not bool(torch.isnan(image[[0, 1, 3]]).any())


def test_later_files_are_resampled_to_the_first_if_asked(modalities, entry, volumes, write):
    expected = LoadCased(modalities)(entry)
    # the same anatomy stored along opposite axes: index i becomes n - 1 - i, and the affine follows
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    flip[:2, 3] = np.array(volumes["t2"].shape[:2]) - 1
    affine = nib.load(entry["images"]["t2"]).affine @ flip
    entry["images"]["t2"] = write(volumes["t2"][::-1, ::-1], "flipped.nii.gz", affine)
    label = np.asanyarray(nib.load(entry["label"]).dataobj)
    entry["label"] = write(label[::-1, ::-1], "flipped_seg.nii.gz", affine)
    result = LoadCased(modalities, grid="resample")(entry)
    assert torch.allclose(result["image"], expected["image"], atol=1e-2)
    assert torch.equal(result["label"], expected["label"])
    assert result["label"].dtype == torch.uint8
    assert torch.equal(result["label"].affine, expected["image"].affine)


def test_labels_are_not_read_without_a_key_for_them(modalities, entry):
    entry["label"] = "does not exist.nii.gz"
    assert not isinstance(LoadCased(modalities, keys="image")(entry).get("label"), torch.Tensor)


@pytest.mark.parametrize("ours", [{"0": 0, "1": 1, "2": 2, "4": 3}, {0: 0, 1: 1, 2: 2, 4: 3}])  # JSON, YAML
def test_the_loader_is_made_by_a_configuration(entry, modalities, ours):
    parser = ConfigParser(
        {
            "modalities": list(modalities),
            "load": {
                "_target_": "scripts.transforms.load.LoadCased",
                "modalities": "@modalities",
                "conventions": {"ours": ours},
            },
        }
    )
    label = parser.get_parsed_content("load")({**entry, "label_convention": "ours"})["label"]
    assert label.unique().tolist() == [0, 1, 2, 3]


def test_two_dimensional_cases_load(modalities, write, volumes):
    files = {name: write(volumes[name][:, :, 7], f"{name}.nii.gz") for name in ("flair", "t2")}
    label = write(np.zeros(volumes["t2"].shape[:2]), "seg.nii.gz")
    load = LoadCased(modalities)
    result = load({"case": "slice", "images": files, "label": label, "label_convention": "msd"})
    assert result["image"].shape == (4, 16, 14)
    assert result["label"].shape == (1, 16, 14)
    cropped = CropForegroundd("image", "image", select_fn=acquired_foreground)(result)["image"]
    assert cropped.shape == (4, 10, 10)  # the head of T2 spans 2 to 11


def test_a_prediction_goes_back_to_the_grid_of_the_input(modalities, entry, tmp_path):
    transforms = Compose(
        [
            LoadCased(modalities),
            Orientationd(("image", "label"), "RAS", labels=None),
            CropForegroundd(("image", "label"), source_key="image", select_fn=acquired_foreground),
        ]
    )
    case = transforms(entry)
    assert nib.aff2axcodes(case["image"].affine.numpy()) == ("R", "A", "S")
    assert case["image"].shape[1:] != nib.load(entry["label"]).shape
    # without metadata of its own; a plain Tensor would not do: Invertd only warns and leaves it as it is
    case["pred"] = MetaTensor(case["label"].as_tensor().clone())
    inverted = Invertd("pred", transforms, orig_keys="image", nearest_interp=True)(case)
    original = LoadCased(modalities)(entry)
    assert torch.equal(inverted["pred"], original["label"])
    assert torch.equal(inverted["pred"].affine, original["image"].affine)
    save = SaveImaged("pred", output_dir=tmp_path / "out", separate_folder=False, print_log=False)
    save(inverted)
    (saved,) = (tmp_path / "out").iterdir()
    assert nib.load(saved).shape == nib.load(entry["label"]).shape
    assert np.allclose(nib.load(saved).affine, nib.load(entry["label"]).affine)


Z_SCORED = {"flair": "Flair_subtrMeanDivStd", "t1ce": "T1c_subtrMeanDivStd", "label": "OTMultiClass"}
REAL = {  # start of the paths: (convention, rest of the file names, value of the enhancing tumour)
    "brats2023_gli/BraTS-GLI-00000-000/BraTS-GLI-00000-000-": (
        "brats2023",
        {"flair": "t2f", "t1ce": "t1c", "t1": "t1n", "t2": "t2w", "label": "seg"},
        3,
    ),
    "brats2015_two_modalities/brats_2013_pat0005_1/": ("brats2015", Z_SCORED, 4),
    "brats2015_two_modalities/brats_2013_pat0006_1/": ("brats2015", Z_SCORED, 4),
}


@pytest.fixture(scope="module", params=REAL)
def real_case(request, real_data, modalities):
    convention, names, enhancing = REAL[request.param]
    files = {name: f"{real_data}/{request.param}{rest}.nii.gz" for name, rest in names.items()}
    label = files.pop("label")
    name = Path(request.param).name.rstrip("-")
    entry = {"case": name, "images": files, "label": label, "label_convention": convention}
    return entry, LoadCased(modalities)(entry), enhancing


def test_real_cases_have_what_was_acquired_and_a_background_of_zero(real_case, modalities):
    entry, result, _ = real_case
    absent = torch.isnan(result["image"]).flatten(1).any(1)
    assert [name for name, gone in zip(modalities, absent, strict=True) if not gone] == list(entry["images"])
    for name, file in entry["images"].items():
        stored = np.asanyarray(nib.load(file).dataobj)
        assert (stored[0, 0, 0] < -3) == (entry["label_convention"] == "brats2015")  # those were z-scored
        outside = stored == stored[0, 0, 0]
        channel = result["image"][modalities.index(name)].numpy()
        assert np.array_equal(channel == 0, outside)
        assert np.array_equal(channel[~outside], stored[~outside].astype(np.float32))


def test_foreground_of_z_scored_cases_is_the_brain_mask_that_lies_beside_them(real_case):
    entry, result, _ = real_case
    mask = Path(entry["label"]).with_name("brainmask.nii.gz")
    if not mask.exists():
        pytest.skip("this case comes without a brain mask")
    brain = np.asanyarray(nib.load(mask).dataobj) > 0.5
    assert np.array_equal(acquired_foreground(result["image"]).any(0).numpy(), brain)


def test_enhancing_tumour_of_real_cases_is_counted_as_in_their_files(real_case):
    entry, result, enhancing = real_case
    stored = np.asanyarray(nib.load(entry["label"]).dataobj)
    assert int((result["label"] == 3).sum()) == int((stored == enhancing).sum()) > 0


@pytest.mark.parametrize("wrong", ["brats2015", "brats2021", "brats2023"])
def test_conventions_of_real_cases_are_told_apart(real_case, wrong):
    entry, _, _ = real_case
    stored = np.asanyarray(nib.load(entry["label"]).dataobj)
    # the values of 2023 (0 to 3) are among those of 2015 (0 to 4): only the name in the datalist tells those two apart
    if wrong == entry["label_convention"] or wrong == "brats2015":
        to_internal(stored, wrong)
    else:
        with pytest.raises(ValueError, match=f"`{wrong}` has .*would fit: .*'{entry['label_convention']}'"):
            to_internal(stored, wrong)


def test_what_is_not_as_expected_is_handed_on_and_logged_once(modalities, entry, volumes, write, caplog):
    full = np.random.default_rng(0).uniform(1, 2, volumes["t1"].shape)
    entry["images"]["t1"] = write(full, "full.nii.gz")
    load = LoadCased(modalities)
    for _ in range(2):
        result = load({**entry, "doubts": "ADC.nii.gz is not used"})
    said = result["doubts"].splitlines()
    assert said[0] == "ADC.nii.gz is not used"
    assert len(said) == 2 and said[1].startswith("the image of full.nii.gz has no background: 100%")
    assert caplog.text.count("full.nii.gz has no background") == 1
    assert LoadCased(modalities, fills=True)(entry)["doubts"] == ""
    del entry["images"]["t1"]
    assert load(entry)["doubts"] == ""


@pytest.mark.parametrize("kind", ["copy", "hard link", "other type"])
def test_one_image_under_two_names_is_refused_by_its_content(load, entry, volumes, write, tmp_path, kind):
    other = tmp_path / "other.nii.gz"
    if kind == "other type":
        write(volumes["t1"].astype(np.float64), other.name)
    else:
        {"copy": shutil.copy, "hard link": os.link}[kind](entry["images"]["t1"], other)
    entry["images"]["t2"] = str(other)
    with pytest.raises(CaseError, match="case `case_a`: t1 and t2 are the same image, voxel by voxel.*other.nii.gz"):
        load(entry)


def test_two_channels_of_one_content_are_refused(load, volumes, write):
    stack = np.stack([volumes[name] for name in ("flair", "t1", "t1", "t2")], axis=-1)
    with pytest.raises(CaseError, match="t1ce and t1 are the same image.*stack.nii.gz"):
        load({"case": "case_b", "image": write(stack, "stack.nii.gz")})


def test_images_and_a_label_with_other_axes_are_read_without_interpolation(load, entry):
    expected = load(entry)
    for place, codes in (
        (entry["images"], ("t2", "PIR")),
        (entry["images"], ("t1ce", "RAS")),
        (entry, ("label", "SLA")),
    ):
        key, axes = codes
        image = nib.load(place[key])
        wanted = nib.orientations.axcodes2ornt(axes)
        place[key] = place[key].replace(".nii.gz", f"_{axes}.nii.gz")
        nib.save(
            image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(image.affine), wanted)), place[key]
        )
    found = load(entry)
    for key in ("image", "label"):
        assert torch.equal(found[key].as_tensor(), expected[key].as_tensor())
        assert torch.equal(found[key].affine, expected[key].affine)


def test_a_folder_with_other_names_gives_the_same_image_and_names_what_is_left(load, entry, tmp_path):
    expected = load(entry)["image"]
    folder = tmp_path / "P1"
    folder.mkdir()
    names = {"flair": "P1_FLAIR.NII.GZ", "t1ce": "P1_T1C.nii.gz", "t1": "P1_T1.nii.gz", "t2": "P1_T2w.nii.gz"}
    for name, file in entry["images"].items():
        shutil.copy(file, folder / names[name])
    shutil.copy(entry["images"]["t1"], folder / "P1_ADC.nii.gz")
    for request in (str(folder), {"image": str(folder)}):
        result = load(request)
        assert torch.equal(torch.nan_to_num(result["image"]), torch.nan_to_num(expected))
        assert result["doubts"].startswith("P1_ADC.nii.gz: beside the images of this case")
