# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The anchors, their weights, and what stands in for absent modalities."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from scripts.losses.anchor_alignment import AnchorAlignmentLoss
from scripts.networks.alignment import AnchorAlignment, NoAlignment

NAMES = ["a", "b", "c", "d"]
ANCHORS = ["normal", "adaptive", "b"]
SIZES = [(6, 4), (5, 4, 2)]  # of images in 2D and 3D
STEPS = 30  # of a training in small
SHOWN = torch.tensor([[True, True, True, True], [False, True, False, True], [False, False, True, False]])


def draw(available, size=(3, 2), channels=(2, 4), seed=0, dtype=torch.float32):
    """Two levels of features, zero where not available, as ``encode`` gives them."""
    generator = torch.Generator().manual_seed(seed)
    shape = list(available.shape)
    levels = [torch.randn(*shape, f, *size, generator=generator, dtype=dtype) for f in channels]
    return [level * available.view(*shape, *[1] * (1 + len(size))) for level in levels]


def learnt(names=NAMES, theta=(0.5, -1.0, 2.0, 0.0), **settings):
    """An adaptive alignment that has learnt something."""
    alignment = AnchorAlignment(names, **settings)
    alignment.theta.data = torch.tensor(theta[: len(names)])
    return alignment


def build(anchor, **settings):
    return learnt(**settings) if anchor == "adaptive" else AnchorAlignment(NAMES, anchor, **settings)


def distances(alignment, features, encoded):
    output = alignment.compare(features, encoded)
    return torch.where(output.available, AnchorAlignmentLoss()(output), torch.nan)


# --- weights and anchors -------------------------------------------------------------------------


def test_adaptive_weights_are_a_softmax_over_the_available_modalities():
    theta = [0.5, -1.0, 2.0, 0.0]
    power = [math.exp(each) for each in theta]
    expected = [
        [each / sum(power) for each in power],
        [0, power[1] / (power[1] + power[3]), 0, power[3] / (power[1] + power[3])],
        [0, 0, 1, 0],
    ]
    weights = learnt().weights(SHOWN)
    assert_close(weights, torch.tensor(expected))
    assert torch.equal(weights[~SHOWN], torch.zeros(5)), "an absent modality has no weight"
    assert_close(learnt().learnt_weights(), weights[0].detach())


def test_before_training_all_modalities_weigh_the_same():
    assert_close(AnchorAlignment(NAMES).weights(SHOWN)[:2], torch.tensor([[0.25] * 4, [0, 0.5, 0, 0.5]]))


@pytest.mark.parametrize(("anchor", "mixture"), [("normal", [0, 0, 0, 0]), ("b", [0, 1, 0, 0])])
def test_fixed_anchors_learn_nothing(anchor, mixture):
    alignment = AnchorAlignment(NAMES, anchor)
    assert alignment.learnt_weights() is None and list(alignment.parameters()) == []
    assert alignment.weights(SHOWN)[0].tolist() == mixture


def test_permuting_the_modalities_permutes_weights_and_leaves_the_anchor():
    order = torch.tensor([2, 0, 3, 1])
    alignment, permuted = learnt(), learnt(theta=tuple(learnt().theta.detach()[order].tolist()))
    features = draw(SHOWN)
    assert_close(permuted.weights(SHOWN[:, order]), alignment.weights(SHOWN)[:, order])
    moved = [level[:, order] for level in features]
    expected, found = alignment.compare(features, SHOWN), permuted.compare(moved, SHOWN[:, order])
    assert_close(found.anchors, expected.anchors)
    loss = AnchorAlignmentLoss()
    assert_close(loss(found), loss(expected)[:, order])


# --- the distance --------------------------------------------------------------------------------


@pytest.mark.parametrize("anchor", ["adaptive", "b"])
def test_identical_features_cost_nothing_and_the_output_is_the_input(anchor):
    everything = torch.ones(2, 4, dtype=torch.bool)
    features = [level[:, :1].expand(-1, 4, *level.shape[2:]) for level in draw(everything)]
    alignment = build(anchor, levels=[0, 1])
    assert_close(distances(alignment, features, everything), torch.zeros(2, 4), rtol=0, atol=1e-12)
    assert all(map(torch.equal, alignment(features, everything), features))
    some = torch.tensor([[True, True, False, False], [False, True, False, True]])
    shown = [level * some.view(2, 4, 1, 1, 1) for level in features]
    assert_close(alignment(shown, some), features)


