# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch

from scripts.networks.blocks import channels_last, stack_modalities
from scripts.networks.packing import available_in_batch, mean_of_available, pack, stack_alone


def test_modalities_present_in_a_batch_are_those_of_any_sample():
    rows = torch.tensor([[True, False, False], [False, False, True]])
    assert available_in_batch(rows).tolist() == [0, 2]
    assert available_in_batch(torch.zeros(2, 3, dtype=torch.bool)).tolist() == [0, 1, 2]  # nothing there: all, of zeros


def test_packing_keeps_what_some_sample_shows_and_zeroes_it_in_the_others():
    level = torch.arange(1.0, 7.0).view(2, 3, 1, 1)
    [packed], index, available = pack([level], torch.tensor([[True, False, True], [False, False, True]]))
    assert packed.flatten(1).tolist() == [[1.0, 3.0], [0.0, 6.0]]
    assert index.tolist() == [[0, 2]] * 2 and available.tolist() == [[True, True], [False, True]]


def test_a_modality_alone_stands_in_its_place_in_the_order_in_memory_of_all():
    level = channels_last(torch.randn(2, 4, 3, 5))
    only = torch.tensor([[False, True, False], [False, False, True]])
    stacked = stack_alone(level, only)
    assert torch.equal(stacked[only], level) and not stacked[~only].any()
    assert stacked.stride() == stack_modalities([level] * 3).stride()


def test_the_mean_runs_over_what_each_sample_shows():
    level = torch.tensor([[2.0, 4.0, 9.0], [6.0, 0.0, 0.0], [0.0, 0.0, 0.0]]).view(3, 3, 1, 1)  # one voxel
    shown = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])
    # (2 + 4 + 9) / 3; 6 by itself, not a third of it; nothing
    assert mean_of_available(level, shown).flatten().tolist() == [5.0, 6.0, 0.0]


def test_a_shown_feature_of_zero_counts():
    assert mean_of_available(torch.tensor([[3.0, 0.0]]).view(1, 2, 1, 1), torch.tensor([[True, True]])).item() == 1.5


def test_the_mean_of_one_modality_is_itself():
    level = torch.randn(2, 1, 4, 3, 5)
    assert torch.equal(mean_of_available(level, torch.ones(2, 1, dtype=torch.bool)), level.squeeze(1))
