# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The calibration of region probabilities, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scripts.metrics.calibration import (
    NUM_BINS,
    bin_numbers,
    expected_calibration_error,
    region_probabilities,
    reliability_bins,
)

REGIONS = {"both": [1, 2], "second": [2]}


def probabilities(*voxels):
    """Class probabilities ``(3, N)`` of voxels given by those of classes 1 and 2."""
    given = torch.tensor(voxels).T
    return torch.cat([1 - given.sum(dim=0, keepdim=True), given])


# bins are 1/15 = 0.0667 wide: 0.02 lies in bin 0, 0.5 and 0.52 in 7 (0.4667 to 0.5333), 0.95 in 14 (0.9333 on)
FOUR = probabilities((0.02, 0.0), (0.28, 0.22), (0.2, 0.32), (0.0, 0.95))
TRUTH = torch.tensor([0, 1, 0, 2], dtype=torch.uint8)


def test_the_bins_of_four_voxels_are_those_made_by_hand():
    bins = reliability_bins(FOUR, TRUTH, REGIONS)
    assert bins.shape == (2, 3, NUM_BINS)
    expected = np.zeros((3, NUM_BINS))  # of `both`: 0.02, 0.5, 0.52, 0.95, of which the second and fourth are in it
    expected[:, 0], expected[:, 7], expected[:, 14] = (1, 0.02, 0), (2, 0.5 + 0.52, 1), (1, 0.95, 1)
    np.testing.assert_allclose(bins[0], expected, atol=1e-6)
    expected = np.zeros((3, NUM_BINS))  # of `second`: 0, 0.22 (bin 3), 0.32 (bin 4), 0.95
    expected[:, 0], expected[:, 3], expected[:, 4] = (1, 0, 0), (1, 0.22, 0), (1, 0.32, 0)
    expected[:, 14] = 1, 0.95, 1
    np.testing.assert_allclose(bins[1], expected, atol=1e-6)


def test_the_error_weighs_each_bin_by_its_voxels():
    both, second = map(expected_calibration_error, reliability_bins(FOUR, TRUTH, REGIONS))
    # bin 7: mean probability 0.51, observed 1/2, so that errors of both voxels cancel there
    assert both == pytest.approx(1 / 4 * 0.02 + 2 / 4 * abs(0.51 - 1 / 2) + 1 / 4 * abs(0.95 - 1))
    assert second == pytest.approx((0 + 0.22 + 0.32 + 0.05) / 4)


def test_probabilities_that_are_right_as_often_as_they_say_have_no_error():
    said = torch.tensor([0.25] * 8 + [0.75] * 4)
    truth = torch.tensor([1] * 2 + [0] * 6 + [1] * 3 + [0])
    (bins,) = reliability_bins(torch.stack([1 - said, said]), truth, {"one": [1]})
    assert expected_calibration_error(bins) == pytest.approx(0, abs=1e-12)
    (worst,) = reliability_bins(torch.eye(2), torch.tensor([1, 0]), {"one": [1]})  # certain, and always wrong
    assert expected_calibration_error(worst) == 1


def test_bins_of_cases_add_up_to_those_of_all_voxels_but_errors_do_not_average():
    one, other = (reliability_bins(FOUR[:, part], TRUTH[part], REGIONS) for part in (slice(2), slice(2, None)))
    whole = reliability_bins(FOUR, TRUTH, REGIONS)
    np.testing.assert_allclose(one + other, whole, atol=1e-12)
    mean = (expected_calibration_error(one[0]) + expected_calibration_error(other[0])) / 2
    assert mean > expected_calibration_error(whole[0]) + 0.1


def test_bins_have_their_lower_ends_and_the_last_one_has_both():
    found = bin_numbers(np.array([0, 0.0666, 0.0667, 0.9333, 0.9334, 1], dtype=np.float32))
    assert found.tolist() == [0, 0, 1, 13, 14, 14]


def test_a_sum_that_rounding_takes_beyond_one_is_one():
    parts = torch.full((11, 1), 0.1)  # more than 1 in all
    assert region_probabilities(parts, {"all": list(range(11))}).tolist() == [[1.0]]


def test_sums_over_millions_of_voxels_are_not_rounded():
    number = 3_000_000  # a running sum in float32 has steps of 0.25 there
    said = torch.full((number,), 0.9)
    (bins,) = reliability_bins(torch.stack([1 - said, said]), torch.ones(number), {"one": [1]})
    assert bins[0].sum() == bins[2].sum() == number
    assert bins[1].sum() == pytest.approx(0.9 * number, rel=1e-6)


def test_no_voxel_and_no_number_are_refused():
    with pytest.raises(ValueError, match="the calibration error of no voxel"):
        expected_calibration_error(np.zeros((3, NUM_BINS)))
    with pytest.raises(ValueError, match="probabilities are not finite.*diverged"):
        reliability_bins(FOUR * torch.nan, TRUTH, REGIONS)
