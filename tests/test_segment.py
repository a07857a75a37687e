# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""One patient in one call: the same result as the documented workflow, and what is refused."""

from __future__ import annotations

import json
import os
import re
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch

from scripts.handlers import model_loader
from scripts.modalities import modality_subsets, subset_name
from scripts.segment import Segmenter, read_configuration, segment
from scripts.utils import memory
from tests.heads import MOVEMENT, REFERENCE, THICK, Head

NAMES = ["flair", "t1ce", "t1", "t2"]


@pytest.fixture(scope="module")
def options(tiny, tmp_path_factory):
    """What segments quickly: untrained weights, and bright regions of every class in what they say."""
    settings = {key: value for key, value in tiny.items() if key != "dataset_dir"}
    settings["model_file"] = str(tmp_path_factory.mktemp("weights") / "model.pt")
    torch.manual_seed(1)
    torch.save(read_configuration(**settings).get_parsed_content("network_def").state_dict(), settings["model_file"])
    return settings


@pytest.fixture(scope="module")
def segmenter(options):
    return Segmenter(probability_maps=True, **options)


@pytest.fixture(scope="module")
def patient(phantoms, tmp_path_factory):
    """Files of a patient who has FLAIR and T2, in a folder of their own."""
    folder = tmp_path_factory.mktemp("patients") / "phantom_0004"
    folder.mkdir()
    files = {name: folder / f"phantom_0004_{name}.nii.gz" for name in ("flair", "t2")}
    for file in files.values():
        file.write_bytes((phantoms / folder.name / file.name).read_bytes())
    return {name: str(file) for name, file in files.items()}


def folder_of(patient):
    return next(iter(patient.values())).rpartition("/")[0]


def values(image):
    return np.asanyarray(image.dataobj)


def test_the_result_is_that_of_the_workflow_voxel_by_voxel(segmenter, options, patient, workflow, tmp_path):
    settings = {**options, "dataset_dir": folder_of(patient), "output_dir": str(tmp_path), "probability_maps": True}
    run = workflow("inference.yaml", run_id="evaluating", workflow_type="infer", **settings)
    run.run()
    run.finalize()
    (tmp_path / "one").mkdir()
    result = segmenter(folder_of(patient), tmp_path / "one" / "phantom_0004.nii.gz")
    assert len(np.unique(values(result.label_map))) > 1
    for name in ("", "_wt_probability", "_tc_probability", "_et_probability"):
        ours, theirs = (nib.load(folder / f"phantom_0004{name}.nii.gz") for folder in (tmp_path / "one", tmp_path))
        assert ours.get_data_dtype() == theirs.get_data_dtype()
        np.testing.assert_array_equal(values(ours), values(theirs))
        np.testing.assert_array_equal(ours.affine, theirs.affine)
    theirs = json.loads((tmp_path / "phantom_0004.json").read_text())
    assert json.loads((tmp_path / "one" / "phantom_0004.json").read_text()) == result.report == theirs
    np.testing.assert_array_equal(values(result.label_map), values(nib.load(tmp_path / "phantom_0004.nii.gz")))
    assert list(result.probability_maps) == ["wt", "tc", "et"]


