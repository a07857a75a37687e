# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from scripts.modalities import modality_subsets
from scripts.networks.m2ftrans import M2FTrans, SpatialFusion
from scripts.networks.transformer import TransformerSettings

GOLDEN_MASKS = ["1111", "1000", "0010", "0001", "1010", "0011", "1101"]
SMALL = TransformerSettings(width=32, mlp_width=48, heads=4, depth=2)
NAN = float("nan")


@pytest.fixture
def build():
    """Build a small network in double precision with positions drawn, not zero as at first."""

    def _build(num_modalities=4, num_classes=3, patch_size=32, spatial_dims=3, **settings):
        torch.manual_seed(0)
        network = M2FTrans(num_modalities, num_classes, patch_size, spatial_dims, 2, SMALL._replace(**settings))
        nn.init.normal_(network.bottleneck.positions.table)
        return network.double()

    return _build


@pytest.fixture
def network(build):
    return build().eval()


def drawn(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def image():
    return drawn(1, 4, 17, 20, 18)


# --- reference numbers ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference_network(load_reference):
    return load_reference("m2ftrans", M2FTrans(num_modalities=4, num_classes=4, patch_size=80))


@pytest.mark.parametrize("mask", GOLDEN_MASKS)
def test_inference_reproduces_the_reference(check_inference, reference_network, mask):
    check_inference("m2ftrans", reference_network, mask)


@pytest.mark.parametrize(
    ("acquired", "shown", "entries"),
    [
        ("1111", "1111", ["idt_passion_1111"]),
        ("1010", "1010", ["idt_plain_1010", "idt_passion_1010"]),
        ("0001", "0001", ["idt_passion_0001"]),
        ("1111", "1010", ["pdt_plain_1010"]),
    ],
)
def test_training_pass_and_objective_reproduce_the_reference(
    check_training, reference_network, acquired, shown, entries
):
    check_training("m2ftrans", reference_network, acquired, shown, entries)


# --- spatial weights and fusion ------------------------------------------------------------------


@pytest.mark.parametrize("size", [(6, 5), (4, 3, 5)], ids=str)
@pytest.mark.parametrize("index", [[[0, 1, 2], [0, 1, 2]], [[2, 0], [1, 2]], [[1], [2]]], ids=str)
def test_fusion_is_three_convolutions_of_weighted_modalities_with_gradients(size, index):
    torch.manual_seed(0)
    fusion, index = SpatialFusion(len(size), num_modalities=3, channels=4).double(), torch.tensor(index)
    features, weights = drawn(*index.shape, 4, *size).requires_grad_(), drawn(*index.shape, *size).abs()
    everything = torch.zeros(2, 3, 4, *size, dtype=torch.float64)
    for b in range(2):
        everything[b, index[b]] = features[b] * weights[b].unsqueeze(1)
    x = fusion.mix(everything.flatten(1, 2))
    x = F.leaky_relu(F.instance_norm(x), 0.2)
    outputs = fusion(features, index, weights), fusion.refine(x)
    assert_close(*outputs)
    learnt = [features, fusion.mix.weight, fusion.refine[0].conv.weight]
    first, second = (torch.autograd.grad((y * drawn(*y.shape, seed=2)).sum(), learnt) for y in outputs)
    for one, other in zip(first, second, strict=True):
        assert_close(one, other)
        assert other.any()


@torch.no_grad()
def test_a_spatial_weight_covers_a_block_of_voxels_twice_as_long_at_each_finer_level(build):
    network, seen = build(spatial_dims=2).eval(), []
    network.bottleneck.register_forward_hook(lambda module, inputs, outputs: seen.append(outputs[2]))
    network.coarse_fusion.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1]))
    for stage in network.stages:
        stage.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[3]))
    image, available = drawn(2, 4, 48, 32), torch.tensor([[1, 0, 1, 1], [0, 1, 1, 0]]).bool()
    levels = network.encode(image, available)
    network.fuse(levels, available)
    coarsest, weighted, *finer = seen
    assert torch.equal(coarsest.flatten(2).any(dim=2), available)
    for level, weights in enumerate(finer, start=2):
        expected = coarsest.repeat_interleave(2**level, dim=2).repeat_interleave(2**level, dim=3)
        assert torch.equal(weights, expected)
    expected = coarsest.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert_close(weighted, levels[-2] * expected.unsqueeze(2))


