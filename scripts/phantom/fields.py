# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Smooth functions of space: cubic B-splines over a lattice in millimetres.

A random field is drawn on a lattice that is fixed in MNI152 space, so the same generator gives the same field on any
grid. On a regular grid a tensor-product spline is three products with sparse matrices: quick, and unlike dense products
the same to the last bit whatever the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

FIELD_BOX = ((-96.0, 96.0), (-132.0, 97.0), (-96.0, 106.0))  # mm, where random fields are not zero
# A cubic B-spline's squared integral is 151/315: the variance of a field of unit coefficients, per axis.
UNIT_DEVIATION = (151 / 315) ** 1.5


def spline_basis(positions: NDArray, first: float, step: float, count: int) -> csr_array:
    """Tabulate cubic B-splines centred on ``count`` knots: ``(len(positions), count)`` float32, sparse.

    Args:
        positions: where to evaluate, in mm.
        first: position of the first knot, in mm.
        step: distance between knots, in mm.
        count: number of knots.
    """
    knots = first + step * np.arange(count)
    distance = np.abs(positions[:, None] - knots) / step
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - np.minimum(distance, 2)) ** 3 / 6
    return csr_array(np.where(distance < 1, near, far).astype(np.float32))


def separable_product(values: NDArray, matrices: Sequence[csr_array]) -> NDArray:
    """Multiply each of the three dimensions by its own ``(X, x)`` matrix: ``(x, y, z)`` to ``(X, Y, Z)``."""
    for matrix in matrices:
        rows = matrix @ values.reshape(len(values), -1)
        values = np.moveaxis(rows.reshape(-1, *values.shape[1:]), 0, -1)  # three turns restore the order
    return values


def interpolate(values: NDArray, from_axes: Sequence[NDArray], to_axes: Sequence[NDArray]) -> NDArray:
    """Evaluate values on a regular grid as (slightly smoothing) cubic B-spline coefficients on another regular grid.

    Shape:
        - values: ``(x, y, z)``, on ``from_axes``
        - output: ``(X, Y, Z)`` float32, on ``to_axes``; zero far outside of ``from_axes``
    """
    bases = [
        spline_basis(target, float(source[0]), float(source[1] - source[0]), len(source))
        for source, target in zip(from_axes, to_axes, strict=True)
    ]
    return np.ascontiguousarray(separable_product(values.astype(np.float32), bases))


def random_field(rng: np.random.Generator, axes: Sequence[NDArray], scale: float) -> NDArray:
    """Draw a smooth random field of zero mean and unit deviation: ``(X, Y, Z)`` float32.

    Structures smaller than the grid's voxels are weaker, as an average over the voxel would be.

    Args:
        rng: advanced by the same amount whatever the axes.
        axes: coordinates of the grid's voxels along each dimension, in mm.
        scale: distance of the lattice's knots, in mm; structures are about twice as large.
    """
    lattice = [np.arange(low, high + scale, scale) for low, high in FIELD_BOX]
    coefficients = rng.standard_normal([len(knots) for knots in lattice], dtype=np.float32)
    spacing = max(abs(float(axis[1] - axis[0])) if len(axis) > 1 else 0.0 for axis in axes)
    visible = min(1.0, scale / (1.2 * spacing)) if spacing else 1.0
    return interpolate(coefficients * np.float32(visible / UNIT_DEVIATION), lattice, axes)
