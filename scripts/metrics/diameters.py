# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Bidirectional diameters of a lesion, as the response criteria of neuro-oncology (RANO) measure it."""

from __future__ import annotations

from typing import NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform

SUPERIOR = 2  # axis of RAS that points to the head's top
CORNERS = np.array([(-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5)])  # of a pixel around its centre


class Diameters(NamedTuple):
    """The two diameters of a lesion.

    Attributes:
        longest_mm: the longest diameter in an axial slice.
        perpendicular_mm: the longest one at a right angle to it, in the same slice.
        slice: number of that slice, from 0, along the axis of the image that is nearest to the head's.
    """

    longest_mm: float
    perpendicular_mm: float
    slice: int

    @property
    def product_mm2(self) -> float:
        """Product of both."""
        return self.longest_mm * self.perpendicular_mm


def diameters(mask: NDArray, affine: NDArray) -> Diameters | None:
    """Measure the largest lesion of a region in the axial slice where the product of its diameters is largest.

    A lesion is a part whose voxels touch by faces, edges or corners; the largest one has most voxels. Diameters are of
    its convex hull in the slice, from outer edge to outer edge of the voxels, so that they may cross what the region
    leaves out, such as the necrotic core of an enhancing ring.

    Args:
        mask: ``(X, Y, Z)`` bool.
        affine: ``(4, 4)``, index to RAS mm. Slices are across the axis that is nearest to superior; oblique ones are
            measured in their own plane.

    Returns:
        ``None`` if nothing is marked.

    Reference:
        Wen et al., RANO 2.0, J Clin Oncol 2023: product of the maximal perpendicular diameters in an axial plane. Ours:
        the hull, and outer edges.
    """
    parts, number = ndimage.label(mask, np.ones((3, 3, 3)))
    if number == 0:
        return None
    largest = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    axis = int(np.argmax(np.abs(affine[SUPERIOR, :3]) / nib.affines.voxel_sizes(affine)))
    edges = np.delete(affine[:3, :3], axis, axis=1)  # (3, 2): mm along a pixel's edges
    plane = np.linalg.qr(edges)[1]  # (2, 2): the same within the plane
    slices = np.moveaxis(largest, axis, 0)
    found = [Diameters(*_of_slice(slices[k], plane), int(k)) for k in np.flatnonzero(slices.any(axis=(1, 2)))]
    return max(found, key=lambda each: each.product_mm2)


def _of_slice(pixels: NDArray, plane: NDArray) -> tuple[float, float]:
    """Measure what is marked in a slice ``(X, Y)``: longest diameter and that at a right angle, mm."""
    rows = np.flatnonzero(pixels.any(axis=1))
    first, last = pixels.argmax(axis=1)[rows], pixels.shape[1] - 1 - pixels[:, ::-1].argmax(axis=1)[rows]
    centres = np.concatenate([np.stack([rows, ends], axis=1) for ends in (first, last)])  # the rest lies between
    corners = (centres[:, None] + CORNERS).reshape(-1, 2) @ plane.T
    hull = corners[ConvexHull(corners).vertices]
    distances = squareform(pdist(hull))
    one, other = np.unravel_index(distances.argmax(), distances.shape)
    along = (hull[other] - hull[one]) / distances[one, other]
    across = np.array([-along[1], along[0]])
    return float(distances[one, other]), _widest(hull @ along, hull @ across)


def _widest(x: NDArray, y: NDArray) -> float:
    """Find the longest chord across a convex polygon, whose vertices ``(K,)`` follow each other, at some x.

    The length of a chord is linear between the vertices, so that the longest one goes through a vertex.
    """
    start, end = int(x.argmin()), int(x.argmax())
    order = np.roll(np.arange(len(x)), -start)
    turn = int(np.flatnonzero(order == end)[0])
    there, back = order[: turn + 1], np.append(order[turn:], start)[::-1]  # both from the least x to the most
    return float(np.abs(np.interp(x, x[there], y[there]) - np.interp(x, x[back], y[back])).max())
