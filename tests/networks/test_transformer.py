# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from scripts.networks.transformer import (
    PositionalTables,
    TransformerLayer,
    TransformerSettings,
    cube_side,
    resize_positions,
    to_image,
    to_tokens,
)

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


# --- one layer -----------------------------------------------------------------------------------


@pytest.fixture
def build_layer():
    """Build a layer whose parameters are all drawn, the same for the same settings."""

    def _build(width=24, mlp_width=40, heads=4, dropout=0.1):
        torch.manual_seed(0)
        layer = TransformerLayer(TransformerSettings(width, mlp_width, heads, dropout=dropout))
        for parameter in layer.parameters():
            nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
        return layer

    return _build


def normalized(tokens, norm):
    centred = tokens - tokens.mean(dim=2, keepdim=True)
    variance = centred.square().mean(dim=2, keepdim=True)
    return centred / (variance + 1e-5).sqrt() * norm.weight + norm.bias


def as_described(layer, tokens, heads):
    """Every head by itself: queries of all heads come first, then keys, then values."""
    width = tokens.shape[2]
    size = width // heads
    projected = normalized(tokens, layer.attention_norm) @ layer.attention.qkv.weight.T
    seen = []
    for head in range(heads):
        query, key, value = (projected[..., k * width + head * size :][..., :size] for k in range(3))
        seen.append((query @ key.transpose(1, 2) / math.sqrt(size)).softmax(dim=2) @ value)
    projection = layer.attention.out_proj
    tokens = tokens + torch.cat(seen, dim=2) @ projection.weight.T + projection.bias
    hidden = normalized(tokens, layer.mlp_norm) @ layer.mlp.linear1.weight.T + layer.mlp.linear1.bias
    hidden = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
    return tokens + hidden @ layer.mlp.linear2.weight.T + layer.mlp.linear2.bias


@pytest.mark.parametrize(("width", "heads"), [(24, 4), (24, 1), (16, 8)])
def test_layer_equals_its_steps_with_gradients(build_layer, width, heads):
    layer = build_layer(width, heads=heads).eval()
    tokens, weigh = torch.randn(2, 5, width, requires_grad=True), torch.randn(2, 5, width)
    learnt = [tokens, *layer.parameters()]
    found, expected = layer(tokens), as_described(layer, tokens, heads)
    assert_close(found, expected, **CLOSE)
    gradients = [torch.autograd.grad((output * weigh).sum(), learnt) for output in (found, expected)]
    for first, second in zip(*gradients, strict=True):
        assert_close(first, second, **CLOSE)
        assert second.any()


def test_attention_has_no_bias_in_front_and_one_behind(build_layer):
    names = [name for name, _ in build_layer().attention.named_parameters()]
    assert sorted(names) == ["out_proj.bias", "out_proj.weight", "qkv.weight"]


@torch.no_grad()
def test_dropout_is_random_in_training_only(build_layer):
    tokens = torch.randn(2, 5, 24)
    layer, without = build_layer(), build_layer(dropout=0.0)
    first, second = layer.train()(tokens), layer(tokens)
    assert first.isfinite().all() and not torch.allclose(first, second, rtol=0.01, atol=0.01)
    assert torch.equal(layer.eval()(tokens), layer(tokens))
    assert_close(layer(tokens), without.train()(tokens), **CLOSE)


@torch.no_grad()
def test_nothing_passes_complete_dropout_but_the_tokens_themselves(build_layer):
    tokens = torch.randn(2, 5, 24)
    assert torch.equal(build_layer(dropout=1.0).train()(tokens), tokens)


@pytest.mark.parametrize(("silent", "places"), [("mlp.linear2", 2), ("attention.out_proj", 1)])
@torch.no_grad()
def test_dropout_acts_twice_behind_the_attention_and_once_behind_the_perceptron(build_layer, silent, places):
    layer = build_layer(dropout=0.5).train()
    for parameter in layer.get_submodule(silent).parameters():
        parameter.zero_()
    tokens = torch.randn(4, 50, 24)
    dropped = (layer(tokens) == tokens).float()  # where nothing was added
    deviation = 0.5 / math.sqrt(dropped.numel())
    assert dropped.mean().item() == pytest.approx(1 - 0.5**places, abs=6 * deviation)


@pytest.mark.parametrize(("name", "text"), [("heads", "divisible by num_heads"), ("dropout", "between 0 and 1")])
def test_impossible_sizes_are_refused_in_words(name, text):
    impossible = {"heads": 5, "dropout": 1.5}
    with pytest.raises(ValueError, match=text):
        TransformerLayer(TransformerSettings(24, 40)._replace(**{name: impossible[name]}))


# --- voxels and tokens ---------------------------------------------------------------------------


def test_tokens_are_the_voxels_in_row_major_order_and_go_back():
    size = [2, 3, 4]
    axes = torch.meshgrid(*(torch.arange(length) for length in size), indexing="ij")
    image = torch.stack(axes)[None]  # each voxel holds its own place
    tokens = to_tokens(image)
    assert tokens.shape == (1, 24, 3)
    assert tokens[0].tolist() == [[h, w, z] for h in range(2) for w in range(3) for z in range(4)]
    assert torch.equal(to_image(tokens, size), image)


