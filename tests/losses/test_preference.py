# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from scripts.losses.preference import inverse_frequency, lagging, rebalance, relative_preference, step_size

NAN = math.nan


def draw(*shape, seed=0):
    """Distances between 0.1 and 1.1."""
    return 0.1 + torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def draw_seen(*shape, seed=1):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < 0.6


def iterations(golden, batch_size):
    """Stored iterations of a batch size: distances and what each sample has, ``(40, B, 4)``, and the rest by name."""
    stored = golden("preference")
    found = {name: torch.from_numpy(stored[f"iter_B{batch_size}/{name}"]) for name in ("dist_unmasked", "mask")}
    names = ("rp_idt", "rp_pdt", "select_idt", "select_pdt")
    return *found.values(), {name: stored[f"iter_B{batch_size}/{name}"] for name in names}


# --- reference numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "rtol"), [("", 1e-4), ("_f64", 1e-9)])
@pytest.mark.parametrize("run", ["mild", "warm50"])
def test_coefficients_reproduce_those_of_the_reference_over_250_epochs(golden, run, suffix, rtol):
    stored = golden("preference")
    start = int(stored[f"{run}/start_epoch"])
    distances = torch.from_numpy(stored[f"{run}/dist"].astype(stored[f"{run}/beta{suffix}"].dtype))
    coefficient = torch.ones_like(distances[0])
    found = []
    for epoch, distance in enumerate(distances):
        if epoch >= start:
            coefficient = rebalance(coefficient, relative_preference(distance), step_size(epoch, start))
        found.append(coefficient)
    np.testing.assert_allclose(torch.stack(found), stored[f"{run}/beta{suffix}"], rtol=rtol)
    preferences = relative_preference(distances)
    np.testing.assert_allclose(preferences, stored[f"{run}/rp{suffix}"], rtol=rtol, atol=1e-2 * rtol)


@pytest.mark.parametrize("run", ["mild", "warm50"])
def test_step_sizes_reproduce_those_of_the_reference(golden, run):
    stored = golden("preference")
    start = int(stored[f"{run}/start_epoch"])
    np.testing.assert_allclose([step_size(epoch, start) for epoch in range(250)], stored[f"{run}/eta"], rtol=1e-12)


@pytest.mark.parametrize("setting", ["idt", "pdt"])
def test_the_gate_of_single_samples_is_exactly_that_of_the_reference(golden, setting):
    distance, mask, stored = iterations(golden, 1)
    seen = mask if setting == "idt" else torch.ones_like(mask)
    gate = lagging(distance.squeeze(1), seen.squeeze(1))
    assert np.array_equal(gate, stored[f"select_{setting}"])
    assert gate.any() and not gate.all()


