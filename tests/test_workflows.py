# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Training, evaluation and inference from files to files, as a user runs them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Events
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from scripts.data.datalist import read_section, write_datalist
from scripts.data.description import PHANTOMS
from scripts.engines.case_evaluator import root_cause
from scripts.evaluation.origin import SYNTHETIC_ONLY, read_training
from scripts.evaluation.tables import read_scores
from scripts.metrics.lesions import MatchedLesions
from scripts.metrics.modality_gap import modality_gap
from scripts.modalities import modality_subsets, subset_name
from scripts.networks.rfnet import RFNet
from scripts.networks.unimodal import ModalityEncoder

ROOT = Path(__file__).parents[1]
VALUES = {"brats2021": {0, 1, 2, 4}, "brats2023": {0, 1, 2, 3}}
CLASSES = {"wt": [1, 2, 3], "tc": [1, 3], "et": [3]}  # values of brats2023, the default, in each region
OF_2021 = {"wt": [1, 2, 4], "tc": [1, 4], "et": [4]}  # of brats2021, as the labels of phantoms are
# Axes of the file point back, down and to the right, voxels of 6 x 7 x 9 mm, turned by 10 degrees
TURN = np.array([[0.985, -0.174, 0, 0], [0.174, 0.985, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
ODD_AFFINE = TURN @ np.array([[0, 0, 9.0, -80], [-6, 0, 0, 70], [0, -7, 0, 90], [0, 0, 0, 1]])


WINDOW = [24, 24, 16]  # two for each case


def stamps(folder):
    return {str(file.relative_to(folder)): file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}


def voxels(file):
    return np.asarray(nib.load(file).dataobj)


def predict(workflow, model_file, dataset_dir, folder, **overrides):
    places = {"dataset_dir": str(dataset_dir), "output_dir": str(folder), "model_file": str(model_file)}
    places["patch_size"] = WINDOW
    run = workflow("inference.yaml", run_id="evaluating", workflow_type="infer", **places, **overrides)
    run.run()
    run.finalize()


def evaluate(workflow, model_file, datalist, folder, **overrides):
    places = {"datalist_file": str(datalist), "output_dir": str(folder), "model_file": str(model_file)}
    places |= {"patch_size": WINDOW}
    run = workflow("train.yaml", "evaluate.yaml", run_id="evaluating", **{**places, **overrides})
    run.run()
    run.finalize()


# --- training --------------------------------------------------------------------------------------


def test_a_run_leaves_checkpoints_a_model_a_record_and_curves(trained):
    folder, epochs = trained
    assert list(epochs) == [1, 2, 3, 4]
    names = {name for name in stamps(folder) if not name.startswith("tensorboard")}
    kept = {f"checkpoints/{name}" for name in ("best.pt", "checkpoint_epoch=3.pt", "checkpoint_epoch=4.pt")}
    assert names == kept | {"model.pt", "training.json", "run.json", "config.yaml"}
    best = torch.load(folder / "checkpoints" / "best.pt", weights_only=True)
    model = torch.load(folder / "model.pt", weights_only=True)
    assert all(torch.equal(model[name], value) for name, value in best["model"].items())
    assert best["best"]["best_epoch"] == max((2, 4), key=lambda epoch: epochs[epoch]["mean_dice"])
    assert best["best"]["best_value"] == pytest.approx(max(epochs[epoch]["mean_dice"] for epoch in (2, 4)))


def test_beside_the_weights_stands_how_they_were_trained(trained):
    folder, epochs = trained
    record = read_training(folder / "model.pt")
    best = record["epoch"]
    assert best == max((2, 4), key=lambda epoch: epochs[epoch]["mean_dice"])
    data = {"name": PHANTOMS, "synthetic": True, "section": "training", "num_cases": 3, "num_synthetic": 3}
    assert (record["trained_on"], record["initial_file"]) == (data, None)
    assert (record["seed"], record["steps"], record["max_epochs"]) == (1037, 3 * best, 4)
    assert 0 < record["hours"] < 1 and record["hardware"]["processes"] == 1
    loss = [{"epoch": epoch, "loss_total": epochs[epoch]["loss_total"]} for epoch in range(1, best + 1)]
    validation = [{"epoch": epoch, "mean_dice": epochs[epoch]["mean_dice"]} for epoch in range(2, best + 1, 2)]
    assert (record["loss"], record["validation"]) == (loss, validation)


def test_the_model_is_a_flat_state_dict_of_finite_weights(trained, workflow):
    model = torch.load(trained[0] / "model.pt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in model.values())
    workflow("inference.yaml", workflow_type="infer").parser.get_parsed_content("network_def").load_state_dict(model)


def test_the_loss_falls(trained):
    _, epochs = trained
    for name in ("loss_total", "loss_fused", "loss_unimodal", "loss_deep_supervision"):
        values = [epoch[name] for epoch in epochs.values()]
        assert np.isfinite(values).all()
        assert values[-1] < values[0], name


def test_validation_scores_every_region_at_its_interval(trained):
    _, epochs = trained
    names = {"mean_dice", "dice_wt", "dice_tc", "dice_et"}
    assert [bool(names & set(metrics)) for metrics in epochs.values()] == [False, True, False, True]
    for epoch in (2, 4):
        assert all(0 <= epochs[epoch][name] <= 1 for name in names)
        regions = [epochs[epoch][name] for name in sorted(names - {"mean_dice"})]
        assert epochs[epoch]["mean_dice"] == pytest.approx(np.mean(regions))
    assert epochs[4]["dice_wt"] > 0


def test_the_curves_are_the_metrics_of_the_epochs(trained):
    folder, epochs = trained
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    curve = {event.step: event.value for event in events.Scalars("loss_total")}
    assert curve == pytest.approx({epoch: metrics["loss_total"] for epoch, metrics in epochs.items()})


def test_the_recorded_configuration_repeats_the_run(trained, train, tmp_path):
    folder, epochs = trained
    record = json.loads((folder / "run.json").read_text())
    assert record["seed"] == 1037
    assert "training" in record["command"]
    again = train(tmp_path, folder / "config.yaml", kill=Events.EPOCH_COMPLETED(once=1))
    assert again[1] == pytest.approx(epochs[1], rel=1e-6)


def test_an_encoder_that_no_case_of_the_batch_needs_stays_as_it_was(workflow, tmp_path):
    places = {"output_dir": str(tmp_path), "model_file": str(tmp_path / "model.pt")}
    run = workflow("train.yaml", **places, max_epochs=2, val_interval=9, patch_size=[16, 16, 16])
    trainer = run.parser.get_parsed_content("train::trainer")
    before, seen = {}, []

    @trainer.on(Events.ITERATION_STARTED)
    def remember(engine):
        before["weights"] = [encoder.first[0].conv.weight.clone() for encoder in engine.network.encoders]

    @trainer.on(Events.ITERATION_COMPLETED)
    def compare(engine):
        now = [encoder.first[0].conv.weight for encoder in engine.network.encoders]
        moved = [not torch.equal(new, old) for new, old in zip(now, before["weights"], strict=True)]
        seen.append((moved, engine.state.batch["available"][0].tolist()))

    run.run()
    assert len(seen) == 6
    assert [moved for moved, _ in seen] == [available for _, available in seen]
    assert any(not all(available) for _, available in seen[1:]), "no case was incomplete"


def test_training_in_bfloat16_runs_and_stays_close(trained, train, tmp_path):
    settings = {"precision": "bfloat16", "validation_subsets": ["all"], "val_interval": 1}
    epochs = train(tmp_path, kill=Events.EPOCH_COMPLETED(once=1), **settings)
    expected = trained[1][1]["loss_total"]
    assert epochs[1]["loss_total"] == pytest.approx(expected, rel=0.02)
    assert epochs[1]["loss_total"] != expected
    assert 0 <= epochs[1]["mean_dice"] <= 1


# --- evaluation ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def uneven(phantoms, tmp_path_factory):
    """A datalist of two test cases: the first complete, the second with FLAIR and T2 alone."""
    first, second = read_section(phantoms / "datalist.json", "testing")
    second = second.keep(["flair", "t2"])
    file = tmp_path_factory.mktemp("uneven") / "datalist.json"
    write_datalist(file, {"testing": [first, second]}, list(first.images))
    return file


@pytest.fixture(scope="module")
def evaluated(workflow, trained, uneven, tmp_path_factory):
    """Evaluate the trained network, counting calls: the folder, and calls by name."""
    folder, calls = tmp_path_factory.mktemp("evaluated"), {"encode": [], "fuse": [], "forward": []}

    def counted(kind, name):
        original = getattr(kind, name)

        def call(self, x, *args):
            calls[name].append(args[0][0].tolist() if args else None)
            return original(self, x, *args)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for kind, name in ((RFNet, "encode"), (RFNet, "fuse"), (ModalityEncoder, "forward")):
            patch.setattr(kind, name, counted(kind, name))
        evaluate(workflow, trained[0] / "model.pt", uneven, folder)
    return folder, calls


def test_every_case_is_scored_for_exactly_the_subsets_it_has(evaluated, modalities):
    rows = read_scores(evaluated[0] / "per_case.csv")
    every = [subset_name(subset, modalities) for subset in modality_subsets(4)]
    expected = {"phantom_0004": every, "phantom_0005": ["flair", "t2", "flair+t2"]}
    assert {
        case: list(dict.fromkeys(group["subset"])) for case, group in rows.groupby("case", observed=True)
    } == expected
    assert len(rows) == (15 + 3) * (3 * 7 + 6)  # regions, metrics; `et_min500`, whose calibration is that of `et`
    dice = rows[rows["metric"] == "dice"]["value"]
    assert dice.between(0, 1).all()
    assert dice.max() > 0.05


def test_the_summary_counts_the_cases_of_each_subset(evaluated):
    summary = json.loads((evaluated[0] / "summary.json").read_text())
    counts = {subset: regions["wt"]["dice"]["n"] for subset, regions in summary["per_subset"].items()}
    assert len(counts) == 15
    assert {subset for subset, n in counts.items() if n == 2} == {"flair", "t2", "flair+t2"}
    assert set(counts.values()) == {1, 2}
    assert summary["failed_cases"] == {}
    rows = read_scores(evaluated[0] / "per_case.csv")
    flair = rows[(rows["subset"] == "flair") & (rows["region"] == "wt") & (rows["metric"] == "dice")]["value"]
    assert summary["per_subset"]["flair"]["wt"]["dice"]["mean"] == pytest.approx(flair.mean())
    table = (evaluated[0] / "summary.md").read_text()
    assert f"- Weights: model.pt, {SYNTHETIC_ONLY}: {PHANTOMS}, section training, 3 cases.\n" in table
    assert len(re.findall("^.*[●○].*[●○].*$", table, flags=re.MULTILINE)) >= 15


def test_every_window_is_encoded_once_for_all_subsets(evaluated):
    calls = evaluated[1]
    complete = calls["encode"].count([True] * 4)
    incomplete = calls["encode"].count([True, False, False, True])
    assert complete >= 2
    assert incomplete >= 2
    assert len(calls["encode"]) == complete + incomplete
    assert len(calls["fuse"]) == 15 * complete + 3 * incomplete
    assert len(calls["forward"]) == 4 * complete + 2 * incomplete, "encoders of absent modalities never run"


def test_an_evaluation_keeps_the_latent_features_of_what_each_case_has(evaluated, modalities):
    with np.load(evaluated[0] / "features.npz", allow_pickle=False) as file:
        features = file["features"]
        assert file["cases"].tolist() == ["phantom_0004", "phantom_0005"]
        assert file["modalities"].tolist() == modalities
        assert file["level"] == 3, "RFNet has four levels"
    assert features.shape == (2, 4, 8 * 4)  # at a width of 4 channels
    there = np.isfinite(features)
    assert there.all(axis=2).tolist() == [[True] * 4, [True, False, False, True]]
    assert np.array_equal(there.any(axis=2), there.all(axis=2))
    gap = json.loads((evaluated[0] / "modality_gap.json").read_text())
    assert gap["num_cases"] == 2 and gap["gap"] == pytest.approx(modality_gap(features).gap) and gap["gap"] > 0


def test_an_evaluation_records_itself(evaluated, trained):
    assert json.loads((evaluated[0] / "run.json").read_text())["seed"] == 1037
    tables = {"per_case.csv", "summary.json", "summary.md", "features.npz", "modality_gap.json"}
    assert stamps(evaluated[0]).keys() >= {*tables, "run.json"}
    assert "evaluated" not in str(trained[0])


# --- inference -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def patients(phantoms, tmp_path_factory):
    """Three patients: complete; the same with the files' axes turned; FLAIR and T2 alone on an odd grid."""
    folder = tmp_path_factory.mktemp("patients")
    shutil.copytree(phantoms / "phantom_0004", folder / "straight")
    for file in (folder / "straight").iterdir():
        file.rename(file.with_name(file.name.replace("phantom_0004", "straight")))
    for name in ("turned", "odd"):
        (folder / name).mkdir()
    for file in (folder / "straight").glob("*.nii.gz"):
        image, modality = nib.load(file), file.name.removeprefix("straight_")
        axes = nib.orientations.axcodes2ornt("PIR")
        turned = image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(image.affine), axes))
        nib.save(turned, folder / "turned" / f"turned_{modality}")
        if modality in ("flair.nii.gz", "t2.nii.gz"):
            nib.save(nib.Nifti1Image(np.asarray(turned.dataobj), ODD_AFFINE), folder / "odd" / f"odd_{modality}")
    return folder


@pytest.fixture(scope="module")
def segmented(workflow, trained, patients, tmp_path_factory):
    """Segment the patients; the folder of results, and what the inputs were before."""
    folder, before = tmp_path_factory.mktemp("segmented"), stamps(patients)
    predict(workflow, trained[0] / "model.pt", patients, folder)
    return folder, before


@pytest.fixture(scope="module")
def segmented_from_two(workflow, trained, patients, tmp_path_factory):
    """Segment the patients from FLAIR and T2, in the values of 2021."""
    folder = tmp_path_factory.mktemp("from_two")
    predict(workflow, trained[0] / "model.pt", patients, folder, subset="flair+t2", label_convention="brats2021")
    return folder


@pytest.mark.parametrize("patient", ["straight", "turned", "odd"])
def test_a_label_map_lies_on_the_grid_of_its_images(segmented, patients, patient):
    image = nib.load(patients / patient / f"{patient}_flair.nii.gz")
    result = nib.load(segmented[0] / f"{patient}.nii.gz")
    assert result.shape == image.shape
    np.testing.assert_allclose(result.affine, image.affine, atol=1e-4)
    found = np.unique(voxels(segmented[0] / f"{patient}.nii.gz"))
    assert set(found) <= VALUES["brats2023"]
    assert len(found) > 1, "nothing was found"


def test_turning_the_axes_of_the_files_turns_the_result_and_nothing_else(segmented):
    straight, turned = (nib.load(segmented[0] / f"{name}.nii.gz") for name in ("straight", "turned"))
    assert straight.shape != turned.shape
    one, other = (nib.as_closest_canonical(image) for image in (straight, turned))
    np.testing.assert_allclose(one.affine, other.affine, atol=1e-3)
    assert np.mean(np.asarray(one.dataobj) == np.asarray(other.dataobj)) > 0.999  # rounding may turn a tie


@pytest.mark.parametrize("patient", ["straight", "odd"])
def test_the_report_of_a_patient_measures_its_label_map(segmented, patient):
    report = json.loads((segmented[0] / f"{patient}.json").read_text())
    image = nib.load(segmented[0] / report["segmentation"])
    labels, voxel_ml = np.asarray(image.dataobj), abs(np.linalg.det(image.affine[:3, :3])) / 1000
    for region, values in CLASSES.items():
        count = int(np.isin(labels, values).sum())
        assert report["volumes"][region]["voxels"] == count
        assert report["volumes"][region]["ml"] == pytest.approx(count * voxel_ml, rel=1e-3, abs=1e-3)
    assert report["warnings"][0] == SYNTHETIC_ONLY and report["weights"]["trained_on"]["name"] == PHANTOMS
    absent = {"straight": [], "odd": ["t1ce", "t1"]}[patient]
    assert report["modalities_absent"] == absent
    assert sorted(report["modalities_used"] + absent) == ["flair", "t1", "t1ce", "t2"]
    assert any(f"without {', '.join(absent)};" in warning for warning in report["warnings"]) == bool(absent)


def test_a_subset_and_another_label_convention_can_be_asked_for(segmented, segmented_from_two):
    report = json.loads((segmented_from_two / "straight.json").read_text())
    assert (report["subset"], report["modalities_absent"]) == ("flair+t2", ["t1ce", "t1"])
    assert report["label_convention"] == "brats2021"
    for patient in ("straight", "turned", "odd"):
        assert set(np.unique(voxels(segmented_from_two / f"{patient}.nii.gz"))) <= VALUES["brats2021"]
    # the odd patient has no more than these two, so that only the values differ
    expected = voxels(segmented[0] / "odd.nii.gz")
    np.testing.assert_array_equal(voxels(segmented_from_two / "odd.nii.gz"), np.where(expected == 3, 4, expected))
    few, all_four = (voxels(folder / "straight.nii.gz") > 0 for folder in (segmented_from_two, segmented[0]))
    assert (few != all_four).any()


def test_evaluation_scores_what_inference_writes(evaluated, segmented_from_two, patients):
    # at the spacing of the files neither of them interpolates
    truth = voxels(patients / "straight" / "straight_seg.nii.gz")
    prediction = voxels(segmented_from_two / "straight.nii.gz")
    rows = read_scores(evaluated[0] / "per_case.csv").set_index(["case", "subset", "region", "metric"])["value"]
    for region, values in OF_2021.items():
        p, t = np.isin(prediction, values), np.isin(truth, values)
        assert t.any()
        dice = 2 * (p & t).sum() / (p.sum() + t.sum())
        assert rows["phantom_0004", "flair+t2", region, "dice"] == pytest.approx(dice, abs=2e-3)


def test_evaluation_at_a_coarser_spacing_scores_what_inference_writes(workflow, trained, uneven, patients, tmp_path):
    subset, coarse = "flair+t2", [8.5, 8.5, 8.5]
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "straight").symlink_to(patients / "straight")
    options = {"validation_subsets": [subset], "metrics": ["dice", "lesion_dice"], "spacing": coarse}
    options["lesion_rules"] = "brats2025"
    evaluate(workflow, trained[0] / "model.pt", uneven, tmp_path / "scores", **options)
    predict(workflow, trained[0] / "model.pt", tmp_path / "one", tmp_path / "out", subset=subset, spacing=coarse)
    prediction, truth = (
        voxels(f) for f in (tmp_path / "out/straight.nii.gz", patients / "straight/straight_seg.nii.gz")
    )
    rows = read_scores(tmp_path / "scores" / "per_case.csv").set_index(["case", "subset", "region", "metric"])["value"]
    for region, values in CLASSES.items():
        p, t = np.isin(prediction, values), np.isin(truth, OF_2021[region])
        assert p.any()
        dice = 2 * (p & t).sum() / (p.sum() + t.sum())
        assert rows["phantom_0004", subset, region, "dice"] == pytest.approx(dice, abs=1e-4)
        of_lesions = MatchedLesions(t, (1.0, 1.0, 1.0)).score(p).dice
        assert rows["phantom_0004", subset, region, "lesion_dice_brats2025"] == pytest.approx(of_lesions, abs=1e-4)


def test_evaluation_crops_as_inference_does_where_images_cover_different_parts(workflow, trained, phantoms, tmp_path):
    """FLAIR covers one half of the head and T1 the other, so that the crop of both is not that of either."""
    first, _ = read_section(phantoms / "datalist.json", "testing")
    folder, images = tmp_path / "patients" / "half", {}
    folder.mkdir(parents=True)
    for name, half in (("flair", slice(None, 8)), ("t1", slice(8, None))):
        image = nib.load(first.images[name])
        values = np.asarray(image.dataobj).copy()
        values[half] = 0
        images[name] = str(folder / f"half_{name}.nii.gz")
        nib.save(nib.Nifti1Image(values, image.affine), images[name])
    write_datalist(tmp_path / "datalist.json", {"testing": [replace(first, name="half", images=images)]}, list(images))
    truth = voxels(first.label)
    evaluate(workflow, trained[0] / "model.pt", tmp_path / "datalist.json", tmp_path / "scores", metrics=["dice"])
    rows = read_scores(tmp_path / "scores" / "per_case.csv").set_index(["case", "subset", "region", "metric"])["value"]
    for subset in ("flair", "t1", "flair+t1"):
        predict(workflow, trained[0] / "model.pt", tmp_path / "patients", tmp_path / subset, subset=subset)
        prediction = voxels(tmp_path / subset / "half.nii.gz")
        for region, values in CLASSES.items():
            p, t = np.isin(prediction, values), np.isin(truth, OF_2021[region])
            dice = 2 * (p & t).sum() / (p.sum() + t.sum())
            assert rows["half", subset, region, "dice"] == pytest.approx(dice, abs=1e-6)


def test_inference_flips_as_the_evaluation_of_the_weights_did_unless_told_otherwise(
    workflow, trained, evaluated, uneven, patients, tmp_path
):
    subset, weights = "flair+t2", tmp_path / "model.pt"
    shutil.copy(trained[0] / "model.pt", weights)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "straight").symlink_to(patients / "straight")
    options = {"flips": "true", "validation_subsets": [subset], "metrics": ["dice"], "keep_performance": True}
    evaluate(workflow, weights, uneven, tmp_path / "scores", **options)
    warnings = {}
    for name, flips in (("default", {}), ("all", {"flips": "all"}), ("none", {"flips": "none"})):
        predict(workflow, weights, tmp_path / "one", tmp_path / name, subset=subset, **flips)
        report = json.loads((tmp_path / name / "straight.json").read_text())
        warnings[name] = [warning for warning in report["warnings"] if "measured with" in warning]
    assert warnings["default"] == warnings["all"] == []
    (warning,) = warnings["none"]
    assert "measured with flips all, this case was segmented with none" in warning
    prediction, truth = (
        voxels(f) for f in (tmp_path / "default/straight.nii.gz", patients / "straight/straight_seg.nii.gz")
    )
    np.testing.assert_array_equal(prediction, voxels(tmp_path / "all" / "straight.nii.gz"))
    assert (prediction != voxels(tmp_path / "none" / "straight.nii.gz")).any()
    rows, before = (
        read_scores(folder / "per_case.csv").set_index(["case", "subset", "region", "metric"])["value"]
        for folder in (tmp_path / "scores", evaluated[0])
    )
    for region, values in CLASSES.items():
        p, t = np.isin(prediction, values), np.isin(truth, OF_2021[region])
        key = ("phantom_0004", subset, region, "dice")
        assert rows[key] == pytest.approx(2 * (p & t).sum() / (p.sum() + t.sum()), abs=2e-3)
    key = ("phantom_0004", subset, "wt", "dice")
    assert np.isfinite(rows[key]) and rows[key] != before[key]


