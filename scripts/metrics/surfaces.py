# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Distances between the surfaces of two masks, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from scipy.spatial import KDTree

ROUNDING = 1e-5
"""Relative; a voxel size read back from an affine matrix may be 1.0000001 mm, which must not decide about a limit."""


@dataclass(frozen=True, eq=False)
class Surface:
    """The surface voxels of a mask; distances are Euclidean, in mm, between centres of voxels.

    The distances are those of MONAI's ``get_surface_distance``, which finds them with a k-d tree too; but this tree is
    kept, so that many predictions of one truth share it. Against a distance map it is faster here (surfaces have few
    voxels), and it takes no memory for the volume.

    Args:
        voxels: ``(N, d)`` indices on the grid.
        spacing_mm: ``(d,)`` voxel size along each axis.
    """

    voxels: NDArray
    spacing_mm: Sequence[float]

    @classmethod
    def of(cls, mask: NDArray, spacing_mm: Sequence[float]) -> Surface:
        """Find the surface of a ``(*S)`` bool mask: the mask minus its one-step erosion by face neighbours.

        Beyond the array is background. The mask may therefore be cropped to its box exactly: what is cut away is
        background or outside of the volume, both of which make a mask voxel beside it a surface voxel.
        """
        box = bounding_box(mask)
        inside = mask[box]
        return cls(np.argwhere(inside & ~binary_erosion(inside)) + [side.start for side in box], spacing_mm)

    def part(self, keep: NDArray) -> Surface:
        """Take some of the voxels, ``(N,)`` bool."""
        return Surface(self.voxels[keep], self.spacing_mm)

    def distances_to(self, other: Surface) -> NDArray:
        """Measure from each voxel of this surface to the nearest one of another: ``(N,)`` float32 in mm, as MONAI."""
        return other._tree.query(self._points)[0].astype(np.float32)

    @cached_property
    def _points(self) -> NDArray:
        return self.voxels * np.asarray(self.spacing_mm, dtype=float)

    @cached_property
    def _tree(self) -> KDTree:
        return KDTree(self._points, leafsize=32)  # as MONAI; half the time of the default for far points


def _directed_maximum(forward: NDArray, backward: NDArray) -> float:
    return max(float(np.quantile(each, 0.95)) for each in (forward, backward))


def _pooled(forward: NDArray, backward: NDArray) -> float:
    return float(np.quantile(np.concatenate([forward, backward]), 0.95))


HD95_FROM_DISTANCES: Mapping[str, Callable[[NDArray, NDArray], float]] = {"monai": _directed_maximum, "pooled": _pooled}
"""How HD95 is made from the distances of both directions, by name of the convention."""


def surface_dice(forward: NDArray, backward: NDArray, tolerance_mm: float) -> float:
    """Compute the normalised surface Dice: the part of both surfaces that lies within a tolerance of the other one.

    Surfaces are counted in voxels, as MONAI's ``compute_surface_dice`` without sub-voxels does. A distance that
    exceeds the tolerance by rounding only counts as within.

    Args:
        forward: ``(N,)`` distances in mm from one surface to the other.
        backward: ``(K,)`` distances the other way.
        tolerance_mm: largest distance that is still right.
    """
    within = sum(np.count_nonzero(each <= tolerance_mm * (1 + ROUNDING)) for each in (forward, backward))
    return within / (len(forward) + len(backward))


def bounding_box(mask: NDArray) -> tuple[slice, ...]:
    """Box around the true voxels of a ``(*S)`` mask; of length 0 along every axis if there are none."""
    box = []
    for axis in range(mask.ndim):
        hits = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(int(hits[0]), int(hits[-1]) + 1) if len(hits) else slice(0, 0))
    return tuple(box)
