# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Objectives by the names of their terms, as the configurations have them."""

from __future__ import annotations

from scripts.losses.anchor_alignment import AnchorAlignmentTerm
from scripts.losses.co_training import ConsistencyTerm, FullDiceTerm, MissingDiceTerm
from scripts.losses.knowledge_distillation import LatentDistillationTerm, SoftDistillationTerm
from scripts.losses.objective import Objective
from scripts.losses.pixel_distillation import PixelDistillationTerm
from scripts.losses.prototype_distillation import SemanticDistillationTerm
from scripts.losses.task import DeepSupervisionTerm, FusedTerm, UnimodalTerm
from scripts.networks.outputs import DEFAULT_PATHS, STUDENTS

BASE = {"fused": 1.0, "deep_supervision": 1.0, "unimodal": 1.0, "alignment": 1.0}
KINDS = {
    "fused": FusedTerm,
    "deep_supervision": DeepSupervisionTerm,
    "unimodal": UnimodalTerm,
    "pixel_distillation": PixelDistillationTerm,
    "semantic_distillation": SemanticDistillationTerm,
    "alignment": AnchorAlignmentTerm,
    "full_dice": FullDiceTerm,
    "missing_dice": MissingDiceTerm,
    "consistency": ConsistencyTerm,
    "soft_distillation": SoftDistillationTerm,
    "latent_distillation": LatentDistillationTerm,
}
WITH_STUDENTS = [*DEFAULT_PATHS, STUDENTS]


def objective_of(task_wise=False, **weights):
    """Make an objective of the base terms and further ones, by weight."""
    return Objective({name: KINDS[name](weight) for name, weight in {**BASE, **weights}.items()}, task_wise=task_wise)
