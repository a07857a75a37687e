# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What the network and a discriminator play for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from scripts.losses.adversarial import AdversarialTerm
from scripts.losses.co_training import paired_paths
from scripts.networks.outputs import MultiModalOutput, PathOutput

EVEN = math.log(1.0)  # sigmoid 1/2
SURE = math.log(3.0)  # sigmoid 3/4


class Echo(nn.Module):
    """Stands for the discriminators: each says the logits of a path, plus a weight of its own that starts at zero."""

    def __init__(self, *names):
        super().__init__()
        self.judges = nn.ModuleDict({name: nn.Identity() for name in names})
        self.offset = nn.Parameter(torch.zeros(()))

    def judge(self, name, path):
        return path.logits + self.offset


def term(weight=1.0, names=("entropy",), **options):
    return AdversarialTerm(Echo(*names), "entropy", weight, **options)


def output(full, missing, available=((True, True),)):
    """Both paths of samples of 2 x 2 patches, each of one value; the missing one saw the first modality."""
    available = torch.tensor(available)
    full, missing = (torch.tensor(values).reshape(-1, 1, 1, 1).repeat(1, 1, 2, 2) for values in (full, missing))
    several = available.all(dim=1, keepdim=True)
    narrowed = PathOutput(torch.tensor([[True, False]]) & several, missing.requires_grad_(), None)
    return MultiModalOutput(available, available, full.requires_grad_(), narrowed=narrowed)


def test_the_network_pays_for_what_is_not_taken_for_the_full_path():
    given = output([0.0, 0.0], [-SURE, EVEN], available=((True, True), (True, True)))
    # sigmoid 1/4 and 1/2 of being the full path
    assert_close(term()(given, torch.zeros(2, 1, 2, 2)), torch.tensor([math.log(4), math.log(2)]))


def test_a_sample_without_a_missing_path_pays_nothing():
    given = output([0.0, 0.0], [-SURE, -SURE], available=((True, True), (True, False)))
    one = term()
    assert_close(one(given, torch.zeros(2, 1, 2, 2)), torch.tensor([math.log(4), 0.0]))
    assert one.applies(given).tolist() == [True, False]


def test_the_discriminator_pays_for_what_it_takes_for_the_other_path():
    one = term()
    wrong = one.tell_apart(paired_paths(output([-SURE], [SURE])))
    assert_close(wrong.loss, torch.tensor(math.log(4)))
    assert wrong.accuracy == 0
    right = one.tell_apart(paired_paths(output([SURE], [-SURE])))
    assert_close(right.loss, torch.tensor(math.log(4 / 3)))
    assert right.accuracy == 1
    says_nothing = one.tell_apart(paired_paths(output([EVEN], [EVEN])))
    assert says_nothing.accuracy == 0.5, "what says nothing is right in half of the cases"


@pytest.mark.parametrize(("criterion", "right"), [("bce", 0.0), ("least_squares", 0.5), ("hinge", 0.0)])
def test_accuracy_is_by_the_middle_between_the_labels_of_the_criterion(criterion, right):
    judged = term(criterion=criterion).tell_apart(paired_paths(output([right + 0.1], [right - 0.1])))
    assert judged.accuracy == 1


def test_gradients_of_the_one_reach_nothing_of_the_other():
    one, given = term(), output([0.0], [0.0])
    one(given, torch.zeros(1, 1, 2, 2)).sum().backward()
    assert given.narrowed.logits.grad.isfinite().all() and given.narrowed.logits.grad.any()
    assert one.discriminators.offset.grad is None and one.discriminators.offset.requires_grad
    given = output([1.0], [0.0])
    one.tell_apart(paired_paths(given)).loss.backward()
    assert given.fused.grad is None and given.narrowed.logits.grad is None
    assert one.discriminators.offset.grad.isfinite() and one.discriminators.offset.grad != 0


def test_a_discriminator_that_weighs_nothing_or_has_nothing_to_look_at_plays_no_part():
    assert term().judges and not term(weight=0.0).judges and not term(names=("knowledge",)).judges
    assert term(names=("knowledge",))(output([0.0], [0.0]), torch.zeros(1, 1, 2, 2)) is None


def test_weights_of_the_discriminators_are_not_among_the_objectives():
    assert not list(term().parameters()) and not term().state_dict()


def test_an_overconfident_discriminator_gives_finite_gradients():
    given = output([500.0, 0.0], [-500.0, -20.0], available=((True, True), (True, True)))
    term()(given, torch.zeros(2, 1, 2, 2)).sum().backward()
    assert given.narrowed.logits.grad.isfinite().all() and given.narrowed.logits.grad.abs().max() > 0
