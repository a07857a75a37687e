# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""`--tracking mlflow`, MONAI's own, gets the quantities of the method."""

from __future__ import annotations

import json
import sys

import pytest

client_of = pytest.importorskip("mlflow", reason="mlflow is not installed").MlflowClient

EPOCHS = 2
SETTINGS = {"patch_size": [16, 16, 16], "learning_rate": 0.01, "val_interval": 1, "validation_subsets": ["all", "t2"]}


@pytest.fixture(scope="module")
def tracked(workflow, command_line, tmp_path_factory):
    """Train by PASSION with an adaptive anchor and tracking: the folder, the client and the only run in its store."""
    folder = tmp_path_factory.mktemp("tracked")
    # as an expression, as in train.yaml: with a literal path MONAI does not find the configuration it has saved
    places = {"output_dir": f"$'{folder}'", "model_file": str(folder / "model.pt")}
    files = ("train.yaml", "method_passion.yaml", "method_medmap.yaml")
    settings = {**SETTINGS, **places, "max_epochs": EPOCHS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["monai.bundle", *command_line("training", *files, **settings)])
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        workflow(*files, run_id="training", tracking="mlflow", **settings).run()
    client = client_of(f"sqlite:///{folder / 'mlruns.db'}")
    (experiment,) = [each for each in client.search_experiments() if each.name == "monai_experiment"]
    (run,) = client.search_runs(experiment.experiment_id)
    return folder, client, run


def test_the_quantities_of_the_method_are_curves_over_epochs(tracked, modalities):
    _, client, run = tracked
    names = [f"{quantity}/{name}" for quantity in ("distance", "preference", "coefficient") for name in modalities]
    names += [f"anchor_weight/{name}" for name in modalities]
    names += [f"loss_{term}" for term in ("total", "fused", "pixel_distillation", "semantic_distillation", "alignment")]
    names += [f"loss_unimodal_per_modality/{name}" for name in modalities]
    names += ["learning_rate", "mean_dice", "dice_wt", "dice_tc", "dice_et", "dice/t2", "dice/flair-t1ce-t1-t2"]
    steps = {name: [point.step for point in client.get_metric_history(run.info.run_id, name)] for name in names}
    assert {name: found for name, found in steps.items() if found != list(range(1, EPOCHS + 1))} == {}


def test_the_curves_are_those_of_the_checkpoint_and_the_schedule(tracked):
    folder, client, run = tracked
    rates = [point.value for point in client.get_metric_history(run.info.run_id, "learning_rate")]
    assert rates == pytest.approx([0.01, 0.01 * (1 - 1 / EPOCHS) ** 0.9])
    coefficients = [run.data.metrics[f"coefficient/{name}"] for name in ("flair", "t1ce", "t1", "t2")]
    assert sum(value**2 for value in coefficients) == pytest.approx(4, rel=1e-5)  # of norm sqrt(M)
    assert len(set(coefficients)) > 1
    losses = client.get_metric_history(run.info.run_id, "train_loss")
    assert [point.step for point in losses] == list(range(1, 3 * EPOCHS + 1))  # of each iteration


def test_the_run_is_finished_and_has_its_configuration(tracked):
    folder, client, run = tracked
    assert run.info.status == "FINISHED"
    (artifact,) = client.list_artifacts(run.info.run_id)
    config = json.loads((folder / artifact.path).read_text())
    assert config["max_epochs"] == EPOCHS
    assert config["loss"]["terms"]["pixel_distillation"]["weight"] == 0.5
