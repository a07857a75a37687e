# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""MedMAP as a whole: every anchor from training to a patient, what is logged and kept, PASSION together with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from scripts.engines.case_evaluator import root_cause
from tests.objectives import WITH_STUDENTS

MEDMAP, PASSION = "method_medmap.yaml", "method_passion.yaml"
QUICK = {"patch_size": [16, 16, 16], "max_epochs": 2, "val_interval": 9}
SEEN = "loss_unimodal_per_modality"


@pytest.fixture(scope="module", params=["adaptive", "normal", "t1ce"])
def aligned(request, train, tmp_path_factory):
    """Train with an anchor: its name, the folder and the metrics of each epoch."""
    folder = tmp_path_factory.mktemp("aligned")
    return request.param, folder, train(folder, "train.yaml", MEDMAP, **QUICK, **{"alignment::anchor": request.param})


def test_training_logs_the_distances_and_keeps_what_the_anchor_is_made_of(aligned, modalities):
    anchor, folder, epochs = aligned
    for metrics in epochs.values():
        seen = [name for name in modalities if f"{SEEN}/{name}" in metrics]
        rows = [metrics[f"loss_alignment_per_modality/{name}"] for name in seen]
        assert len(rows) > 1 and np.isfinite(rows).all() and metrics["loss_alignment"] > 0
    state = torch.load(folder / "model.pt", weights_only=True)
    assert [name for name, value in state.items() if not value.isfinite().all()] == []
    logged = {name: epochs[2].get(f"anchor_weight/{name}") for name in modalities}
    if anchor == "adaptive":
        weights = state["alignment.theta"].softmax(dim=0)
        assert weights.std() > 1e-3, "they have been learnt"
        assert list(logged.values()) == pytest.approx(weights.tolist())
    else:
        assert state["alignment.mixture"].tolist() == [float(name == anchor) for name in modalities]
        assert set(logged.values()) == {None}


def test_evaluation_and_inference_take_the_same_overlay(use, aligned, tmp_path):
    anchor, folder, _ = aligned
    scores, report = use(folder / "model.pt", tmp_path, MEDMAP, **{"alignment::anchor": anchor})
    dice = scores[scores["metric"] == "dice"]
    assert dice["subset"].nunique() == 15 and dice["value"].between(0, 1).all()
    assert report["modalities_used"] == ["flair"]


@pytest.mark.parametrize("files", [[], [MEDMAP]])
def test_weights_of_another_alignment_are_refused(use, aligned, tmp_path, files):
    anchor, folder, _ = aligned
    other = {"alignment::anchor": "t2"} if files else {}
    with pytest.raises(RuntimeError) as caught:  # MONAI wraps whatever an expression of the configuration raises
        use(folder / "model.pt", tmp_path, *files, **other)
    message = str(root_cause(caught.value))
    assert "of another network or alignment: " in message and "alignment." in message
    assert "Expected the overlays and options that they were trained with" in message


def test_weights_of_the_anchor_are_on_tensorboard_and_in_the_text_log(train, tmp_path, modalities, text_log):
    train(tmp_path, "train.yaml", MEDMAP, **QUICK)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for tag in ("loss_alignment", *(f"anchor_weight/{name}" for name in modalities)):
        values = [event.value for event in events.Scalars(tag)]
        assert len(values) == 2 and np.isfinite(values).all(), tag
        assert f"{tag}: " in text_log.text


@pytest.mark.parametrize("files", [[PASSION, MEDMAP], [MEDMAP, PASSION]])
def test_passion_and_alignment_act_together_in_any_order(train, tmp_path, files):
    epochs = train(tmp_path, "train.yaml", *files, **QUICK)
    for name in ("alignment", "pixel_distillation", "semantic_distillation"):
        assert np.isfinite(epochs[2][f"loss_{name}"]) and epochs[2][f"loss_{name}"] > 0, name
    kept = torch.load(tmp_path / "checkpoints" / "checkpoint_epoch=2.pt", weights_only=True)
    coefficient, theta = kept["loss"]["_extra_state"]["coefficient"], kept["model"]["alignment.theta"]
    for learnt in (coefficient, theta):
        assert learnt.isfinite().all() and learnt.std() > 1e-3


def test_with_filling_the_students_of_passion_see_the_anchor(workflow):
    # of one modality alone the adaptive anchor is that modality: its students are fused with copies of itself
    run = workflow("train.yaml", PASSION, MEDMAP)
    network = run.parser.get_parsed_content("network").train()
    image = torch.randn(1, 4, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    output = network(image, paths=WITH_STUDENTS)
    row = torch.tensor([[False, True, False, False]])
    assert torch.equal(network.alignment.available_to_fusion(row), torch.ones_like(row))
    torch.testing.assert_close(output.students.logits[1:2], network(image, row).fused, rtol=1e-4, atol=1e-4)


@pytest.mark.long
def test_alignment_brings_the_features_together(train, tmp_path):
    distance = {}
    for weight in (1e-6, 30.0):
        pulled = {"loss::terms::alignment::weight": weight, "alignment::fill": False, "max_epochs": 6}
        distance[weight] = train(tmp_path / str(weight), "train.yaml", MEDMAP, **{**QUICK, **pulled})[6][
            "loss_alignment"
        ]
    # with three seeds it came to 0.41 to 0.44 of what it is without a pull
    assert 0 < distance[30.0] < 0.6 * distance[1e-6]


def test_without_a_weight_the_distance_is_not_computed(train, tmp_path):
    epochs = train(tmp_path, "train.yaml", MEDMAP, **{**QUICK, "max_epochs": 1, "loss::terms::alignment::weight": 0.0})
    assert "loss_alignment" not in epochs[1] and np.isfinite(epochs[1]["loss_total"])
