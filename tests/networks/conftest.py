# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Small networks, and the network that carries the reference parameters."""

from __future__ import annotations

import pytest
import torch

from scripts.losses.total import IncompleteMultiModalLoss
from scripts.networks.reference_checkpoint import convert_state_dict
from scripts.networks.rfnet import RFNet


@pytest.fixture
def build_rfnet():
    """Build the narrowest RFNet, the same for the same seed."""

    def _build(num_modalities=4, num_classes=3, spatial_dims=3, seed=0):
        torch.manual_seed(seed)
        return RFNet(num_modalities, num_classes, spatial_dims, width=4)

    return _build


@pytest.fixture
def learn():
    """One backward pass of the plain objective; gives the gradients by parameter, without those that are ``None``."""

    def _learn(network, image, available=None, label_seed=5):
        network.train().zero_grad()
        generator = torch.Generator().manual_seed(label_seed)
        label = torch.randint(network.num_classes, (1, 1, *image.shape[2:]), generator=generator)
        loss = IncompleteMultiModalLoss()(network(image, available), label.expand(len(image), -1, *image.shape[2:]))
        loss.backward()
        return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}

    return _learn


@pytest.fixture(scope="session")
def reference_network(reference_state_dict, modalities):
    """RFNet of the published size with the parameters of the recipe."""
    network = RFNet(num_modalities=4, num_classes=4)
    network.load_state_dict(convert_state_dict(reference_state_dict("rfnet"), network, modalities))
    return network