@pytest.mark.parametrize("kind", ["input", "foreign"])
def test_a_folder_of_patients_is_not_written_over_inputs_or_other_files(workflow, trained, phantoms, tmp_path, kind):
    """As in ``imagesTr`` of the Decathlon, where an image has the name that its label map would have."""
    folder = tmp_path / "imagesTr"
    folder.mkdir()
    (case,) = read_section(phantoms / "datalist.json", "testing")[:1]
    images = [nib.load(file) for file in case.images.values()]
    stacked = nib.Nifti1Image(np.stack([np.asarray(image.dataobj) for image in images], -1), images[0].affine)
    nib.save(stacked, folder / "A.nii.gz")
    modality = {str(k): name for k, name in enumerate(("FLAIR", "T1Gd", "T1w", "T2w"))}
    labels = {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}
    (tmp_path / "dataset.json").write_text(json.dumps({"modality": modality, "labels": labels}))
    output = folder if kind == "input" else tmp_path / "out"
    output.mkdir(exist_ok=True)
    if kind == "foreign":
        (output / "A.nii.gz").write_text("somebody's")
    before = stamps(tmp_path)
    with pytest.raises(Exception) as caught:
        predict(workflow, trained[0] / "model.pt", tmp_path, output)
    said = (
        "is an input and would be overwritten" if kind == "input" else "exists and is not the result of an earlier call"
    )
    assert said in str(root_cause(caught.value))
    assert stamps(tmp_path) == before, "nothing was written"


