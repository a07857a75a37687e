# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What the network and its discriminators play for."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from scripts.losses.adversarial import AdversarialLoss

FULL = {"entropy": torch.full((1, 1, 2, 2), math.log(3.0)), "knowledge": torch.zeros(1, 1, 1, 1)}  # sigmoid 3/4, 1/2
MISSING = {"entropy": torch.full((1, 1, 2, 2), math.log(1 / 3)), "knowledge": torch.zeros(1, 1, 1, 1)}  # 1/4, 1/2


def test_the_network_pays_for_what_is_not_taken_for_the_full_path():
    loss = AdversarialLoss(entropy=0.001, knowledge=0.0002)
    assert_close(loss.deceive(MISSING), torch.tensor(0.001 * math.log(4) + 0.0002 * math.log(2)))
    assert_close(loss.terms["entropy_adversarial"], torch.tensor(math.log(4)))
    assert_close(loss.terms["knowledge_adversarial"], torch.tensor(math.log(2)))


def test_discriminators_pay_for_what_they_take_for_the_other_path():
    loss = AdversarialLoss()
    wrong = loss.tell_apart(MISSING, FULL)  # the other way round
    assert_close(wrong, torch.tensor(math.log(4) + math.log(2)))
    assert loss.terms["entropy_discriminator_accuracy"] == 0
    right = loss.tell_apart(FULL, MISSING)
    assert_close(right, torch.tensor(math.log(4 / 3) + math.log(2)))
    assert_close(loss.terms["entropy_discriminator"], torch.tensor(math.log(4 / 3)))
    assert loss.terms["entropy_discriminator_accuracy"] == 1
    assert loss.terms["knowledge_discriminator_accuracy"] == 0.5, "what says nothing is right in half of the cases"


@pytest.mark.parametrize(("criterion", "right"), [("bce", 0.0), ("least_squares", 0.5), ("hinge", 0.0)])
def test_accuracy_is_by_the_middle_between_the_labels_of_the_criterion(criterion, right):
    loss = AdversarialLoss(criterion=criterion)
    above, below = ({"entropy": torch.full((1, 1, 3), right + step)} for step in (0.1, -0.1))
    loss.tell_apart(above, below)
    assert loss.terms["entropy_discriminator_accuracy"] == 1


def test_a_discriminator_that_weighs_nothing_is_left_out():
    loss = AdversarialLoss(knowledge=0.0)
    loss.clear("cpu")
    expected = {f"entropy_{kind}" for kind in ("adversarial", "discriminator", "discriminator_accuracy")}
    assert set(loss.terms) == expected and all(value.isnan() for value in loss.terms.values())
    judged = {name: value.clone().requires_grad_() for name, value in FULL.items()}
    (loss.deceive(judged) + loss.tell_apart(judged, MISSING)).backward()
    assert judged["knowledge"].grad is None and judged["entropy"].grad.isfinite().all()
    assert set(loss.terms) == expected


def test_an_overconfident_discriminator_gives_finite_gradients():
    judged = {"entropy": torch.tensor([[[-500.0, 500.0, -20.0]]], requires_grad=True)}
    loss = AdversarialLoss(entropy=1.0)
    (loss.deceive(judged) + loss.tell_apart(judged, judged)).backward()
    assert judged["entropy"].grad.isfinite().all() and judged["entropy"].grad.abs().max() > 0