# --- positional tables ---------------------------------------------------------------------------


def test_positions_of_the_same_grid_stay_as_they_are():
    table = torch.randn(3, 6, 5)
    assert resize_positions(table, [2, 3], [2, 3]) is table
    assert resize_positions(table, [2, 3], torch.zeros(2, 3).shape) is table  # a shape equals no list


def test_positions_of_a_finer_grid_lie_between_by_hand():
    table = torch.tensor([[[1.0], [3.0], [5.0], [11.0]]])  # 1 3 / 5 11
    expected = torch.tensor([[1, 2, 3], [3, 5, 7], [5, 8, 11]])  # corners stay, the rest are means of neighbours
    assert_close(resize_positions(table, [2, 2], [3, 3]), expected.view(1, 9, 1).float())


def test_positions_that_rise_along_an_axis_rise_along_it_on_every_grid():
    def ramp(size):
        axes = torch.meshgrid(*(torch.linspace(0, 1, length) for length in size), indexing="ij")
        return torch.stack(axes, dim=-1).view(1, -1, 3)

    assert_close(resize_positions(ramp([3, 4, 2]), [3, 4, 2], [5, 2, 6]), ramp([5, 2, 6]))


def test_tables_are_resized_each_for_itself():
    tables = torch.randn(3, 8, 5)
    together = resize_positions(tables, [2, 2, 2], [3, 3, 3])
    alone = [resize_positions(tables[k : k + 1], [2, 2, 2], [3, 3, 3]) for k in range(3)]
    assert together.shape == (3, 27, 5)
    assert_close(together, torch.cat(alone))


def test_new_tables_are_zeros_and_give_what_is_asked_for():
    tables = PositionalTables(2, [3, 4], 5)
    assert tables.table.shape == (2, 12, 5) and not tables.table.any()
    nn.init.normal_(tables.table)
    assert torch.equal(tables([3, 4]), tables.table)
    assert_close(tables([4, 6]), resize_positions(tables.table, [3, 4], [4, 6]))
    tables([4, 6]).sum().backward()
    assert tables.table.grad.isfinite().all() and tables.table.grad.any()


@pytest.mark.parametrize(("before", "after"), [([2, 2], [3, 3]), ([3, 3], [2, 4]), ([3, 3, 3], [2, 2, 2])], ids=str)
def test_tables_of_another_cube_are_interpolated_on_loading(before, after):
    trained, wanted = (nn.Sequential(PositionalTables(2, grid, 5)) for grid in (before, after))
    nn.init.normal_(trained[0].table)
    state = trained.state_dict()
    wanted.load_state_dict(state)
    assert_close(wanted[0].table.detach(), resize_positions(trained[0].table.detach(), before, after))
    assert torch.equal(state["0.table"], trained[0].table)  # what was loaded stays as it was


@pytest.mark.parametrize("grid", [[3, 3], [2, 4], [3, 1, 2]], ids=str)
def test_tables_of_the_same_grid_are_loaded_as_they_are(grid):
    trained, wanted = PositionalTables(2, grid, 5), PositionalTables(2, grid, 5)
    nn.init.normal_(trained.table)
    wanted.load_state_dict(trained.state_dict())
    assert torch.equal(wanted.table, trained.table)


@pytest.mark.parametrize(("before", "after", "shape"), [([2, 3], [2, 2], "square"), ([2, 3, 2], [2, 2, 2], "cube")])
def test_tables_of_no_cube_are_refused_for_another_grid(before, after, shape):
    trained = PositionalTables(1, before, 5).state_dict()
    text = f"has {math.prod(before)} positions, those of no {shape}; only a {shape} can be interpolated"
    with pytest.raises(ValueError, match=text) as error:
        PositionalTables(1, after, 5).load_state_dict(trained)
    assert "Set `patch_size` to that of the checkpoint." in str(error.value)


@pytest.mark.parametrize(("number", "width"), [(3, 5), (2, 6)])
def test_tables_of_another_number_or_width_are_refused(number, width):
    with pytest.raises(RuntimeError, match="size mismatch for table"):
        PositionalTables(2, [2, 2], 5).load_state_dict(PositionalTables(number, [3, 3], width).state_dict())


def test_tables_that_are_not_there_are_named():
    with pytest.raises(RuntimeError, match='Missing key.* "0.table"'):
        nn.Sequential(PositionalTables(2, [2, 2], 5)).load_state_dict({})


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_side_of_a_cube_is_the_number_that_gives_it(spatial_dims):
    assert [cube_side(side**spatial_dims, spatial_dims) for side in range(1, 101)] == list(range(1, 101))


@pytest.mark.parametrize(("number", "spatial_dims"), [(2, 2), (8, 2), (124, 3), (126, 3), (25, 3)])
def test_a_number_that_no_cube_has_is_refused(number, spatial_dims):
    with pytest.raises(ValueError, match=f"has {number} positions, those of no"):
        cube_side(number, spatial_dims)
