# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Folders of evaluations, written by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scripts.evaluation.summary import summarise
from scripts.evaluation.tables import ScoreWriter
from scripts.utils.files import write_json

MADE_UP = {"p": 0.0, "q": 0.1, "r": 0.2, "p+q": 0.3, "p+r": 0.4, "q+r": 0.5, "p+q+r": 0.6}  # Dice of the worst case


@pytest.fixture
def write_evaluation():
    """Write an evaluation: see ``_write_evaluation``."""
    return _write_evaluation


def _write_evaluation(folder, cases=("one", "two", "three"), subsets=MADE_UP, regions=("x", "y"), slices=True):
    """Write tables and slices: the Dice of a subset grows by 0.1 from case to case, and is 0.05 lower in each region.

    HD95 is 100 (1 - Dice); where Dice would be below 0 both are undefined.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ScoreWriter(folder / "per_case.csv", "nan") as writer:
        for place, case in enumerate(cases):
            scores = {}
            for subset, dice in subsets.items():
                values = {region: dice + 0.1 * place - 0.05 * number for number, region in enumerate(regions)}
                values = {region: value if value >= 0 else math.nan for region, value in values.items()}
                scores[subset] = {(region, "dice"): value for region, value in values.items()}
                scores[subset] |= {(region, "hd95"): 100 * (1 - value) for region, value in values.items()}
            writer.write_case(case, scores)
            if slices:
                _write_slices(folder / "cases" / f"{case}.slices.npz", list(subsets))
    write_json(folder / "summary.json", summarise(folder / "per_case.csv"))
    return folder


def _write_slices(path, subsets):
    path.parent.mkdir(exist_ok=True)
    modalities = sorted({name for subset in subsets for name in subset.split("+")})
    image = np.tile(np.arange(0, 250, 10, dtype=np.uint8)[:, None], (1, 20))  # (X, Y)
    truth = np.zeros_like(image)
    truth[5:15, 5:15], truth[8:11, 8:11] = 1, 2
    predictions = np.stack([np.roll(truth, place, axis=0) for place in range(len(subsets))])
    places = {"spacing_mm": np.array([1.0, 2.0]), "number": np.array(3), "num_slices": np.array(10)}
    names = {"modalities": np.array(modalities), "subsets": np.array(subsets)}
    np.savez_compressed(
        path, images=np.stack([image] * len(modalities)), truth=truth, predictions=predictions, **names, **places
    )
