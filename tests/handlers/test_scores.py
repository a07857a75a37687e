# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of every case, subset and region, by hand."""

from __future__ import annotations

import json
import math

import pytest
import torch
from monai.data import DataLoader, MetaTensor
from monai.engines.utils import IterationEvents
from torch import nn

from scripts.engines.batches import prepare_case
from scripts.engines.case_evaluator import CaseDataset, CaseEvaluator
from scripts.evaluation.store import CaseStore
from scripts.evaluation.tables import read_scores
from scripts.handlers.scores import SubsetScoreHandler
from scripts.inferers.sliding_window import SubsetSlidingWindowInferer
from scripts.metrics.scores import ScoreSettings

NAMES = ["flair", "t2"]
REGIONS = {"wt": [1, 2, 3], "et": [3]}


class Given(SubsetSlidingWindowInferer):
    """Predicts for each subset what the test says; the prediction travels in the image's first voxels."""

    def __init__(self, subsets=None):
        super().__init__([4, 4, 1], NAMES, subsets)

    def __call__(self, inputs, network):
        acquired = self.acquired(inputs)[0]
        predictions = PREDICTIONS[str(int(inputs[0, acquired].max()))]
        volumes = [volume(*predictions[tuple(subset.tolist())]) for subset in self.subsets_for(acquired)]
        return MetaTensor(torch.stack(volumes)[None].to(torch.uint8))


def volume(*voxels):
    """A label map ``(4, 4, 1)`` whose first voxels have the given values."""
    return torch.tensor([*voxels, *[0] * (16 - len(voxels))]).reshape(4, 4, 1)


# Case 1 has both modalities and the truth 2 2 3; case 2 has FLAIR alone and no enhancing tumour in its truth 2 2.
TRUTH = {"1": (2, 2, 3), "2": (2, 2)}
FLAIR, T2, BOTH = (True, False), (False, True), (True, True)
PREDICTIONS = {"1": {FLAIR: (2, 0, 0), T2: (2, 2, 3), BOTH: (2, 2, 3, 3)}, "2": {FLAIR: (2, 2, 0, 2)}}
# Dice = 2 |overlap| / (|prediction| + |truth|); WT is every class, ET is 3.
DICE = {
    ("1", "flair", "wt"): 2 * 1 / (1 + 3),
    ("1", "flair", "et"): 0.0,  # missed
    ("1", "t2", "wt"): 1.0,
    ("1", "t2", "et"): 1.0,
    ("1", "flair+t2", "wt"): 2 * 3 / (4 + 3),
    ("1", "flair+t2", "et"): 2 * 1 / (2 + 1),
    ("2", "flair", "wt"): 2 * 2 / (3 + 2),
    ("2", "flair", "et"): None,  # empty in both: what the policy says
}


def cases():
    result = []
    for number, truth in TRUTH.items():
        image = torch.full((2, 4, 4, 1), float(number))
        if number == "2":
            image[1] = math.nan
        label = MetaTensor(volume(*truth)[None].to(torch.uint8), affine=torch.diag(torch.tensor([2.0, 2.0, 3.0, 1.0])))
        result.append({"case": number, "image": MetaTensor(image), "label": label})
    return result


def evaluate(data=None, subsets=None, folder=None, resume=False, before=(), after=(), policy="brats", **settings):
    """Run an evaluation; with ``folder`` it keeps what it finds there; ``before`` and ``after`` it, other handlers."""
    data, inferer = data or cases(), Given(subsets)
    store = None if folder is None else CaseStore(str(folder), data, {"policy": policy, **settings}, resume=resume)
    handler = SubsetScoreHandler(inferer, NAMES, REGIONS, ScoreSettings(policy, **settings), store)
    stored = [] if store is None else [store]
    remaining = data if store is None else store.remaining()
    engine = CaseEvaluator(
        device="cpu",
        val_data_loader=DataLoader(CaseDataset(remaining), batch_size=1, num_workers=0),
        network=nn.Identity(),
        inferer=inferer,
        prepare_batch=prepare_case,
        val_handlers=[*stored, *before, handler, *after],
    )
    engine.run()
    return engine


def test_every_subset_and_region_of_every_case_has_the_dice_made_by_hand(tmp_path):
    evaluate(folder=tmp_path)
    rows = read_scores(tmp_path / "per_case.csv")
    found = {(r.case, r.subset, r.region): r.value for r in rows.itertuples() if r.metric == "dice"}
    assert found == pytest.approx({key: 1.0 if value is None else value for key, value in DICE.items()})
    assert set(rows["metric"]) == {"dice", "hd95"}


