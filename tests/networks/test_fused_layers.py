# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Fused layers against their plain composition, in whole networks: every output and every gradient.

In double precision, where nothing but rounding is left between the two. One operation errs by 1.1e-16 of its result. On
the way through some 40 normalisations, each of which divides by a standard deviation, errors grow up to 1e5 times
(found: outputs 1.5e-13, gradients 2e-11 of their norm), so 1e-9 is asked for. A slope or an epsilon that differed in
the fifth digit would show. Single precision rounds 5e8 times as coarsely: the same growth makes percents of the
smallest gradients there, and of outputs some 1e-4.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from scripts.modalities import acquired_modalities
from scripts.networks import fused_layers, mixing
from scripts.networks.blocks import FusableLayer, NormActConv
from scripts.networks.m2ftrans import M2FTrans
from scripts.networks.mmformer import MMFormer
from scripts.networks.normalization import SLOPE
from scripts.networks.prepare import choose_layers, prepare_network
from scripts.networks.rfnet import RFNet
from scripts.networks.unet import MultiEncoderUNet
from tests.objectives import WITH_STUDENTS

BUILD = {
    "rfnet": lambda spatial_dims: RFNet(3, 3, spatial_dims=spatial_dims, width=4),
    "unet": lambda spatial_dims: MultiEncoderUNet(3, 3, spatial_dims=spatial_dims, width=4),
    "mmformer": lambda spatial_dims: MMFormer(3, 3, spatial_dims=spatial_dims, patch_size=18, width=4),
    "m2ftrans": lambda spatial_dims: M2FTrans(3, 3, spatial_dims=spatial_dims, patch_size=18, width=4),
}
FUNCTIONS = [fused_layers._ConvNormAct, fused_layers._NormActConv, fused_layers._NormAct]
FUNCTIONS += [mixing._MixChannels, mixing._MixByRegion]


def build(name, spatial_dims=3):
    """A network, always the same, without dropout; and two samples, of which the first lacks a modality."""
    torch.manual_seed(0)
    network = BUILD[name](spatial_dims).train()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    image = torch.randn(2, 3, *[18] * spatial_dims, generator=torch.Generator().manual_seed(1))
    image[0, 1] = torch.nan
    return network, image


def outputs_and_gradients(network, image):
    image = image.clone().requires_grad_()
    network.zero_grad()
    output = network(image, paths=["fused", "students", "alignment"])  # whose probabilities are rounded to float32
    encoded = network.encode(image, acquired_modalities(image))
    alone = network.decode_unimodal([level[:, 0] for level in encoded])
    outputs = [output.fused, *output.auxiliary, alone, output.students.logits, output.fused_features]
    generator = torch.Generator().manual_seed(2)
    weigh = [torch.randn(each.shape, generator=generator).to(each.dtype) for each in outputs]
    sum((each * weight).sum() for each, weight in zip(outputs, weigh, strict=True)).backward()
    gradients = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    return [each.detach() for each in outputs], {"image": image.grad, **gradients}


@pytest.mark.parametrize(("name", "spatial_dims"), [*((name, 3) for name in BUILD), ("rfnet", 2), ("mmformer", 2)])
def test_the_plain_path_gives_the_same_outputs_and_gradients(name, spatial_dims):
    network, image = build(name, spatial_dims)
    network, image = network.double(), image.double()
    found, gradients = outputs_and_gradients(network, image)
    prepare_network(network, "cpu", fused=False)
    expected, plain = outputs_and_gradients(network, image)
    for one, other in zip(found, expected, strict=True):
        assert other.isfinite().all() and other.any()
        assert_close(one, other, rtol=1e-9, atol=1e-9)
    assert set(gradients) == set(plain)
    for key, gradient in plain.items():
        assert gradient.isfinite().all(), key
        if not key.endswith("bias") or gradient.norm() > 1e-6:  # in front of a normalisation it is rounding noise
            assert (gradients[key] - gradient).norm() < 1e-9 * gradient.norm(), key


@pytest.mark.parametrize("name", ["rfnet", "mmformer", "m2ftrans"])
def test_the_plain_path_goes_through_no_function_of_its_own(monkeypatch, name):
    network, image = build(name)

    def refuse(*arguments):
        raise AssertionError("a fused function ran")

    for function in FUNCTIONS:
        monkeypatch.setattr(function, "apply", refuse)
    prepare_network(network, "cpu", fused="false")(image, paths=WITH_STUDENTS).fused.sum().backward()
    with pytest.raises(AssertionError, match="a fused function ran"):
        prepare_network(network, "cpu")(image)


@pytest.mark.parametrize("name", BUILD)
def test_the_switch_changes_no_name_of_a_weight_and_no_script(name):
    network, image = build(name)
    names = list(network.state_dict())
    expected = network.eval()(image).detach()
    for fused in (True, False):
        choose_layers(network, fused)
        assert list(network.state_dict()) == names
        with torch.no_grad():
            # float32: some 1e-4, as derived above
            assert_close(torch.jit.script(network)(image), expected, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("fused", [True, False])
def test_the_gradient_of_a_weight_padded_by_zeros_is_right_in_bfloat16_where_the_image_is_two_voxels_deep(fused):
    """oneDNN's own padding leaves a part of it unwritten: NaN where the memory held NaN before."""
    torch.manual_seed(0)
    layer = NormActConv(3, 32, 32, padding_mode="zeros")
    layer.fused = fused
    x, weigh = torch.randn(2, 32, 2, 3, 3), torch.randn(2, 32, 2, 3, 3)
    activated = F.leaky_relu(F.instance_norm(x.double()), SLOPE)
    weight = layer.conv.weight.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad((F.conv3d(activated, weight, padding=1) * weigh).sum(), weight)
    for _ in range(10):
        used = [torch.full((weight.numel() + more,), torch.nan) for more in range(2)]
        del used  # so that the next allocation of this size meets NaN
        with torch.autocast("cpu", torch.bfloat16):
            (found,) = torch.autograd.grad((layer(x) * weigh).sum(), layer.conv.weight)
        # a number of bfloat16 is rounded by up to 2^-9 of its size; 2 * 18 products with three of these errors
        assert_close(found.double(), expected, rtol=0, atol=0.02 * expected.abs().max().item())


@pytest.mark.parametrize("name", ["rfnet", "mmformer", "m2ftrans"])
@pytest.mark.parametrize("fused", [True, False])
def test_the_network_trains_in_lower_precision(name, fused):
    network, image = build(name)
    choose_layers(network, fused=fused)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(image, paths=WITH_STUDENTS)
    output.fused.float().square().mean().backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert len(gradients) > 50 and all(each.isfinite().all() for each in gradients)


def test_every_layer_is_fused_unless_it_is_told_otherwise_and_others_stay_as_they_are():
    networks = [RFNet(3, 3, width=4) for _ in range(2)]
    prepare_network(networks[1], "cpu", fused=False)
    for network, fused in zip(networks, (True, False), strict=True):
        layers = [module for module in network.modules() if isinstance(module, FusableLayer)]
        assert len(layers) > 50 and all(layer.fused is fused and not layer.compiled for layer in layers)