def test_every_form_gives_the_same_label_map_and_nothing_is_written_unasked(segmenter, patient, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stack = tmp_path / "stack.nii.gz"
    images = [nib.load(file) for file in (patient["t2"], patient["flair"])]
    nib.save(nib.Nifti1Image(np.stack([image.get_fdata() for image in images], -1), images[0].affine), stack)
    expected = segmenter(patient)
    assert expected.report["modalities_used"] == ["flair", "t2"]
    others = [segmenter(list(patient.values())), segmenter(folder_of(patient)), segmenter(stack, channels="t2,flair")]
    for other in others:
        np.testing.assert_array_equal(values(other.label_map), values(expected.label_map))
        assert other.report["volumes"] == expected.report["volumes"]
    fewer = segmenter(stack, channels=["t2", None])
    assert fewer.report["modalities_used"] == ["t2"]
    assert list(tmp_path.iterdir()) == [stack]


def test_weights_are_read_once_for_several_patients(options, patient, monkeypatch):
    loaded, original = [], model_loader.load_weights
    monkeypatch.setattr(model_loader, "load_weights", lambda *args: (loaded.append(args), original(*args)))
    segmenter = Segmenter(**options)
    first, second = segmenter(patient), segmenter({"t2": patient["t2"]})
    assert len(loaded) == 1
    assert (first.report["subset"], second.report["subset"]) == ("flair+t2", "t2")
    assert first.probability_maps == {}


def test_a_patient_who_fails_does_not_spoil_the_next(segmenter, patient, phantoms, tmp_path):
    before = segmenter(patient)
    other = nib.load(patient["t2"])
    nib.save(nib.Nifti1Image(np.zeros(other.shape), other.affine), tmp_path / "empty.nii.gz")
    with pytest.raises(ValueError, match="case `phantom_0004_flair`: the image is empty: every voxel is 0.0"):
        segmenter({**patient, "t2": tmp_path / "empty.nii.gz"})
    np.testing.assert_array_equal(values(segmenter(patient).label_map), values(before.label_map))


def test_three_lines_are_enough_and_options_are_ids_of_the_configuration(options, patient, tmp_path):
    output = tmp_path / "new" / "seg.nii"
    result = segment(patient, output, **options, subset="flair", label_convention="brats2021", flips="true")
    assert (result.report["subset"], result.report["label_convention"]) == ("flair", "brats2021")
    assert sorted(file.name for file in output.parent.iterdir()) == ["seg.json", "seg.nii"]
    assert json.loads(output.with_suffix(".json").read_text())["segmentation"] == "seg.nii"
    assert nib.load(output).shape == nib.load(patient["flair"]).shape
    np.testing.assert_array_equal(values(nib.load(output)), values(result.label_map))


def test_the_allocator_of_the_process_that_calls_is_left_alone(options, patient, monkeypatch):
    calls = []
    library = SimpleNamespace(mallopt=lambda *setting: calls.append(setting) or 1)
    monkeypatch.setattr(memory, "ctypes", SimpleNamespace(CDLL=lambda name: library))
    monkeypatch.setattr(memory.sys, "platform", "linux")
    segment(patient, **options)
    assert calls == []
    # which is no accident: a run of the same configuration sets it
    configuration = read_configuration(**options, **{"dataset::data": []})
    handlers = configuration.get_parsed_content("handlers", instantiate=True)
    keep = next(each for each in handlers if type(each).__name__ == "KeepBuffersHandler")
    keep(SimpleNamespace(state=SimpleNamespace(device=torch.device("cpu"))))
    assert len(calls) == 2


def test_own_file_names_and_a_network_overlay_are_options(options, patient, tmp_path):
    files = "configs/inference.yaml,configs/network_unet.yaml"  # found from any folder
    settings = {**options, "model_file": str(tmp_path / "unet.pt")}
    network = read_configuration(files, **settings).get_parsed_content("network_def")
    torch.save(network.state_dict(), settings["model_file"])
    patterns = {"t1": "phantom_0004_flair"}
    assert Segmenter(files, **settings, patterns=patterns)(folder_of(patient)).report["subset"] == "t1"
    with pytest.raises(ValueError, match="are of another network or alignment"):
        Segmenter(files, **options)


def test_an_input_or_a_file_that_is_no_earlier_result_is_not_written_over(segmenter, patient, tmp_path):
    link, drawn = tmp_path / "link.nii.gz", tmp_path / "drawn.nii.gz"
    link.symlink_to(patient["flair"])
    drawn.write_text("a label drawn by hand")
    (tmp_path / "notes.json").write_text('["notes"]')
    for output in (patient["flair"], link):
        with pytest.raises(ValueError, match="is an input and would be overwritten"):
            segmenter(patient, output)
    for output in (drawn, tmp_path / "notes.nii.gz"):
        with pytest.raises(ValueError, match="exists and is not the result of an earlier call"):
            segmenter(patient, output)
    assert drawn.read_text() == "a label drawn by hand"
    segmenter(patient, tmp_path / "seg.nii.gz")
    segmenter({"t2": patient["t2"]}, tmp_path / "seg.nii.gz")
    assert json.loads((tmp_path / "seg.json").read_text())["subset"] == "t2"


def test_an_interrupt_does_not_spoil_the_next_call(segmenter, patient, tmp_path, monkeypatch):
    expected = segmenter(patient)
    network = type(segmenter._evaluator.network)

    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(network, "forward", interrupt)
        with pytest.raises(KeyboardInterrupt):
            segmenter(patient, tmp_path / "a.nii.gz")
    assert not list(tmp_path.iterdir())
    np.testing.assert_array_equal(values(segmenter(patient).label_map), values(expected.label_map))


def test_a_kill_between_two_files_of_a_result_does_not_refuse_the_next_call(segmenter, patient, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    replace = os.replace

    def once(source, target):
        replace(source, target)
        if target.parent == tmp_path:  # where it is asked for, and not on the way into memory
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", once)
        with pytest.raises(Killed):
            segmenter(patient, tmp_path / "a.nii.gz")
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"], "the report, by which the rest is known"
    segmenter(patient, tmp_path / "a.nii.gz")
    assert (tmp_path / "a.nii.gz").exists()


@pytest.mark.parametrize("output", ["seg.mha", "seg", ".nii.gz", "."])
def test_an_output_that_is_no_nifti_file_is_refused(segmenter, patient, output):
    with pytest.raises(ValueError, match=re.escape("expected a file name that ends in .nii.gz or .nii")):
        segmenter(patient, output)


def test_a_result_has_the_header_of_the_input_and_its_doubts(segmenter, patient, tmp_path):
    """Both forms and codes, so that no reader places label map and image differently."""
    moved = {}
    for name, file in patient.items():
        image = nib.load(file)
        elsewhere = image.affine.copy()
        elsewhere[:3, 3] += 30
        image.set_sform(image.affine, 4)
        image.set_qform(elsewhere, 1)
        moved[name] = str(tmp_path / f"{name}.nii.gz")
        nib.save(image, moved[name])
    result = segmenter(moved, tmp_path / "result.nii.gz")
    for file in tmp_path.glob("*.nii.gz"):
        header = nib.load(file).header
        assert (int(header["sform_code"]), int(header["qform_code"])) == (4, 1), file
        assert np.allclose(header.get_qform(), elsewhere) and np.allclose(header.get_sform(), image.affine), file
    found = [each for each in result.report["warnings"] if "differently, by up to 52.0 mm" in each]
    assert [each.partition(":")[0] for each in found] == ["flair.nii.gz", "t2.nii.gz"]


def test_channels_go_with_a_stacked_file_alone(segmenter, patient):
    with pytest.raises(ValueError, match="`channels` goes with a stacked file"):
        segmenter(patient, channels="flair")


@pytest.mark.parametrize(
    ("wrong", "error", "reason"),
    [
        ({"model_file": "nowhere.pt"}, FileNotFoundError, "no weights at nowhere.pt; expected the file that training"),
        ({"device": "cuda:99"}, ValueError, "device `cuda:99` cannot be used"),
        ({"device": "gpu"}, ValueError, "device `gpu` cannot be used"),
        ({"flare": "a.nii"}, ValueError, "unknown option flare; expected modalities out of ['flair', 't1ce', 't1'"),
        ({"inferrer::overlap": 0}, ValueError, "unknown option inferrer::overlap"),
        ({"flips": "maybe"}, ValueError, "`flips` is `maybe`; expected none, opposite or all"),
        ({"config_file": "configs/none.yaml"}, FileNotFoundError, "no configuration `configs/none.yaml`"),
        ({"config_file": "configs/train.yaml"}, ValueError, "expected configs/inference.yaml, then overlays"),
        ({"config_file": "configs/inference.yaml,configs/demo.yaml"}, ValueError, "cannot be merged"),
    ],
)
def test_what_is_wrong_with_options_is_said_in_words(options, wrong, error, reason):
    with pytest.raises(error, match=re.escape(reason)):
        Segmenter(**{**options, **wrong})


# --- raw series: prepared first, see tests/preparation -------------------------------------------------


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Files of two series of a head, on grids of their own, and of a mask of its brain."""
    folder, head = tmp_path_factory.mktemp("raw"), Head()
    images = {"t1ce": head.image("t1ce", *REFERENCE), "flair": head.image("flair", *THICK, MOVEMENT)}
    images["mask"] = nib.Nifti1Image(head.brain(*REFERENCE).astype(np.uint8), REFERENCE[0])
    for name, image in images.items():
        nib.save(image, folder / f"{name}.nii.gz")
    return {name: str(folder / f"{name}.nii.gz") for name in images}


@pytest.fixture(scope="module")
def preparing(options, raw):
    return Segmenter(**options, brain_mask=raw["mask"], output_grid="all", keep_prepared=True, probability_maps=True)


@pytest.fixture
def series(raw):
    return {name: file for name, file in raw.items() if name != "mask"}


def test_raw_series_are_prepared_and_the_result_lies_on_each_grid(preparing, series, tmp_path):
    result = preparing(series, tmp_path / "seg.nii.gz")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["seg.json", "seg.png", "seg_prepared"]
        + [f"seg{on}.nii.gz" for on in ("", "_on_flair", "_on_t1ce")]
        + [
            f"seg{on}_{region}_probability.nii.gz"
            for on in ("", "_on_flair", "_on_t1ce")
            for region in ("wt", "tc", "et")
        ]
    )
    for on, name in (("", "t1ce"), ("_on_flair", "flair"), ("_on_t1ce", "t1ce")):
        source = nib.load(series[name])
        for ending in ("", "_wt_probability"):
            image = nib.load(tmp_path / f"seg{on}{ending}.nii.gz")
            assert image.shape == source.shape
            np.testing.assert_allclose(image.affine, source.affine, atol=1e-4)
    np.testing.assert_array_equal(values(result.on_series["t1ce"]["label_map"]), values(result.label_map))
    assert len(np.unique(values(result.label_map))) > 1
    report = json.loads((tmp_path / "seg.json").read_text())
    assert report == result.report
    assert report["segmentation_on"] == {"flair": "seg_on_flair.nii.gz", "t1ce": "seg_on_t1ce.nii.gz"}
    assert report["preparation"]["reference"] == "t1ce" and report["preparation"]["series"]["flair"]["registered"]
    kept = json.loads((tmp_path / "seg_prepared" / "preparation.json").read_text())
    assert kept["series"] == report["preparation"]["series"]
    assert sorted(path.name for path in (tmp_path / "seg_prepared").iterdir()) == kept["files"]


def test_nothing_beside_a_result_is_written_over_that_no_earlier_call_made(preparing, raw, series, tmp_path):
    (tmp_path / "seg_prepared").mkdir()
    (tmp_path / "seg_prepared" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="seg_prepared exists and holds no preparation that was kept before"):
        preparing(series, tmp_path / "seg.nii.gz")
    with pytest.raises(ValueError, match="mask.nii.gz is an input and would be overwritten"):
        preparing(series, raw["mask"])
    (tmp_path / "other_on_flair.nii.gz").write_text("drawn by hand")
    with pytest.raises(ValueError, match="other_on_flair.nii.gz exists and is not the result of an earlier call"):
        preparing(series, tmp_path / "other.nii.gz")
    assert (tmp_path / "other_on_flair.nii.gz").read_text() == "drawn by hand"
    assert [path.name for path in (tmp_path / "seg_prepared").iterdir()] == ["notes.txt"]


def test_the_grid_of_a_series_that_is_not_there_is_refused_in_words(options, raw, series):
    with pytest.raises(ValueError, match="`output_grid` is `t2`, which this patient does not have"):
        segment(series, **options, brain_mask=raw["mask"], output_grid="t2")
    result = segment(series, **options, brain_mask=raw["mask"], output_grid="flair")
    assert result.label_map.shape == nib.load(series["flair"]).shape and result.on_series == {} == result.kept


def test_a_raw_stack_is_cut_but_not_registered(options, raw, tmp_path):
    head = Head()
    stack = np.stack([values(head.image(name, *REFERENCE)) for name in ("t2", "t1ce")], axis=-1)
    nib.save(nib.Nifti1Image(stack, REFERENCE[0]), tmp_path / "stack.nii.gz")
    result = segment(tmp_path / "stack.nii.gz", channels="t2,t1ce", **options, brain_mask=raw["mask"])
    record = result.report["preparation"]
    assert record["brain_from"] == "file" and "registered" not in record["series"]["t2"]
    assert result.label_map.shape == REFERENCE[1]


def test_neither_preparation_where_none_is_needed_nor_checks_change_a_bit_in_any_subset(options, patient, phantoms):
    files = {name: str(phantoms / "phantom_0004" / f"phantom_0004_{name}.nii.gz") for name in NAMES}
    idle, without = {"prepare": "auto", "plausibility": True}, {"prepare": "off", "plausibility": False}
    for flags in modality_subsets(4).tolist():
        subset = subset_name(flags, NAMES)
        found, before = (
            Segmenter(**options, **switches, subset=subset, probability_maps=True)(files)
            for switches in (idle, without)
        )
        np.testing.assert_array_equal(values(found.label_map), values(before.label_map))
        np.testing.assert_array_equal(found.label_map.affine, before.label_map.affine)
        for region, image in before.probability_maps.items():
            np.testing.assert_array_equal(values(found.probability_maps[region]), values(image))
        assert found.report.pop("preparation")["done"] is False
        doubts = [doubt["message"] for doubt in found.report.pop("plausibility")["doubts"]]
        assert [each for each in found.report.pop("warnings") if each not in doubts] == before.report.pop("warnings")
        assert found.report == before.report
