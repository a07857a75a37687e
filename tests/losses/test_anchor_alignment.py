# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The distance itself; what the anchors make of it is in tests/networks/test_alignment.py."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from scripts.losses.anchor_alignment import AnchorAlignmentLoss
from scripts.networks.outputs import AlignmentOutput


def output(features, anchors):
    return AlignmentOutput(features, anchors, torch.ones(features[0].shape[:2], dtype=torch.bool))


def test_half_the_mean_square_of_two_channels_and_two_voxels_by_hand():
    z = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])  # (1, 1, 2, 2): one modality
    p = torch.tensor([[[1.0, 0.0], [0.0, 4.0]]])
    # differences 0, 2, 3, 0: half of 13 / 4
    assert_close(AnchorAlignmentLoss()(output([z], [p])), torch.tensor([[13 / 8]]))


def test_levels_of_different_size_weigh_the_same():
    fine, coarse = torch.full((1, 1, 2, 8), 2.0), torch.full((1, 1, 5, 2), 4.0)
    value = AnchorAlignmentLoss()(output([fine, coarse], [torch.zeros(1, 2, 8), torch.zeros(1, 5, 2)]))
    assert_close(value, torch.tensor([[(2.0 + 8.0) / 2]]))


def test_the_anchors_of_a_teacher_take_the_place_of_the_own_ones():
    features = [torch.randn(2, 3, 4, 2, 2, generator=torch.Generator().manual_seed(0))]
    own, other = [torch.zeros(2, 4, 2, 2)], [torch.ones(2, 4, 2, 2)]
    loss = AnchorAlignmentLoss()
    assert_close(loss(output(features, own), other), loss(output(features, other)))
    assert not torch.allclose(loss(output(features, own), other), loss(output(features, own)))
