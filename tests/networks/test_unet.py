# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from scripts.modalities import modality_subsets
from scripts.networks.unet import MultiEncoderUNet
from tests.objectives import objective_of

NAN = float("nan")
CLOSE = {"rtol": 1e-3, "atol": 1e-3}  # of logits around 1; the two voxels at the bottom amplify rounding


@pytest.fixture
def build():
    """Build a narrow U-Net, the same for the same seed."""

    def _build(num_modalities=3, num_classes=3, spatial_dims=2, seed=0):
        torch.manual_seed(seed)
        return MultiEncoderUNet(num_modalities, num_classes, spatial_dims, width=4)

    return _build


@pytest.fixture
def image():
    return torch.randn(1, 3, 18, 21, generator=torch.Generator().manual_seed(1))


# --- the network ---------------------------------------------------------------------------------


@pytest.mark.parametrize("num_modalities", [2, 3, 5])
@pytest.mark.parametrize(("num_classes", "size"), [(2, (18, 21)), (3, (17, 19, 18)), (4, (32, 17)), (5, (32, 17, 17))])
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
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert all(gradients[f"encoders.{m}.first.0.conv.weight"].any() for m in range(num_modalities))


@torch.no_grad()
def test_encoding_has_five_levels_down_to_the_shared_latent_space(build, image):
    network = build()
    levels = network.encode(image, torch.tensor([[True, False, True]]))
    sizes = [(18, 21), (9, 11), (5, 6), (3, 3), (2, 2)]
    assert [tuple(level.shape) for level in levels] == [(1, 3, 4 * 2**k, *size) for k, size in enumerate(sizes)]
    assert levels[-1].flatten(2).any(dim=2).tolist() == [[True, False, True]]
    assert network.level_channels == [4, 8, 16, 32, 64]


@torch.no_grad()
def test_training_output_has_no_intermediate_heads_and_the_features_before_the_last_layer(build, image):
    network = build().train()
    output = network(image)
    assert output.auxiliary == []
    assert output.fused_features.shape == (1, 4, 18, 21)
    assert_close(network.decoder.segment(output.fused_features), output.fused)
    assert_close(output.fused, network.eval()(image), **CLOSE)


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


def test_encoders_of_absent_modalities_get_no_gradient_and_nan_reaches_none(build, image, hide, learn):
    network, incomplete = build(), hide(image, "101").requires_grad_()
    gradients = learn(network, incomplete)
    assert {name.split(".")[1] for name in gradients if name.startswith("encoders.")} == {"0", "2"}
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert incomplete.grad.isfinite().all()
    assert incomplete.grad.flatten(2).any(dim=2).tolist() == [[True, False, True]]


@torch.no_grad()
def test_unimodal_heads_say_what_the_network_says_from_that_modality_alone(build, image, hide):
    network = build().train()
    unimodal = network(hide(image, "110")).unimodal
    network.eval()
    for m in range(2):
        alone = network(image, torch.eye(3, dtype=torch.bool)[m : m + 1]).softmax(dim=1)
        assert_close(unimodal[:, m], alone, **CLOSE)
    assert not unimodal[:, 2].any()


@torch.no_grad()
def test_the_order_of_the_modalities_does_not_matter(build, image, hide):
    network, turned = build().eval(), build().eval()
    order = [2, 0, 1]
    turned.encoders = nn.ModuleList(network.encoders[m] for m in order)
    for mask in ("111", "101"):
        incomplete = hide(image, mask)
        assert_close(turned(incomplete[:, order]), network(incomplete), **CLOSE)
    assert not torch.allclose(turned(image), network(image), **CLOSE)


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
        assert_close(network.decoder.segment(students.features[modality == m]), expected, **CLOSE)


@torch.no_grad()
def test_samples_of_a_batch_do_not_touch_each_other(build, image, hide):
    network, nothing = build().eval(), torch.full_like(image, NAN)
    batch = torch.cat([hide(image, "100"), nothing, image.flip(2) + 1, hide(image - 1, "011")])
    alone = [network(batch[b : b + 1]) for b in range(4)]
    assert_close(network(batch), torch.cat(alone), **CLOSE)
    assert all(logits.isfinite().all() for logits in alone)
    network.train()
    assert_close(network(batch).fused, torch.cat(alone), **CLOSE)
    assert_close(network(batch).unimodal[3:], network(batch[3:]).unimodal, **CLOSE)


@pytest.mark.parametrize("value", [NAN, 0.0, -0.7])  # nothing acquired; air as it is normalised, and as it is augmented
def test_gradients_are_moderate_where_there_is_nothing_to_see(build, image, learn, value):
    for gradient in learn(build(), torch.full_like(image, value)).values():
        assert gradient.abs().max() < 10


@pytest.mark.parametrize("spatial_dims", [2, 3])
@torch.no_grad()
def test_scripted_network_agrees_for_every_subset(build, hide, spatial_dims):
    network = build(spatial_dims=spatial_dims).eval()
    scripted = torch.jit.script(network)
    image = torch.randn(1, 3, *[18] * spatial_dims, generator=torch.Generator().manual_seed(1))
    for subset in modality_subsets(3):
        assert_close(scripted(hide(image, subset)), network(image, subset[None]), **CLOSE)
    mixed = torch.cat([hide(image, "010"), image, torch.full_like(image, NAN)])
    assert_close(scripted(mixed), network(mixed), **CLOSE)


def test_loss_falls_on_a_fixed_image(build, image, hide):
    network = build(num_classes=2).train()
    label = torch.zeros(2, 1, 18, 21, dtype=torch.long)
    label[:, :, 5:12, 6:15] = 1
    shapes = torch.cat([hide(image + 2 * label[:1], "110"), hide(image + 2 * label[:1], "011")])
    objective, optimizer = objective_of(), torch.optim.Adam(network.parameters(), lr=0.005)
    values = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = objective(network(shapes), label)
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.5 * values[0], values
    assert all(parameter.isfinite().all() for parameter in network.parameters())
    assert set(objective.last.terms) == {"fused", "unimodal", "unimodal_per_modality", "total"}
