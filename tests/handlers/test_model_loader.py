# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
from torch import nn

from scripts.handlers.model_loader import ModelLoader
from scripts.records.side_files import write_side_file

PHANTOMS = {"name": "phantoms", "synthetic": True, "section": "training", "num_cases": 1, "num_synthetic": 1}


def test_settings_other_than_those_of_the_training_are_said(tmp_path, caplog):
    file, network = tmp_path / "model.pt", nn.Linear(1, 1, bias=False)
    torch.save({"weight": torch.full((1, 1), 7.0)}, file)
    asked = {"spacing": [1.0, 1.0, 1.0], "patch_size": [80, 80, 80]}
    ModelLoader(str(file), network, asked).load()
    assert float(network.weight) == 7
    assert not caplog.messages, "nothing is known of the training"
    trained = {"spacing": [2.0, 2.0, 2.0], "patch_size": [80, 80, 80]}
    write_side_file(file, "training.json", {"trained_on": PHANTOMS, "initial_file": None, "settings": trained})
    ModelLoader(str(file), network, asked).load()
    assert [message.partition(" were ")[2] for message in caplog.messages] == [
        "trained with `spacing` [2.0, 2.0, 2.0]; this run has [1.0, 1.0, 1.0], for which they may be worse"
    ]
    ModelLoader(str(file), network, trained).load()
    assert len(caplog.messages) == 1
