# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Gradients of the whole objective of PASSION, against those of the release."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from scripts.networks.reference_checkpoint import PUBLISHED
from tests.objectives import WITH_STUDENTS, objective_of

GOLDEN = Path(__file__).parents[1] / "golden"


# mmFormer with its last modality deviates on purpose
@pytest.mark.parametrize(("name", "mask"), [("rfnet", "1111"), ("rfnet", "1010"), ("mmformer", "1010")])
def test_every_gradient_has_the_norm_of_the_reference(
    golden, load_reference, reference_state_dict, reference_case, hide, modalities, name, mask
):
    numbers, entry = golden(f"{name}_train"), f"idt_passion_{mask}"
    image, label = reference_case
    arguments = PUBLISHED[name].arguments(reference_state_dict(name))
    network = load_reference(name, PUBLISHED[name].network(len(modalities), **arguments)).train()
    objective = objective_of(pixel_distillation=0.5, semantic_distillation=0.1, task_wise=True)
    objective.state.coefficient = torch.from_numpy(numbers["beta"])
    objective.state.modality_weight = torch.from_numpy(numbers["modal_weight"])
    objective(network(hide(image, mask), paths=WITH_STUDENTS), label).backward()
    parameters = dict(network.named_parameters())
    expected = json.loads((GOLDEN / f"{name}_gradnorms.json").read_text())[entry]
    compared = 0
    for published, norm in expected.items():
        gradient = parameters[PUBLISHED[name].translate(published, modalities)].grad
        found = 0.0 if gradient is None else float(gradient.norm())
        if norm is None or norm < 1e-5:  # without gradient, or rounding noise in front of a normalisation
            assert found < 1e-4, published
        elif norm > 1e-4:
            # float32 holds the smallest ones, of weights that hardly matter, to two digits only
            assert found == pytest.approx(norm, rel=1e-3 if norm > 1e-3 else 1e-2), published
            compared += 1
    assert compared > 120
