# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from scripts.networks.m2ftrans_transformer import ModalityMaskedTransformer
from scripts.networks.transformer import TransformerSettings

SMALL = TransformerSettings(width=16, mlp_width=24, heads=4, depth=2)
SUBSETS = [[[1, 1, 1], [1, 0, 1]], [[0, 1, 0], [0, 0, 0]]]


@pytest.fixture
def build():
    """Build a small transformer for three modalities in double precision, with all parameters drawn."""

    def _build(grid=(2, 3, 2), **settings):
        torch.manual_seed(0)
        transformer = ModalityMaskedTransformer(3, list(grid), SMALL._replace(**settings)).double()
        for parameter in transformer.parameters():
            nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
        return transformer

    return _build


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def whole_attention(layer, tokens, allowed):
    """One layer over all tokens at once; gives also its attention ``(B, heads, K, K)``."""
    qkv = (layer.attention_norm(tokens) @ layer.attention.qkv.weight.T).unflatten(2, [3, SMALL.heads, -1])
    query, key, value = qkv.permute(2, 0, 3, 1, 4)
    scores = query @ key.transpose(2, 3) / math.sqrt(SMALL.width / SMALL.heads)
    attention = scores.masked_fill(~allowed[:, None], -math.inf).softmax(dim=3)
    tokens = tokens + layer.attention.out_proj((attention @ value).transpose(1, 2).flatten(2))
    return tokens + layer.mlp(layer.mlp_norm(tokens)), attention


def as_described(transformer, features, shown):
    """All tokens in one sequence under a mask: ``(B, M, F, *S)`` and ``(B, M)`` to ``forward``'s outputs.

    In place of the spatial weights, those of every key of the first layer's fusion tokens ``(B, (M + 1) * N)``.
    """
    number = features[0, 0, 0].numel()
    fusion = transformer.fusion.table.expand(len(features), -1, -1)
    tokens = torch.cat([*features.flatten(3).transpose(2, 3).unbind(1), fusion], dim=1)
    tokens = tokens + transformer.positions.table.flatten(0, 1)
    owner = torch.arange(4).repeat_interleave(number)  # 3 owns the fusion tokens
    fused = torch.cat([shown, torch.ones(len(shown), 1, dtype=torch.bool)], dim=1)[:, owner]  # (B, K)
    allowed = (owner[:, None] == owner) | ((owner[:, None] == 3) & fused[:, None])
    first = None
    for layer in transformer.layers:
        tokens, attention = whole_attention(layer, tokens, allowed)
        first = attention if first is None else first
    maps = tokens.unflatten(1, [4, number]).transpose(2, 3).unflatten(3, features.shape[3:])
    return maps[:, :3], maps[:, 3], first[:, :, 3 * number :].sum(dim=(1, 2))


@pytest.mark.parametrize("shown", SUBSETS)
def test_separate_sequences_equal_one_sequence_under_the_mask_with_gradients(build, shown):
    transformer, shown = build().eval(), torch.tensor(shown).bool()
    features = drawn(2, 3, 16, 2, 3, 2)
    weigh = [drawn(2, 3, 16, 2, 3, 2).detach(), drawn(2, 16, 2, 3, 2).detach()]
    maps, fused, spatial = transformer(features, torch.arange(3).expand(2, -1), shown)
    expected = as_described(transformer, features, shown)
    assert_close(maps, expected[0])
    assert_close(fused, expected[1])
    assert_close(spatial.flatten(1), expected[2][:, : 3 * 12])
    learnt = [features, *transformer.parameters()]
    for outputs in ((maps, fused), expected[:2]):
        transformer.zero_grad()
        loss = sum((output * w).sum() for output, w in zip(outputs, weigh, strict=True))
        gradients = torch.autograd.grad(loss, learnt)
        if outputs[0] is maps:
            found = gradients
    for first, second in zip(found, gradients, strict=True):
        assert_close(first, second)
        assert second.any()


def test_samples_may_name_different_modalities(build):
    transformer = build().eval()
    features, shown = drawn(2, 2, 16, 2, 3, 2), torch.tensor([[True, True], [True, False]])
    index = torch.tensor([[2, 0], [1, 0]])
    maps, fused, spatial = transformer(features, index, shown)
    everything, everywhere = torch.zeros(2, 3, 16, 2, 3, 2, dtype=torch.float64), torch.zeros(2, 3, dtype=torch.bool)
    for b, m in ((0, 0), (0, 1), (1, 0), (1, 1)):
        everything[b, index[b, m]], everywhere[b, index[b, m]] = features[b, m], shown[b, m]
    expected = as_described(transformer, everything, everywhere)
    assert_close(fused, expected[1])
    all_spatial = expected[2][:, : 3 * 12].unflatten(1, [3, 2, 3, 2])
    for b, m in ((0, 0), (0, 1), (1, 0), (1, 1)):
        assert_close(maps[b, m], expected[0][b, index[b, m]])
        assert_close(spatial[b, m], all_spatial[b, index[b, m]])