def test_a_single_modality_is_its_own_adaptive_anchor():
    alone = torch.eye(4, dtype=torch.bool)
    features = draw(alone)
    values = distances(learnt(), features, alone)
    assert torch.equal(values[alone], torch.zeros(4)) and values[~alone].isnan().all()


@pytest.mark.parametrize("anchor", ANCHORS)
def test_four_available_modalities_cost_the_sum_of_their_mean_squared_errors_over_8(anchor):
    everything = torch.ones(1, 4, dtype=torch.bool)
    features = draw(everything)
    z = features[-1][0]
    mixture = {"normal": torch.zeros(4), "b": torch.eye(4)[1]}
    weights = mixture.get(anchor, learnt().learnt_weights())
    p = sum(w * each for w, each in zip(weights, z, strict=True))
    expected = sum(torch.nn.functional.mse_loss(each, p) for each in z) / 8
    assert expected > 0.1
    assert_close(distances(build(anchor), features, everything).mean(), expected)


def test_distance_of_two_modalities_by_hand():
    # z = 1 and 3 with weights 1/4 and 3/4: P = 2.5; half of 1.5^2 and of 0.5^2. At the other level twice as far
    features = [torch.tensor([1.0, 3.0]).view(1, 2, 1, 1, 1), torch.tensor([2.0, 6.0]).view(1, 2, 1, 1, 1)]
    alignment = learnt(["a", "b"], theta=(0.0, math.log(3)), levels=[0])
    both = torch.ones(1, 2, dtype=torch.bool)
    assert_close(distances(alignment, features, both), torch.tensor([[1.125, 0.125]]))
    alignment.levels = [0, -1]
    assert_close(distances(alignment, features, both), torch.tensor([[(1.125 + 4.5) / 2, (0.125 + 0.5) / 2]]))


def correlation(one, other):
    """Of two rows ``(..., N)``, over their voxels."""
    one, other = one - one.mean(dim=-1, keepdim=True), other - other.mean(dim=-1, keepdim=True)
    return (one * other).sum(dim=-1) / (one.norm(dim=-1) * other.norm(dim=-1))


def test_anchor_of_distinct_features_keeps_what_differs_between_voxels_by_hand():
    # four voxels; weights 1/4 and 3/4
    one, other = torch.tensor([0.0, 4.0, 0.0, 4.0]), torch.tensor([0.0, 0.0, 4.0, 8.0])
    z = torch.stack([one, other]).view(1, 2, 1, 4, 1)
    alignment = learnt(["a", "b"], theta=(0.0, math.log(3)))
    output = alignment.compare([z], torch.ones(1, 2, dtype=torch.bool))
    # 3/4 of 0, 0, 4, 8 and a quarter of 0, 4, 0, 4: mean 11/4, squares 0, 1, 9, 49
    p = output.anchors[0].flatten()
    assert_close(p, torch.tensor([0.0, 1.0, 3.0, 7.0]))
    assert p.var(correction=0).item() == pytest.approx(59 / 4 - (11 / 4) ** 2)
    # covariances with it: 8 - 2 * 11 / 4 and 17 - 3 * 11 / 4; variances 4 and 11
    spread = math.sqrt(59 / 4 - (11 / 4) ** 2)
    expected = torch.tensor([2.5 / (2 * spread), 8.75 / (math.sqrt(11) * spread)])
    assert_close(correlation(z[0, :, 0, :, 0], p), expected)
    assert torch.equal(output.features[0], z), "the features are compared as they are"
    # and it is what stands in for an absent modality, voxel by voxel: here of the other alone
    filled = alignment([z], torch.tensor([[False, True]]))[0]
    assert torch.equal(filled[0, 0], z[0, 1])


