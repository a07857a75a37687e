# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The progress bar, for a trainer and for an evaluator."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine

from scripts.handlers.progress import ProgressBarHandler


@pytest.mark.parametrize(
    ("output", "loss"),
    [
        ([{"loss": torch.tensor(0.25)}], "loss=0.25"),
        ([{"pred": None}], None),  # of an evaluator, taken apart by case
        ({}, None),  # of a case that failed
    ],
)
def test_the_bar_shows_its_description_and_a_loss_where_there_is_one(capsys, output, loss):
    engine = Engine(lambda engine, batch: output)
    ProgressBarHandler("segmenting").attach(engine)
    engine.run([0, 1])
    text = capsys.readouterr().err
    assert "segmenting" in text
    assert "2/2" in text
    assert (loss is None and "loss" not in text) or (loss is not None and loss in text)
