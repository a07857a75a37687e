# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from itertools import permutations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from scripts.networks.m2ftrans import M2FTrans
from scripts.networks.reference_checkpoint import convert_state_dict, encoder_order
from scripts.networks.reference_m2ftrans import m2ftrans_arguments, m2ftrans_modality_axis, m2ftrans_name
from scripts.networks.transformer import TransformerSettings, resize_positions

SMALL = TransformerSettings(width=32, mlp_width=48, depth=3)


@pytest.fixture(scope="module")
def reference(reference_state_dict):
    return reference_state_dict("m2ftrans")


@pytest.fixture
def build():
    """Build a small network in double precision."""

    def _build(num_modalities=4, spatial_dims=3, patch_size=32, width=2):
        torch.manual_seed(0)
        settings = SMALL._replace(width=16 * width)
        return M2FTrans(num_modalities, 3, patch_size, spatial_dims, width, settings).double().eval()

    return _build


@pytest.fixture
def published(build, reference):
    """Give a network for the modalities named, all parameters drawn, and its checkpoint as the release names them."""

    def _published(modalities, *sizes):
        network = build(len(modalities), *sizes)
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
        state = network.state_dict()
        names = {name: m2ftrans_name(name, modalities) for name in reference}
        checkpoint = {name: state[here].clone() for name, here in names.items() if here is not None}
        checkpoint["pos"] = checkpoint["pos"].flatten(0, 1).unsqueeze(0)  # one table behind the other
        return network, checkpoint

    return _published


def test_every_published_name_has_a_name_of_its_own_here(reference, modalities):
    names = [m2ftrans_name(name, modalities) for name in reference]
    with torch.device("meta"):
        network = M2FTrans(num_modalities=4, num_classes=4, patch_size=80)
    assert len(names) == len(set(names)) == 801
    assert set(names) == set(network.state_dict())


@pytest.mark.parametrize(
    ("name", "here"),
    [
        ("pos", "bottleneck.positions.table"),
        ("fusion", "bottleneck.fusion.table"),
        ("t1ce_encoder.e1_c1.conv.weight", "encoders.1.first.0.conv.weight"),
        ("t2_encoder.e5_c3.conv.bias", "encoders.3.rest.4.1.conv.bias"),
        ("Bottleneck.trans_bottle.cross_attention_list.2.fn.norm.bias", "bottleneck.layers.2.attention_norm.bias"),
        ("Bottleneck.trans_bottle.cross_attention_list.0.fn.fn.qkv.weight", "bottleneck.layers.0.attention.qkv.weight"),
        ("Bottleneck.trans_bottle.cross_ffn_list.1.fn.fn.net.3.bias", "bottleneck.layers.1.mlp.linear2.bias"),
        ("decoder_fusion.CT5.layers.0.cross_attn.query_map.conv1.bias", "bottom_fusion.attend.0.query.expand.bias"),
        (
            "decoder_fusion.CT4.layers.1.cross_attn.out_project.norm3.weight",
            "coarse_fusion.attend.1.project.project_norm.weight",
        ),
        (
            "decoder_fusion.CT5.layers.1.cross_attn.key_map_t1.conv2.weight",
            "bottom_fusion.attend.1.keys.maps.2.mix.weight",
        ),
        (
            "decoder_fusion.CT4.layers.0.cross_attn.value_map_t1ce.norm2.bias",
            "coarse_fusion.attend.0.values.maps.1.mix_norm.bias",
        ),
        ("decoder_fusion.CT5.layers.1.ffn1.pwconv2.weight", "bottom_fusion.kernel_feed.1.map.project.weight"),
        ("decoder_fusion.CT4.layers.0.ffn2.dwconv.weight", "coarse_fusion.map_feed.map.mix.weight"),
        ("decoder_fusion.RFM3.fusion_layer.0.conv.weight", "stages.0.fusion.mix.weight"),
        ("decoder_fusion.RFM1.fusion_layer.2.conv.bias", "stages.2.fusion.refine.1.conv.bias"),
        ("decoder_fusion.prm_fusion5.prm_layer.1.bias", "bottom_head.1.bias"),
        ("decoder_fusion.prm_fusion4.prm_layer.0.conv.weight", "coarse_head.0.conv.weight"),
        ("decoder_fusion.prm_fusion1.prm_layer.0.conv.weight", "stages.2.head.0.conv.weight"),
        ("decoder_fusion.d5_c2.conv.weight", "bottom_merge.0.conv.weight"),
        ("decoder_fusion.d4_c1.conv.weight", "coarse_up.conv.weight"),
        ("decoder_fusion.d4_out.conv.weight", "coarse_merge.1.conv.weight"),
        ("decoder_fusion.d2_c1.conv.bias", "stages.1.up.conv.bias"),
        ("decoder_fusion.seg_layer.weight", "segment.weight"),
        ("decoder_sep.d4_c1.conv.weight", "unimodal_decoder.up.0.conv.weight"),
        ("position", None),
        ("fusion_token", None),
        ("pet_encoder.e1_c1.conv.weight", None),
        ("decoder_fusion.d5_c1.conv.weight", None),
        ("decoder_fusion.RFM4.fusion_layer.0.conv.weight", None),
        ("decoder_fusion.CT5.layers.1.ffn2.norm1.weight", None),
        ("decoder_fusion.CT5.layers.0.cross_attn.key_map_pet.conv1.weight", None),
    ],
)
def test_names_translate_one_by_one(modalities, name, here):
    assert m2ftrans_name(name, modalities) == here


