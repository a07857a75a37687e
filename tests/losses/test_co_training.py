# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The objective of two paths."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from scripts.losses.co_training import paired_paths, ramp_up
from scripts.networks.outputs import MultiModalOutput, PathOutput
from tests.objectives import objective_of

ALL, SOME, NONE = [True, True, True], [True, False, True], [False, False, False]
ONLY = [False, False, True]


def output(fused, missing, shown, narrowed):
    """What a network without heads gives: logits of both paths, and what each of them saw."""
    shown, narrowed = torch.tensor(shown), torch.tensor(narrowed)
    path = None if missing is None else PathOutput(narrowed, missing, None)
    return MultiModalOutput(shown, shown, fused, fused_features=fused, narrowed=path)


def co_training(ramp=80):
    """The objective of both paths, as in method_da.yaml but for the discriminators."""
    loss = objective_of(fused=0.0, full_dice=0.2, missing_dice=0.8, consistency=10.0)
    loss.terms["consistency"].ramp = ramp
    return loss


def draw(shown, narrowed, seed=0):
    generator = torch.Generator().manual_seed(seed)
    fused, missing = (torch.randn(len(shown), 3, 4, 4, generator=generator).requires_grad_() for _ in range(2))
    return output(fused, missing, shown, narrowed), torch.randint(3, (len(shown), 1, 4, 4), generator=generator)


@pytest.mark.parametrize(("completed", "expected"), [(0, math.exp(-5)), (4, math.exp(-5 / 4)), (8, 1.0), (80, 1.0)])
def test_the_ramp_rises_from_the_first_epoch_to_its_end(completed, expected):
    assert ramp_up(completed, 8) == pytest.approx(expected)


def test_a_ramp_of_no_length_is_at_its_end_from_the_beginning():
    assert ramp_up(0, 0) == 1.0


def test_total_of_two_voxels_by_hand():
    label = torch.tensor([0, 1]).reshape(1, 1, 1, 2)
    even = torch.zeros(1, 2, 1, 2)  # p = 1/2
    missing = torch.tensor([3.0, 1.0]).log().reshape(1, 2, 1, 1).expand(1, 2, 1, 2)  # p = 3/4 and 1/4 at both voxels
    full_dice = 1 - 2 * (1 / 2) / (1 + 1)  # for both classes
    missing_dice = 1 - (2 * (3 / 4) / (3 / 2 + 1) + 2 * (1 / 4) / (1 / 2 + 1)) / 2
    squares = (1 / 4) ** 2
    loss = co_training(ramp=8)
    for completed, weight in ((0, 10 * math.exp(-5)), (4, 10 * math.exp(-5 / 4)), (8, 10.0)):
        loss.state.completed_epochs = completed
        total = loss(output(even, missing, [ALL], [SOME]), label)
        assert_close(total, torch.tensor(0.2 * full_dice + 0.8 * missing_dice + weight * squares))
        terms = {"full_dice": full_dice, "missing_dice": missing_dice, "consistency": squares}
        for name, value in {**terms, "consistency_weight": weight, "total": float(total)}.items():
            assert_close(loss.last.terms[name], torch.tensor(value), msg=name)


def test_identical_paths_agree():
    given, label = draw([ALL, SOME], [SOME, ONLY])
    given = given._replace(narrowed=given.narrowed._replace(logits=given.fused))
    loss = co_training()
    loss(given, label)
    assert loss.last.terms["consistency"] == 0
    assert loss.last.terms["missing_dice"] == loss.last.terms["full_dice"] > 0


def test_a_sample_without_a_missing_path_has_the_loss_of_its_full_path_alone():
    given, label = draw([ALL, ONLY], [SOME, NONE])
    loss = co_training(ramp=0)
    total = loss(given, label)
    both = dict(loss.last.terms)
    given.fused.grad = None
    total.backward()
    assert torch.all(given.narrowed.logits.grad[1] == 0)
    assert given.narrowed.logits.grad.isfinite().all() and given.narrowed.logits.grad[0].abs().max() > 0
    assert given.fused.grad.isfinite().all() and given.fused.grad[1].abs().max() > 0
    parts = [each.detach() for each in (given.fused, given.narrowed.logits)]
    first = loss(output(parts[0][:1], parts[1][:1], [ALL], [SOME]), label[:1])
    for name in ("missing_dice", "consistency"):
        assert_close(both[name], loss.last.terms[name], msg="not diluted by the sample that has none")
    second = loss(output(parts[0][1:], parts[1][1:], [ONLY], [NONE]), label[1:])
    assert_close(second, 0.2 * loss.last.terms["full_dice"])
    assert_close(total.detach(), (first + second) / 2)


@pytest.mark.parametrize("asked", [True, False])
def test_a_batch_without_any_missing_path_notes_none(asked):
    given, label = draw([ONLY], [NONE])
    given = given if asked else given._replace(narrowed=None)
    loss = co_training()
    total = loss(given, label)
    assert_close(total.detach(), 0.2 * loss.last.terms["full_dice"])
    assert loss.last.terms["missing_dice"].isnan() and loss.last.terms["consistency"].isnan()
    assert paired_paths(given) is None


def test_both_paths_of_the_samples_that_have_them_are_paired():
    given, _ = draw([ALL, ONLY, SOME], [SOME, NONE, ONLY])
    given = given._replace(bottleneck=torch.arange(3.0).reshape(3, 1, 1, 1))
    pair = paired_paths(given)
    assert pair.rows.tolist() == [0, 2]
    assert pair.full.available.tolist() == [ALL, SOME]
    assert pair.missing.available.tolist() == [SOME, ONLY]
    assert pair.full.bottleneck.flatten().tolist() == [0, 2]
    assert torch.equal(pair.full.logits, given.fused[[0, 2]])
    assert torch.equal(pair.missing.logits, given.narrowed.logits[[0, 2]])


def test_a_network_that_was_not_asked_for_the_missing_path_is_an_error():
    given, label = draw([ALL], [SOME])
    with pytest.raises(ValueError, match="no narrowed path.*expected a call with `paths`.*TrainingInferer"):
        co_training()(given._replace(narrowed=None), label)
