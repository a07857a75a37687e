# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Where the voxels of a phantom lie, in millimetres of MNI152 space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Bounding box of the MNI152 brain mask (right-left, posterior-anterior, inferior-superior), in mm.
BRAIN_BOX = ((-72.0, 72.0), (-108.0, 73.0), (-72.0, 82.0))
MARGIN = 12.0  # mm around the box: a head is deformed by a few mm and must stay inside


class Grid(NamedTuple):
    """A regular grid of voxels.

    Attributes:
        axes: three 1-D float32 arrays, MNI152 RAS coordinate in mm of each voxel along each dimension.
        affine: ``(4, 4)`` voxel index to world (RAS+ mm).
        spacing: edge of a voxel, in mm.
    """

    axes: tuple[NDArray, NDArray, NDArray]
    affine: NDArray
    spacing: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along each dimension."""
        x, y, z = (len(axis) for axis in self.axes)
        return x, y, z

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel, in mL."""
        return self.spacing**3 / 1000.0


def head_grid(spacing: float, shape: Sequence[int] | None = None) -> Grid:
    """Centre a grid on the brain; its voxels run to the left, back and top (LPS), as in BraTS.

    Args:
        spacing: edge of a voxel, in mm.
        shape: number of voxels along each dimension; ``None`` takes the brain's bounding box and a small margin.

    Raises:
        ValueError: if the spacing is not positive, or the shape has not three positive sizes.
    """
    if spacing <= 0:
        raise ValueError(f"`spacing_mm` is {spacing}; expected a positive number of mm.")
    extent = [high - low + 2 * MARGIN for low, high in BRAIN_BOX]
    sizes = tuple(int(np.ceil(mm / spacing)) for mm in extent) if shape is None else tuple(int(n) for n in shape)
    if len(sizes) != 3 or min(sizes) < 1:
        raise ValueError(f"`grid_shape` is {shape}; expected three positive numbers of voxels, or None.")
    centre = [(low + high) / 2 for low, high in BRAIN_BOX]
    sign = np.array([-1.0, -1.0, 1.0])
    first = np.array(centre) - sign * spacing * (np.array(sizes) - 1) / 2
    axes = tuple((first[i] + sign[i] * spacing * np.arange(sizes[i])).astype(np.float32) for i in range(3))
    affine = np.diag([*(sign * spacing), 1.0])
    affine[:3, 3] = first
    return Grid(axes, affine, float(spacing))


def coarse_grid(spacing: float) -> Grid:
    """Cover the whole brain and its margin with a coarse RAS grid, the same for every output grid."""
    low = np.array([low - MARGIN for low, _ in BRAIN_BOX])
    sizes = [int(np.ceil((high - low + 2 * MARGIN) / spacing)) + 1 for low, high in BRAIN_BOX]
    axes = tuple((low[i] + spacing * np.arange(sizes[i])).astype(np.float32) for i in range(3))
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = low
    return Grid(axes, affine, float(spacing))
