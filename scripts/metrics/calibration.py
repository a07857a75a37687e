# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How far the probabilities of regions are from what is observed."""

from __future__ import annotations

from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .regions import Regions, region_masks

NUM_BINS = 15  # as Guo et al.

COUNT, PROBABILITY, POSITIVES = range(3)  # rows of the bins


def region_probabilities(probabilities: Tensor, regions: Regions, dim: int = 0) -> Tensor:
    """Add the probabilities of the classes of each region.

    Args:
        probabilities: of the classes along ``dim``, e.g. ``(C, *S)``.
        regions: classes of each region.
        dim: axis of the classes, which becomes that of the regions.

    Returns:
        e.g. ``(R, *S)``, in 0..1 also where rounding of the sum goes beyond.
    """
    per_class = probabilities.unbind(dim)
    sums = [reduce(torch.add, (per_class[c] for c in classes)) for classes in regions.values()]
    return torch.stack(sums, dim=dim).clamp_(0.0, 1.0)


def bin_numbers(probability: NDArray) -> NDArray:
    """Tell the bin of each probability; bins have equal widths and their lower ends, the last also 1."""
    return np.minimum((probability * np.float32(NUM_BINS)).astype(np.intp), NUM_BINS - 1)


def reliability_bins(probabilities: Tensor, truth: Tensor, regions: Regions) -> NDArray:
    """Sort the voxels of one prediction into bins of equal width by the probability of each region.

    The bins are all that the expected calibration error needs; those of several predictions may be added.

    Args:
        probabilities: ``(C, N)`` of the classes, finite.
        truth: ``(N,)`` true classes.
        regions: classes of each region.

    Returns:
        ``(R, 3, 15)`` float64: number of voxels, sum of their probabilities, number of those in the region.

    Raises:
        ValueError: if a probability is not finite.
    """
    found = region_probabilities(probabilities, regions).cpu().numpy()  # (R, N)
    if not np.isfinite(found).all():
        raise ValueError("the probabilities are not finite; expected 0 to 1. Has the training diverged?")
    true = region_masks(truth, regions).cpu().numpy()  # (R, N)
    bins = np.empty((len(regions), 3, NUM_BINS))
    for of_region, probability, positive in zip(bins, found, true, strict=True):
        number = bin_numbers(probability)
        negatives, positives = np.bincount(number + NUM_BINS * positive, minlength=2 * NUM_BINS).reshape(2, NUM_BINS)
        of_region[COUNT], of_region[POSITIVES] = negatives + positives, positives
        of_region[PROBABILITY] = np.bincount(number, weights=probability, minlength=NUM_BINS)
    return bins


def expected_calibration_error(bins: NDArray) -> float:
    """Compute the expected calibration error (ECE) of one region, dimensionless, 0 the best and 1 the worst.

    ECE = sum over bins b of n_b / n * |mean probability in b - share of b's voxels that are in the region|

    It is binary: of the probability of the region at every voxel, not of that of the most probable class.

    Args:
        bins: ``(3, 15)`` as `reliability_bins` makes them, or a sum of such.

    Raises:
        ValueError: if there is no voxel.

    Reference:
        Guo et al., On calibration of modern neural networks, ICML 2017, equation 3. Their bins have their upper ends.
    """
    count = bins[COUNT].sum()
    if count == 0:
        raise ValueError("the calibration error of no voxel was asked for; expected bins with at least one.")
    return float(np.abs(bins[PROBABILITY] - bins[POSITIVES]).sum() / count)
