# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Gradients of whole objectives, against the reference numbers.

Of RFNet and mmFormer there is the norm of every parameter's gradient. Of M2FTrans there is none: its numbers are
probabilities, terms and objective. So its gradient is held against the slope of the objective that reproduces them.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from scripts.networks.reference_checkpoint import PUBLISHED
from tests.objectives import WITH_STUDENTS, objective_of

GOLDEN = Path(__file__).parents[1] / "golden"


# mmFormer with its last modality deviates on purpose
@pytest.mark.long
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


@pytest.mark.long
def test_gradient_of_m2ftrans_is_the_slope_of_the_objective_that_has_the_reference_value(
    golden, load_reference, reference_state_dict, reference_case, hide, modalities
):
    name, entry = "m2ftrans", "idt_plain_1010"
    image, label = reference_case
    arguments = PUBLISHED[name].arguments(reference_state_dict(name))
    network = load_reference(name, PUBLISHED[name].network(len(modalities), **arguments)).train()
    objective, image = objective_of(), hide(image, "1010")
    held = []  # the spatial weights, which pass no gradient: they stay as they are when parameters move

    def hold(module, inputs, output):
        held.append(output[2])
        return (*output[:2], held[0])

    network.bottleneck.register_forward_hook(hold)
    value = objective(network(image), label)
    np.testing.assert_allclose(value.item(), golden(f"{name}_train")[f"{entry}/obj_loss"], rtol=1e-5)
    value.backward()
    learnt = [p for p in network.parameters() if p.grad is not None and p.grad.norm() > 1e-4]
    assert len(learnt) > 200
    # up the gradient, each parameter by the same length: then the slope is the sum of the norms, about 0.2 % from each.
    # A step of 1e-5 crosses kinks of ReLUs, for an error that shrinks with it: 0.8 % were found at twice the step.
    directions = [parameter.grad / parameter.grad.norm() for parameter in learnt]
    expected = sum(float(parameter.grad.norm()) for parameter in learnt)
    step, values = 1e-5, []
    with torch.no_grad():
        for move in (step, -2 * step):  # to one side, then to the other
            for parameter, direction in zip(learnt, directions, strict=True):
                parameter.add_(direction, alpha=move)
            values.append(float(objective(network(image), label)))
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(expected, rel=1e-2)
