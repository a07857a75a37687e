# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from scripts.modalities import modality_subsets
from scripts.networks.mmformer import ConvolutionalFusion, MMFormer
from scripts.networks.transformer import TransformerLayer, TransformerSettings

GOLDEN_MASKS = ["1111", "1000", "0010", "0001", "1010", "0011", "1101"]
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
SMALL = TransformerSettings(width=16, mlp_width=24, heads=4)
EVERYTHING = torch.ones(1, 4, dtype=torch.bool)


@pytest.fixture
def build():
    """Build a small network with positions drawn, not zero as at first; the same for the same arguments."""

    def _build(num_modalities=4, num_classes=3, patch_size=32, spatial_dims=3, positions=1.0, **settings):
        torch.manual_seed(0)
        transformer = SMALL._replace(**settings)
        network = MMFormer(num_modalities, num_classes, patch_size, spatial_dims, width=4, transformer=transformer)
        for encoder in network.encoders:
            nn.init.normal_(encoder.positions.table, std=positions)
        return network

    return _build


@pytest.fixture
def network(build):
    return build().eval()


@pytest.fixture
def image():
    return torch.randn(1, 4, 17, 20, 18, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def reference_network(load_reference):
    return load_reference("mmformer", MMFormer(num_modalities=4, num_classes=4, patch_size=80))


@pytest.mark.parametrize("mask", GOLDEN_MASKS)
def test_inference_reproduces_the_reference(check_inference, reference_network, mask):
    check_inference("mmformer", reference_network, mask)


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
    # the stated differences are those of passes of one modality alone: all but the distillation is met
    # the last modality alone sees its own tokens here
    check_training("mmformer", reference_network, acquired, shown, entries, deviating=[3])


# --- tokens --------------------------------------------------------------------------------------


def joined(network, tokens, index):
    """What the convolution that mixes tokens receives of ``(1, A, N)`` tokens that hold one number each.

    ``(N, M)``: the numbers of the M tokens of each voxel.
    """
    received = []
    hook = network.mix_tokens.register_forward_pre_hook(lambda module, inputs: received.append(inputs[0]))
    width = network.level_channels[-1]
    size = network.encoders[0].positions.grid
    features = tokens.float().unflatten(2, size).unsqueeze(2).expand(-1, -1, width, *size)
    network.join_tokens(features, torch.tensor([index]))
    hook.remove()
    by_voxel = received[0].flatten(2)[0].T.unflatten(1, [network.num_modalities, width])  # (N, M, width)
    assert torch.equal(by_voxel, by_voxel[..., :1].expand_as(by_voxel))
    return by_voxel[..., 0].tolist()


def test_a_voxel_receives_successive_tokens_of_the_sequence_by_hand(build):
    network = build(2, patch_size=[32, 16], spatial_dims=2, depth=0)  # 2 voxels, and nothing but the re-layout
    # the sequence is 1 2 (first modality), 3 4 (second); the first voxel gets its first two tokens, not 1 and 3
    assert joined(network, torch.tensor([[[1, 2], [3, 4]]]), [0, 1]) == [[1, 2], [3, 4]]
    assert joined(network, torch.tensor([[[3, 4]]]), [1]) == [[0, 0], [3, 4]]


@pytest.mark.parametrize(("num_modalities", "patch_size"), [(3, [32, 32]), (4, [48, 32, 16]), (5, [16, 48])], ids=str)
def test_voxel_v_receives_tokens_m_v_and_the_next_of_m_modalities(build, num_modalities, patch_size):
    network = build(num_modalities, patch_size=patch_size, spatial_dims=len(patch_size), depth=0)
    number = math.prod(network.encoders[0].positions.grid)
    sequence = torch.arange(num_modalities * number).view(1, num_modalities, number)
    expected = [[num_modalities * v + k for k in range(num_modalities)] for v in range(number)]
    assert joined(network, sequence, list(range(num_modalities))) == expected


def test_tokens_get_the_positions_of_their_own_modality_and_absent_ones_are_positions_only(build):
    network = build(2, patch_size=[32, 16], spatial_dims=2)
    network.layers[0] = nn.Identity()
    for m, encoder in enumerate(network.encoders):
        nn.init.constant_(encoder.positions.table, 100 * (m + 1))
    assert joined(network, torch.tensor([[[1, 2], [3, 4]]]), [0, 1]) == [[101, 102], [203, 204]]
    assert joined(network, torch.tensor([[[3, 4]]]), [1]) == [[100, 100], [203, 204]]


@torch.no_grad()
def test_positions_of_an_absent_modality_matter_and_its_encoder_does_not(network, image, hide):
    shown = hide(image, "1011")
    before = network(shown)
    for name, parameter in network.encoders[1].named_parameters():
        if name != "positions.table":
            nn.init.normal_(parameter)
    assert torch.equal(network(shown), before)
    nn.init.normal_(network.encoders[1].positions.table)
    after = network(shown)
    assert after.isfinite().all() and (after - before).abs().max() > 1e-3


@torch.no_grad()
def test_encoders_and_transformers_of_absent_modalities_never_run(network, image, hide):
    ran = []
    for m, encoder in enumerate(network.encoders):
        for module in (encoder.convolutions, encoder.layers[0]):
            module.register_forward_pre_hook(lambda module, inputs, m=m: ran.append((m, len(inputs[0]))))
    for training in (False, True):
        ran.clear()
        network.train(training)(torch.cat([hide(image, "1010"), hide(image, "0010")]))
        assert ran == [(0, 1), (0, 1), (2, 2), (2, 2)]


@pytest.mark.parametrize("m", range(4))
@torch.no_grad()
def test_a_modality_alone_is_fused_from_its_own_tokens(network, image, m):
    # the release gives the last modality the tokens of the one before
    features = network.encode(image, EVERYTHING)
    before = network.fuse_alone(features, EVERYTHING).logits[None]
    nn.init.normal_(network.encoders[m].project.weight)
    tokens = network.encode(image, EVERYTHING)[-1]
    after = network.fuse_alone([*features[:-1], tokens], EVERYTHING).logits[None]
    changed = (after - before).abs().flatten(2).amax(dim=2)[0] > 1e-3
    assert after.isfinite().all() and changed.tolist() == [k == m for k in range(4)]


@torch.no_grad()
def test_a_modality_that_was_not_drawn_keeps_its_tokens_alone(build, image):
    # the release zeroes them there, in a pass whose skip connections it keeps
    network = build(dropout=0.0).train()
    output = network(image, torch.tensor([[True, False, False, False]]))
    assert output.acquired.all()
    features = network.encode(image, output.acquired)
    alone = network.fuse_alone(features, output.acquired).logits[None]
    assert_close(alone[:, 1], network(image, torch.tensor([[False, True, False, False]])).fused, **CLOSE)
    without = network.fuse_alone([*features[:-1], torch.zeros_like(features[-1])], output.acquired).logits[None]
    assert without.isfinite().all() and (without - alone).abs().max() > 1e-3


@torch.no_grad()
def test_unimodal_heads_see_the_convolutions_and_not_the_tokens(network, image):
    features = network.encode(image, EVERYTHING)
    *_, deepest, tokens = features
    before = network.unimodal_probabilities(features, EVERYTHING)
    assert torch.equal(network.unimodal_probabilities([*features[:-1], tokens + 1], EVERYTHING), before)
    changed = network.unimodal_probabilities([*features[:-2], deepest.flip(3), tokens], EVERYTHING)
    assert changed.isfinite().all() and not torch.equal(changed, before)


@torch.no_grad()
def test_dropout_is_random_in_training_only(build, image):
    network, without = build(dropout=0.5), build(dropout=0.0)
    first, second = network.train()(image), network(image)
    assert first.fused.isfinite().all() and (first.fused - second.fused).abs().max() > 1e-3
    assert torch.equal(first.unimodal, second.unimodal)  # no dropout outside of the transformers
    assert torch.equal(network.eval()(image), network(image))
    assert_close(without.train()(image).fused, network(image), **CLOSE)


# --- fusion --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("index", "size"), [([0, 1, 2], (5, 4, 6)), ([1], (4, 4, 4)), ([0, 2], (7, 5))], ids=str)
def test_fusion_equals_three_convolutions_of_all_modalities_the_second_padded_by_zeros(index, size):
    torch.manual_seed(0)
    fusion = ConvolutionalFusion(len(size), num_modalities=3, channels=4)
    features = torch.zeros(2, 3, 4, *size)
    features[:, index] = torch.randn(2, len(index), 4, *size)
    convolve, x = F.conv3d if len(size) == 3 else F.conv2d, features.flatten(1, 2)
    for conv in (fusion.mix.conv, fusion.refine[0].conv, fusion.refine[1].conv):
        x = convolve(F.leaky_relu(F.instance_norm(x), 0.2), conv.weight, conv.bias, padding=conv.kernel_size[0] // 2)
    assert_close(fusion(features[:, index], torch.tensor([index] * 2)), x, **CLOSE)


# --- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("num_classes", "size"), [(2, (33, 17)), (3, (17, 19, 23)), (5, (24, 40))], ids=str)
def test_any_number_of_classes_and_voxels_works_and_every_weight_learns(build, learn, num_classes, size):
    network = build(3, num_classes, 48, len(size)).eval()
    image = torch.randn(2, 3, *size)
    image[0, 0] = float("nan")
    image[1, 1:] = float("nan")
    with torch.no_grad():
        logits = network(image)
    assert logits.shape == (2, num_classes, *size) and logits.isfinite().all()
    assert (logits.flatten(2).std(dim=2) > 0.01).all()  # not one value everywhere
    gradients = learn(network, image)
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert all(gradients[name].any() for name, _ in network.named_parameters() if not name.endswith("bias"))


@torch.no_grad()
def test_positions_serve_an_image_of_another_size_as_they_serve_a_patch_of_that_size(build):
    trained, wanted = build(patch_size=48).eval(), build(patch_size=32).eval()
    assert trained.encoders[0].positions.grid == [3, 3, 3] and wanted.encoders[0].positions.grid == [2, 2, 2]
    wanted.load_state_dict(trained.state_dict())
    image = torch.randn(1, 4, 32, 32, 32)
    assert_close(wanted(image), trained(image), **CLOSE)
    for encoder in trained.encoders:
        encoder.positions.table.zero_()
    assert (trained(image) - wanted(image)).abs().max() > 1e-3


def test_positions_of_no_cube_are_refused_for_another_patch(build):
    with pytest.raises(ValueError, match="a positional table has 12 positions, those of no cube; only a cube can be"):
        build(patch_size=32).load_state_dict(build(patch_size=[32, 32, 48]).state_dict())


@pytest.mark.parametrize(("patch_size", "grid"), [(80, [5, 5]), ([17, 16], [2, 1]), ([33, 32], [3, 2])], ids=str)
def test_grid_of_the_positions_is_a_sixteenth_of_the_patch_rounding_up(patch_size, grid):
    network = MMFormer(2, 2, patch_size, spatial_dims=2, width=4, transformer=SMALL)
    assert all(encoder.positions.table.shape == (1, math.prod(grid), 16) for encoder in network.encoders)
    assert network.encoders[0].positions.grid == grid


def test_transformers_are_as_large_as_asked_for_or_in_proportion_to_the_width(build):
    def sizes(network):
        layers = [module for module in network.modules() if isinstance(module, TransformerLayer)]
        return {(len(layers), *reversed(layer.mlp.linear1.weight.shape)) for layer in layers}

    assert sizes(build(depth=2)) == {(2 * 5, 16, 24)}
    with torch.device("meta"):
        assert sizes(MMFormer(2, 3, 32, width=4)) == {(3, 512 // 2, 4096 // 2)}
        assert sizes(MMFormer(2, 3, 32, width=8)) == {(3, 512, 4096)}


def test_intermediate_logits_are_those_of_the_levels_from_half_the_size_on(build):
    network = build(spatial_dims=2).train()
    output = network(torch.randn(1, 4, 33, 24))
    assert [list(logits.shape[2:]) for logits in output.auxiliary] == [[17, 12], [9, 6], [5, 3], [3, 2]]
    assert_close(network.segment(output.fused_features), output.fused)


@pytest.mark.parametrize(("spatial_dims", "depth"), [(2, 2), (3, 1)])
@torch.no_grad()
def test_scripted_network_agrees_for_every_subset_and_size(build, hide, spatial_dims, depth):
    network = build(3, spatial_dims=spatial_dims, depth=depth).eval()
    scripted = torch.jit.script(network)
    close = {"rtol": 1e-3, "atol": 1e-3}  # the small bottom of this network amplifies rounding
    for size in ([32] * spatial_dims, [17, 20, 36][:spatial_dims]):  # that of the positions, and another
        image = torch.randn(1, 3, *size)
        for subset in modality_subsets(3):
            assert_close(scripted(image, subset[None]), network(hide(image, subset)), **close)
        mixed = torch.cat([hide(image, "101"), image, torch.full_like(image, float("nan"))])
        assert_close(scripted(mixed)[:2], network(mixed)[:2], **close)
        assert scripted(mixed).isfinite().all()  # nothing at all is segmented from rounding noise


@pytest.mark.parametrize("positions", [0.0, 1.0])  # without them, every token of the sequence is zero
def test_a_case_without_any_modality_is_finite_with_finite_gradients(build, image, learn, positions):
    network, nothing = build(positions=positions), torch.full_like(image, float("nan"))
    with torch.no_grad():
        assert network.eval()(nothing).isfinite().all()
    gradients = learn(network, nothing)
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    # of the encoders, the positions alone are needed
    assert all(name.endswith("positions.table") for name in gradients if name.startswith("encoders."))


def test_convolutions_are_drawn_from_kaimings_normal_distribution_and_positions_are_zeros():
    torch.manual_seed(0)
    network = MMFormer(2, 4, 32)
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv3d, nn.Linear)):
            weight, fan_in = module.weight.detach(), module.weight[0].numel()
            deviation = math.sqrt((2 if isinstance(module, nn.Conv3d) else 1 / 3) / fan_in)  # 1 / 3: uniform
            assert weight.std().item() == pytest.approx(deviation, rel=5 / math.sqrt(2 * weight.numel())), name
            assert (weight.abs().max() < 2 * deviation) == isinstance(module, nn.Linear) or weight.numel() < 500, name
    assert not any(encoder.positions.table.any() for encoder in network.encoders)
