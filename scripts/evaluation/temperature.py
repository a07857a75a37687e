# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Temperature scaling: one number for each number of modalities, fitted on labelled cases."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize_scalar
from torch import Tensor

from ..metrics.calibration import NUM_BINS, bin_numbers, region_probabilities
from ..metrics.regions import Regions, region_masks
from ..records.side_files import read_side_file

logger = logging.getLogger(__name__)

TEMPERATURES_FILE = "temperatures.json"  # beside the weights
GRID = np.logspace(-1, 1, 61)  # temperatures, 8 % apart; the middle one is exactly 1
UNCHANGED = len(GRID) // 2
SMALLEST = torch.finfo(torch.float32).tiny  # probability that 0 counts as in logarithms


def scale(probabilities: Tensor, temperature: float, dim: int = 0) -> Tensor:
    """Soften (temperature above 1) or sharpen probabilities: p^(1/T), brought back to the sum that they had.

    Where they add up to 1 this is softmax(log p / T). The sum is kept elsewhere too: it is 0 outside of the box that
    was segmented, and between 0 and 1 where interpolation mixes in voxels of outside. The most probable class stays.

    Args:
        probabilities: of the classes along ``dim``, each at least 0.
        temperature: dimensionless, above 0.
        dim: axis of the classes.

    Reference:
        Guo et al., On calibration of modern neural networks, ICML 2017, section 4.2, where T divides logits. Here it
        divides the logarithms of probabilities that were averaged over windows.
    """
    largest = probabilities.amax(dim=dim, keepdim=True).clamp_min(SMALLEST)
    powers = (probabilities / largest).pow(1 / temperature)  # the largest is 1, so that nothing vanishes for small T
    return powers * (probabilities.sum(dim=dim, keepdim=True) / powers.sum(dim=dim, keepdim=True).clamp_min(SMALLEST))


class Curves(NamedTuple):
    """What the voxels of some predictions say about every temperature of ``GRID``; may be added entry by entry.

    Attributes:
        voxels: number of voxels.
        nll: ``(G,)`` negative log-likelihood, summed over the voxels, in nats.
        gaps: ``(R, G, 15)`` sum of probabilities minus number of positives, for each region and bin of probability.
    """

    voxels: NDArray
    nll: NDArray
    gaps: NDArray

    def ece(self) -> NDArray:
        """Compute the expected calibration error of each region at each temperature, ``(R, G)``."""
        return np.abs(self.gaps).sum(axis=-1) / self.voxels


def temperature_curves(probabilities: Tensor, truth: Tensor, regions: Regions) -> Curves:
    """Go through the temperatures of ``GRID``.

    Args:
        probabilities: ``(K, C, N)`` of the classes, for each of K predictions.
        truth: ``(N,)`` true classes.
        regions: classes of each region.

    Raises:
        ValueError: if a probability is not finite.
    """
    if not bool(torch.isfinite(probabilities).all()):
        raise ValueError("the probabilities are not finite; expected 0 to 1. Has the training diverged?")
    logarithms = probabilities.clamp_min(SMALLEST).log()
    true = truth.long().expand(len(probabilities), 1, -1)
    positive = region_masks(truth, regions).numpy()  # (R, N)
    nll, gaps = np.empty(len(GRID)), np.empty((len(regions), len(GRID), NUM_BINS))
    for g, temperature in enumerate(GRID):
        scaled = (logarithms / temperature).log_softmax(dim=1)
        nll[g] = -scaled.gather(1, true).sum(dtype=torch.float64)
        for r, probability in enumerate(region_probabilities(scaled.exp(), regions, dim=1).unbind(dim=1)):
            found = probability.numpy()  # (K, N)
            difference = found - positive[r]
            gaps[r, g] = np.bincount(bin_numbers(found).ravel(), difference.ravel(), minlength=NUM_BINS)
    return Curves(np.array(float(true.numel())), nll, gaps)


def log_spline(nll: NDArray) -> CubicSpline:
    """Make a curve of the logarithm of the temperature out of values ``(G,)`` at those of ``GRID``."""
    return CubicSpline(np.log(GRID), nll)


def fit_temperature(nll: NDArray) -> float:
    """Find the temperature of the smallest negative log-likelihood, ``(G,)`` over ``GRID``.

    The likelihood has one minimum: it is convex in 1/T. A cubic spline over log T is searched between the grid
    temperatures beside the best one. At an end of the grid that end is returned, with a warning.
    """
    best = int(np.argmin(nll))
    if best in (0, len(GRID) - 1):
        logger.warning("the best temperature is %g or beyond, the end of what is tried", GRID[best])
        return float(GRID[best])
    bounds = np.log(GRID[[best - 1, best + 1]])
    return float(np.exp(minimize_scalar(log_spline(nll), bounds=bounds, method="bounded").x))


def read_temperatures(model_file: str) -> dict[int, float]:
    """Read the temperatures beside the weights, by number of modalities.

    Raises:
        ValueError: if there are none, or they are those of other weights.
    """
    content = read_side_file(model_file, TEMPERATURES_FILE)
    if content is None:
        raise ValueError(
            f"no {TEMPERATURES_FILE} beside {Path(model_file)}; expected the file that configs/calibrate.yaml writes. "
            "Fit temperatures first, or set `temperature_scaling: false`."
        )
    return {int(number): float(temperature) for number, temperature in content["temperatures"].items()}


def temperature_for(temperatures: Mapping[int, float], number: int) -> float:
    """Choose the temperature for a number of modalities.

    Raises:
        ValueError: if none was fitted for it.
    """
    if number not in temperatures:
        raise ValueError(
            f"{TEMPERATURES_FILE} has no temperature for {number} modalities, only for {sorted(temperatures)}. Fit it "
            "on cases that have so many (configs/calibrate.yaml), or set `temperature_scaling: false`."
        )
    return temperatures[number]
