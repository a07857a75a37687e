# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""PMR: prototypes, scores and both terms against numbers made by hand."""

from __future__ import annotations

import math

import pytest
import torch

from scripts.losses.objective import Objective
from scripts.losses.prototype_rebalance import (
    PrototypeCrossEntropyTerm,
    PrototypeEntropyTerm,
    class_shares,
    score_ratio,
)
from scripts.losses.state import ObjectiveState
from scripts.networks.outputs import MultiModalOutput

LABEL = torch.tensor([0, 0, 1, 1]).reshape(1, 1, 4, 1, 1)


def output_of(features, acquired):
    """Features ``(B, M, V)`` of one channel at voxels in a row, of two classes."""
    features = torch.tensor(features, dtype=torch.float32)[:, :, None, :, None, None].requires_grad_()
    fused = torch.zeros(features.shape[0], 2, features.shape[3], 1, 1)
    return MultiModalOutput(torch.tensor(acquired), torch.tensor(acquired), fused=fused, encoded=features)


# prototypes of modality 0: class 0 at 0, class 1 at 4; of modality 1: at 1 and 2
FEATURES = [[[-1.0, 1.0, 3.0, 5.0], [1.0, 1.0, 2.0, 2.0]]]


def expected(modality):
    """Cross-entropy, entropy and score of FEATURES, voxel by voxel."""
    centres = [0.0, 4.0] if modality == 0 else [1.0, 2.0]
    entropies, losses, scores = [], [], []
    for value, label in zip(FEATURES[0][modality], LABEL.flatten().tolist(), strict=True):
        weights = [math.exp(-abs(value - centre)) for centre in centres]
        p = [weight / sum(weights) for weight in weights]
        losses.append(-math.log(p[label]))
        scores.append(p[label])
        entropies.append(-sum(each * math.log(each) for each in p))
    return sum(losses) / 4, sum(entropies) / 4, sum(scores) / 4


def test_the_modality_behind_gets_the_cross_entropy_and_the_one_ahead_the_entropy():
    ahead, behind = expected(0), expected(1)
    ratio = ahead[2] / behind[2]
    assert ratio > 1
    output = output_of(FEATURES, [[True, True]])
    values = PrototypeCrossEntropyTerm()(output, LABEL)
    assert values.tolist() == [[0, pytest.approx((ratio - 1) * behind[0])]]
    values = PrototypeEntropyTerm()(output, LABEL)
    assert values.tolist() == [[pytest.approx(-(ratio - 1) * ahead[1]), 0]]


def test_an_absent_modality_neither_counts_nor_moves_a_prototype():
    term = PrototypeCrossEntropyTerm(momentum=0.5)
    term(output_of(FEATURES, [[True, True]]), LABEL)
    before = term.prototypes.clone()
    assert before[..., 0].tolist() == [[0, 4], [1, 2]]
    values = term(output_of([[[9.0] * 4, [3.0] * 4]], [[False, True]]), LABEL)
    assert torch.equal(term.prototypes[0], before[0])
    assert term.prototypes[1, :, 0].tolist() == [2.0, 2.5]  # half way to 3
    assert values.tolist() == [[0, 0]]  # a modality alone is neither behind nor ahead


def test_a_class_that_a_batch_lacks_keeps_its_prototype_and_one_never_seen_takes_no_part():
    term = PrototypeCrossEntropyTerm(momentum=0.5)
    background = torch.zeros_like(LABEL)
    values = term(output_of(FEATURES, [[True, True]]), background)
    assert term.prototypes.isnan()[..., 0].tolist() == [[False, True], [False, True]]
    assert values.tolist() == [[0, 0]]  # the only class has probability 1
    term(output_of(FEATURES, [[True, True]]), LABEL)
    kept = term.prototypes.clone()
    assert kept[:, 1, 0].tolist() == [4, 2], "a class that is new begins with its own mean"
    term(output_of(FEATURES, [[True, True]]), background)
    assert torch.equal(term.prototypes[:, 1], kept[:, 1]) and not torch.equal(term.prototypes[:, 0], kept[:, 0])


def test_the_gradient_goes_into_the_features_behind_alone_and_is_finite():
    output = output_of(FEATURES, [[True, True]])
    PrototypeCrossEntropyTerm()(output, LABEL).sum().backward()
    gradient = output.encoded.grad[0, :, 0, :, 0, 0]
    assert (
        bool(gradient.isfinite().all()) and float(gradient[0].abs().sum()) == 0 and float(gradient[1].abs().sum()) > 0
    )
    # of -ln p_y: sign(z - c_y) - sum_c p_c sign(z - c_c), here the probability of the wrong class, 1 / (1 + e)
    ratio = expected(0)[2] / expected(1)[2]
    step = (ratio - 1) / 4 / (1 + math.e)
    assert gradient[1].tolist() == pytest.approx([step, step, -step, -step])


def test_prototypes_are_in_the_state_dict_of_the_objective_and_come_back():
    def objective():
        return Objective({"prototype_cross_entropy": PrototypeCrossEntropyTerm()})

    first, second = objective(), objective()
    second.load_state_dict(first.state_dict())  # before the first iteration there are none
    first(output_of(FEATURES, [[True, True]]), LABEL)
    second.load_state_dict(first.state_dict())
    assert torch.equal(
        second.terms["prototype_cross_entropy"].prototypes, first.terms["prototype_cross_entropy"].prototypes
    )
    totals = [float(each(output_of(FEATURES, [[True, True]]), LABEL)) for each in (first, second)]
    assert totals[0] == totals[1] > 0


def test_the_entropy_counts_in_the_first_epochs():
    term, state = PrototypeEntropyTerm(0.1, epochs=20 / 3), ObjectiveState()
    weights = []
    for state.completed_epochs in range(9):
        weights.append(term.weight_at(state))
    assert weights == [0.1] * 7 + [0.0] * 2


def test_shares_are_those_of_the_voxels_of_a_coarser_level():
    label = torch.zeros(1, 1, 4, 4, 2, dtype=torch.uint8)
    label[0, 0, :2, :2] = 1
    label[0, 0, 0, 2:, 0] = 2
    shares = class_shares(label, 3, torch.Size([2, 2, 1]))
    assert shares[0].tolist() == [[0, 0.75, 1, 1], [1, 0, 0, 0], [0, 0.25, 0, 0]]
    assert class_shares(label[..., 0], 3, torch.Size([2, 2]))[0, 2].tolist() == [0, 0.5, 0, 0]


def test_a_score_is_compared_with_the_others_of_its_sample():
    score = torch.tensor([[0.9, 0.3, 0.6, 0.5], [0.9, 0.3, 0.6, 0.5], [0.9, 0.3, 0.6, 0.5]])
    there = torch.tensor([[True, True, False, False], [True, True, True, False], [False, False, False, True]])
    expected = [[3, 1 / 3, 1, 1], [2, 0.4, 1, 1], [1, 1, 1, 1]]
    for found, wanted in zip(score_ratio(score, there).tolist(), expected, strict=True):
        assert found == pytest.approx(wanted)


def test_an_early_fusion_and_a_momentum_out_of_range_are_refused():
    with pytest.raises(ValueError, match="no encoder for each; expected another than an early fusion"):
        PrototypeCrossEntropyTerm()(output_of(FEATURES, [[True, True]])._replace(encoded=None), LABEL)
    with pytest.raises(ValueError, match="`momentum` is 1; expected at least 0 and below 1"):
        PrototypeEntropyTerm(momentum=1)