@torch.no_grad()
def test_spatial_weights_of_sizes_that_do_not_halve_are_those_of_the_nearest_voxel(build):
    network, seen = build(spatial_dims=2).eval(), []
    network.bottleneck.register_forward_hook(lambda module, inputs, outputs: seen.append(outputs[2]))
    for stage in network.stages:
        stage.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[3]))
    network(drawn(1, 4, 35, 33))
    coarsest, finer = seen[0][0, 0], seen[1][0, 0]
    assert coarsest.shape == (3, 3) and finer.shape == (9, 9)
    rows = [math.floor(math.floor(i * 5 / 9) * 3 / 5) for i in range(9)]  # 9 from 5, and 5 from 3
    assert torch.equal(finer, coarsest[rows][:, rows])


@torch.no_grad()
def test_cost_of_the_fusion_follows_the_number_of_modalities(network):
    image = drawn(1, 4, 17, 18, 20)

    def cost(subset):
        available = torch.tensor([[flag == "1" for flag in subset]])
        features = network.encode(image, available)
        with FlopCounterMode(display=False) as counter:
            network.fuse(features, available)
        return counter.get_total_flops()

    one, two, four = cost("0100"), cost("1001"), cost("1111")
    assert four - two == 2 * (two - one) > 0  # linear: nothing is paid for the absent


# --- subsets -------------------------------------------------------------------------------------


def test_each_modality_alone_equals_its_row_of_the_identity_with_gradients(build, image):
    network, label = build(dropout=0.0).train(), drawn(2, 4, 3, 17, 20, 18)
    image, everything = torch.cat([image, image.flip(2) + 1]), torch.ones(2, 4, dtype=torch.bool)

    def learnt(function):
        network.zero_grad()
        logits = function(network.encode(image, everything))
        (logits * label).mean().backward()
        return logits, {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}

    def one_by_one(features):
        rows = torch.eye(4, dtype=torch.bool)
        return torch.stack([network.fuse(features, row.expand(2, -1)) for row in rows], dim=1)

    together, alone = (
        learnt(lambda features: network.fuse_alone(features, everything).logits.unflatten(0, everything.shape)),
        learnt(one_by_one),
    )
    assert_close(*(logits for logits, _ in (together, alone)))
    assert set(together[1]) == set(alone[1])
    for name, gradient in together[1].items():
        assert_close(gradient, alone[1][name], msg=lambda text, name=name: f"{name}: {text}")


def test_a_case_without_any_modality_is_finite_with_finite_gradients(build, image, learn):
    network, nothing = build(dropout=0.0), torch.full_like(image, NAN)
    gradients = learn(network, nothing)
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert gradients["bottleneck.fusion.table"].any()  # what there is to segment from
    assert not any(name.startswith("encoders.") for name in gradients)
    alone, mixed = learn(network, image), learn(network, torch.cat([nothing, image]))
    for name, gradient in mixed.items():
        expected = (gradients.get(name, 0) + alone.get(name, 0)) / 2
        assert_close(gradient, torch.as_tensor(expected).expand_as(gradient), rtol=1e-6, atol=1e-9)


def test_every_weight_learns_and_those_of_absent_modalities_get_no_gradient(build, image, hide, learn):
    network = build(dropout=0.0)
    dead = ("conv.bias", "fusion.mix.bias")  # in front of a normalisation
    alive = {name for name, _ in network.named_parameters() if not name.endswith(dead)}
    of_absent = {name for name in alive if re.match(r"encoders\.[13]\.|.*\.maps\.[13]\.", name)}
    gradients = learn(network, hide(image, "1010"))
    assert set(gradients) == alive - of_absent and len(of_absent) > 100
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients.values())
    table = gradients["bottleneck.positions.table"]
    assert table.flatten(1).any(dim=1).tolist() == [True, False, True, False, True]
    columns = gradients["stages.0.fusion.mix.weight"].flatten(1).unflatten(1, [4, -1])
    assert columns.any(dim=2).any(dim=0).tolist() == [True, False, True, False]
    assert set(learn(network, image)) == alive


# --- sizes, precision, scripting -----------------------------------------------------------------


@torch.no_grad()
def test_an_image_of_another_size_is_served_as_by_a_network_of_that_patch_size(build):
    trained, wanted = build(patch_size=48).eval(), build(patch_size=[32, 32, 32]).eval()
    assert trained.bottleneck.positions.grid == [3, 3, 3] and wanted.bottleneck.fusion.grid == [2, 2, 2]
    wanted.load_state_dict(trained.state_dict())
    image = drawn(1, 4, 32, 32, 32)
    assert_close(wanted(image), trained(image))
    for table in (trained.bottleneck.positions.table, trained.bottleneck.fusion.table):
        before = trained(image)
        table.zero_()
        assert (trained(image) - before).abs().max() > 1e-3