@pytest.mark.parametrize("setting", ["idt", "pdt"])
@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_preferences_add_up_over_the_samples_to_those_of_the_reference(golden, batch_size, setting):
    distance, mask, stored = iterations(golden, batch_size)
    seen = mask if setting == "idt" else torch.ones_like(mask)
    preference = relative_preference(torch.where(seen, distance, NAN))
    assert preference.isfinite().all()
    expected = stored[f"rp_{setting}"]  # the other way round: positive for a modality further away
    known = np.isfinite(expected)
    assert known.any()
    np.testing.assert_allclose(-preference.sum(dim=1)[known], expected[known], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("batch_size", [2, 3])
def test_each_sample_of_a_batch_decides_by_the_rule_of_a_batch_of_one(golden, batch_size):
    distance, seen, stored = iterations(golden, batch_size)
    shown = torch.where(seen, distance.double(), 0)
    ratio = shown / (shown.sum(dim=2, keepdim=True) / seen.sum(dim=2, keepdim=True)) - 1
    expected = (seen.sum(dim=2, keepdim=True) > 1) & (shown > 0) & (ratio > 0)
    found = torch.stack([lagging(*each) for each in zip(distance, seen, strict=True)])
    assert torch.equal(found, expected)
    # a batch in which the samples disagree: the reference decides for all of them at once
    assert (found != torch.from_numpy(stored["select_idt"]).unsqueeze(1)).any()


@pytest.mark.parametrize("name", ["weights", "epoch"])
def test_weights_of_modalities_reproduce_the_reference_at_batch_size_1(golden, name):
    stored = golden("preference")
    num_cases = int(stored[f"{name}/n_iter"])  # as many batches as cases
    found = inverse_frequency(num_cases, torch.from_numpy(stored[f"{name}/n_m"]))
    expected = stored["weights/w" if name == "weights" else "epoch/modal_weight"]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_weights_of_modalities_count_cases_where_the_reference_counts_batches(golden):
    stored = golden("preference")
    batches, cases = (int(stored[f"weights/{name}"]) for name in ("n_iter_bs2", "n_iter"))
    counts = torch.from_numpy(stored["weights/n_m"])
    np.testing.assert_allclose(inverse_frequency(batches, counts), stored["weights/w_bs2"], rtol=1e-6)
    ratio = inverse_frequency(cases, counts) / torch.from_numpy(stored["weights/w_bs2"])
    assert_close(ratio, torch.full((4,), cases / batches))


# --- relative preference -------------------------------------------------------------------------


def test_preference_by_hand():
    # mean 2: halfway below, at the mean, halfway above
    assert_close(relative_preference(torch.tensor([1.0, 2.0, 3.0])), torch.tensor([0.5, 0.0, -0.5]))


def test_preference_over_the_modalities_that_are_there_by_hand():
    found = relative_preference(torch.tensor([[1.0, NAN, 3.0], [NAN, 5.0, NAN], [4.0, 1.0, 1.0]]))
    assert_close(found, torch.tensor([[0.5, 0.0, -0.5], [0.0, 0.0, 0.0], [-1.0, 0.5, 0.5]]))


@pytest.mark.parametrize("distance", [[NAN] * 3, [0.0] * 3, [0.0, NAN, NAN], [0.7, NAN, NAN], [0.3] * 3])
def test_there_is_no_preference_where_there_is_nothing_to_compare(distance):
    assert torch.equal(relative_preference(torch.tensor(distance)), torch.zeros(3))


def test_preferences_add_up_to_nothing_whatever_the_unit_of_the_distance():
    seen = draw_seen(20, 4)
    distance = torch.where(seen, draw(20, 4), NAN)
    preference = relative_preference(distance)
    assert preference.isfinite().all() and preference.any() and not preference[~seen].any()
    assert_close(preference.sum(dim=1), torch.zeros(20), rtol=0, atol=1e-6)
    assert_close(relative_preference(1000 * distance), preference, rtol=1e-5, atol=1e-6)


def test_preference_follows_the_order_of_the_modalities():
    distance, order = draw(5, 4), torch.tensor([2, 0, 3, 1])
    assert_close(relative_preference(distance[:, order]), relative_preference(distance)[:, order])


# --- task-wise gate ------------------------------------------------------------------------------


def test_gate_by_hand():
    distance = torch.tensor([[1.0, 2.0, 9.0], [1.0, 2.0, 9.0], [1.0, 2.0, 9.0]])
    seen = torch.tensor([[True, True, True], [True, True, False], [False, True, False]])
    # means 4, 1.5 and 2; the third sample has a single modality
    expected = [[False, False, True], [False, True, False], [False] * 3]
    assert lagging(distance, seen).tolist() == expected


@pytest.mark.parametrize("unseen", [NAN, math.inf, 0.0, 100.0])
def test_gate_does_not_read_the_distance_of_a_modality_that_is_not_seen(unseen):
    distance, seen = draw(20, 4), draw_seen(20, 4)
    found = lagging(torch.where(seen, distance, unseen), seen)
    assert torch.equal(found, lagging(distance, seen))
    assert found.any() and not found[~seen].any()


def test_gate_of_a_sample_does_not_depend_on_the_others():
    distance, seen = draw(20, 4), draw_seen(20, 4)
    distance[3], seen[3] = 0.0, torch.tensor([False, False, True, False])  # not a number in the reference
    alone = torch.cat([lagging(distance[b : b + 1], seen[b : b + 1]) for b in range(20)])
    assert torch.equal(lagging(distance, seen), alone)
    assert not alone[3].any() and alone.any()


def test_gate_is_shut_where_there_is_nothing_to_compare():
    every, single = torch.ones(1, 4, dtype=torch.bool), torch.tensor([[True, False, False, False]])
    cases = [(torch.zeros(1, 4), every), (torch.full((1, 4), 0.3), every), (draw(1, 4), single), (draw(1, 4), ~every)]
    for distance, seen in cases:
        assert not lagging(distance, seen).any()


def test_gate_never_opens_for_all_modalities_of_a_sample():
    seen = draw_seen(200, 4)
    gate = lagging(draw(200, 4), seen)
    assert gate.any(dim=1)[seen.sum(dim=1) > 1].all()
    assert not (gate.sum(dim=1) >= seen.sum(dim=1))[seen.any(dim=1)].any()


# --- step size -----------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [0, 1, 50, 99, 100, 101, 150, 200, 250, 300])
def test_steps_grow_by_half_at_every_hundredth_epoch_that_is_not_before_the_start(start):
    expected, step = [], 0.01
    for epoch in range(420):
        if epoch >= start and epoch % 100 == 0:
            step = 1.5 * step
        expected.append(step)
    assert [step_size(epoch, start) for epoch in range(420)] == pytest.approx(expected)


def test_steps_are_proportional_to_the_initial_one():
    assert step_size(120, 0, initial=0.4) == pytest.approx(0.4 * 1.5**2)
    assert step_size(20, 50, initial=0.4) == 0.4


# --- gradient-wise coefficients ------------------------------------------------------------------


def test_coefficients_by_hand():
    found = rebalance(torch.tensor([1.0, 1.0, 1.0]), torch.tensor([0.5, 0.0, -0.5]), 0.2)
    moved = [0.9, 1.0, 1.1]
    factor = math.sqrt(3) / math.sqrt(0.9**2 + 1.0**2 + 1.1**2)
    assert_close(found, torch.tensor([value * factor for value in moved]))


@pytest.mark.parametrize("preference", [30.0, -30.0])
def test_coefficients_are_cut_before_they_are_rescaled_by_hand(preference):
    found = rebalance(torch.ones(3), torch.tensor([preference, 0.0, 0.0]), 0.2)
    moved = torch.tensor([0.1 if preference > 0 else 4.0, 1.0, 1.0])  # what would be -5 or 7
    assert_close(found, moved * math.sqrt(3) / moved.norm())
    assert found.norm() == pytest.approx(math.sqrt(3))


@pytest.mark.parametrize("num_modalities", [2, 3, 4, 5])
def test_coefficients_keep_the_norm_of_all_ones_and_move_towards_the_modality_that_lags(num_modalities):
    coefficient = torch.ones(num_modalities)
    distance = torch.linspace(0.2, 0.6, num_modalities)  # the last one is furthest away
    for epoch in range(300):
        before, coefficient = coefficient, rebalance(coefficient, relative_preference(distance), step_size(epoch))
        assert coefficient.norm().item() == pytest.approx(math.sqrt(num_modalities), rel=1e-6)
        assert coefficient.isfinite().all() and (coefficient > 0).all()
        if epoch == 0:
            assert coefficient[-1] > before[-1] and coefficient[0] < before[0]
    assert (coefficient.diff() >= 0).all() and coefficient[-1] > coefficient[0]


@pytest.mark.parametrize("distance", [[0.0] * 4, [NAN] * 4, [0.3, NAN, NAN, NAN]])
def test_an_epoch_without_anything_to_compare_leaves_the_coefficients_as_they_are(distance):
    coefficient = torch.tensor([0.5, 1.2, 0.9, 1.1])
    coefficient *= 2 / coefficient.norm()
    found = rebalance(coefficient, relative_preference(torch.tensor(distance)), 0.3)
    assert_close(found, coefficient)


def test_a_modality_never_seen_in_an_epoch_keeps_its_share():
    preference = relative_preference(torch.tensor([0.2, NAN, 0.4]))
    found = rebalance(torch.ones(3), preference, 0.1)
    assert found.isfinite().all() and found[0] < found[1] < found[2]
    # moved by nothing, and then rescaled with the others: 1 - 0.1 / 3, 1, 1 + 0.1 / 3
    assert_close(found[1], torch.tensor(math.sqrt(3) / math.sqrt(3 + 2 * (0.1 / 3) ** 2)))


# --- inverse frequency ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_weights_of_modalities_by_hand(dtype):
    found = inverse_frequency(12, torch.tensor([12, 3, 8], dtype=dtype))
    assert_close(found, torch.tensor([1.0, 4.0, 1.5]))


def test_a_modality_that_no_case_has_weighs_nothing():
    found = inverse_frequency(12, torch.tensor([6, 0, 0]))
    assert_close(found, torch.tensor([2.0, 0.0, 0.0]))


def test_twice_the_same_cases_weigh_the_same():
    counts = torch.tensor([5, 2, 7])
    assert_close(inverse_frequency(20, 2 * counts), inverse_frequency(10, counts))
