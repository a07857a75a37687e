# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Scores made by hand, and the files of their evaluation."""

from __future__ import annotations

import pytest

from scripts.evaluation.tables import ScoreWriter
from scripts.modalities import modality_subsets, subset_name


@pytest.fixture(scope="session")
def scores_of():
    """Make the scores of one subset: the same Dice and HD95 in each region."""

    def _scores_of(dice, hd95=1.0, regions=("wt",)):
        return {(region, metric): value for region in regions for metric, value in (("dice", dice), ("hd95", hd95))}

    return _scores_of


@pytest.fixture(scope="session")
def write_scores():
    """Write cases, subset to scores each, as an evaluation does."""

    def _write_scores(path, cases, policy="brats", surface="monai"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with ScoreWriter(path, policy, surface) as writer:
            for case, scores in cases.items():
                writer.write_case(case, scores)
        return path

    return _write_scores


@pytest.fixture(scope="session")
def complete_study(modalities):
    """Make distinct numbers for every case, subset, region and metric."""

    def _complete_study(num_cases=3):
        names = [subset_name(row, modalities) for row in modality_subsets(4).tolist()]
        return {
            f"case_{c}": {
                subset: {
                    (region, metric): scale * (1 + c * c + 0.1 * s + 0.01 * r)
                    for r, region in enumerate(("wt", "tc", "et"))
                    for metric, scale in (("dice", 0.05), ("hd95", 2.0))
                }
                for s, subset in enumerate(names)
            }
            for c in range(num_cases)
        }

    return _complete_study


@pytest.fixture(scope="session")
def unequal_study(scores_of):
    """Give one case two modalities, the other only one of them."""
    return {
        "both": {"t1ce": scores_of(0.5), "t2": scores_of(0.2), "t1ce+t2": scores_of(0.8)},
        "only_t2": {"t2": scores_of(0.6)},
    }
