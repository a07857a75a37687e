# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Doubts what was found as tumour: its volume, and where it lies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .doubt import Doubt, limits

SURFACE_MM = 5.0  # depth below the surface of the brain that counts as its surface
SAMPLE = 50_000  # voxels of the tumour at most that are looked up
SMALLEST_ML = 1.0  # of tumour, below which its place says nothing


def measure_tumour(tumour: NDArray, affine: NDArray, depth: NDArray, depth_affine: NDArray) -> dict[str, float]:
    """Measure a tumour against the brain; empty where there is no brain.

    Args:
        tumour: ``(X, Y, Z)`` bool, the whole tumour.
        affine: ``(4, 4)`` of it, voxel to world, RAS+ mm.
        depth: ``(x, y, z)`` mm below the surface of the brain, 0 outside, on a grid of its own.
        depth_affine: ``(4, 4)`` of that grid.

    Returns:
        ``ml``; ``of_brain``: its volume over the brain's; ``outside`` and ``at_surface``: shares of the tumour.
    """
    brain_ml = np.count_nonzero(depth) * abs(float(np.linalg.det(depth_affine[:3, :3]))) / 1000
    if not brain_ml:
        return {}
    places = np.argwhere(tumour)
    ml = len(places) * abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    result = {"ml": round(ml, 3), "of_brain": round(ml / brain_ml, 4), "outside": 0.0, "at_surface": 0.0}
    if len(places):
        places = places[:: max(1, len(places) // SAMPLE)]
        to_brain = np.linalg.inv(depth_affine) @ affine
        found = np.rint(places @ to_brain[:3, :3].T + to_brain[:3, 3]).astype(int)
        there = ((found >= 0) & (found < depth.shape)).all(axis=1)
        deep = np.where(there, depth[tuple(np.clip(found, 0, np.array(depth.shape) - 1).T)], 0.0)
        result["outside"] = round(float((deep == 0).mean()), 4)
        result["at_surface"] = round(float(((deep > 0) & (deep <= SURFACE_MM)).mean()), 4)
    return result


def doubts_of_tumour(found: dict[str, float]) -> list[Doubt]:
    """Doubt a tumour by the numbers of ``measure_tumour``."""
    words = {
        "of_brain": ("tumour_volume", "the whole tumour is {0:.0%} of the brain's volume"),
        "outside": ("tumour_outside", "{0:.0%} of the whole tumour lies outside of the brain"),
        "at_surface": ("tumour_at_surface", "{0:.0%} of the whole tumour lies at the brain's surface"),
    }
    doubts = []
    for key, (name, text) in words.items():
        limit = limits()[name]
        if found and found[key] > limit and found["ml"] > SMALLEST_ML:
            doubts.append(Doubt(name, f"{text.format(found[key])} (at most {limit:.0%})", found[key], limit))
    return doubts
