# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from scripts.modalities import modality_subsets
from scripts.networks.blocks import ConvNormAct
from scripts.networks.rfnet import RegionAwareFusion, RFNet

GOLDEN_MASKS = ["1111", "1000", "0010", "0001", "1010", "0011", "1101"]
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


# --- reference numbers ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference_network(load_reference):
    return load_reference("rfnet", RFNet(num_modalities=4, num_classes=4))


@pytest.mark.parametrize("mask", GOLDEN_MASKS)
def test_inference_reproduces_the_reference(check_inference, reference_network, mask):
    check_inference("rfnet", reference_network, mask)


@pytest.mark.parametrize(
    ("acquired", "shown", "entries"),
    [
        ("1111", "1111", ["idt_passion_1111"]),
        ("1010", "1010", ["idt_plain_1010", "idt_passion_1010"]),
        ("0001", "0001", ["idt_passion_0001"]),
        ("1111", "1010", ["pdt_plain_1010", "pdt_passion_1010"]),
    ],
)
def test_training_pass_and_objective_reproduce_the_reference(
    check_training, reference_network, acquired, shown, entries
):
    check_training("rfnet", reference_network, acquired, shown, entries)


def test_published_size_has_the_published_number_of_parameters():
    assert sum(parameter.numel() for parameter in RFNet(4, 4).parameters()) == 2_381_792


# --- region-aware fusion -------------------------------------------------------------------------


def fuse_as_published(fusion, features, regions):
    """The paper's order of operations: every region of every modality is formed, then weighed, summed and mixed.

    ``(B, M, F, *S)`` with zeros for absent modalities and ``(B, R, *S)``.
    """
    ones = [1] * (features.dim() - 3)
    fused = []
    for r, weigh in enumerate(fusion.weigh):
        region = regions[:, r : r + 1].unsqueeze(2)  # (B, 1, 1, *S)
        fraction = region.flatten(1).mean(dim=1, keepdim=True) + 1e-7  # (B, 1)
        pooled = (features * region).flatten(3).mean(dim=3).flatten(1) / fraction  # (B, M * F)
        weights = weigh(torch.cat([pooled, fraction], dim=1)).sigmoid()  # (B, M)
        fused.append((weights.unflatten(1, [-1, 1, *ones]) * features * region).sum(dim=1))
    mixed = normalized(fusion.region_mix(torch.cat(fused, dim=1)))
    shortcut = normalized(fusion.shortcut_mix.conv(features.flatten(1, 2)))
    return torch.cat([fusion.region_refine(mixed), fusion.shortcut_refine(shortcut)], dim=1)


def normalized(x):
    return nn.functional.leaky_relu(nn.functional.instance_norm(x), 0.2)


