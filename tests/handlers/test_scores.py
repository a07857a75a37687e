# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of every case, subset and region, by hand."""

from __future__ import annotations

import json
import math

import pytest
import torch
from monai.data import DataLoader, MetaTensor
from torch import nn

from scripts.engines import CaseDataset, CaseEvaluator, prepare_case
from scripts.handlers.scores import SubsetScoreHandler
from scripts.inferers.sliding_window import SubsetSlidingWindowInferer
from scripts.metrics.tables import read_scores

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
PREDICTIONS = {
    "1": {FLAIR: (2, 0, 0), T2: (2, 2, 3), BOTH: (2, 2, 3, 3)},
    "2": {FLAIR: (2, 2, 0, 2)},
}
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


def evaluate(data=None, subsets=None, **settings):
    inferer = Given(subsets)
    handler = SubsetScoreHandler(inferer, NAMES, REGIONS, **settings)
    engine = CaseEvaluator(
        device="cpu",
        val_data_loader=DataLoader(CaseDataset(data or cases()), batch_size=1, num_workers=0),
        network=nn.Identity(),
        inferer=inferer,
        prepare_batch=prepare_case,
        val_handlers=[handler],
    )
    engine.run()
    return engine


def test_every_subset_and_region_of_every_case_has_the_dice_made_by_hand(tmp_path):
    evaluate(output_dir=str(tmp_path))
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
        evaluate(data, subsets=["all"], output_dir=str(tmp_path))
    rows = read_scores(tmp_path / "per_case.csv")
    assert rows[rows["metric"] == "hd95"]["value"].tolist() == pytest.approx([3 * 2.5] * 2)


def test_the_mean_is_over_cases_first_then_subsets_then_regions():
    metrics = evaluate(metrics=["dice"]).state.metrics
    dice = {key: 1.0 if value is None else value for key, value in DICE.items()}
    for region in REGIONS:
        flair = (dice["1", "flair", region] + dice["2", "flair", region]) / 2
        expected = (flair + dice["1", "t2", region] + dice["1", "flair+t2", region]) / 3
        assert metrics[f"dice_{region}"] == pytest.approx(expected)
    assert metrics["mean_dice"] == pytest.approx((metrics["dice_wt"] + metrics["dice_et"]) / 2)


def test_an_undefined_score_is_left_out_of_means_and_counted(tmp_path):
    metrics = evaluate(metrics=["dice"], empty_policy="nan", output_dir=str(tmp_path)).state.metrics
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
    evaluate(metrics=["dice"], output_dir=str(tmp_path / "new" / "folder"))
    names = {file.name for file in (tmp_path / "new" / "folder").iterdir()}
    assert names == {"per_case.csv", "summary.json", "summary.md"}


def test_a_second_run_does_not_add_to_the_first(tmp_path, monkeypatch):
    engine = evaluate(metrics=["dice"], output_dir=str(tmp_path))
    first = dict(engine.state.metrics), (tmp_path / "per_case.csv").read_text()
    monkeypatch.setitem(PREDICTIONS, "2", {FLAIR: (0, 0, 2)})  # the network has changed for the worse
    engine.run(2)
    second = dict(engine.state.metrics), (tmp_path / "per_case.csv").read_text()
    fresh = evaluate(metrics=["dice"], output_dir=str(tmp_path / "fresh"))
    assert second == (fresh.state.metrics, (tmp_path / "fresh" / "per_case.csv").read_text())
    assert second != first


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data.pop("label"), "case `1` has no label, so its prediction cannot be scored"),
        (
            lambda data: data.update(label=torch.zeros(1, 5, 4, 1)),
            r"case `1` have shapes \(4, 4, 1\) and \(5, 4, 1\); expected one grid",
        ),
    ],
)
def test_a_case_that_cannot_be_scored_fails_alone(tmp_path, change, reason):
    data = cases()
    change(data[0])
    engine = evaluate(data, metrics=["dice"], output_dir=str(tmp_path))
    with pytest.raises(SystemExit, match=reason):
        engine.report_failures()
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert list(summary["failed_cases"]) == ["1"]
    assert summary["num_cases"] == 1
    assert engine.state.metrics["dice_wt"] == pytest.approx(DICE["2", "flair", "wt"])


def test_an_evaluation_in_which_every_case_failed_still_writes_its_tables(tmp_path):
    data = cases()
    for each in data:
        del each["label"]
    engine = evaluate(data, output_dir=str(tmp_path))
    assert engine.state.metrics["mean_dice"] == 0.0
    assert json.loads((tmp_path / "summary.json").read_text())["num_cases"] == 0
    assert "Cases failed: 2" in (tmp_path / "summary.md").read_text()
