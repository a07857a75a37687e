# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What a network in training is asked for, and in which precision it computes."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn

from scripts.inferers.training import TrainingInferer, draw_strict_subset
from scripts.networks.rfnet import RFNet
from tests.objectives import objective_of


class Noting(nn.Linear):
    """Notes what it was called with and in which type it computed."""

    def forward(self, x, *args, **kwargs):
        result = super().forward(x)
        self.noted = (args, kwargs, result.dtype)
        return result


def call(inputs, training=True, seed=0, paths=("fused", "narrowed"), **kwargs):
    """What the inferer adds to the arguments of a network."""
    torch.manual_seed(seed)
    network = Noting(3, 1).train(training)
    TrainingInferer(paths)(inputs, network, **kwargs)
    return network.noted[1]


@pytest.mark.parametrize("shown", ["1111", "1011", "0110"])
def test_every_strict_subset_of_what_is_shown_is_as_likely_as_the_others(shown):
    torch.manual_seed(0)
    shown = torch.tensor([flag == "1" for flag in shown])
    number = 2 ** int(shown.sum()) - 2
    found = Counter(tuple(draw_strict_subset(shown).tolist()) for _ in range(100 * number))
    assert len(found) == number
    for subset, times in found.items():
        subset = torch.tensor(subset)
        assert subset.any() and not (subset & ~shown).any() and not torch.equal(subset, shown)
        assert abs(times - 100) < 5 * 100**0.5  # five standard deviations


@pytest.mark.parametrize("shown", [[False, True, False], [False, False, False], [True]])
def test_a_single_modality_has_no_missing_path_and_draws_nothing(shown):
    before = torch.get_rng_state()
    assert not draw_strict_subset(torch.tensor(shown)).any()
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_drawn_is_part_of_what_is_acquired_and_shown():
    image = torch.zeros(2, 4, 3, 3)
    image[0, 0, 1, 1] = torch.nan
    available = torch.tensor([[True, True, True, False], [True, True, True, True]])
    for seed in range(20):
        narrowed = call(image, seed=seed, available=available)["narrowed_available"]
        assert narrowed[0].tolist() in ([False, True, False, False], [False, False, True, False])
        assert 1 <= narrowed[1].sum() <= 3


def test_the_seed_decides_and_samples_differ():
    image = torch.zeros(8, 4, 3, 3)
    first, again, other = (call(image, seed=seed)["narrowed_available"] for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert len({tuple(row) for row in first.tolist()}) > 1


def test_nothing_is_asked_for_in_evaluation_or_without_any_missing_path():
    image = torch.zeros(1, 3, 3, 3)
    assert call(image, training=False) == {}, "no path either"
    image[:, :2] = torch.nan
    assert call(image) == {"paths": ["fused", "narrowed"]}


def test_paths_are_asked_for_as_they_are_given_and_nothing_is_drawn_for_them():
    network = Noting(3, 2)
    before = torch.get_rng_state()
    TrainingInferer(["unimodal", "students"])(torch.ones(1, 3), network)
    assert network.noted[1] == {"paths": ["unimodal", "students"]}
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_the_network_computes_in_the_asked_for_type_and_gets_every_argument(precision, dtype):
    network, x = Noting(3, 2), torch.ones(1, 3)
    available = torch.tensor([[True]])
    result = TrainingInferer(["fused"], precision)(x, network, "more", available=available)
    assert network.noted == (("more",), {"available": available, "paths": ["fused"]}, dtype)
    assert network.weight.dtype == torch.float32, "only the computation is reduced, never the weights"
    torch.testing.assert_close(result.float(), nn.functional.linear(x, network.weight, network.bias), atol=0.02, rtol=0)


def test_float32_is_what_is_computed_by_default():
    network = Noting(3, 2)
    TrainingInferer(["fused"])(torch.ones(1, 3), network)
    assert network.noted[2] == torch.float32


def test_training_in_bfloat16_is_finite_and_close_to_float32():
    torch.manual_seed(0)
    network, loss = RFNet(num_modalities=4, num_classes=4, spatial_dims=3, width=4).train(), objective_of()
    image, label = torch.randn(2, 4, 16, 16, 16), torch.randint(0, 4, (2, 1, 16, 16, 16))
    image[0, 1] = image[1, 2] = torch.nan
    values = {}
    for precision in ("float32", "bfloat16"):
        network.zero_grad()
        value = loss(TrainingInferer(loss.paths, precision)(image, network), label)
        value.backward()
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        assert gradients
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
        values[precision] = value.item()
    assert values["bfloat16"] != values["float32"]
    assert values["bfloat16"] == pytest.approx(values["float32"], rel=0.01)
