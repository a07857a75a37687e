# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from scripts.networks.mmformer import MMFormer
from scripts.networks.reference_checkpoint import convert_state_dict, encoder_order
from scripts.networks.reference_mmformer import mmformer_arguments, mmformer_modality_axis, mmformer_name
from scripts.networks.transformer import TransformerSettings, resize_positions

SMALL = TransformerSettings(width=16, mlp_width=24)


@pytest.fixture(scope="module")
def reference(reference_state_dict):
    return reference_state_dict("mmformer")


@pytest.fixture
def published(reference):
    """Name the parameters of a network as the release does; gives also its checkpoint, for the modalities named."""

    def _published(modalities, spatial_dims=3, patch_size=32, width=4):
        torch.manual_seed(0)
        network = MMFormer(len(modalities), 3, patch_size, spatial_dims, width, SMALL)
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
        state = network.state_dict()
        names = {name: mmformer_name(name, modalities) for name in reference}
        return network, {name: state[here] for name, here in names.items() if here is not None}

    return _published


def test_every_published_name_has_a_name_of_its_own_here(reference, modalities):
    names = [mmformer_name(name, modalities) for name in reference]
    with torch.device("meta"):
        network = MMFormer(num_modalities=4, num_classes=4, patch_size=80)
    assert len(names) == len(set(names)) == 279
    assert set(names) == set(network.state_dict())
    assert sum(parameter.numel() for parameter in network.parameters()) == 35_599_184


@pytest.mark.parametrize(
    ("name", "here"),
    [
        ("flair_pos", "encoders.0.positions.table"),
        ("t1ce_encoder.e1_c1.weight", "encoders.1.convolutions.first.0.weight"),
        ("t1_encoder.e1_c3.conv.bias", "encoders.2.convolutions.rest.0.1.conv.bias"),
        ("t2_encoder.e5_c1.conv.weight", "encoders.3.convolutions.first.4.conv.weight"),
        ("t1_encode_conv.bias", "encoders.2.project.bias"),
        ("t1ce_transformer.cross_attention_list.0.fn.norm.bias", "encoders.1.layers.0.attention_norm.bias"),
        ("t2_transformer.cross_attention_list.0.fn.fn.qkv.weight", "encoders.3.layers.0.attention.qkv.weight"),
        ("t2_transformer.cross_ffn_list.0.fn.fn.net.3.bias", "encoders.3.layers.0.mlp.linear2.bias"),
        ("multimodal_transformer.cross_attention_list.0.fn.fn.proj.bias", "layers.0.attention.out_proj.bias"),
        ("multimodal_transformer.cross_ffn_list.0.fn.norm.weight", "layers.0.mlp_norm.weight"),
        ("multimodal_transformer.cross_ffn_list.0.fn.fn.net.0.weight", "layers.0.mlp.linear1.weight"),
        ("multimodal_decode_conv.weight", "mix_tokens.weight"),
        ("decoder_fuse.RFM5.fusion_layer.1.conv.weight", "bottom.1.conv.weight"),
        ("decoder_fuse.RFM4.fusion_layer.0.conv.weight", "stages.0.fusion.mix.conv.weight"),
        ("decoder_fuse.RFM1.fusion_layer.2.conv.bias", "stages.3.fusion.refine.1.conv.bias"),
        ("decoder_fuse.d4_c1.conv.weight", "stages.0.up.conv.weight"),
        ("decoder_fuse.d2_c2.conv.weight", "stages.2.merge.0.conv.weight"),
        ("decoder_fuse.d1_out.conv.bias", "stages.3.merge.1.conv.bias"),
        ("decoder_fuse.seg_d4.weight", "heads.0.weight"),
        ("decoder_fuse.seg_d1.bias", "heads.3.bias"),
        ("decoder_fuse.seg_layer.weight", "segment.weight"),
        ("decoder_sep.d4_c1.conv.weight", "unimodal_decoder.up.0.conv.weight"),
        ("decoder_sep.d1_out.conv.weight", "unimodal_decoder.merge.3.1.conv.weight"),
        ("decoder_sep.seg_layer.bias", "unimodal_decoder.segment.bias"),
        ("decoder_fuse.prm_generator1.prm_layer.1.bias", None),
        ("t1_position", None),
        ("pet_pos", None),
        ("pet_transformer.cross_ffn_list.0.fn.norm.weight", None),
    ],
)
def test_names_translate_one_by_one(modalities, name, here):
    assert mmformer_name(name, modalities) == here


def test_weights_that_meet_the_modalities_of_one_voxel_have_an_axis_of_them(reference, modalities):
    axes = {name: mmformer_modality_axis(mmformer_name(name, modalities)) for name in reference}
    along = [name for name, axis in axes.items() if axis is not None]
    assert along == [f"decoder_fuse.RFM{level}.fusion_layer.0.conv.weight" for level in (4, 3, 2, 1)]
    for name in along:  # (F, 4 * F, 1, 1, 1)
        assert axes[name] == 1 and reference[name].shape[1] == 4 * reference[name].shape[0]


