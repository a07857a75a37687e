# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The hyper-parameters that the papers and their releases state are those of the configurations."""

from __future__ import annotations

from pathlib import Path

import pytest
from monai.bundle import ConfigParser

CONFIGS = Path(__file__).parents[1] / "configs"
TRAINING = {  # of PASSION's release, for every network there
    "patch_size": [80, 80, 80],
    "learning_rate": 2.0e-4,
    "weight_decay": 1.0e-4,
    "optimizer::_target_": "torch.optim.AdamW",
    "optimizer::lr": "@learning_rate",
    "optimizer::weight_decay": "@weight_decay",
    "optimizer::amsgrad": True,
    "lr_scheduler::_target_": "torch.optim.lr_scheduler.PolynomialLR",
    "lr_scheduler::power": 0.9,
    "max_epochs": 300,
    "batch_size": 1,
    "sliding_window_overlap": 0.5,
    "validate::inferer::overlap": "@sliding_window_overlap",
    "train::crop::roi_size": "@patch_size",
    "loss::terms::fused::weight": 1.0,
    "loss::terms::deep_supervision::weight": 1.0,
    "loss::terms::unimodal::weight": 1.0,
    "train::preference::initial_step": 0.01,
    "train::preference::gradient_wise": False,
    "train::preference::frequency_weights": False,
}
PASSION = {
    "loss::terms::pixel_distillation::weight": 0.5,
    "loss::terms::pixel_distillation::temperature": 4.0,
    "loss::terms::semantic_distillation::weight": 0.1,
    "loss::task_wise": True,
    "train::preference::initial_step": 0.01,
    "train::preference::gradient_wise": True,
    "train::preference::frequency_weights": True,
}
MEDMAP = {"loss::terms::alignment::weight": 1.0, "alignment::anchor": "adaptive", "alignment::detach_anchor": False}
STUDENT = {"loss::terms::soft_distillation::weight": 0.5, "loss::terms::soft_distillation::temperature": 4.0}
STUDENT |= {"loss::terms::latent_distillation::weight": 0.1}
ADVERSARIAL = {  # of ACN's training script
    "loss::terms::fused::weight": 0.0,
    "loss::terms::full_dice::weight": 0.2,
    "loss::terms::missing_dice::weight": 0.8,
    "loss::terms::consistency::weight": 10.0,
    "loss::terms::entropy_adversarial::weight": 0.001,
    "loss::terms::knowledge_adversarial::weight": 0.0002,
    "discriminator_learning_rate": 1.0e-4,
}
MERGED = {
    (): TRAINING,
    ("method_passion.yaml",): {**TRAINING, **PASSION},
    ("method_medmap.yaml",): {**TRAINING, **MEDMAP},
    ("method_kd_student.yaml",): {**TRAINING, **STUDENT},
    ("method_da.yaml",): {**TRAINING, **ADVERSARIAL},
}


@pytest.mark.parametrize("overlays", MERGED, ids="+".join)
def test_published_values_stand_in_the_merged_configuration(overlays):
    parser = ConfigParser(ConfigParser.load_config_files([str(CONFIGS / name) for name in ("train.yaml", *overlays)]))
    assert {id_: parser.get(id_, "absent") for id_ in MERGED[overlays]} == MERGED[overlays]