def test_pulled_features_come_together_and_do_not_collapse(build_rfnet):
    """A small network learns to segment and to align; what the pull may not do is to make all voxels alike."""
    network = build_rfnet(3, 2, spatial_dims=2)
    network.alignment = AnchorAlignment(["a", "b", "c"])
    generator = torch.Generator().manual_seed(4)
    blobs = torch.nn.functional.interpolate(torch.randn(2, 1, 6, 6, generator=generator), [32, 32], mode="bilinear")
    label = (blobs[:, 0] > 0).long()
    contrast = torch.tensor([1.0, -1.0, 2.0]).view(1, 3, 1, 1)  # the same thing in three ways
    image = contrast * blobs + 0.3 * torch.randn(2, 3, 32, 32, generator=generator)
    everything = torch.ones(2, 3, dtype=torch.bool)

    @torch.no_grad()
    def state():
        """Error, spread between voxels, distance for each unit of spread, correlation; all computed here."""
        z = network.encode(image, everything)[-1].flatten(3)  # (B, M, F, N)
        p = z.mean(dim=1, keepdim=True)
        spread = z.var(dim=3, correction=0).mean()
        error = torch.nn.functional.cross_entropy(network(image).fused, label)
        return error, spread, (z - p).square().mean() / spread, correlation(z, p).mean()

    network.train()
    before = state()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(STEPS):
        output = network(image)
        pull = AnchorAlignmentLoss()(output.alignment).mean()
        (torch.nn.functional.cross_entropy(output.fused, label) + pull).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    after = state()
    assert after[0] < 0.5 * before[0], "segments"
    assert after[1] > 0.5 * before[1], "voxels differ as before"
    assert after[2] < 0.5 * before[2], "modalities are closer, for the same spread"
    assert after[3] > before[3]


def test_a_sample_without_the_anchors_modality_is_not_aligned():
    features = draw(SHOWN)
    output = AnchorAlignment(NAMES, "b").compare(features, SHOWN)
    assert output.available.tolist() == [[True] * 4, [False, True, False, True], [False] * 4]
    assert AnchorAlignment(NAMES).compare(features, SHOWN).available.equal(SHOWN)


# --- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("anchor", ANCHORS)
def test_gradients_are_those_of_finite_differences(anchor, size):
    alignment = build(anchor, levels=[0, 1]).double()
    features = [level.requires_grad_() for level in draw(SHOWN, size, channels=(1, 2), dtype=torch.float64)]

    def value(*inputs):  # the parameters among them are changed in place
        output = alignment.compare(inputs[:2], SHOWN)
        distance = torch.where(output.available, AnchorAlignmentLoss()(output), 0)
        return (distance, *alignment(inputs[:2], SHOWN))

    assert torch.autograd.gradcheck(value, [*features, *alignment.parameters()])


@pytest.mark.parametrize("anchor", ANCHORS)
def test_an_absent_modality_gets_no_gradient(anchor):
    alignment, features = build(anchor), [level.requires_grad_() for level in draw(SHOWN)]
    total = distances(alignment, features, SHOWN).nansum()
    total = total + sum((level**3).sum() for level in alignment(features, SHOWN))
    total.backward()
    for level in features:
        gradient = level.grad.flatten(2)
        assert gradient.isfinite().all()
        assert not gradient[~SHOWN].any() and gradient[SHOWN].any(dim=1).all()
    if anchor == "adaptive":
        alignment.theta.grad = None
        only = torch.tensor([[True, False, True, False]])
        distances(alignment, draw(only), only).nansum().backward()
        gradient = alignment.theta.grad
        assert gradient.isfinite().all() and gradient[[0, 2]].all() and not gradient[[1, 3]].any()


def test_at_equal_weights_theta_learns_through_filling_alone():
    # the mean minimises the sum of squared distances
    alignment, features = AnchorAlignment(NAMES), draw(SHOWN)
    distances(alignment, features, SHOWN).nansum().backward()
    assert_close(alignment.theta.grad, torch.zeros(4), rtol=0, atol=1e-6)
    sum((level**3).sum() for level in alignment(features, SHOWN)).backward()
    assert alignment.theta.grad.isfinite().all() and alignment.theta.grad.abs().max() > 0.1


def test_a_detached_anchor_is_not_moved_by_the_loss():
    both = torch.ones(1, 2, dtype=torch.bool)
    gradients = {}
    for detached in (False, True):
        alignment = learnt(["a", "b"], theta=(0.0, math.log(3)), detach_anchor=detached)
        features = [torch.tensor([1.0, 3.0]).view(1, 2, 1, 1).requires_grad_()]
        distances(alignment, features, both).sum().backward()
        gradients[detached] = features[0].grad.flatten(), alignment.theta.grad
    # z - P = -1.5 and 0.5; through P, -(sum of z - P) w_m = 1 w_m on top
    assert_close(gradients[True][0], torch.tensor([-1.5, 0.5]))
    assert gradients[True][1] is None
    assert_close(gradients[False][0], torch.tensor([-1.5 + 0.25, 0.5 + 0.75]))
    assert gradients[False][1].isfinite().all() and gradients[False][1].abs().min() > 0.1


