# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from scripts.networks.m2ftrans_attention import (
    ChannelCrossAttention,
    ChannelFusion,
    FeedForward,
    VoxelMap,
    rows_by_modality,
)


def drawn(module):
    """Draw all parameters, in double precision."""
    torch.manual_seed(0)
    for parameter in module.double().parameters():
        nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return module


def values(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


# --- the description, with the channels in front, every layer by itself ---------------------------


def normalized(x, norm):
    centred = x - x.mean(dim=1, keepdim=True)
    x = centred / (centred.square().mean(dim=1, keepdim=True) + 1e-6).sqrt()
    ones = [1] * (x.dim() - 2)
    return x * norm.weight.view(-1, *ones) + norm.bias.view(-1, *ones)


def gelu(x):
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def mapped(layer, x):
    groups, convolve = x.shape[1], F.conv3d if x.dim() == 5 else F.conv2d
    x = gelu(normalized(layer.expand(x), layer.expand_norm))
    x = gelu(normalized(convolve(x, layer.mix.weight, layer.mix.bias, padding=1, groups=groups), layer.mix_norm))
    return normalized(layer.project(x), layer.project_norm)


def attended(layer, kernel, maps, shown):
    """All channels of all modalities under a mask: ``(B, F, *S)``, ``(B, M, F, *S)`` and ``(B, M)``."""
    query = mapped(layer.query, kernel).flatten(2)
    keys, values = (
        torch.cat([mapped(own, maps[:, m]).flatten(2) for m, own in enumerate(each.maps)], dim=1)
        for each in (layer.keys, layer.values)
    )  # (B, M * F, L)
    scores = query @ keys.transpose(1, 2) / math.sqrt(query.shape[2])
    columns = shown.repeat_interleave(kernel.shape[1], dim=1).unsqueeze(1)
    mixture = scores.masked_fill(~columns, -math.inf).softmax(dim=2) @ values
    return mapped(layer.project, mixture.unflatten(2, kernel.shape[2:]))


def fed(layer, x):
    return gelu(x + mapped(layer.map, x))


def as_described(fusion, kernel, maps, shown):
    kernel = fed(fusion.kernel_feed[0], kernel + attended(fusion.attend[0], kernel, maps, shown))
    maps = torch.stack([fed(fusion.map_feed, each) for each in maps.unbind(1)], dim=1)
    return fed(fusion.kernel_feed[1], kernel + attended(fusion.attend[1], kernel, maps, shown))


# --- the layers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(3, 4), (2, 3, 4), (1, 1, 2)], ids=str)
@pytest.mark.parametrize("hidden", [4, 12])
def test_map_of_voxels_equals_its_steps(size, hidden):
    layer, x = drawn(VoxelMap(len(size), 4, hidden)), values(2, 4, *size)
    assert layer.mix.weight.shape[1] == hidden // 4
    assert_close(layer(x.movedim(1, -1)).movedim(-1, 1), mapped(layer, x))


def test_feed_forward_applies_a_gelu_to_the_sum():
    layer, x = drawn(FeedForward(2, 4)), values(2, 4, 3, 3)
    assert layer.map.mix.weight.shape == (16, 4, 3, 3)
    assert_close(layer(x.movedim(1, -1)).movedim(-1, 1), fed(layer, x))


def test_rows_of_each_modality_are_those_that_show_it_by_hand():
    index, shown = torch.tensor([[0, 3], [3, 1]]), torch.tensor([[True, False], [True, True]])
    assert [rows.tolist() for rows in rows_by_modality(index, shown, 4)] == [[0], [3], [], [2]]


@pytest.mark.parametrize(("shown", "expected"), [([1, 1], 7.0), ([0, 1], 4.0), ([1, 0], 8.0), ([0, 0], 0.0)])
def test_attention_of_one_channel_by_hand(shown, expected):
    # the normalisation of a single channel leaves the bias: query 2, keys ln 3 and 0, values 8 and 4, on four voxels
    layer = drawn(ChannelCrossAttention(2, 2, 1))
    layer.project = nn.Identity()
    nn.init.constant_(layer.query.project_norm.bias, 2)
    for m, (key, value) in enumerate([(math.log(3), 8), (0, 4)]):
        nn.init.constant_(layer.keys.maps[m].project_norm.bias, key / 4)
        nn.init.constant_(layer.values.maps[m].project_norm.bias, value)
    shown = torch.tensor([shown]).bool()
    rows = rows_by_modality(torch.arange(2)[None], shown, 2)
    # scores: 4 voxels * 2 * ln 3 / 4 / sqrt(4) = ln 3, and 0, so that the shares are 3/4 and 1/4
    output = layer(values(1, 2, 2, 1), values(2, 2, 2, 1), rows, shown)
    assert_close(output, torch.full([1, 2, 2, 1], expected, dtype=torch.float64))


@pytest.mark.parametrize("size", [(3, 4), (2, 3, 4)], ids=str)
@pytest.mark.parametrize(
    ("num_modalities", "index", "shown"),
    [
        (4, [[0, 1, 2, 3], [0, 1, 2, 3]], [[1, 1, 1, 1], [1, 0, 1, 0]]),
        (4, [[2], [0]], [[1], [1]]),
        (3, [[2, 0], [1, 2]], [[1, 1], [0, 1]]),
    ],
)
def test_fusion_equals_the_description_with_gradients(size, num_modalities, index, shown):
    index, shown = torch.tensor(index), torch.tensor(shown).bool()
    fusion = drawn(ChannelFusion(len(size), num_modalities, 4, dropout=0.1)).eval()
    kernel, maps, weigh = values(2, 4, *size), values(*index.shape, 4, *size), values(2, 4, *size).detach()
    everything = torch.zeros(2, num_modalities, 4, *size, dtype=torch.float64)
    everywhere = torch.zeros(2, num_modalities, dtype=torch.bool)
    for b in range(2):
        everything[b, index[b]], everywhere[b, index[b]] = maps[b], shown[b]
    found = fusion(kernel, maps, index, shown)
    expected = as_described(fusion, kernel, everything, everywhere)
    assert_close(found, expected)

    def gradients(output):
        learnt = [kernel, maps, *fusion.parameters()]
        each = torch.autograd.grad((output * weigh).sum(), learnt, allow_unused=True)
        return [torch.zeros_like(x) if gradient is None else gradient for x, gradient in zip(learnt, each, strict=True)]

    for first, second in zip(gradients(found), gradients(expected), strict=True):
        assert_close(first, second)


def test_a_sample_that_shows_nothing_gets_no_attention_and_is_finite_with_gradients():
    fusion = drawn(ChannelFusion(2, 3, 4, dropout=0.0))
    kernel, maps, shown = values(2, 4, 3, 3), values(2, 3, 4, 3, 3), torch.tensor([[0, 0, 0], [1, 0, 1]]).bool()
    output = fusion(kernel, maps, torch.arange(3).expand(2, -1), shown)
    expected = kernel[:1]
    for attend, feed in zip(fusion.attend, fusion.kernel_feed, strict=True):
        expected = fed(feed, expected + mapped(attend.project, torch.zeros_like(expected)))
    assert_close(output[:1], expected)
    output.square().sum().backward()
    learnt = [kernel, maps, *fusion.parameters()]
    assert all(x.grad is None or x.grad.isfinite().all() for x in learnt)
    assert maps.grad.flatten(2).any(dim=2).tolist() == shown.tolist()


@torch.no_grad()
def test_maps_of_modalities_not_shown_never_run():
    fusion, ran = drawn(ChannelFusion(2, 3, 4, dropout=0.0)), []
    for m in range(3):
        for attend in fusion.attend:
            for each in (attend.keys, attend.values):
                each.maps[m].register_forward_pre_hook(lambda module, inputs, m=m: ran.append((m, len(inputs[0]))))
    shown = torch.tensor([[1, 0, 0], [1, 0, 1]]).bool()
    fusion(values(2, 4, 3, 3), values(2, 3, 4, 3, 3), torch.arange(3).expand(2, -1), shown)
    assert sorted(ran) == [(0, 2)] * 4 + [(2, 1)] * 4


@torch.no_grad()
def test_dropout_acts_on_what_the_attention_adds_in_training_only():
    fusion = drawn(ChannelFusion(2, 3, 4, dropout=1.0)).train()
    kernel, maps, index = values(1, 4, 3, 3), values(1, 3, 4, 3, 3), torch.arange(3)[None]
    shown = torch.ones(1, 3, dtype=torch.bool)
    assert_close(fusion(kernel, maps, index, shown), fed(fusion.kernel_feed[1], fed(fusion.kernel_feed[0], kernel)))
    assert_close(fusion.eval()(kernel, maps, index, shown), as_described(fusion, kernel, maps, shown))


@pytest.mark.parametrize("side", [2, 3, 5])
def test_gradients_in_half_precision_are_close_for_the_smallest_images_too(side):
    torch.manual_seed(0)
    voxel_map, x = VoxelMap(3, 32, 128), torch.randn(2, side, side, side, 32)
    weigh = torch.randn_like(x)
    gradients = []
    for enabled in (False, True):
        voxel_map.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            output = voxel_map(x)
        (output.float() * weigh).sum().backward()
        gradients.append(voxel_map.mix.weight.grad.clone())
    assert gradients[1].isfinite().all()
    assert (gradients[1] - gradients[0]).norm() < 0.05 * gradients[0].norm()
