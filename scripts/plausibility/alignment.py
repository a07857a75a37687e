# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Finds how far two series lie apart, and whether one is mirrored, without resampling either.

The measure is the mutual information of ranks where both images have foreground, so that neither the order of tissues'
brightness nor a common outline of two brain masks decides. A search in steps looks for the rigid movement of highest
information, once as the images are, once mirrored left to right.

Reference:
    Viola and Wells, Alignment by Maximization of Mutual Information, International Journal of Computer Vision 1997.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

BINS = 24  # of ranks
POINTS = 6000  # of the fixed image, at most
STEPS = (8.0, 4.0, 2.0)  # mm, and degrees as well: 1 degree moves the surface of a brain by about 1 mm
ROUNDS = 6  # of a step size, at most
FEWEST = 0.5  # of the points that must lie in the foreground of both


class Displacement(NamedTuple):
    """How a series lies against another.

    Attributes:
        mm: mean distance by which points of the brain lie apart, after the search.
        gain: information gained by undoing that, in nats.
        mirrored: information gained by mirroring instead, after a search of its own, in nats; negative if that loses.
    """

    mm: float
    gain: float
    mirrored: float


def displacement(fixed: NDArray, moving: NDArray, masks: tuple[NDArray, NDArray], spacing: NDArray) -> Displacement:
    """Search for how the second image lies against the first.

    Args:
        fixed: ``(X, Y, Z)``, the first axis from left to right.
        moving: ``(X, Y, Z)`` on the same grid.
        masks: of their foregrounds, ``(X, Y, Z)`` bool.
        spacing: ``(3,)`` mm.
    """
    places = np.argwhere(masks[0])
    places = places[:: max(1, len(places) // POINTS)]
    centre = places.mean(0)
    points = (places - centre) * spacing  # (N, 3) mm
    ranks = _ranked(fixed, masks[0])[tuple(places.T)]
    padded = np.where(masks[1], _ranked(moving, masks[1]), -1).astype(np.int16)
    as_is = _search(points, ranks, padded, centre, spacing)
    middle = np.argwhere(masks[1]).mean(0)[0]
    flipped = points * [-1, 1, 1] + [2 * (middle - centre[0]) * spacing[0], 0, 0]
    mirrored = _search(flipped, ranks, padded, centre, spacing)
    apart = np.linalg.norm(_moved(points, as_is.movement) - points, axis=1).mean()
    return Displacement(float(apart), as_is.found - as_is.before, mirrored.found - as_is.found)


class _Found(NamedTuple):
    movement: NDArray  # (6,) mm and degrees
    before: float
    found: float


def _ranked(image: NDArray, mask: NDArray) -> NDArray:
    """Sort the foreground into ``BINS`` equal parts: ``(X, Y, Z)`` whole numbers from 0."""
    edges = np.quantile(image[mask], np.linspace(0, 1, BINS + 1)[1:-1])
    return np.searchsorted(edges, image)


def _search(points: NDArray, ranks: NDArray, padded: NDArray, centre: NDArray, spacing: NDArray) -> _Found:
    """Climb to the movement of highest information, all six ways of moving tried in each round."""

    def measure(movement: NDArray) -> float:
        return _information(ranks, _at(padded, _moved(points, movement) / spacing + centre))

    movement = np.zeros(6)
    before = best = measure(movement)
    for step in STEPS:
        for _ in range(ROUNDS):
            tried = [movement + sign * step * row for row in np.eye(6) for sign in (1, -1)]
            measured = [measure(each) for each in tried]
            if max(measured) <= best:
                break
            best, movement = max(measured), tried[int(np.argmax(measured))]
    return _Found(movement, before, best)


def _moved(points: NDArray, movement: NDArray) -> NDArray:
    """Turn points ``(N, 3)`` (mm) about the axes through 0, then shift them: mm, mm, mm, degrees, degrees, degrees."""
    sines, cosines = np.sin(np.deg2rad(movement[3:])), np.cos(np.deg2rad(movement[3:]))
    (sx, sy, sz), (cx, cy, cz) = sines, cosines
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return points @ (about_z @ about_y @ about_x).T + movement[:3]


def _at(padded: NDArray, places: NDArray) -> NDArray:
    """Read the nearest voxels ``(N, 3)``; -1 outside."""
    return ndimage.map_coordinates(padded, places.T, order=0, mode="constant", cval=-1)


def _information(one: NDArray, other: NDArray) -> float:
    """Measure the mutual information of two lists of ranks where the second is not -1, in nats; 0 for hardly any."""
    both = other >= 0
    count = np.count_nonzero(both)
    if count < FEWEST * len(one):
        return 0.0
    joint = np.bincount(one[both] * BINS + other[both], minlength=BINS**2).reshape(BINS, BINS) / count
    expected = joint.sum(1)[:, None] * joint.sum(0)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / expected[there])).sum())