@pytest.mark.parametrize(
    ("num_modalities", "num_regions", "index", "size"),
    [(4, 4, [0, 1, 2, 3], (5, 4, 3)), (4, 4, [2], (4, 4, 4)), (3, 5, [0, 2], (6, 5)), (2, 2, [1], (7, 5))],
)
def test_fusion_equals_the_published_order_of_operations_with_gradients(num_modalities, num_regions, index, size):
    torch.manual_seed(0)
    fusion = RegionAwareFusion(len(size), num_modalities, num_regions, channels=8)
    regions = torch.randn(2, num_regions, *size).softmax(dim=1)
    everything = torch.zeros(2, num_modalities, 8, *size)
    everything[:, index] = torch.randn(2, len(index), 8, *size)
    if len(index) > 1:
        everything[1, index[0]] = 0  # which the second sample lacks
    weigh = torch.randn(2, 8, *size)

    def results(function, features):
        features.requires_grad_()
        fusion.zero_grad()
        output = function(features)
        (output * weigh).sum().backward()
        weights = {n: p.grad.clone() for n, p in fusion.named_parameters() if p.grad is not None and "bias" not in n}
        return output, features.grad, weights

    found = results(lambda features: fusion(features, torch.tensor([index] * 2), regions), everything[:, index].clone())
    expected = results(lambda features: fuse_as_published(fusion, features, regions), everything.clone())
    assert_close(found[0], expected[0], **CLOSE)
    assert_close(found[1], expected[1][:, index], rtol=1e-3, atol=1e-4)
    assert set(found[2]) == set(expected[2])
    for name, gradient in found[2].items():
        assert_close(gradient, expected[2][name], rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


def test_regions_get_no_gradient_from_the_fusion():
    fusion = RegionAwareFusion(2, 3, 4, channels=8)
    regions = torch.rand(1, 4, 6, 6, requires_grad=True)
    features = torch.randn(1, 3, 8, 6, 6, requires_grad=True)
    fusion(features, torch.arange(3)[None], regions).square().sum().backward()
    assert regions.grad is None and features.grad.any()


def test_an_empty_region_is_finite():
    fusion = RegionAwareFusion(2, 3, 2, channels=8)
    regions = torch.stack([torch.ones(6, 6), torch.zeros(6, 6)])[None]
    features = torch.randn(1, 3, 8, 6, 6, requires_grad=True)
    output = fusion(features, torch.arange(3)[None], regions)
    output.square().sum().backward()
    assert output.isfinite().all() and features.grad.isfinite().all()


# --- the network ---------------------------------------------------------------------------------


@pytest.mark.parametrize("num_modalities", [2, 3, 4, 5])
@pytest.mark.parametrize(("num_classes", "size"), [(2, (20, 17)), (3, (16, 19, 23)), (4, (33, 24)), (5, (17, 16, 16))])
def test_any_number_of_modalities_classes_and_voxels_works(build_rfnet, learn, num_modalities, num_classes, size):
    network = build_rfnet(num_modalities, num_classes, len(size)).eval()
    image = torch.randn(2, num_modalities, *size)
    image[0, 0] = float("nan")
    image[1, 1:] = float("nan")
    with torch.no_grad():
        logits = network(image)
    assert logits.shape == (2, num_classes, *size) and logits.isfinite().all()
    assert (logits.flatten(2).std(dim=2) > 0.01).all()  # not one value everywhere
    gradients = learn(network, image)
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert all(gradients[f"encoders.{m}.first.0.conv.weight"].any() for m in range(num_modalities))


def test_auxiliary_logits_are_those_of_the_levels_finest_first(build_rfnet):
    output = build_rfnet(spatial_dims=2).train()(torch.randn(1, 4, 33, 24))
    assert [list(logits.shape[2:]) for logits in output.auxiliary] == [[33, 24], [17, 12], [9, 6], [5, 3]]


def test_fused_logits_are_one_convolution_of_the_fused_features(build_rfnet):
    network = build_rfnet().train()
    output = network(torch.randn(1, 4, 16, 16, 16))
    assert_close(network.segment(output.fused_features), output.fused)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@torch.no_grad()
def test_scripted_network_agrees_for_every_subset(build_rfnet, hide, spatial_dims):
    network = build_rfnet(num_modalities=4 if spatial_dims == 3 else 3, spatial_dims=spatial_dims).eval()
    scripted = torch.jit.script(network)
    close = {"rtol": 1e-3, "atol": 1e-3}  # the small bottom of this network amplifies rounding
    image = torch.randn(1, network.num_modalities, *[16] * spatial_dims)
    for subset in modality_subsets(network.num_modalities):
        expected = network(image, subset[None])
        assert_close(scripted(image, subset[None]), expected, **close)
        assert_close(scripted(hide(image, subset)), expected, **close)
    mixed = torch.cat([hide(image, [m > 0 for m in range(len(subset))]), image, torch.full_like(image, float("nan"))])
    assert_close(scripted(mixed), network(mixed), **close)


def test_same_seed_draws_the_same_parameters(build_rfnet):
    states = [build_rfnet(seed=seed).state_dict() for seed in (3, 3, 4)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert all(not torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_every_weight_of_a_layer_is_drawn_from_kaimings_normal_distribution():
    torch.manual_seed(0)
    layers = {name: module for name, module in RFNet(4, 4).named_modules() if hasattr(module, "weight")}
    assert len(layers) == 288 // 2
    for name, layer in layers.items():
        weight, fan_in = layer.weight.detach(), layer.weight[0].numel()
        # the published network draws its layers of one voxel, which are linear here, as the convolutions they were
        tolerance = 5 / math.sqrt(2 * weight.numel())
        assert weight.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=tolerance), name
        if weight.numel() > 500:
            assert weight.abs().max() > 2 * math.sqrt(2 / fan_in), name  # normal, not uniform
        assert layer.bias.abs().max() <= 1 / math.sqrt(fan_in), name


@pytest.mark.parametrize("width", [0, 2, 6, -4])
def test_a_width_that_cannot_be_divided_is_refused_in_words(width):
    with pytest.raises(ValueError, match=f"`width` is {width}; RFNet needs a positive multiple of 4"):
        RFNet(4, 4, width=width)


def test_widest_level_has_eight_times_the_width():
    assert RFNet(2, 3, spatial_dims=2, width=12).level_channels == [12, 24, 48, 96]
    assert sum(isinstance(module, ConvNormAct) for module in RFNet(2, 3, width=4).encoders.modules()) == 2 * 12
