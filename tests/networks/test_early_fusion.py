# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.networks.nets import BasicUNet, DynUNet, SegResNet
from torch import nn
from torch.testing import assert_close

from scripts.modalities import modality_subsets
from scripts.networks.early_fusion import EarlyFusion, EarlyFusionDynUNet, EarlyFusionSegResNet, pad_to_multiple
from tests.objectives import objective_of

NAN = float("nan")
CLOSE = {"rtol": 1e-4, "atol": 1e-4}  # of logits around 1
MULTIPLES = {EarlyFusionSegResNet: 8, EarlyFusionDynUNet: 16}


@pytest.fixture(params=MULTIPLES, ids=lambda each: each.__name__)
def build(request):
    """Build a narrow network of each class, the same for the same seed."""

    def _build(num_modalities=3, num_classes=3, spatial_dims=2, seed=0):
        torch.manual_seed(seed)
        return request.param(num_modalities, num_classes, spatial_dims, width=4)

    return _build


@pytest.fixture
def image():
    return torch.randn(1, 3, 18, 21, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def transparent():
    """Early fusion that shows what the network would be given: the logits are the stacked modalities."""
    return EarlyFusion(nn.Identity(), nn.Identity(), num_modalities=3, num_classes=3).eval()


# --- what the network is given -------------------------------------------------------------------


def test_padding_fills_the_end_of_each_axis_with_zeros():
    x = torch.ones(2, 3, 18, 21)
    padded = pad_to_multiple(x, 8)
    assert padded.shape == (2, 3, 24, 24)
    assert torch.equal(padded[..., :18, :21], x) and padded.sum() == x.sum()


@pytest.mark.parametrize("size", [(16, 24), (8, 16), (16, 8, 8)])
def test_padding_leaves_multiples_as_they_are(size):
    x = torch.randn(1, 2, *size)
    assert torch.equal(pad_to_multiple(x, 8), x)


@pytest.mark.parametrize(("size", "expected"), [((8, 8), (8, 16)), ((3, 8), (8, 16)), ((5, 8, 1), (8, 8, 16))])
def test_the_deepest_level_has_more_than_one_voxel(size, expected):
    assert pad_to_multiple(torch.ones(1, 1, *size), 8).shape[2:] == expected


@pytest.mark.parametrize("subset", modality_subsets(3), ids=str)
def test_absent_modalities_and_those_not_shown_are_zeros(transparent, image, hide, subset):
    expected = torch.where(subset[:, None, None], image, 0)
    assert torch.equal(transparent(hide(image, subset)), expected)
    assert torch.equal(transparent(image, subset[None]), expected)


def test_a_channel_with_a_single_nan_is_zeros_everywhere(transparent, image):
    image[0, 1, 4, 4] = NAN
    assert torch.equal(transparent(image), torch.where(torch.tensor([1, 0, 1])[:, None, None] > 0, image, 0))


def test_modalities_go_back_to_the_channels_that_their_positions_name(transparent):
    features = torch.tensor([[1.0, 2.0], [3.0, 0.0]]).view(2, 2, 1, 1, 1)  # two modalities of a single voxel
    index, shown = torch.tensor([[2, 0], [0, 1]]), torch.tensor([[True, True], [True, False]])
    logits, auxiliary, last = transparent.decode([features], index, shown)
    assert logits.flatten(1).tolist() == [[2.0, 0.0, 1.0], [3.0, 0.0, 0.0]]
    assert auxiliary == [] and torch.equal(last, logits)


def test_encoding_is_the_image_with_zeros_where_not_available(transparent, image, hide):
    (level,) = transparent.encode(hide(image, "110"), torch.tensor([[True, False, False]]))
    assert level.shape == (1, 3, 1, 18, 21)
    assert torch.equal(level[:, 0, 0], image[:, 0]) and not level[:, 1:].any()


# --- the networks --------------------------------------------------------------------------------


@pytest.mark.parametrize("num_modalities", [2, 3, 5])
@pytest.mark.parametrize(("num_classes", "size"), [(2, (18, 21)), (3, (16, 16)), (4, (9, 19, 18)), (5, (17, 5))])
def test_any_number_of_modalities_classes_and_voxels_works(build, learn, num_modalities, num_classes, size):
    network = build(num_modalities, num_classes, len(size)).eval()
    image = torch.randn(2, num_modalities, *size)
    image[0, 0] = NAN
    image[1, 1:] = NAN
    with torch.no_grad():
        logits = network(image)
    assert logits.shape == (2, num_classes, *size) and logits.isfinite().all()
    assert (logits.flatten(2).std(dim=2) > 0.01).all()  # not one value everywhere
    gradients = learn(network, image)
    assert set(gradients) == {name for name, _ in network.named_parameters()}  # no layer is without a use
    assert all(gradient.isfinite().all() for gradient in gradients.values())


@pytest.mark.parametrize("size", [(32, 16), (16, 32, 16)])
@torch.no_grad()
def test_on_multiples_the_network_is_monais(hide, size):
    dims, image = len(size), torch.randn(2, 3, *size)
    image[1, 1] = NAN
    dyn = {"kernel_size": [3] * 5, "strides": [1, 2, 2, 2, 2], "upsample_kernel_size": [2] * 4}
    dyn |= {"filters": [8, 16, 32, 64, 128], "norm_name": ("INSTANCE", {"affine": True, "eps": 1e-3})}
    for ours, build_theirs in (
        (EarlyFusionSegResNet, lambda: SegResNet(dims, 8, 3, 4)),
        (EarlyFusionDynUNet, lambda: DynUNet(dims, 3, 4, **dyn)),
    ):
        torch.manual_seed(0)
        network = ours(3, 4, dims, width=8).eval()
        torch.manual_seed(0)
        theirs = build_theirs().eval()
        assert_close(network(image), theirs(image.nan_to_num()))
        assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in theirs.parameters())
        parts = theirs.skip_layers if ours is EarlyFusionDynUNet else theirs
        names = {f"body.{name}" for name in parts.state_dict() if not name.startswith("conv_final.2.")}
        assert {name for name in network.state_dict() if name.startswith("body.")} == names


