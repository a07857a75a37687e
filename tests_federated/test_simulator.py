# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The job of federated/job in FLARE's simulator: three sites that own different modalities (`make federated-test`)."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from scripts.modalities import modality_subsets, subset_name
from scripts.phantom.dataset import PhantomSettings, write_phantoms

ROOT = Path(__file__).parents[1]
MODALITIES = ["flair", "t1ce", "t1", "t2"]
SITES = {"without_t1ce": ["flair", "t1", "t2"], "flair_only": ["flair"], "complete": MODALITIES}
TRAINING_CASES = {"without_t1ce": 3, "flair_only": 4, "complete": 2}
NUM_ROUNDS = 2
SMALL = {"network_def::width": 4, "spacing": [8.0] * 3, "patch_size": [24] * 3}  # the phantoms have 8 mm
MINUTES = 10  # after which a run that hangs is ended
EXACT = {"rtol": 0, "atol": 1e-6}  # float32 weights of about 1, and differences of them


def run(command, **environment):
    """Run a command at the root of the bundle; end it with all that it started if it hangs."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=60 * MINUTES)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, output[-3000:]
    return output


def write_job(folder, records):
    """Copy the job of the bundle: fewer rounds, a small network, and everything written down that is sent."""
    shutil.copytree(ROOT / "federated" / "job", folder)
    for side in ("client", "server"):
        file = folder / "app" / "config" / f"config_fed_{side}.json"
        config = json.loads(file.read_text(encoding="utf-8"))
        config["num_rounds"] = NUM_ROUNDS
        [component] = [each for each in config["components"] if "settings" in each["args"]]
        component["args"]["settings"] = SMALL
        recorder = {"path": "tests_federated.recording.", "args": {"folder": str(records)}}
        if side == "client":
            recorder["path"] += "SentRecorder"
            config["task_result_filters"].append({"tasks": ["train", "validate"], "filters": [recorder]})
        else:
            recorder["path"] += "GlobalRecorder"
            config["components"].append({"id": "recorder", **recorder})
        file.write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    """Run the job once: data, workspace, what was sent, global networks by number of rounds, log."""
    folder = tmp_path_factory.mktemp("federation")
    data, records, workspace = folder / "data", folder / "records", folder / "workspace"
    records.mkdir()
    for seed, (site, modalities) in enumerate(SITES.items(), start=1):
        settings = PhantomSettings(spacing_mm=8.0, modalities=tuple(modalities), seed=seed)
        numbers = {"training": TRAINING_CASES[site], "validation": 1, "testing": 1}
        write_phantoms(data / site, numbers, settings, progress=False)
    command = ["nvflare.cli", "simulator", str(write_job(folder / "job", records)), "-w", str(workspace)]
    log = run([*command, "-c", ",".join(SITES), "-t", str(len(SITES))], FEDERATED_DATA=str(data))
    assert "Traceback" not in log, log[-3000:]
    states = {int(file.stem.split("_")[1]): dict(np.load(file)) for file in records.glob("global_*.npz")}
    assert sorted(states) == [0, 1, 2], log[-3000:]
    return {"data": data, "workspace": workspace, "records": records, "states": states, "log": log}


def sent(federation, site, round_):
    """Load the update that a site sent in a round."""
    return dict(np.load(federation["records"] / f"{site}_train_{round_}.npz"))


def model_file(federation, name="FL_global_model.pt"):
    return federation["workspace"] / "server" / "simulate_job" / "app_server" / name


def mean(updates, weights):
    """Average in float64; ``weights`` are cases by site."""
    return sum(weights[site] * updates[site].astype(float) for site in weights) / sum(weights.values())


@pytest.mark.parametrize("round_", range(NUM_ROUNDS))
def test_the_global_network_moves_in_every_round_and_stays_finite(federation, round_):
    before, after = federation["states"][round_], federation["states"][round_ + 1]
    assert all(np.isfinite(value).all() for value in after.values())
    for part in (
        "encoders.0.",
        "encoders.1.",
        "encoders.2.",
        "encoders.3.",
        "unimodal_decoder.",
        "stages.",
        "segment.",
    ):
        assert any((after[name] != before[name]).any() for name in after if name.startswith(part)), part


@pytest.mark.parametrize("round_", range(NUM_ROUNDS))
@pytest.mark.parametrize("m", range(len(MODALITIES)))
def test_an_encoder_is_the_average_over_the_sites_that_have_its_modality(federation, round_, m):
    weights = {site: TRAINING_CASES[site] for site in SITES if MODALITIES[m] in SITES[site]}
    before, after = federation["states"][round_], federation["states"][round_ + 1]
    updates = {site: sent(federation, site, round_) for site in SITES}
    names = [name for name in after if name.startswith(f"encoders.{m}.")]
    assert names
    largest = 0.0
    for name in names:
        of_name = {site: update[name] for site, update in updates.items()}
        expected = before[name] + mean(of_name, weights)
        np.testing.assert_allclose(after[name], expected, **EXACT, err_msg=name)
        diluted = before[name] + mean(of_name, TRAINING_CASES)
        largest = max(largest, np.abs(after[name] - diluted).max())
    if len(weights) < len(SITES):  # an average over all sites would be another one
        assert largest > 100 * EXACT["atol"]


@pytest.mark.parametrize("round_", range(NUM_ROUNDS))
def test_what_all_sites_train_is_the_average_over_all(federation, round_):
    before, after = federation["states"][round_], federation["states"][round_ + 1]
    updates = {site: sent(federation, site, round_) for site in SITES}
    for name in [name for name in after if name.startswith(("unimodal_decoder.", "segment."))]:
        expected = before[name] + mean({site: update[name] for site, update in updates.items()}, TRAINING_CASES)
        np.testing.assert_allclose(after[name], expected, **EXACT, err_msg=name)


@pytest.mark.parametrize("round_", range(NUM_ROUNDS))
def test_columns_that_mix_the_modalities_are_averaged_block_by_block(federation, round_):
    name = "stages.0.head.mix.conv.weight"  # (O, M * F, 1, 1, 1)
    before, after = (np.split(federation["states"][round_ + i][name], len(MODALITIES), axis=1) for i in (0, 1))
    updates = {site: np.split(sent(federation, site, round_)[name], len(MODALITIES), axis=1) for site in SITES}
    for m, modality in enumerate(MODALITIES):
        weights = {site: TRAINING_CASES[site] for site in SITES if modality in SITES[site]}
        expected = before[m] + mean({site: blocks[m] for site, blocks in updates.items()}, weights)
        np.testing.assert_allclose(after[m], expected, **EXACT)


@pytest.mark.parametrize("site", [site for site in SITES if site != "complete"])
def test_a_site_neither_has_nor_moves_what_it_lacks(federation, site):
    files = [file.name for file in (federation["data"] / site).rglob("*.nii.gz")]
    endings = {re.sub(r"phantom_\d+_|\.nii\.gz", "", name) for name in files}
    assert endings == {"seg", *SITES[site]}
    for round_ in range(NUM_ROUNDS):
        update = sent(federation, site, round_)
        for m, modality in enumerate(MODALITIES):
            moved = any(value.any() for name, value in update.items() if name.startswith(f"encoders.{m}."))
            assert moved == (modality in SITES[site]), modality


def test_what_leaves_a_site_is_updates_counts_and_means_over_cases(federation):
    records = [json.loads(file.read_text(encoding="utf-8")) for file in federation["records"].glob("*_train_*.json")]
    assert len(records) == NUM_ROUNDS * len(SITES)
    names = set(federation["states"][0])
    for file in federation["records"].glob("*_train_*.npz"):
        assert set(np.load(file)) == names
    for record in records:
        assert record["kind"].endswith("WEIGHT_DIFF") and record["data"] == {}
        assert set(record["meta"]) == {"NUM_STEPS_CURRENT_ROUND", "initial_metrics", "training_cases"}
    for site, modalities in SITES.items():
        record = json.loads((federation["records"] / f"{site}_train_0.json").read_text(encoding="utf-8"))
        counts = {name: TRAINING_CASES[site] * (name in modalities) for name in MODALITIES}
        assert record["meta"]["training_cases"] == {"cases": TRAINING_CASES[site], "cases_by_modality": counts}
    subsets = {"dice/" + subset_name(row, MODALITIES).replace("+", "-") for row in modality_subsets(4).tolist()}
    for file in federation["records"].glob("*_validate_*.json"):
        metrics = json.loads(file.read_text(encoding="utf-8"))["data"]
        assert set(metrics) <= {"mean_dice", "dice_wt", "dice_tc", "dice_et", *subsets} and "mean_dice" in metrics


def test_every_site_scores_the_final_and_the_best_global_network(federation):
    file = federation["workspace"] / "server" / "simulate_job" / "cross_site_val" / "cross_val_results.json"
    scores = json.loads(file.read_text(encoding="utf-8"))
    assert set(scores) == set(SITES)
    for of_site in scores.values():
        assert set(of_site) == {"SRV_FL_global_model.pt", "SRV_best_FL_global_model.pt"}
        assert all(0 <= of_model["mean_dice"] <= 1 for of_model in of_site.values())


def test_optimizer_and_learning_rate_of_a_site_go_on_from_round_to_round(federation):
    rates = {float(rate) for rate in re.findall(r"learning_rate: ([\d.]+)", federation["log"])}
    start = 0.002  # configs/demo.yaml
    expected = {round(start * (1 - round_ / NUM_ROUNDS) ** 0.9, 4) for round_ in range(NUM_ROUNDS)}
    assert rates == expected


def test_the_global_network_segments_a_patient(federation, tmp_path):
    weights = torch.load(model_file(federation), weights_only=True)
    last = federation["states"][NUM_ROUNDS]
    assert list(weights) == list(last) and all(np.array_equal(weights[name], last[name]) for name in last)
    patient = federation["data"] / "without_t1ce" / "phantom_0004"
    options = {"dataset_dir": patient, "model_file": model_file(federation), "output_dir": tmp_path, "device": "cpu"}
    options |= {name: json.dumps(value) for name, value in SMALL.items()}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    run(["monai.bundle", "run", "evaluating", "--config_file=configs/inference.yaml", *arguments])
    result = nib.load(tmp_path / "phantom_0004.nii.gz")
    assert result.shape == nib.load(patient / "phantom_0004_flair.nii.gz").shape
    assert set(np.unique(result.dataobj)) <= {0, 1, 2, 4}
    report = json.loads((tmp_path / "phantom_0004.json").read_text(encoding="utf-8"))
    assert report["modalities_used"] == SITES["without_t1ce"] and report["modalities_absent"] == ["t1ce"]
