# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of the checks, and the classifier that one of them needs."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from scripts.plausibility.doubt import limits
from scripts.plausibility.recognition import classifier, log_probabilities
from scripts.tools import measure_plausibility, train_modality_recognition

pytestmark = pytest.mark.figures


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plausibility")
    measure_plausibility.main(str(folder), patients=1, tuning=1)
    return folder


def test_every_check_has_its_corruptions_and_its_good_images(folder):
    content = json.loads((folder / "table.json").read_text())
    found = {(row["check"], row["images"]) for row in content["rows"]}
    checks = {check for check, _ in found}
    assert all((check, "good") in found for check in checks)
    assert all(len([None for each, _ in found if each == check]) > 1 for check in checks)
    assert {row["variety"] for row in content["rows"]} == {"typical", "randomized"}
    assert set(content["limits_at_1_percent"]) == checks
    table = (folder / "table.md").read_text().splitlines()
    assert len(table) == 2 + len(found)


def test_what_was_measured_is_not_measured_again(folder, monkeypatch):
    before = (folder / "table.json").read_text()
    monkeypatch.setattr(measure_plausibility, "measure_patient", None)  # a call would fail
    measure_plausibility.main(str(folder), patients=1, tuning=1)
    assert (folder / "table.json").read_text() == before


def test_shares_and_intervals_by_hand():
    # 3 of 4 above the limit; Wilson: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)
    limit, z, n, p = limits()["mirrored"], 1.959964, 4, 0.75
    found = [{"mirrored": {"good": [limit + step]}} for step in (-0.01, 0.01, 0.02, 0.03)]
    row = measure_plausibility.rows(found, "typical", {"mirrored": limit + 0.025})[0]
    middle, spread = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert (row["doubted"], row["of"]) == (0.75, 4)
    assert row["at_1_percent"]["doubted"] == 0.25
    assert row["interval"] == pytest.approx(
        [(middle - spread) / (1 + z**2 / n), (middle + spread) / (1 + z**2 / n)], abs=1e-4
    )


def test_one_in_a_hundred_good_ones_exceeds_the_suggested_limit():
    # of 0, 1, ..., 200, the 99th percentile is 198: 199 and 200 exceed it
    found = [{"fills": {"good": [float(value)]}} for value in range(201)]
    assert measure_plausibility.suggested(found) == {"fills": 198.0}


def test_the_classifier_is_trained_by_one_command_and_says_how(tmp_path):
    file = tmp_path / "modality.json"
    train_modality_recognition.main(str(file), patients=1, held_out=1, copies=0, epochs=60, hidden=(0, 4))
    content = json.loads(file.read_text())
    assert content["modalities"] == classifier()["modalities"]
    assert content["record"]["hidden"] == 0
    assert set(content["record"]["accuracy_held_out"]) == {"0", "4"}
    features, targets, names = train_modality_recognition.described_phantoms(21, 1, 0)
    arrays = {**content, **{key: [np.array(each) for each in content[key]] for key in ("weights", "biases")}}
    found = log_probabilities(features[0], arrays)
    assert sum(np.exp(list(found.values()))) == pytest.approx(1)
    assert max(found, key=found.get) == names[targets[0]], "it has learnt what it was shown"


def test_the_record_of_the_classifier_that_ships_says_that_its_data_are_phantoms():
    record = classifier()["record"]
    assert "phantoms alone" in record["data"]
    assert record["command"].startswith("python -m scripts.tools.train_modality_recognition")
    assert record["hidden"] == len(classifier()["weights"][0]) * (len(classifier()["weights"]) - 1)
