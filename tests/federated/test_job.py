# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The job of federated/job and the overlay of a site, as far as they can be checked without FLARE."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
JOB = ROOT / "federated" / "job"


def read(side):
    return json.loads((JOB / "app" / "config" / f"config_fed_{side}.json").read_text(encoding="utf-8"))


def component(config):
    """The component that is given the bundle's configuration."""
    [found] = [each["args"] for each in config["components"] if "files" in each["args"]]
    return found


def test_server_and_sites_are_given_one_configuration():
    server, client = read("server"), read("client")
    assert server["num_rounds"] == client["num_rounds"]
    for name in ("files", "settings"):
        assert component(server)[name] == component(client)[name]
    assert all((ROOT / file).is_file() for file in component(server)["files"])
    assert json.loads((JOB / "meta.json").read_text(encoding="utf-8"))["min_clients"] == server["min_clients"]


@pytest.mark.parametrize("side", ["server", "client"])
def test_components_that_are_named_by_others_are_there(side):
    config = read(side)
    parts = [*config["components"], *config.get("workflows", []), *(e["executor"] for e in config.get("executors", []))]
    named = {value for part in parts for key, value in part["args"].items() if key.endswith("_id")}
    assert named and named <= {each["id"] for each in config["components"]}


def test_the_learning_rate_decays_over_all_rounds_although_a_round_is_what_is_planned(workflow):
    # MonaiAlgo sets max_epochs to the epochs of one round
    settings = {"train::trainer::max_epochs": 2, "num_rounds": 5, "local_epochs": 2}
    parser = workflow("train.yaml", "federated.yaml", **settings).parser
    assert parser.get_parsed_content("lr_scheduler").total_iters == 5 * 2


def test_a_site_trains_round_after_round_without_leaving_checkpoints(workflow, tmp_path):
    settings = {"train::trainer::max_epochs": 1, "num_rounds": 2, "output_dir": str(tmp_path)}
    run = workflow("train.yaml", "federated.yaml", workflow_type="train", **settings)
    trainer, evaluator = run.trainer, run.evaluator
    for round_ in (1, 2):  # as MonaiAlgo does
        trainer.state.max_epochs = trainer.state.epoch + 1
        trainer.run()
        assert trainer.state.epoch == round_
    assert trainer.optimizer.state, "the optimizer begins anew"
    evaluator.run(trainer.state.epoch + 1)
    assert 0 <= evaluator.state.metrics["mean_dice"] <= 1
    run.finalize()
    assert not list(tmp_path.rglob("*.pt"))