# --- filling -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("anchor", ANCHORS)
def test_filled_features_are_the_anchor_at_every_level(anchor, size):
    features, alignment = draw(SHOWN, size), build(anchor, levels=[0, 1])
    anchors = alignment.compare(features, SHOWN).anchors
    completed = alignment.available_to_fusion(SHOWN)
    assert completed.all(dim=1).tolist() == [True, True, anchor != "b"]
    for filled, level, p in zip(alignment(features, SHOWN), features, anchors, strict=True):
        assert torch.equal(filled[SHOWN], level[SHOWN])
        stood_in = completed & ~SHOWN
        assert_close(filled[stood_in], p.unsqueeze(1).expand_as(filled)[stood_in])
    assert torch.equal(completed[2], torch.tensor([True] * 4) if anchor != "b" else SHOWN[2])


def test_what_an_absent_modality_holds_does_not_matter():
    # features of a modality that is acquired but not shown
    shown, everything = SHOWN[1:2], torch.ones(1, 4, dtype=torch.bool)
    for anchor in ANCHORS:
        alignment, features = build(anchor), draw(everything)
        hidden = [level * shown.view(1, 4, 1, 1, 1) for level in features]
        assert_close(alignment(features, shown), alignment(hidden, shown))


def test_without_filling_absent_modalities_stay_absent():
    features, alignment = draw(SHOWN), learnt(fill=False)
    assert alignment(features, SHOWN) is features and alignment.available_to_fusion(SHOWN) is SHOWN
    assert distances(alignment, features, SHOWN)[1, 1] > 0


@pytest.mark.parametrize("anchor", ANCHORS)
def test_a_sample_without_any_modality_stays_empty_and_finite(anchor):
    nothing = torch.zeros(2, 4, dtype=torch.bool)
    alignment, features = build(anchor), draw(nothing)
    assert not alignment.available_to_fusion(nothing).any()
    assert all(not level.any() for level in alignment(features, nothing))
    assert not alignment.compare(features, nothing).available.any()


def test_half_precision_features_stay_so_and_are_compared_in_full():
    features = [level.bfloat16() for level in draw(SHOWN)]
    alignment = learnt()
    assert [level.dtype for level in alignment(features, SHOWN)] == [torch.bfloat16] * 2
    assert distances(alignment, features, SHOWN).dtype == torch.float32


# --- settings ------------------------------------------------------------------------------------


def test_an_unknown_anchor_is_refused_with_what_there_is():
    with pytest.raises(
        ValueError, match=r"`anchor` is `mean`; expected `adaptive`, `normal` or one of .*'a', 'b', 'c'"
    ):
        AnchorAlignment(NAMES[:3], "mean")
    with pytest.raises(ValueError, match=r"`levels` is empty; expected encoder levels"):
        AnchorAlignment(NAMES, levels=[])


def test_an_alignment_that_does_not_fit_the_network_is_refused():
    with pytest.raises(ValueError, match="`alignment` is of 4 modalities and the network of 3"):
        AnchorAlignment(NAMES).check(3, 4)
    with pytest.raises(ValueError, match=r"`alignment::levels` has \[4, -5\]; .* 4 levels, so expected -4 to 3"):
        AnchorAlignment(NAMES, levels=[0, 4, -5, -1]).check(4, 4)
    AnchorAlignment(NAMES, "normal", levels=[-4, 3]).check(4, 4)


def test_weights_of_another_anchor_are_refused():
    states = {anchor: build(anchor).state_dict() for anchor in (*ANCHORS, "c")}
    for anchor in ANCHORS:
        build(anchor).load_state_dict(states[anchor])
    for wrong, message in (("normal", "trained with another anchor"), ("c", "another anchor"), ("adaptive", "theta")):
        with pytest.raises(RuntimeError, match=message):
            build("b").load_state_dict(states[wrong])


def test_no_alignment_changes_nothing():
    features, alignment = draw(SHOWN), NoAlignment()
    assert alignment(features, SHOWN) is features and alignment.available_to_fusion(SHOWN) is SHOWN
    assert alignment.compare(features, SHOWN) is None and alignment.learnt_weights() is None
    assert alignment.state_dict() == {}


def test_options_that_come_from_a_command_line_are_words():
    alignment = AnchorAlignment(NAMES, fill="false", detach_anchor="true")
    assert alignment.fill is False and alignment.detach_anchor is True
    with pytest.raises(ValueError, match="`alignment::fill` is `perhaps`; expected true or false"):
        AnchorAlignment(NAMES, fill="perhaps")