def test_auxiliary_logits_are_those_of_the_five_levels_finest_first(build):
    network = build(num_modalities=5, num_classes=2, spatial_dims=2).train()
    output = network(drawn(1, 5, 33, 24))
    assert [list(logits.shape[1:]) for logits in output.auxiliary] == [
        [2, *size] for size in ([33, 24], [17, 12], [9, 6], [5, 3], [3, 2])
    ]
    assert_close(network.segment(output.fused_features), output.fused)


@torch.no_grad()
def test_dropout_is_random_in_training_only(build, image):
    network = build(dropout=0.5)
    assert {module.p for module in network.modules() if isinstance(module, nn.Dropout)} == {0.5}
    first, second = network.train()(image), network(image)
    assert first.fused.isfinite().all() and (first.fused - second.fused).abs().max() > 1e-3
    assert torch.equal(first.unimodal, second.unimodal)  # the convolutional path has none
    assert torch.equal(network.eval()(image), network(image))
    assert_close(build(dropout=0.0).train()(image).fused, network(image))


def test_half_precision_is_finite_and_close(build, hide, learn):
    network, image = build().float(), drawn(2, 4, 32, 32, 32).float()
    image[1] = hide(image[1:], "0100")[0]
    with torch.no_grad():
        expected = network.eval()(image)
        with torch.autocast("cpu", torch.bfloat16):
            found = network(image)
    assert found.isfinite().all() and (found - expected).abs().mean() < 0.1 * expected.std()
    with torch.autocast("cpu", torch.bfloat16):
        gradients = learn(network, image)
    assert all(gradient.isfinite().all() for gradient in gradients.values())


@pytest.mark.parametrize("spatial_dims", [2, 3])
@torch.no_grad()
def test_scripted_network_agrees_for_every_subset_and_size(build, hide, spatial_dims):
    network = build(3, spatial_dims=spatial_dims).eval()
    with torch.jit.optimized_execution(False):
        scripted = torch.jit.script(network)
        for size in ([32] * spatial_dims, [17, 20, 36][:spatial_dims]):  # that of the positions, and another
            image = drawn(1, 3, *size)
            for subset in modality_subsets(3):
                assert_close(scripted(image, subset[None]), network(hide(image, subset)))
            mixed = torch.cat([hide(image, "101"), image, torch.full_like(image, NAN)])
            assert_close(scripted(mixed), network(mixed))


# --- construction --------------------------------------------------------------------------------


def test_published_size_has_the_published_number_of_parameters():
    with torch.device("meta"):
        network = M2FTrans(num_modalities=4, num_classes=4, patch_size=80)
    assert sum(parameter.numel() for parameter in network.parameters()) == 13_194_788


@pytest.mark.parametrize(("patch_size", "grid"), [(80, [5, 5]), ([17, 32], [2, 2]), ([33, 32], [3, 2])], ids=str)
def test_grid_of_the_positions_is_a_sixteenth_of_the_patch_rounding_up(patch_size, grid):
    bottleneck = M2FTrans(2, 2, patch_size, spatial_dims=2, width=2, transformer=SMALL).bottleneck
    assert bottleneck.positions.table.shape == (3, math.prod(grid), 32)
    assert bottleneck.fusion.table.shape == (1, math.prod(grid), 32)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"transformer": SMALL}, "`transformer` has width 32; the deepest level of M2FTrans has 128 channels"),
        ({"width": 2, "transformer": SMALL._replace(heads=5)}, "has width 32 and 5 heads; expected a multiple"),
        ({"patch_size": [32, 16, 32]}, r"`patch_size` leaves \[2, 1, 2\] voxels .* at least 17 voxels"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_in_words(arguments, text):
    with pytest.raises(ValueError, match=text):
        M2FTrans(**{"num_modalities": 2, "num_classes": 3, "patch_size": 32, **arguments})


def test_convolutions_are_drawn_from_kaimings_normal_distribution():
    torch.manual_seed(0)
    for name, module in M2FTrans(2, 4, 32).named_modules():
        if isinstance(module, (nn.Conv3d, nn.Linear)):
            weight, fan_in = module.weight.detach(), module.weight[0].numel()
            deviation = math.sqrt((2 if isinstance(module, nn.Conv3d) else 1 / 3) / fan_in)  # 1 / 3: uniform
            assert weight.std().item() == pytest.approx(deviation, rel=5 / math.sqrt(2 * weight.numel())), name
            assert (weight.abs().max() < 2 * deviation) == isinstance(module, nn.Linear) or weight.numel() < 500, name
