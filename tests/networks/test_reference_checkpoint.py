# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torch.testing import assert_close

from scripts.networks.reference_checkpoint import convert_state_dict, encoder_order
from scripts.networks.reference_rfnet import rfnet_name
from scripts.networks.rfnet import RFNet


@pytest.fixture(scope="module")
def reference(reference_state_dict):
    return reference_state_dict("rfnet")


@pytest.fixture
def image():
    return torch.randn(1, 4, 16, 16, 16, generator=torch.Generator().manual_seed(1))


def loaded(reference, modalities):
    network = RFNet(num_modalities=4, num_classes=4)
    network.load_state_dict(convert_state_dict(reference, network, modalities))
    return network


def test_every_published_name_has_a_name_of_its_own_here(reference, modalities):
    names = [rfnet_name(name, modalities) for name in reference]
    assert len(names) == 288
    assert set(names) == set(RFNet(num_modalities=4, num_classes=4).state_dict())


@pytest.mark.parametrize(
    ("published", "here"),
    [
        ("t1ce_encoder.e3_c1.conv.weight", "encoders.1.first.2.conv.weight"),
        ("t1_encoder.e4_c3.conv.bias", "encoders.2.rest.3.1.conv.bias"),
        ("decoder_fuse.RFM4.modal_fusion.2.weight_layer.0.weight", "bottom_fusion.weigh.2.0.weight"),
        ("decoder_fuse.RFM1.short_cut.0.conv.weight", "stages.2.fusion.shortcut_mix.conv.weight"),
        ("decoder_fuse.prm_generator3.prm_layer.1.bias", "stages.0.head.head.1.bias"),
        ("decoder_sep.d1_out.conv.weight", "unimodal_decoder.merge.2.1.conv.weight"),
        ("decoder_sep.d1_attention.weight", None),
        ("pet_encoder.e1_c1.conv.weight", None),
    ],
)
def test_names_translate_one_by_one(modalities, published, here):
    assert rfnet_name(published, modalities) == here


def test_prefix_of_data_parallel_training_is_dropped(reference, modalities):
    network = RFNet(num_modalities=4, num_classes=4)
    plain = convert_state_dict(reference, network, modalities)
    prefixed = convert_state_dict({f"module.{name}": x for name, x in reference.items()}, network, modalities)
    assert all(torch.equal(plain[name], prefixed[name]) for name in plain)
    assert all(plain[name].shape == x.shape for name, x in network.state_dict().items())


def test_encoders_tell_the_order_of_the_modalities(reference, modalities):
    assert encoder_order(reference) == modalities
    assert encoder_order({"module.t2_encoder.a": 0, "decoder_sep.b": 0, "module.ct_encoder.c": 0}) == ["t2", "ct"]


@pytest.mark.parametrize("order", list(permutations(range(4)))[5::6], ids=str)
@torch.no_grad()
def test_permuted_modalities_give_the_same_segmentation(reference, modalities, image, order):
    image[:, 2] = float("nan")
    order = list(order)
    network = loaded(reference, modalities)
    permuted = loaded(reference, [modalities[m] for m in order])
    assert_close(permuted.eval()(image[:, order]), network.eval()(image), rtol=1e-4, atol=1e-4)

    before, after = network.train()(image), permuted.train()(image[:, order])
    assert_close(after.fused, before.fused, rtol=1e-4, atol=1e-4)
    assert_close(after.unimodal, before.unimodal[:, order], rtol=1e-4, atol=1e-4)
    assert torch.equal(after.available, before.available[:, order])


def test_checkpoint_is_left_as_it_was(reference, modalities):
    copies = {name: x.clone() for name, x in reference.items()}
    loaded(reference, modalities[::-1])
    assert all(torch.equal(x, copies[name]) for name, x in reference.items())


def test_missing_unknown_and_misshapen_parameters_are_named(reference, modalities):
    changed = {name: x for name, x in reference.items() if name != "decoder_sep.seg_layer.bias"}
    changed["decoder_fuse.gate.weight"] = torch.zeros(1)
    changed["decoder_fuse.d1_c1.conv.weight"] = torch.zeros(8, 16, 3, 3)
    with pytest.raises(ValueError, match="does not fit RFNet with modalities .*, 3 differences") as error:
        convert_state_dict(changed, RFNet(4, 4), modalities)
    assert "`decoder_fuse.gate.weight` is not known" in str(error.value)
    shapes = "has shape (8, 16, 3, 3), expected (8, 16, 3, 3, 3)"
    assert f"`decoder_fuse.d1_c1.conv.weight` {shapes}" in str(error.value)
    assert "nothing found for `unimodal_decoder.segment.bias`" in str(error.value)


def test_a_checkpoint_of_other_modalities_names_their_encoders(reference):
    with pytest.raises(ValueError, match="`t2_encoder.e1_c1.conv.weight` is not known") as error:
        convert_state_dict(reference, RFNet(4, 4), ["flair", "t1ce", "t1", "dwi"])
    assert str(error.value).endswith("; ...")  # the first few differences are enough


def test_a_network_of_another_width_names_the_shapes(reference, modalities):
    with pytest.raises(ValueError, match=r"has shape \(8, 1, 3, 3, 3\), expected \(4, 1, 3, 3, 3\)"):
        convert_state_dict(reference, RFNet(4, 4, width=4), modalities)