def test_arguments_are_read_from_the_shapes_of_the_release(reference):
    assert mmformer_arguments(reference) == {
        "num_classes": 4,
        "width": 8,
        "spatial_dims": 3,
        "patch_size": 80,
        "transformer": TransformerSettings(width=512, mlp_width=4096, heads=8, depth=1),
    }


@pytest.mark.parametrize(("spatial_dims", "patch_size", "width"), [(2, 48, 4), (3, 32, 8), (3, 16, 4)])
def test_arguments_of_other_sizes_are_read_from_the_shapes(published, spatial_dims, patch_size, width):
    network, checkpoint = published(["t1ce", "t2"], spatial_dims, patch_size, width)
    arguments = mmformer_arguments(checkpoint)
    assert arguments["patch_size"] == patch_size and arguments["transformer"] == SMALL
    again = MMFormer(num_modalities=2, **arguments)
    assert {n: x.shape for n, x in again.state_dict().items()} == {n: x.shape for n, x in network.state_dict().items()}


def test_a_checkpoint_without_positions_is_refused_by_name(published):
    checkpoint = {name: x for name, x in published(["t1ce", "t2"])[1].items() if not name.endswith("_pos")}
    with pytest.raises(KeyError, match="_pos"):
        mmformer_arguments(checkpoint)


def test_positions_of_no_cube_are_refused_in_words(published):
    _, checkpoint = published(["t1ce", "t2"], patch_size=[32, 32, 48])
    with pytest.raises(ValueError, match="a positional table has 12 positions, those of no cube"):
        mmformer_arguments(checkpoint)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("spatial_dims", [2, 3])
@torch.no_grad()
def test_a_converted_checkpoint_is_the_network_it_came_from(published, hide, prefix, spatial_dims):
    modalities = ["flair", "t1", "t2"]  # an order of the release's own, with one left out
    network, checkpoint = published(modalities, spatial_dims)
    checkpoint = {prefix + name: x for name, x in checkpoint.items()}
    before = {name: x.clone() for name, x in checkpoint.items()}
    again = MMFormer(3, 3, 32, spatial_dims, 4, SMALL)
    again.load_state_dict(convert_state_dict(checkpoint, again, modalities))
    image = hide(torch.randn(1, 3, *[32] * spatial_dims), "101")
    assert encoder_order(checkpoint) == modalities
    assert torch.equal(again.eval()(image), network.eval()(image))
    assert all(torch.equal(x, before[name]) for name, x in checkpoint.items())


@torch.no_grad()
def test_the_release_loads_into_a_network_of_another_patch_by_interpolation(reference, modalities):
    with torch.device("meta"):
        trained = MMFormer(num_modalities=4, num_classes=4, patch_size=80)
    converted = convert_state_dict(reference, trained, modalities)
    network = MMFormer(num_modalities=4, num_classes=4, patch_size=48)
    network.load_state_dict(converted)
    for name, encoder in zip(modalities, network.encoders, strict=True):
        expected = resize_positions(reference[f"{name}_pos"], [5, 5, 5], [3, 3, 3])
        assert_close(encoder.positions.table.detach(), expected)
        # corners are corners: the first and the last voxel of both grids
        assert_close(encoder.positions.table[0, [0, -1]].detach(), reference[f"{name}_pos"][0, [0, -1]])
    assert network.eval()(torch.randn(1, 4, 48, 48, 48)).isfinite().all()


def test_a_network_of_another_patch_names_the_tables(published):
    _, checkpoint = published(["t1ce", "t2"])
    with pytest.raises(ValueError, match=r"`t1ce_pos` has shape \(1, 8, 16\), expected \(1, 27, 16\)"):
        convert_state_dict(checkpoint, MMFormer(2, 3, 48, 3, 4, SMALL), ["t1ce", "t2"])


def test_missing_unknown_and_misshapen_parameters_are_named(published):
    network, checkpoint = published(["t1ce", "t2"])
    changed = {name: x for name, x in checkpoint.items() if name != "multimodal_decode_conv.bias"}
    changed["t1ce_encoder.e1_c1.conv.weight"] = torch.zeros(1)
    changed["t2_pos"] = torch.zeros(1, 8, 17)
    with pytest.raises(ValueError, match="does not fit MMFormer with modalities .*, 3 differences") as error:
        convert_state_dict(changed, network, ["t1ce", "t2"])
    assert "`t1ce_encoder.e1_c1.conv.weight` is not known" in str(error.value)
    assert "`t2_pos` has shape (1, 8, 17), expected (1, 8, 16)" in str(error.value)
    assert "nothing found for `mix_tokens.bias`" in str(error.value)


@pytest.mark.parametrize("order", [["t1", "flair", "t2"], ["t2", "t1", "flair"], ["flair", "t2", "t1"]], ids=str)
def test_modalities_in_another_order_are_refused_in_words(published, order):
    network, checkpoint = published(["flair", "t1", "t2"])
    with pytest.raises(ValueError, match="the modalities of a MMFormer cannot be reordered") as error:
        convert_state_dict(checkpoint, network, order)
    assert f"the checkpoint has ['flair', 't1', 't2'], asked for is {order}." in str(error.value)
    assert "Name them in the order of the checkpoint" in str(error.value)
