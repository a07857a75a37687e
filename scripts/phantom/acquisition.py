# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What a scanner does to a signal: slices, noise, bias field, integer units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .fields import random_field
from .grid import Grid
from .variety import Variety, draw

BIAS_MM = 62.0  # distance of the knots of the bias field's lattice


def acquire(signal: NDArray, brain: NDArray, grid: Grid, rng: np.random.Generator, variety: Variety) -> NDArray:
    """Turn an ideal signal into an image: ``(X, Y, Z)`` int16, zero outside of the brain and at least 1 inside.

    Intensities are raised to a power where the variety says so, thick slices blur one direction, then the magnitude of
    a complex signal with Gaussian noise is taken (Rician noise), a smooth bias field is multiplied, and the result is
    rounded in arbitrary units as scanners give them.

    Args:
        signal: ``(N,)`` at the voxels of the brain, any unit.
        brain: ``(X, Y, Z)`` bool.
        grid: where the voxels lie.
        rng: the image's own.
        variety: how much images differ.
    """
    further = rng.spawn(1)[0]
    blur_mm = np.zeros(3)
    probability, thinnest, thickest = variety.thick_slices
    axis, thickness, thick = rng.integers(3), draw(rng, (thinnest, thickest)), rng.random() < probability
    blur_mm[axis] = thickness / 12**0.5 if thick else 0.0  # deviation of a box of that width
    noise_level = draw(rng, variety.noise)
    bias = np.exp(draw(rng, variety.bias) * random_field(rng, grid.axes, BIAS_MM)[brain])
    unit = np.exp(rng.uniform(np.log(250), np.log(2500)))

    image = np.zeros(brain.shape, np.float32)
    reference = max(float(np.median(signal)), 1e-6)
    image[brain] = signal / reference
    if variety.gamma:
        image **= np.float32(np.exp(variety.gamma * further.standard_normal()))
    image = _blur(image, brain, blur_mm / grid.spacing)
    noise = rng.standard_normal((2, np.count_nonzero(brain)), dtype=np.float32) * np.float32(noise_level)
    image[brain] = np.hypot(image[brain] + noise[0], noise[1])
    image = _blur(image, brain, np.full(3, draw(further, variety.point_spread_mm) / grid.spacing))
    image[brain] = np.clip(np.round(image[brain] * bias * unit), 1, np.iinfo(np.int16).max)
    return image.astype(np.int16)


def _blur(image: NDArray, brain: NDArray, deviation: NDArray) -> NDArray:
    """Blur inside of the brain only; deviations (in voxels) too small to matter are skipped."""
    if deviation.max() < 0.25:
        return image
    deviation = np.where(deviation < 0.25, 0, deviation)
    weight = ndimage.gaussian_filter(brain.astype(np.float32), deviation, truncate=3.0)
    blurred = ndimage.gaussian_filter(image, deviation, truncate=3.0)
    return np.where(brain, blurred / np.maximum(weight, 1e-3), 0).astype(np.float32)