def test_nothing_is_written_beside_the_inputs(segmented, segmented_from_two, evaluated, patients, phantoms):
    assert stamps(patients) == segmented[1]
    allowed = r"datalist\.json|phantom\.json|(phantom_\d{4})/\1_(flair|t1ce|t1|t2|seg)\.nii\.gz"
    assert [name for name in stamps(phantoms) if not re.fullmatch(allowed, name)] == []
    suffixes = {name.split(".", 1)[1] for name in stamps(segmented[0])}
    assert suffixes == {"nii.gz", "json"}, "neither MONAI's nor temporary files are left"


# --- what goes wrong -------------------------------------------------------------------------------

REASONS = {"truncated": "cannot be read; it may be truncated", "shifted": "different grids", "blank": "is empty"}


@pytest.fixture(scope="module")
def broken(phantoms, tmp_path_factory):
    """Four patients, of whom only `good` can be read; a datalist of them lies beside."""
    folder = tmp_path_factory.mktemp("broken")
    (entry,) = [each for each in read_section(phantoms / "datalist.json", "testing") if each.name == "phantom_0005"]
    entries = []
    for name in ("good", *REASONS):
        files = {role: folder / "patients" / name / f"{name}_{role}.nii.gz" for role in (*entry.images, "seg")}
        (folder / "patients" / name).mkdir(parents=True)
        for role, file in files.items():
            shutil.copy(entry.images.get(role, entry.label), file)
        images = {role: str(file) for role, file in files.items() if role != "seg"}
        entries.append(replace(entry, name=name, images=images, label=str(files["seg"])))
    patients = folder / "patients"
    file = patients / "truncated" / "truncated_t1.nii.gz"
    file.write_bytes(file.read_bytes()[:-2000])
    image = nib.load(patients / "shifted" / "shifted_t2.nii.gz")
    nib.save(nib.Nifti1Image(image.get_fdata()[1:], image.affine), patients / "shifted" / "shifted_t2.nii.gz")
    blank = nib.Nifti1Image(np.zeros(image.shape, dtype=np.float32), image.affine)
    nib.save(blank, patients / "blank" / "blank_flair.nii.gz")
    write_datalist(folder / "datalist.json", {"testing": entries}, list(entry.images))
    return folder