def test_spatial_weights_and_those_of_the_fusion_tokens_are_heads_times_voxels(build):
    transformer, shown = build().eval(), torch.tensor(SUBSETS[0] + SUBSETS[1]).bool()
    features = drawn(4, 3, 16, 2, 3, 2)
    spatial = transformer(features, torch.arange(3).expand(4, -1), shown)[2]
    among_themselves = as_described(transformer, features, shown)[2][:, 3 * 12 :].sum(dim=1)
    assert_close(spatial.flatten(1).sum(dim=1) + among_themselves, torch.full([4], 4.0 * 12, dtype=torch.float64))
    assert torch.equal(spatial.flatten(2).any(dim=2), shown)  # exact zeros where a modality is not shown
    assert (spatial >= 0).all() and not spatial.requires_grad


def test_tokens_of_a_modality_depend_on_no_other_modality(build):
    transformer, features = build().eval(), drawn(1, 3, 16, 2, 3, 2)
    index, shown = torch.arange(3)[None], torch.ones(1, 3, dtype=torch.bool)
    maps = transformer(features, index, shown)[0]
    for m in range(3):
        (gradient,) = torch.autograd.grad(maps[:, m].sum(), features, retain_graph=True)
        assert gradient.flatten(2).any(dim=2).tolist() == [[k == m for k in range(3)]]
    hidden = transformer(features, index, torch.tensor([[False, True, False]]))[0]
    assert_close(hidden, maps)  # not even on who is there


@pytest.mark.parametrize("shown", SUBSETS)
def test_fusion_tokens_depend_on_the_modalities_shown_only(build, shown):
    transformer, shown, features = build().eval(), torch.tensor(shown).bool(), drawn(2, 3, 16, 2, 3, 2)
    fused = transformer(features, torch.arange(3).expand(2, -1), shown)[1]
    (gradient,) = torch.autograd.grad(fused.square().sum(), features)
    assert fused.isfinite().all() and gradient.isfinite().all()
    assert torch.equal(gradient.flatten(2).any(dim=2), shown)


@torch.no_grad()
def test_complete_dropout_leaves_the_tokens_and_takes_the_spatial_weights(build):
    transformer, features = build(dropout=1.0).train(), drawn(2, 3, 16, 2, 3, 2)
    index, shown = torch.arange(3).expand(2, -1), torch.ones(2, 3, dtype=torch.bool)
    maps, fused, spatial = transformer(features, index, shown)
    positions = transformer.positions.table
    assert_close(maps.flatten(3).transpose(2, 3), features.flatten(3).transpose(2, 3) + positions[:3])
    assert_close(fused.flatten(2).transpose(1, 2), (transformer.fusion.table + positions[3]).expand(2, -1, -1))
    assert not spatial.any()  # they are taken behind the dropout of the attention


@torch.no_grad()
def test_dropout_acts_on_fusion_tokens_in_training_only(build):
    features, index, shown = drawn(1, 3, 16, 2, 3, 2), torch.arange(3)[None], torch.ones(1, 3, dtype=torch.bool)
    transformer = build(dropout=0.5).train()
    first, second = (transformer(features, index, shown) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert one.isfinite().all() and not torch.allclose(one, other, rtol=0.01, atol=0.01)
    without = build(dropout=0.0).train()(features, index, shown)
    for one, other in zip(transformer.eval()(features, index, shown), without, strict=True):
        assert_close(one, other)


@torch.no_grad()
def test_nothing_is_read_back_from_the_device(build):
    # on this device tensors have no values, so building a mask on the host would fail
    transformer = build().to("meta")
    features = torch.zeros(2, 3, 16, 2, 3, 2, dtype=torch.float64, device="meta")
    index, shown = (
        torch.zeros(2, 3, dtype=torch.long, device="meta"),
        torch.zeros(2, 3, dtype=torch.bool, device="meta"),
    )
    maps, fused, spatial = transformer(features, index, shown)
    assert maps.shape == features.shape and fused.shape == (2, 16, 2, 3, 2) and spatial.shape == (2, 3, 2, 3, 2)


@torch.no_grad()
def test_another_size_is_served_by_interpolated_positions_and_fusion_tokens(build):
    trained, wanted = build([2, 2, 2]).eval(), build([3, 3, 3]).eval()
    wanted.load_state_dict(trained.state_dict())
    assert wanted.fusion.table.shape == (1, 27, 16) and wanted.positions.table.shape == (4, 27, 16)
    features, index, shown = drawn(1, 3, 16, 3, 3, 3), torch.arange(3)[None], torch.tensor([[True, True, False]])
    for one, other in zip(trained(features, index, shown), wanted(features, index, shown), strict=True):
        assert one.isfinite().all()
        assert_close(one, other)


def test_tables_of_the_size_at_hand_are_taken_as_they_are_and_a_voxel_keeps_its_channels_together(build):
    transformer, features = build(), drawn(1, 3, 16, 2, 3, 2)
    assert transformer.positions(features.shape[3:]) is transformer.positions.table
    fused = transformer(features, torch.arange(3)[None], torch.ones(1, 3, dtype=torch.bool))[1]
    assert fused.stride() == (16 * 12, 1, 16 * 6, 16 * 2, 16)  # what convolutions recognise as channels-last


def test_fusion_tokens_are_normal_and_positions_zero_at_first():
    torch.manual_seed(0)
    transformer = ModalityMaskedTransformer(3, [5, 5, 5], SMALL)
    number = transformer.fusion.table.numel()  # 125 * 16
    assert transformer.fusion.table.mean().item() == pytest.approx(0, abs=5 / math.sqrt(number))
    assert transformer.fusion.table.std().item() == pytest.approx(1, rel=5 / math.sqrt(2 * number))
    assert not transformer.positions.table.any()
