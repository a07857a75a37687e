# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Calibration of an evaluation and the fit of temperatures, on probabilities made by hand."""

from __future__ import annotations

import json
import math
from datetime import datetime, timezone
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from monai.data import DataLoader, MetaTensor
from monai.engines.utils import IterationEvents
from monai.transforms import CropForegroundd, Orientationd
from torch import nn

from scripts.engines.batches import prepare_case
from scripts.engines.case_evaluator import CaseDataset, CaseEvaluator
from scripts.evaluation.store import SCORES, CaseStore
from scripts.evaluation.temperature import read_temperatures
from scripts.handlers.brain_probabilities import brain_voxels
from scripts.handlers.calibration import CalibrationHandler, reliability_table
from scripts.handlers.temperatures import TemperatureHandler
from scripts.inferers.sliding_window import SubsetSlidingWindowInferer
from scripts.metrics.calibration import NUM_BINS, expected_calibration_error, reliability_bins
from scripts.records.side_files import write_side_file
from scripts.transforms.foreground import acquired_foreground

NAMES = ["flair", "t2"]
REGIONS = {"lesion": [1]}
SIZE = (8, 8, 4)


class LogOdds(nn.Module):
    """A network by hand: the mean of the shown modalities, times ``factor``, is the log-odds of class 1."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor

    def encode(self, x, available):
        return [torch.nan_to_num(x).unsqueeze(2)]

    def align(self, features, available):
        return features

    def fuse(self, features, available):
        shown = available.reshape(*available.shape, *[1] * (features[0].ndim - 2))
        odds = self.factor * (features[0] * shown).sum(dim=1) / available[0].sum()  # (b, 1, *S)
        return torch.cat([torch.zeros_like(odds), odds], dim=1)


def cases(number=2, size=SIZE):
    """Cases of a brain in a box of background; both modalities say the odds by which the label was drawn."""
    generator, result = torch.Generator().manual_seed(1), []
    for n in range(number):
        image = torch.zeros(2, *size)
        image[:, 1:-1, 1:] = 2 * torch.randn(size[0] - 2, size[1] - 1, size[2], generator=generator)
        label = (torch.rand(1, *size, generator=generator) < image[:1].sigmoid()) & (image[:1] != 0)
        if n == 1:
            image[1] = math.nan
        result.append({"case": f"case_{n}", "image": MetaTensor(image), "label": MetaTensor(label.to(torch.uint8))})
    return result


def run(handler, inferer, data, network=None, store=None, fail=()):
    """Run an evaluation in which a case is scored, and so done, unless it is among ``fail``."""
    engine = CaseEvaluator(
        device="cpu",
        val_data_loader=DataLoader(CaseDataset(data), batch_size=1, num_workers=0),
        network=network or LogOdds(),
        inferer=inferer,
        prepare_batch=prepare_case,
        val_handlers=[handler],
    )
    engine.seen = {}

    @engine.on(IterationEvents.MODEL_COMPLETED)
    def score(engine):
        (item,), (output,) = engine.state.batch, engine.state.output
        if item["case"] in fail:
            raise ValueError("cannot be scored")
        engine.seen[item["case"]] = output.get("further_scores")
        store.write(item["case"], SCORES, {})

    engine.run()
    return engine


def calibrate(folder, data=None, network=None, fail=(), listed=None, **settings):
    data = data or cases()
    store = CaseStore(str(folder), [{"label": "", **case} for case in listed or data], {})
    inferer = SubsetSlidingWindowInferer(SIZE, NAMES)
    handler = CalibrationHandler(inferer, store, NAMES, REGIONS, str(folder / "model.pt"), **settings)
    engine = run(handler, inferer, data, network, store, fail)
    file = folder / "calibration.json"
    return engine, json.loads(file.read_text()) if file.is_file() else None


def expected_bins(case, factor=1.0):
    """The bins of the brain of a case, all of whose modalities say the same."""
    brain = case["image"][0] != 0
    one = (factor * case["image"][0][brain]).sigmoid()
    return reliability_bins(torch.stack([1 - one, one]), case["label"][0][brain], REGIONS)[0]


# --- voxels ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("axcodes", ["RAS", "PIL"])
def test_a_label_comes_to_the_cropped_and_turned_image_voxel_by_voxel(axcodes):
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(2, 9, 8, 7)
    image[0, 2:7, 1:6, 3:6] = 1 + torch.rand(5, 5, 3, generator=generator)
    image[0, 4, 4, 4] = 0  # a hole is not brain, unless another modality shows something there
    image[1] = math.nan
    label = torch.randint(1, 4, (1, 9, 8, 7), generator=generator)
    affine = torch.tensor([[-1.1, 0.2, 0, 30], [-0.2, -1.1, 0, 5], [0, 0, 3, -9], [0, 0, 0, 1]])
    case = {"image": MetaTensor(image, affine=affine), "label": MetaTensor(label, affine=affine)}
    crop = CropForegroundd(keys="image", source_key="image", select_fn=acquired_foreground, allow_smaller=True)
    moved = crop(Orientationd(keys="image", axcodes=axcodes, labels=None)(case))
    assert moved["image"].shape[1:].numel() == 5 * 5 * 3
    voxels, truth = brain_voxels(moved["image"], moved["label"])
    assert len(voxels) == 5 * 5 * 3 - 1
    # every brain voxel has a value of its own in the image, by which its label is known
    values = moved["image"][0].as_tensor().flatten()[voxels]
    known = dict(zip(image[0].flatten().tolist(), label.flatten().tolist(), strict=True))
    assert truth.tolist() == [known[value] for value in values.tolist()]


# --- calibration -----------------------------------------------------------------------------------


def test_each_case_and_subset_has_the_error_of_its_brain_voxels(tmp_path):
    data = cases()
    engine, _ = calibrate(tmp_path, data)
    errors = [expected_calibration_error(expected_bins(case)) for case in data]
    assert min(errors) > 0.01
    assert {subset: each["lesion", "ece"] for subset, each in engine.seen["case_0"].items()} == pytest.approx(
        dict.fromkeys(["flair", "t2", "flair+t2"], errors[0])
    )
    assert engine.seen["case_1"] == {"flair": {("lesion", "ece"): pytest.approx(errors[1])}}


def test_bins_of_all_cases_are_pooled_by_subset_and_by_number_of_modalities(tmp_path):
    data = cases()
    _, report = calibrate(tmp_path, data)
    one, other = map(expected_bins, data)
    pooled = {subset: each["lesion"]["ece"] for subset, each in report["per_subset"].items()}
    alone, both = expected_calibration_error(one), expected_calibration_error(one + other)
    assert pooled == pytest.approx({"flair": both, "t2": alone, "flair+t2": alone})
    of_one = report["per_num_modalities"]["1"]["lesion"]
    assert of_one["ece"] == pytest.approx(expected_calibration_error(2 * one + other))
    assert sum(of_one["count"]) == 3 * 6 * 7 * 4  # brain voxels, of three pairs of case and subset
    assert report["num_cases"] == 2 and report["temperatures"] is None


def test_a_case_that_fails_or_was_not_finished_is_left_out(tmp_path):
    data = cases()
    engine, report = calibrate(tmp_path, data, fail=("case_0",))
    assert list(engine.failures) == ["case_0"]
    assert (tmp_path / "cases" / "case_0.calibration.json").is_file()
    assert report["num_cases"] == 1 and list(report["per_subset"]) == ["flair"]


def test_cases_of_an_earlier_run_are_counted_when_it_goes_on(tmp_path):
    data = cases()
    calibrate(tmp_path, data[:1])
    _, resumed = calibrate(tmp_path, data[1:], listed=data)
    _, whole = calibrate(tmp_path / "whole", data)
    assert resumed == whole


def test_a_stored_temperature_is_applied_to_what_is_measured(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"weights")
    write_side_file(str(tmp_path / "model.pt"), "temperatures.json", {"temperatures": {"1": 3.0, "2": 3.0}})
    data = cases()
    sharp, _ = calibrate(tmp_path, data, LogOdds(3.0))
    scaled, report = calibrate(tmp_path, data, LogOdds(3.0), temperature_scaling="true")
    right = expected_calibration_error(expected_bins(data[0]))
    assert scaled.seen["case_0"]["t2"]["lesion", "ece"] == pytest.approx(right, rel=1e-4)
    assert sharp.seen["case_0"]["t2"]["lesion", "ece"] > 1.2 * right
    assert report["temperatures"] == {"1": 3.0, "2": 3.0}


def test_a_number_of_modalities_without_a_temperature_fails_its_cases_alone(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"weights")
    write_side_file(str(tmp_path / "model.pt"), "temperatures.json", {"temperatures": {"1": 3.0}})
    engine, _ = calibrate(tmp_path, temperature_scaling=True)
    assert list(engine.seen) == ["case_1"]
    with pytest.raises(SystemExit, match=r"case_0.*no temperature for 2 modalities, only for \[1\]"):
        engine.report_failures()


def test_temperatures_that_are_not_there_are_asked_for_before_any_case(tmp_path):
    with pytest.raises(ValueError, match="no temperatures.json beside"):
        calibrate(tmp_path, temperature_scaling=True)


def test_a_case_without_a_label_fails_alone(tmp_path):
    data = cases()
    del data[0]["label"]
    engine, report = calibrate(tmp_path, data)
    assert "case `case_0` has no label" in engine.failures["case_0"]
    assert report["num_cases"] == 1


def test_a_switch_leaves_an_evaluation_without_calibration(tmp_path):
    engine, report = calibrate(tmp_path, enabled="false")
    assert engine.seen == {"case_0": None, "case_1": None} and report is None


def test_temperatures_without_calibration_are_refused_since_they_would_change_nothing(tmp_path):
    with pytest.raises(ValueError, match="`temperature_scaling` is true but `calibration` is false"):
        calibrate(tmp_path, enabled="false", temperature_scaling="true")


# --- temperatures ----------------------------------------------------------------------------------


def fit(folder, data, network, fail=(), listed=None, **settings):
    folder.mkdir(exist_ok=True)
    (folder / "model.pt").write_bytes(b"weights")
    store = CaseStore(str(folder), listed or data, {})
    inferer = SubsetSlidingWindowInferer(SIZE, NAMES)
    handler = TemperatureHandler(inferer, store, REGIONS, str(folder / "model.pt"), {"data_set": "toys"}, **settings)
    engine = run(handler, inferer, data, network, store, fail)
    file = folder / "temperatures.json"
    return engine, json.loads(file.read_text()) if file.is_file() else None


def test_a_network_too_sure_by_a_factor_gets_this_temperature(tmp_path):
    _, report = fit(tmp_path, cases(2, (24, 24, 12)), LogOdds(2.5))
    assert read_temperatures(str(tmp_path / "model.pt")) == pytest.approx({1: 2.5, 2: 2.5}, rel=0.1)
    for number in ("1", "2"):
        nll, ece = report["nll"][number], report["ece"][number]["lesion"]
        assert 0 < nll["after"] < nll["before"] and 0 <= ece["after"] < 0.5 * ece["before"]
    assert report["cases"] == {"1": 2, "2": 1}
    assert report["fitted_on"] == {"data_set": "toys"}


def test_a_temperature_is_fitted_only_for_numbers_that_a_case_has(tmp_path):
    _, report = fit(tmp_path, cases()[1:], LogOdds(2.0))
    assert list(report["temperatures"]) == ["1"]


def test_the_drawn_voxels_depend_on_seed_and_case_but_not_on_the_other_cases(tmp_path):
    data = cases()
    fit(tmp_path / "both", data, LogOdds(2.0), num_voxels=50)
    fit(tmp_path / "one", data[1:], LogOdds(2.0), num_voxels=50)
    fit(tmp_path / "other", data[1:], LogOdds(2.0), num_voxels=50, seed=1)
    both, one, other = (
        np.load(tmp_path / name / "cases" / "case_1.temperature.npz") for name in ("both", "one", "other")
    )
    assert both["voxels_1"] == 50
    np.testing.assert_array_equal(both["nll_1"], one["nll_1"])
    assert (both["nll_1"] != other["nll_1"]).any()


def test_a_resumed_fit_gives_the_temperatures_of_a_whole_one(tmp_path, monkeypatch):
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)  # both at once, so that their dates agree
    monkeypatch.setattr("scripts.records.side_files.datetime", SimpleNamespace(now=lambda zone: now))
    data = cases()
    fit(tmp_path / "killed", data[:1], LogOdds(2.0))
    _, resumed = fit(tmp_path / "killed", data[1:], LogOdds(2.0), listed=data)
    _, whole = fit(tmp_path / "whole", data, LogOdds(2.0))
    assert resumed == whole and all(map(math.isfinite, whole["temperatures"].values()))


def test_without_any_case_no_temperature_is_written(tmp_path, caplog):
    _, report = fit(tmp_path, cases(), LogOdds(), fail=("case_0", "case_1"))
    assert report is None and "no case could be used" in caplog.text


def test_a_network_that_diverged_fails_its_cases(tmp_path):
    for engine, report in (
        fit(tmp_path / "fit", cases(), LogOdds(math.nan)),
        calibrate(tmp_path / "calibrate", cases(), LogOdds(math.nan)),
    ):
        assert all("the network's output is not finite" in why for why in engine.failures.values())
        assert len(engine.failures) == 2 and (report is None or report["num_cases"] == 0)


def test_the_table_says_null_where_there_is_no_voxel():
    bins = np.zeros((3, NUM_BINS))  # four voxels: at 0.01 none is in the region, at 0.51 one of two, at 0.98 the one
    bins[:, 0], bins[:, 7], bins[:, 14] = (1, 0.01, 0), (2, 1.02, 1), (1, 0.98, 1)
    table = json.loads(json.dumps(reliability_table(bins), allow_nan=False))
    assert table["ece"] == pytest.approx((0.01 + 0.02 + 0.02) / 4)
    assert table["count"] == [1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1]
    assert table["mean_probability"][7] == pytest.approx(0.51) and table["observed"][7] == 0.5
    assert table["mean_probability"][1] is None and table["observed"][1] is None