def assert_names_all(message):
    assert "3 of 4 cases failed" in message
    for case, reason in REASONS.items():
        assert re.search(f"case `{case}`: .*{reason}.*{case}_", message), case
    assert "good" not in message


def test_patients_that_cannot_be_read_do_not_lose_the_others(workflow, trained, broken, tmp_path):
    with pytest.raises(SystemExit) as ended:
        predict(workflow, trained[0] / "model.pt", broken / "patients", tmp_path, prepare="off")
    assert_names_all(str(ended.value))
    assert {file.name for file in tmp_path.iterdir()} == {"good.nii.gz", "good.json", "run.json"}


def test_cases_that_cannot_be_read_do_not_lose_the_scores_of_the_others(workflow, trained, broken, tmp_path):
    with pytest.raises(SystemExit) as ended:
        evaluate(workflow, trained[0] / "model.pt", broken / "datalist.json", tmp_path, validation_subsets=["all"])
    assert_names_all(str(ended.value))
    assert set(read_scores(tmp_path / "per_case.csv")["case"]) == {"good"}
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert set(summary["failed_cases"]) == set(REASONS)
    assert summary["num_cases"] == 1


def test_the_process_ends_with_an_error_status_and_names_the_cases(command_line, trained, broken, tmp_path):
    places = {
        "dataset_dir": broken / "patients",
        "output_dir": tmp_path,
        "prepare": "off",
        "model_file": trained[0] / "model.pt",
    }
    command = [sys.executable, "-m", "monai.bundle", *command_line("evaluating", "inference.yaml", **places)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=dict(os.environ))
    assert ended.returncode == 1
    assert_names_all(ended.stderr[ended.stderr.index("3 of 4") :])
    assert (tmp_path / "good.nii.gz").is_file()
    assert (tmp_path / "config.yaml").is_file()


