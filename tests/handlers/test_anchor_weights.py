# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch
from ignite.engine import Engine

from scripts.handlers.anchor_weights import AnchorWeightsHandler
from scripts.networks.alignment import AnchorAlignment
from scripts.networks.rfnet import RFNet

NAMES = ["a", "b", "c"]


def published(alignment):
    """Metrics of an epoch."""
    network = RFNet(3, 2, spatial_dims=2, width=4, alignment=alignment)
    engine = Engine(lambda engine, batch: None)
    AnchorWeightsHandler(network, NAMES).attach(engine)
    return engine.run([0], max_epochs=1).metrics


def test_the_shares_of_the_modalities_are_metrics_of_the_epoch():
    alignment = AnchorAlignment(NAMES)
    alignment.theta.data = torch.tensor([0.0, math.log(2), math.log(5)])
    expected = {"anchor_weight/a": 1 / 8, "anchor_weight/b": 2 / 8, "anchor_weight/c": 5 / 8}
    assert published(alignment) == pytest.approx(expected)


@pytest.mark.parametrize("alignment", [None, AnchorAlignment(NAMES, "normal"), AnchorAlignment(NAMES, "c")])
def test_anchors_that_learn_nothing_publish_nothing(alignment):
    assert published(alignment) == {}