@torch.no_grad()
def test_other_sizes_are_those_of_a_padded_image_cropped(build, image):
    network = build().eval()
    multiple = MULTIPLES[type(network)]
    assert network.multiple == multiple
    padded = torch.zeros(1, 3, *[-(-length // multiple) * multiple for length in (18, 21)])
    padded[..., :18, :21] = image
    assert_close(network(image), network(padded)[..., :18, :21], **CLOSE)


@torch.no_grad()
def test_training_output_has_the_features_before_the_last_layer_and_no_other_heads(build, image):
    network = build().train()
    output = network(image)
    assert output.unimodal is None and output.auxiliary == []
    assert output.fused_features.shape == (1, 4, 18, 21)
    assert_close(network.head(output.fused_features), output.fused)
    assert_close(output.fused, network.eval()(image), **CLOSE)
    leaves = [module for module in network.head.modules() if not list(module.children())]
    assert [type(leaf) for leaf in leaves] == [nn.Conv2d]  # the head is linear, so these are the last features


@pytest.mark.parametrize("subset", modality_subsets(3), ids=str)
@torch.no_grad()
def test_absent_modalities_and_those_not_shown_change_nothing(build, image, hide, subset):
    network = build().eval()
    absent = network(hide(image, subset))
    assert absent.isfinite().all()
    assert torch.equal(absent, network(image, subset[None]))
    assert torch.equal(absent, network(torch.where(subset[:, None, None], image, 100 * image + 7), subset[None]))


@torch.no_grad()
def test_every_modality_and_every_subset_matters(build, image):
    network = build().eval()
    outputs = torch.cat([network(image, subset[None]) for subset in modality_subsets(3)]).flatten(1)
    distance = torch.cdist(outputs, outputs, p=float("inf")) + torch.eye(len(outputs))
    assert outputs.isfinite().all() and distance.min() > 0.01


def test_weights_of_absent_modalities_get_no_gradient_and_nan_reaches_none(build, image, hide, learn):
    network, incomplete = build(), hide(image, "101").requires_grad_()
    gradients = learn(network, incomplete)
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    first = next(name for name in gradients if name.endswith("weight") and gradients[name].shape[1:] == (3, 3, 3))
    assert gradients[first].abs().sum(dim=(0, 2, 3)).bool().tolist() == [True, False, True]
    assert incomplete.grad.isfinite().all()
    assert incomplete.grad.flatten(2).any(dim=2).tolist() == [[True, False, True]]


@torch.no_grad()
def test_fusing_each_modality_alone_equals_fusing_under_each_row_of_the_identity(build, image):
    network = build().eval()
    available = torch.tensor([[True, True, True], [False, True, True]])
    features = network.encode(torch.cat([image, image.flip(2) + 1]), available)
    students = network.fuse_alone(features, available)
    assert torch.equal(students.available, available) and len(students.logits) == 5
    sample, modality = available.nonzero().t()
    for m, row in enumerate(torch.eye(3, dtype=torch.bool)):
        alone = available & row
        expected = network.fuse(features, alone)[sample[modality == m]]
        assert_close(students.logits[modality == m], expected, **CLOSE)
        assert_close(network.head(students.features[modality == m]), expected, **CLOSE)


@torch.no_grad()
def test_samples_of_a_batch_do_not_touch_each_other(build, image, hide):
    network, nothing = build().eval(), torch.full_like(image, NAN)
    batch = torch.cat([hide(image, "100"), nothing, image.flip(2) + 1, hide(image - 1, "011")])
    alone = torch.cat([network(batch[b : b + 1]) for b in range(4)])
    assert alone.isfinite().all()
    assert_close(network(batch), alone, **CLOSE)
    assert_close(network.train()(batch).fused, alone, **CLOSE)
    kinds = {type(module).__name__ for module in network.modules() if "Norm" in type(module).__name__}
    assert kinds in ({"GroupNorm"}, {"InstanceNorm2d"})


@pytest.mark.parametrize("value", [NAN, 0.0, -0.7])  # nothing acquired; air as it is normalised, and as it is augmented
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_gradients_are_moderate_where_there_is_nothing_to_see(build, learn, value, spatial_dims):
    image = torch.full((1, 3, *[32] * spatial_dims), value)
    for gradient in learn(build(spatial_dims=spatial_dims), image).values():
        assert gradient.abs().max() < 10


@pytest.mark.parametrize("size", [(18, 21), (16, 16), (17, 9, 20)])
@torch.no_grad()
def test_scripted_network_agrees_for_every_subset(build, hide, size):
    network = build(spatial_dims=len(size)).eval()
    scripted = torch.jit.script(network)
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    for subset in modality_subsets(3):
        assert_close(scripted(hide(image, subset)), network(image, subset[None]), **CLOSE)
    mixed = torch.cat([hide(image, "010"), image, torch.full_like(image, NAN)])
    assert_close(scripted(mixed), network(mixed), **CLOSE)


def test_loss_falls_on_a_fixed_image(build, image, hide):
    network = build(num_classes=2).train()
    label = torch.zeros(2, 1, 18, 21, dtype=torch.long)
    label[:, :, 5:12, 6:15] = 1
    shapes = torch.cat([hide(image + 2 * label[:1], "110"), hide(image + 2 * label[:1], "011")])
    objective, optimizer = objective_of(), torch.optim.Adam(network.parameters(), lr=0.01)
    values = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = objective(network(shapes), label)
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.5 * values[0], values
    assert all(parameter.isfinite().all() for parameter in network.parameters())
    assert set(objective.last.terms) == {"fused", "total"}


@pytest.mark.parametrize("width", [1, 4, 6, 12, 16])
def test_any_width_can_be_normalised_in_groups(width):
    network = EarlyFusionSegResNet(2, 2, spatial_dims=2, width=width).train()
    fused = network(torch.randn(1, 2, 16, 16)).fused
    assert fused.shape == (1, 2, 16, 16) and fused.isfinite().all()


def test_dynunet_widens_up_to_the_channels_of_nnunet():
    weights = EarlyFusionDynUNet(4, 3, spatial_dims=2, width=32).body.state_dict().values()
    assert {weight.shape[0] for weight in weights if weight.ndim == 1} == {32, 64, 128, 256, 320}


@torch.no_grad()
def test_any_network_whose_last_layer_can_be_taken_off_may_be_wrapped(image, hide):
    torch.manual_seed(0)
    theirs = BasicUNet(spatial_dims=2, in_channels=3, out_channels=2, features=(4, 4, 8, 8, 8, 4)).eval()
    expected = theirs(pad_to_multiple(hide(image, "011").nan_to_num(), 16))[..., :18, :21]
    head, theirs.final_conv = theirs.final_conv, nn.Identity()
    network = EarlyFusion(theirs, head, num_modalities=3, num_classes=2, multiple=16).eval()
    assert_close(network(hide(image, "011")), expected, **CLOSE)
    assert expected.std() > 0.01