@pytest.mark.parametrize("act", [predict, evaluate])
def test_a_missing_model_is_named(workflow, uneven, patients, tmp_path, act):
    missing, source = tmp_path / "nowhere" / "model.pt", {predict: patients, evaluate: uneven}[act]
    with pytest.raises(RuntimeError) as caught:
        act(workflow, missing, source, tmp_path / "out")
    assert isinstance(root_cause(caught.value), FileNotFoundError)
    assert str(missing) in str(root_cause(caught.value))


@pytest.mark.parametrize("id_", ["train::cases", "validate::cases"])
def test_without_a_data_set_every_section_comes_from_the_same_phantoms(workflow, tmp_path, caplog, monkeypatch, id_):
    monkeypatch.setattr("scripts.phantom.cases.PHANTOM_CASES", {"training": 2, "validation": 1, "testing": 1})
    monkeypatch.setattr("scripts.phantom.cases.PHANTOM_SPACING", 16.0)
    run = workflow("train.yaml", dataset_dir="", bundle_root=str(tmp_path))
    found = run.parser.get_parsed_content(id_)
    assert len(found) == {"train::cases": 2, "validate::cases": 1}[id_]
    assert all(Path(case["label"]).is_relative_to(tmp_path / "data" / "phantoms") for case in found)
    assert "using PHANTOMS" in caplog.text


def test_a_wrong_data_set_is_an_error_and_never_phantoms(workflow, tmp_path):
    run = workflow("train.yaml", dataset_dir=str(tmp_path / "wrong"), bundle_root=str(tmp_path), run_id="training")
    with pytest.raises(RuntimeError) as caught:
        run.run()
    assert f"no datalist at {tmp_path / 'wrong' / 'datalist.json'}" in str(root_cause(caught.value))
    assert list(tmp_path.iterdir()) == []
