# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The precision in which a network computes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scripts.inferers.autocast import AutocastInferer, reduced_precision
from scripts.losses.total import IncompleteMultiModalLoss
from scripts.networks.rfnet import RFNet


class Noting(nn.Linear):
    """Notes what it was called with and in which type it computed."""

    def forward(self, x, *args, **kwargs):
        result = super().forward(x)
        self.noted = (args, kwargs, result.dtype)
        return result


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_the_network_computes_in_the_asked_for_type_and_gets_every_argument(precision, dtype):
    network, x = Noting(3, 2), torch.ones(1, 3)
    available = torch.tensor([[True]])
    result = AutocastInferer(precision)(x, network, "more", available=available)
    assert network.noted == (("more",), {"available": available}, dtype)
    assert network.weight.dtype == torch.float32, "only the computation is reduced, never the weights"
    torch.testing.assert_close(result.float(), nn.functional.linear(x, network.weight, network.bias), atol=0.02, rtol=0)


def test_what_a_network_in_training_is_asked_for_beside_its_prediction():
    network, x = Noting(3, 2), torch.ones(1, 3)
    AutocastInferer(students=True, unimodal=False)(x, network)
    assert network.noted[1] == {"students": True, "unimodal": False}
    AutocastInferer()(x, network)
    assert network.noted[1] == {}


def test_float32_is_what_is_computed_by_default():
    network = Noting(3, 2)
    AutocastInferer()(torch.ones(1, 3), network)
    assert network.noted[2] == torch.float32


@pytest.mark.parametrize("precision", ["float16", "half", ""])
def test_another_precision_is_refused(precision):
    with pytest.raises(ValueError, match=rf"`precision` is `{precision}`; expected one of \['bfloat16', 'float32'\]"):
        reduced_precision(torch.device("cpu"), precision)


def test_training_in_bfloat16_is_finite_and_close_to_float32():
    torch.manual_seed(0)
    network, loss = RFNet(num_modalities=4, num_classes=4, spatial_dims=3, width=4).train(), IncompleteMultiModalLoss()
    image, label = torch.randn(2, 4, 16, 16, 16), torch.randint(0, 4, (2, 1, 16, 16, 16))
    image[0, 1] = image[1, 2] = torch.nan
    values = {}
    for precision in ("float32", "bfloat16"):
        network.zero_grad()
        value = loss(AutocastInferer(precision)(image, network), label)
        value.backward()
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        assert gradients
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
        values[precision] = value.item()
    assert values["bfloat16"] != values["float32"]
    assert values["bfloat16"] == pytest.approx(values["float32"], rel=0.01)
