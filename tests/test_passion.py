# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""PASSION as a whole: its ingredients one by one, what it logs, batches and accumulated gradients."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from scripts.data.datalist import read_section, write_datalist
from scripts.losses import objective
from scripts.losses.preference import lagging

QUICK = {"patch_size": [16, 16, 16], "max_epochs": 1, "val_interval": 9}
FILES = ("train.yaml", "method_passion.yaml")
DISTILLATION = {"pixel_distillation", "semantic_distillation"}


def run(workflow, folder, *files, **overrides):
    """Train; give the trainer and the objective."""
    places = {"output_dir": str(folder), "model_file": str(folder / "model.pt")}
    made = workflow(*files, run_id="training", **places, **{**QUICK, **overrides})
    made.run()
    return made.parser.get_parsed_content("train::trainer"), made.parser.get_parsed_content("loss")


@pytest.fixture
def gates(monkeypatch):
    """Note every gate that the objective applies."""
    noted = []

    def note(distance, seen):
        noted.append(lagging(distance, seen))
        return noted[-1]

    monkeypatch.setattr(objective, "lagging", note)
    return noted


def ingredients(trainer, loss, gates):
    """Which of PASSION's parts were at work, by what they left."""
    found = DISTILLATION & set(loss.last.terms)
    found |= {"gradient_wise"} if loss.state.coefficient.std() > 0 else set()
    found |= {"frequency_weights"} if loss.state.modality_weight is not None else set()
    found |= {"task_wise"} if any(gate.any() and not gate.all() for gate in gates) else set()
    assert [name for name, value in trainer.network.state_dict().items() if not value.isfinite().all()] == []
    assert all(value.isfinite().all() for value in (loss.state.coefficient, loss.last.terms["total"]))
    return found


INGREDIENTS = {  # the id of each, and what switches it off
    "pixel_distillation": ("loss::terms::pixel_distillation::weight", 0.0),
    "semantic_distillation": ("loss::terms::semantic_distillation::weight", 0.0),
    "task_wise": ("loss::task_wise", False),
    "gradient_wise": ("train::preference::gradient_wise", False),
    "frequency_weights": ("train::preference::frequency_weights", False),
}


@pytest.mark.parametrize("name", INGREDIENTS)
def test_each_ingredient_can_be_switched_off_alone(workflow, tmp_path, gates, name):
    assert ingredients(*run(workflow, tmp_path, *FILES, **dict([INGREDIENTS[name]])), gates) == set(INGREDIENTS) - {
        name
    }


@pytest.mark.parametrize("name", INGREDIENTS)
def test_each_ingredient_works_alone(workflow, tmp_path, gates, name):
    others = dict(switch for other, switch in INGREDIENTS.items() if other != name)
    assert ingredients(*run(workflow, tmp_path, *FILES, **others), gates) == {name}


def test_distances_and_weights_of_every_modality_are_in_the_text_log_and_on_tensorboard(
    workflow, tmp_path, modalities, text_log
):
    trainer, loss = run(workflow, tmp_path, *FILES, max_epochs=2)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    kinds = ["distance", "preference", "coefficient", "loss_unimodal_per_modality"]
    kinds += [f"loss_{name}_per_modality" for name in sorted(DISTILLATION)]
    tags = [f"{kind}/{modality}" for kind, modality in product(kinds, modalities)]
    tags += [f"loss_{name}" for name in ("total", "fused", "deep_supervision", "unimodal", *DISTILLATION)]
    for tag in tags:
        values = [event.value for event in events.Scalars(tag)]
        assert len(values) == 2 and np.isfinite(values).all(), tag
        assert f"{tag}: " in text_log.text
    last = [events.Scalars(f"coefficient/{modality}")[-1].value for modality in modalities]
    assert last == pytest.approx(loss.state.coefficient.tolist())
    assert sum(value**2 for value in last) == pytest.approx(len(modalities))


def test_accumulated_gradients_are_those_of_the_larger_batch(workflow, tmp_path, phantoms, modalities):
    cases = read_section(phantoms / "datalist.json", "training", modalities)[:2]
    assert cases[0]["images"].keys() != cases[1]["images"].keys()
    write_datalist(tmp_path / "two.json", {"training": cases, "validation": []}, modalities)
    plain = {"_target_": "torch.optim.SGD", "params": "$@network.parameters()", "lr": 0.05}
    settings = {"datalist_file": str(tmp_path / "two.json"), "optimizer": plain, "max_epochs": 2}
    ways = {
        "batch": {"batch_size": 2},
        "accumulated": {"batch_size": 1, "accumulation_steps": 2},
        "stepwise": {"batch_size": 1},
    }
    made = {name: run(workflow, tmp_path / name, *FILES, **way, **settings) for name, way in ways.items()}
    (batch, expected), (accumulated, loss) = made["batch"], made["accumulated"]
    assert (batch.state.iteration, accumulated.state.iteration) == (2, 4)
    assert accumulated.state.metrics == pytest.approx(batch.state.metrics, rel=1e-4, abs=1e-5)
    torch.testing.assert_close(loss.state.coefficient, expected.state.coefficient)
    assert torch.equal(loss.state.shown, expected.state.shown)
    weights = {name: torch.load(tmp_path / name / "model.pt", weights_only=True) for name in ways}
    off, other = (gap(weights["batch"], weights[name]) for name in ("accumulated", "stepwise"))
    assert off < 0.01 * other, "rounding apart, the steps are those of the batch, not those of its cases"


def gap(first, second):
    """Distance of two sets of weights."""
    return float(torch.stack([(first[name] - second[name]).norm() for name in first]).norm())