def test_hd95_is_in_millimetres_of_the_label_grid(tmp_path):
    data = cases()[:1]
    data[0]["label"] = MetaTensor(volume(3)[None], affine=torch.diag(torch.tensor([2.0, 2.5, 3.0, 1.0])))
    data[0]["image"][:] = 1.0
    with pytest.MonkeyPatch.context() as patch:
        # the truth is the first voxel, the prediction the fourth, three steps of 2.5 mm along the second axis
        patch.setitem(PREDICTIONS["1"], BOTH, (0, 0, 0, 3))
        evaluate(data, subsets=["all"], folder=tmp_path)
    rows = read_scores(tmp_path / "per_case.csv")
    assert rows[rows["metric"] == "hd95"]["value"].tolist() == pytest.approx([3 * 2.5] * 2)


AXIAL = [[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 5, 0], [0, 0, 0, 1]]  # slices 5 mm apart, pixels of 1 mm
SAGITTAL = [[0.0, 0, 5, 0], [-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]  # the same voxels, lying otherwise in the world


@pytest.mark.parametrize("affine", [AXIAL, SAGITTAL])
def test_scores_of_slices_five_millimetres_apart_are_those_made_by_hand(affine, tmp_path):
    # The truth is a rod through five slices, the prediction one through the first three, one pixel (1 mm) beside it.
    # From the prediction to the truth: 1, 1, 1 mm. From the truth to the prediction: 1, 1, 1 in the slices of both,
    # sqrt(1 + 5^2) = 5.0990 one slice on, sqrt(1 + 10^2) = 10.0499 two slices on. The 95th percentile of those five
    # lies 0.95 * (5 - 1) = 3.8 steps from the smallest: 5.0990 + 0.8 * (10.0499 - 5.0990) = 9.0597; of the others 1.
    # Within 2 mm are 3 of 3 and 3 of 5 surface voxels: 6 / 8. Two voxels of 1 * 1 * 5 mm^3 too few are -0.010 mL.
    truth, prediction = torch.zeros(2, 4, 4, 6, dtype=torch.uint8)
    truth[1, 1, :5], prediction[1, 2, :3] = 3, 3
    expected = {"dice": 0.0, "hd95": 9.0597, "nsd": 6 / 8, "volume_error": -0.010}
    label = MetaTensor(truth[None], affine=torch.tensor(affine))
    data = [{"case": "1", "image": MetaTensor(torch.ones(2, 4, 4, 6)), "label": label}]
    settings = {"metrics": list(expected), "tolerance_mm": 2.0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Given, "__call__", lambda *_: MetaTensor(prediction[None, None]))
        evaluate(data, subsets=["all"], folder=tmp_path, **settings)
    rows = read_scores(tmp_path / "per_case.csv")
    for region in REGIONS:
        found = rows[rows["region"] == region].set_index("metric")["value"].to_dict()
        assert found == pytest.approx(expected, abs=5e-5), region


def test_the_mean_is_over_cases_first_then_subsets_then_regions():
    metrics = evaluate(metrics=["dice"]).state.metrics
    dice = {key: 1.0 if value is None else value for key, value in DICE.items()}
    for region in REGIONS:
        flair = (dice["1", "flair", region] + dice["2", "flair", region]) / 2
        expected = (flair + dice["1", "t2", region] + dice["1", "flair+t2", region]) / 3
        assert metrics[f"dice_{region}"] == pytest.approx(expected)
    assert metrics["mean_dice"] == pytest.approx((metrics["dice_wt"] + metrics["dice_et"]) / 2)
    assert metrics["dice/flair-t2"] == pytest.approx((dice["1", "flair+t2", "wt"] + dice["1", "flair+t2", "et"]) / 2)
    assert {name for name in metrics if "/" in name} == {"dice/flair", "dice/t2", "dice/flair-t2"}


def test_an_undefined_score_is_left_out_of_means_and_counted(tmp_path):
    metrics = evaluate(metrics=["dice"], policy="nan", folder=tmp_path).state.metrics
    expected = (DICE["1", "flair", "et"] + DICE["1", "t2", "et"] + DICE["1", "flair+t2", "et"]) / 3
    assert metrics["dice_et"] == pytest.approx(expected)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["per_subset"]["flair"]["et"]["dice"]["n"] == 1
    assert summary["per_subset"]["flair"]["et"]["dice"]["num_nan"] == 1
    assert summary["empty_policy"] == "nan"


def test_tables_are_written_only_where_a_folder_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evaluate(metrics=["dice"])
    assert list(tmp_path.iterdir()) == []
    evaluate(metrics=["dice"], folder=tmp_path / "new" / "folder")
    names = {file.name for file in (tmp_path / "new" / "folder").iterdir()}
    assert names == {"per_case.csv", "summary.json", "summary.md", "evaluation.json", "cases"}


def test_a_second_run_does_not_add_to_the_first(tmp_path, monkeypatch):
    engine = evaluate(metrics=["dice"], folder=tmp_path)
    first = dict(engine.state.metrics), (tmp_path / "per_case.csv").read_text()
    monkeypatch.setitem(PREDICTIONS, "2", {FLAIR: (0, 0, 2)})  # the network has changed for the worse
    engine.run(2)
    second = dict(engine.state.metrics), (tmp_path / "per_case.csv").read_text()
    fresh = evaluate(metrics=["dice"], folder=tmp_path / "fresh")
    assert second == (fresh.state.metrics, (tmp_path / "fresh" / "per_case.csv").read_text())
    assert second != first


def test_a_case_that_cannot_be_scored_fails_alone(tmp_path):
    data = cases()
    data[0].update(label=torch.zeros(1, 5, 4, 1))
    engine = evaluate(data, metrics=["dice"], folder=tmp_path)
    with pytest.raises(SystemExit, match=r"case `1` have shapes \(4, 4, 1\) and \(5, 4, 1\); expected one grid"):
        engine.report_failures()
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert list(summary["failed_cases"]) == ["1"]
    assert summary["num_cases"] == 1
    assert engine.state.metrics["dice_wt"] == pytest.approx(DICE["2", "flair", "wt"])


def test_an_evaluation_in_which_every_case_failed_still_writes_its_tables(tmp_path):
    data = cases()
    for each in data:
        each["label"] = torch.zeros(1, 5, 4, 1)
    engine = evaluate(data, folder=tmp_path)
    assert math.isnan(engine.state.metrics["mean_dice"])
    assert json.loads((tmp_path / "summary.json").read_text())["num_cases"] == 0
    assert "Cases failed: 2" in (tmp_path / "summary.md").read_text()


def test_a_validation_case_without_a_label_fails_by_name():
    data = cases()
    del data[0]["label"]
    with pytest.raises(SystemExit, match="case `1` has no label, so its prediction cannot be scored"):
        evaluate(data, metrics=["dice"]).report_failures()


def test_a_resumed_evaluation_scores_what_is_left_and_gives_the_same_tables(tmp_path, monkeypatch):
    whole = evaluate(folder=tmp_path / "whole")
    evaluate(cases()[:1], folder=tmp_path / "parts")  # as if killed behind the first case
    monkeypatch.setitem(PREDICTIONS, "1", {})  # it cannot be predicted again
    resumed = evaluate(folder=tmp_path / "parts", resume=True)
    assert resumed.failures == {} and resumed.state.iteration == 1
    for name in ("per_case.csv", "summary.json", "summary.md"):
        assert (tmp_path / "parts" / name).read_text() == (tmp_path / "whole" / name).read_text()
    assert resumed.state.metrics == whole.state.metrics


def test_resuming_a_finished_evaluation_only_writes_its_tables_again(tmp_path):
    first = evaluate(folder=tmp_path)
    table = (tmp_path / "per_case.csv").read_text()
    (tmp_path / "per_case.csv").unlink()
    again = evaluate(folder=tmp_path, resume=True)
    assert (tmp_path / "per_case.csv").read_text() == table
    assert again.state.metrics == first.state.metrics and again.state.iteration == 0


def test_a_case_that_failed_is_tried_again_when_resuming(tmp_path):
    data = cases()
    data[0].update(label=torch.zeros(1, 5, 4, 1))
    assert list(evaluate(data, folder=tmp_path).failures) == ["1"]
    assert evaluate(folder=tmp_path, resume=True).failures == {}
    assert json.loads((tmp_path / "summary.json").read_text())["num_cases"] == 2


class Further:
    """Adds a score to each case, or fails for one."""

    def __init__(self, fails_for=None):
        self.fails_for = fails_for

    def attach(self, engine):
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self)

    def __call__(self, engine):
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            if item["case"] == self.fails_for:
                raise ValueError("the disk is full")
            output["further_scores"] = {"flair": {("wt", "ece"): 0.25}}


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_case_that_any_handler_fails_for_is_not_done_and_in_no_number(tmp_path, place):
    handlers = {place: [Further(fails_for="1")]}
    metrics = [evaluate(folder=folder, **handlers).state.metrics for folder in (tmp_path, None)]
    assert json.loads((tmp_path / "summary.json").read_text())["failed_cases"] == {"1": "the disk is full"}
    assert [file.name for file in (tmp_path / "cases").iterdir()] == ["2.scores.json"]
    for found in metrics:
        assert found["dice_wt"] == pytest.approx(DICE["2", "flair", "wt"])
    assert evaluate(folder=tmp_path, resume=True).state.iteration == 1, "it is tried again"


@pytest.mark.parametrize("place", ["before", "after"])
def test_scores_of_other_handlers_stand_among_those_of_the_case(tmp_path, place):
    evaluate(folder=tmp_path, **{place: [Further()]})
    rows = read_scores(tmp_path / "per_case.csv")
    further = rows[rows["metric"] == "ece"]
    assert further[["case", "subset", "region"]].values.tolist() == [["1", "flair", "wt"], ["2", "flair", "wt"]]
    assert further["value"].tolist() == [0.25, 0.25]
