# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The measures of ours: what changes them and what does not, and numbers by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from scripts.losses.anchor_alignment import MOMENTS_FLOOR, AnchorAlignmentLoss
from scripts.networks.alignment import AnchorAlignment
from scripts.networks.outputs import ALIGNMENT_MEASURES, AlignmentOutput

OURS = [name for name in ALIGNMENT_MEASURES if name != "released"]


def distance(measure, features, anchor, available=None, at_origin=False):
    """Measure ``features`` ``(B, M, F, N)`` from ``anchor`` ``(B, F, N)``."""
    available = torch.ones(features.shape[:2], dtype=torch.bool) if available is None else available
    return AnchorAlignmentLoss()(AlignmentOutput([features], [anchor], available, measure, at_origin))


def related_features(noise, seed=0):
    """Two samples of three modalities, which share a signal; and their mean."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(2, 1, 4, 200, generator=generator, dtype=torch.double)
    features = shared + noise * torch.randn(2, 3, 4, 200, generator=generator, dtype=torch.double)
    return features, features.mean(dim=1)


@pytest.mark.parametrize("measure", OURS)
@pytest.mark.parametrize("scale", [0.01, 0.5, 100.0])
def test_scaling_and_shifting_all_features_changes_nothing(measure, scale):
    features, anchor = related_features(0.5)
    expected = distance(measure, features, anchor)
    assert expected.isfinite().all() and (expected > 0.001).all()
    assert_close(distance(measure, scale * features + 3, scale * anchor + 3), expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize("measure", ALIGNMENT_MEASURES)
def test_identical_features_give_zero(measure):
    features, anchor = related_features(0.0)
    assert_close(distance(measure, features, anchor), torch.zeros(2, 3, dtype=torch.double))


def test_a_collapse_raises_pooled_where_it_lowers_the_released_loss():
    features, anchor = related_features(0.5)
    noise, of_noise = related_features(0.5, seed=1)
    noise, of_noise = noise - noise.mean(dim=1, keepdim=True), of_noise * 0  # what the modalities do not share
    collapsed = features.mean(dim=3, keepdim=True) + 0.05 * noise
    around = features.mean(dim=3, keepdim=True).mean(dim=1) + 0.05 * of_noise
    for measure, raised in (("released", False), ("pooled", True), ("pooled+moments", True)):
        before, after = distance(measure, features, anchor), distance(measure, collapsed, around)
        assert before.isfinite().all() and after.isfinite().all()
        assert ((after > 1.5 * before) if raised else (after < 0.2 * before)).all(), measure


def test_pooled_of_two_modalities_by_hand():
    features = torch.tensor([[[[1.0, 3.0]], [[3.0, 5.0]]]])  # one channel of two voxels; mean 3, variance 8 / 4
    anchor = torch.tensor([[[1.0, 3.0]]])
    assert_close(distance("pooled", features, anchor), torch.tensor([[0.0, 4 / 2]]))


def test_an_absent_modality_is_no_part_of_the_pooled_variance_and_gives_no_gradient_that_is_not_finite():
    features = torch.tensor([[[[1.0, 3.0]], [[3.0, 5.0]], [[0.0, 0.0]]]], requires_grad=True)
    available = torch.tensor([[True, True, False]])
    for measure in ALIGNMENT_MEASURES:
        found = distance(measure, features, torch.tensor([[[1.0, 3.0]]]), available)
        if measure == "pooled":
            assert_close(found[:, :2].detach(), torch.tensor([[0.0, 2.0]]))
        (gradient,) = torch.autograd.grad(torch.where(available, found, 0).sum(), features)
        assert gradient.isfinite().all() and not gradient[0, 2].any() and gradient[0, 1].any()


def test_moments_from_an_anchor_by_hand():
    features = torch.tensor([[[[0.0, 2.0]], [[0.0, 4.0]]]], dtype=torch.double)  # mean, variance: 1, 1 and 2, 4
    anchor = torch.tensor([[[0.0, 2.0]]], dtype=torch.double)
    # the four values have mean 1.5 and variance 20 / 4 - 2.25
    floor = MOMENTS_FLOOR * 2.75 + 1e-8
    ratio = (4 + floor) / (1 + floor)
    expected = 0.5 * (ratio + 1 / (1 + floor) - 1 - math.log(ratio))
    assert_close(distance("moments", features, anchor), torch.tensor([[0.0, expected]], dtype=torch.double))


def test_moments_from_a_standard_normal_by_hand():
    features = torch.tensor([[[[1.0, 5.0], [-1.0, 1.0]]]], dtype=torch.double)  # mean 3, variance 4; mean 0, variance 1
    first = 4 + MOMENTS_FLOOR * 4 + 1e-8
    second = 1 + MOMENTS_FLOOR + 1e-8
    expected = 0.5 * ((first + 9 - 1 - math.log(first)) + (second - 1 - math.log(second))) / 2
    found = distance("moments", features, torch.zeros(1, 2, 2, dtype=torch.double), at_origin=True)
    assert_close(found, torch.tensor([[expected]], dtype=torch.double))


def test_the_sum_of_measures_and_the_mean_of_levels():
    (one, p), (other, q) = related_features(0.5), related_features(1.0, seed=1)
    both = AlignmentOutput([one, other], [p, q], torch.ones(2, 3, dtype=torch.bool), "pooled+moments")
    parts = [distance(measure, *level) for measure in ("pooled", "moments") for level in ((one, p), (other, q))]
    assert_close(AnchorAlignmentLoss()(both), sum(parts) / 2)


@pytest.mark.parametrize("measure", OURS)
def test_a_channel_that_is_constant_in_the_anchor_alone_gives_no_spike(measure):
    features, anchor = related_features(0.5)
    constant = torch.cat([features[:, :, :1] * 0, features[:, :, 1:]], dim=2)
    features = torch.cat([constant[:, :1], features[:, 1:]], dim=1).requires_grad_()
    found = distance(measure, features, constant[:, 0])
    (gradient,) = torch.autograd.grad(found.mean(), features)
    # a ratio of variances is at most 3 / 0.01, for three modalities and a floor of a hundredth
    assert found.isfinite().all() and (found < 300).all() and gradient.isfinite().all()


def train_encoders(measure, steps=200):
    """Pull two small encoders of one signal to their mixture; voxel correlation, and the spread over the voxels."""
    generator = torch.Generator().manual_seed(0)
    signal = torch.randn(8, 3, 64, generator=generator)
    views = [torch.randn(3, 3, generator=generator) @ signal for _ in range(2)]
    torch.manual_seed(0)
    encoders = [
        torch.nn.Sequential(torch.nn.Conv1d(3, 16, 1), torch.nn.Tanh(), torch.nn.Conv1d(16, 4, 1)) for _ in "ab"
    ]
    optimizer = torch.optim.Adam([p for each in encoders for p in each.parameters()], lr=0.01)
    for _ in range(steps):
        z = torch.stack([encode(view) for encode, view in zip(encoders, views, strict=True)], dim=1)
        optimizer.zero_grad()
        distance(measure, z, z.mean(dim=1)).mean().backward()
        optimizer.step()
    flat = z.detach().permute(2, 0, 3, 1).flatten(1, 2)  # (F, B * N, M)
    correlation = torch.stack([torch.corrcoef(channel.T)[0, 1] for channel in flat]).mean()
    return correlation.item(), flat.std(dim=1).mean().item()


def test_training_on_pooled_pairs_the_modalities_and_keeps_their_spread_where_the_released_loss_shrinks_them():
    _, shrunk = train_encoders("released")
    correlation, kept = train_encoders("pooled")
    assert math.isfinite(shrunk) and math.isfinite(kept)
    assert correlation > 0.9
    assert kept > 5 * shrunk


def test_the_measure_goes_from_the_configuration_to_the_loss_and_another_word_is_refused():
    names = ["flair", "t1"]
    features, acquired = [torch.randn(1, 2, 3, 4, 4)], torch.ones(1, 2, dtype=torch.bool)
    output = AnchorAlignment(names, "normal", measure="moments").compare(features, acquired)
    assert (output.measure, output.at_origin) == ("moments", True)
    assert not AnchorAlignment(names, measure="pooled").compare(features, acquired).at_origin
    with pytest.raises(ValueError, match="`measure` is `moment`; expected one of"):
        AnchorAlignment(names, measure="moment")