def test_positions_and_fusing_weights_have_an_axis_of_modalities(reference, modalities):
    axes = {name: m2ftrans_modality_axis(m2ftrans_name(name, modalities)) for name in reference}
    along = {name: axis for name, axis in axes.items() if axis is not None}
    assert along == {"pos": 0} | {f"decoder_fusion.RFM{level}.fusion_layer.0.conv.weight": 1 for level in (1, 2, 3)}


def test_arguments_are_read_from_the_shapes_of_the_release(reference):
    assert m2ftrans_arguments(reference) == {
        "num_classes": 4,
        "width": 8,
        "spatial_dims": 3,
        "patch_size": 80,
        "transformer": TransformerSettings(width=128, mlp_width=4096, heads=8, depth=3, dropout=0.1),
    }


@pytest.mark.parametrize(("spatial_dims", "patch_size", "width"), [(2, 48, 2), (3, 32, 4)])
def test_arguments_of_other_sizes_are_read_from_the_shapes(published, spatial_dims, patch_size, width):
    network, checkpoint = published(["t1ce", "t2"], spatial_dims, patch_size, width)
    arguments = m2ftrans_arguments(checkpoint)
    assert arguments["patch_size"] == patch_size
    again = M2FTrans(num_modalities=2, **arguments)
    assert {n: x.shape for n, x in again.state_dict().items()} == {n: x.shape for n, x in network.state_dict().items()}


def test_a_checkpoint_without_fusion_tokens_and_one_of_no_cube_are_refused_in_words(published):
    _, checkpoint = published(["t1ce", "t2"], 3, [32, 32, 48])
    with pytest.raises(ValueError, match="a positional table has 12 positions, those of no cube"):
        m2ftrans_arguments(checkpoint)
    with pytest.raises(KeyError, match="fusion"):
        m2ftrans_arguments({name: x for name, x in checkpoint.items() if name != "fusion"})


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("spatial_dims", [2, 3])
@torch.no_grad()
def test_a_converted_checkpoint_is_the_network_it_came_from(build, published, hide, prefix, spatial_dims):
    modalities = ["flair", "t1", "t2"]
    network, checkpoint = published(modalities, spatial_dims)
    checkpoint = {prefix + name: x for name, x in checkpoint.items()}
    before = {name: x.clone() for name, x in checkpoint.items()}
    again = build(3, spatial_dims)
    again.load_state_dict(convert_state_dict(checkpoint, again, modalities))
    image = hide(torch.randn(1, 3, *[32] * spatial_dims, dtype=torch.float64), "101")
    assert encoder_order(checkpoint) == modalities
    assert torch.equal(again(image), network(image))
    assert all(torch.equal(x, before[name]) for name, x in checkpoint.items())


@pytest.mark.parametrize("order", list(permutations(range(4)))[5::6], ids=str)
@torch.no_grad()
def test_permuted_modalities_give_the_same_segmentation(build, published, modalities, order):
    network, checkpoint = published(modalities)
    permuted = build()
    permuted.load_state_dict(convert_state_dict(checkpoint, permuted, [modalities[m] for m in order]))
    image = torch.randn(1, 4, 32, 32, 32, dtype=torch.float64)
    image[:, 2] = float("nan")
    assert_close(permuted(image[:, list(order)]), network(image))
    assert (permuted(image) - network(image)).abs().max() > 1e-3
    table, own = permuted.bottleneck.positions.table, network.bottleneck.positions.table
    assert torch.equal(table, own[[*order, 4]])  # that of the fusion tokens stays behind the others


@torch.no_grad()
def test_the_release_loads_into_a_network_of_another_patch_by_interpolation(reference, modalities):
    with torch.device("meta"):
        trained = M2FTrans(num_modalities=4, num_classes=4, patch_size=80)
    network = M2FTrans(num_modalities=4, num_classes=4, patch_size=48)
    network.load_state_dict(convert_state_dict(reference, trained, modalities))
    tables = {"positions": reference["pos"].unflatten(1, [5, 125])[0], "fusion": reference["fusion"]}
    for name, table in tables.items():
        found = getattr(network.bottleneck, name).table
        assert_close(found.detach(), resize_positions(table, [5, 5, 5], [3, 3, 3]))
        assert_close(found[:, [0, -1]].detach(), table[:, [0, -1]])  # corners are corners
    assert network.eval()(torch.randn(1, 4, 48, 48, 48)).isfinite().all()


def test_missing_unknown_and_misshapen_parameters_are_named(published):
    network, checkpoint = published(["t1ce", "t2"])
    changed = {name: x for name, x in checkpoint.items() if name != "decoder_fusion.d5_out.conv.bias"}
    changed["Bottleneck.trans_bottle.gate.weight"] = torch.zeros(1)
    changed["pos"] = torch.zeros(1, 32, 32)
    with pytest.raises(ValueError, match="does not fit M2FTrans with modalities .*, 3 differences") as error:
        convert_state_dict(changed, network, ["t1ce", "t2"])
    assert "`Bottleneck.trans_bottle.gate.weight` is not known" in str(error.value)
    assert "`pos` has shape (1, 32, 32), expected (3, 8, 32)" in str(error.value)
    assert "nothing found for `bottom_merge.1.conv.bias`" in str(error.value)


def test_a_checkpoint_of_other_modalities_names_their_parameters(published):
    network, checkpoint = published(["t1ce", "t2"])
    with pytest.raises(ValueError, match="is not known") as error:
        convert_state_dict(checkpoint, network, ["t1ce", "dwi"])
    assert set(re.findall(r"`(\w+)_encoder", str(error.value))) == {"t2"}
