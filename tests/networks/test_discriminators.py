# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Self-information maps and the discriminators of two paths."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from scripts.losses.adversarial import AdversarialTerm
from scripts.losses.co_training import PairedPaths
from scripts.networks.discriminators import PathDiscriminators, self_information
from scripts.networks.early_fusion import EarlyFusionSegResNet
from scripts.networks.outputs import PathOutput
from scripts.networks.unet import MultiEncoderUNet


def discriminators(spatial_dims=2, width=4):
    torch.manual_seed(0)
    return PathDiscriminators(MultiEncoderUNet(2, 3, spatial_dims, width=2), spatial_dims, width)


def path(size, deepest, spatial_dims=2, batch=1):
    """A path of that U-Net: 3 classes, 2 * 2^4 channels at the deepest level."""
    logits, bottleneck = (
        torch.randn(batch, 3, *[size] * spatial_dims),
        torch.randn(batch, 32, *[deepest] * spatial_dims),
    )
    return PathOutput(torch.ones(batch, 2, dtype=torch.bool), logits, bottleneck)


def test_self_information_of_one_voxel_by_hand():
    # -1/2 log2 1/2 / log2 2 = 1/2; and p = (1/2, 1/4, 1/8, 1/8): 1/2, 1/2, 3/8, 3/8 over log2 4 = 2
    assert_close(self_information(torch.zeros(1, 2, 1)), torch.full((1, 2, 1), 0.5))
    p = torch.tensor([1 / 2, 1 / 4, 1 / 8, 1 / 8]).reshape(1, 4, 1)
    expected = torch.tensor([1 / 4, 1 / 4, 3 / 16, 3 / 16]).reshape(1, 4, 1)
    assert_close(self_information(p.log()), expected)


@pytest.mark.parametrize("num_classes", [2, 3, 4, 6])
def test_maps_sum_to_one_where_nothing_is_known(num_classes):
    maps = self_information(torch.zeros(1, num_classes, 2, 2))
    assert_close(maps.sum(dim=1), torch.ones(1, 2, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_certainty_is_zero_with_finite_gradients(dtype):
    logits = torch.tensor([[[300.0], [0.0], [-300.0]]], dtype=dtype, requires_grad=True)
    maps = self_information(logits)
    assert maps.dtype == torch.float32 and torch.equal(maps, torch.zeros(1, 3, 1))
    maps.sum().backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize(("size", "deepest"), [(2, 1), (16, 2), (17, 2), (40, 3), (33, 10)])
def test_any_size_of_patch_and_bottleneck_is_judged(spatial_dims, size, deepest):
    judges = discriminators(spatial_dims)
    given = path(size, deepest, spatial_dims)
    judged = judges(given)
    assert {name: value.shape[:2] for name, value in judged.items()} == {"entropy": (1, 1), "knowledge": (1, 1)}
    sum(value.square().mean() for value in judged.values()).backward()
    gradients = [parameter.grad for parameter in judges.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_samples_are_judged_one_by_one():
    judges, both = discriminators(), path(16, 2, batch=2)
    for b in range(2):
        alone = judges(PathOutput(both.available[b : b + 1], both.logits[b : b + 1], both.bottleneck[b : b + 1]))
        for name, value in judges(both).items():
            assert_close(value[b : b + 1], alone[name])


def test_a_network_without_encoders_has_the_discriminator_of_maps_alone():
    judges = PathDiscriminators(EarlyFusionSegResNet(2, 3, spatial_dims=2, width=8), spatial_dims=2)
    judged = judges(path(16, 2)._replace(bottleneck=None))
    assert list(judged) == ["entropy"] and judged["entropy"].isfinite().all()


def test_discriminators_learn_to_tell_two_clearly_different_paths():
    judges = discriminators()
    terms = [AdversarialTerm(judges, name) for name in ("entropy", "knowledge")]
    optimizer = torch.optim.Adam(judges.parameters(), lr=1e-2)
    for _ in range(40):
        full, missing = path(16, 4, batch=2), path(16, 4, batch=2)
        full = full._replace(logits=10 * full.logits, bottleneck=full.bottleneck + 2)  # sure of itself, shifted
        optimizer.zero_grad()
        judged = [term.tell_apart(PairedPaths(torch.arange(2), full, missing)) for term in terms]
        sum(each.loss for each in judged).backward()
        optimizer.step()
    for each in judged:  # NaN is not below either
        assert each.loss < 0.1 < math.log(2)
        assert each.accuracy > 0.95
