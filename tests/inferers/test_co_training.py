# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Which part of its modalities a case is segmented from as well."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn

from scripts.inferers.co_training import CoTrainingInferer, draw_strict_subset


class Noting(nn.Linear):
    """Notes what it was called with."""

    def forward(self, x, **kwargs):
        self.noted = kwargs
        return x


def call(inputs, training=True, seed=0, students=False, **kwargs):
    """What the inferer adds to the arguments of a network."""
    torch.manual_seed(seed)
    network = Noting(1, 1).train(training)
    CoTrainingInferer(students=students)(inputs, network, **kwargs)
    return network.noted


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
        narrowed = call(image, seed=seed, available=available)["narrowed"]
        assert narrowed[0].tolist() in ([False, True, False, False], [False, False, True, False])
        assert 1 <= narrowed[1].sum() <= 3


def test_the_seed_decides_and_samples_differ():
    image = torch.zeros(8, 4, 3, 3)
    first, again, other = (call(image, seed=seed)["narrowed"] for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert len({tuple(row) for row in first.tolist()}) > 1


def test_nothing_is_asked_for_in_evaluation_or_without_any_missing_path():
    image = torch.zeros(1, 3, 3, 3)
    assert call(image, training=False) == {}
    image[:, :2] = torch.nan
    assert call(image) == {}


def test_students_are_asked_for_as_well():
    assert call(torch.zeros(1, 3, 3, 3), students=True).keys() == {"students", "narrowed"}
