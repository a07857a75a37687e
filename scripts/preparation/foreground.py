# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Tells images whose brain was extracted from heads as they left the scanner, by the voxels alone."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .geometry import Grid

LOOK_MM = 2.0  # a voxel in so many is looked at
NEAR = 1e-3  # of the range of an image: values that differ by less are near to constant
ONE_PIECE = 0.97  # of the foreground, at least, lies in one piece: noise in the air does not
OUTSIDE = 0.1  # of the image, at least, is background
LARGEST_ML = 2300.0  # a brain with all that extraction may leave on it; adult heads have more
SKULL_MM = (6.0, 20.0)  # depth below the surface at which a head has its skull
DARK = 0.3  # of the brain's signal: bone has less
DARK_SHARE = 0.12  # of that depth, above which it is bone


def is_extracted(image: np.ndarray, grid: Grid) -> bool:
    """Tell whether all but the brain was cut away from an image.

    It was if the background is constant (to 0.1 % of the image's range), and the rest is one piece of at most 2300 mL
    that has no dark shell, the skull, some millimetres below its surface. Noise around it says that nothing was cut
    away. The head of a small child whose air was set to 0 may pass.

    Args:
        image: ``(*S)``, the full image.
        grid: where it lies.
    """
    steps = np.maximum(np.rint(LOOK_MM / grid.spacing), 1).astype(int)
    seen = image[tuple(slice(None, None, step) for step in steps)]
    background, foreground = _split(seen)
    count = int(foreground.sum())
    if not count or count > (1 - OUTSIDE) * foreground.size:
        return False
    brain = _whole(foreground)
    volume = float(brain.sum()) * grid.voxel_ml * float(np.prod(steps))
    if int((brain & foreground).sum()) < ONE_PIECE * count or volume > LARGEST_ML:
        return False
    dark = min(background, float(np.percentile(seen[foreground], 0.1)))  # z-scored images have their zero elsewhere
    return _dark_share(seen - dark, brain, grid.spacing * steps) <= DARK_SHARE


def foreground_of(image: np.ndarray) -> np.ndarray:
    """Mark the brain of an image ``(*S)`` that holds nothing else, with what lies inside of it: ``(*S)`` bool."""
    return _whole(_split(image)[1])


def _split(image: np.ndarray) -> tuple[float, np.ndarray]:
    """Find the value of the background, that of most voxels on the faces, and what differs from it."""
    faces = np.concatenate([image.take(end, axis).ravel() for axis in range(image.ndim) for end in (0, -1)])
    background = float(np.median(faces))
    span = float(np.percentile(image, 99.9)) - float(image.min())
    return background, np.abs(image - background) > NEAR * span


def _whole(foreground: np.ndarray) -> np.ndarray:
    """Keep the largest piece, with its holes filled."""
    pieces, _ = ndimage.label(foreground)
    return ndimage.binary_fill_holes(pieces == np.bincount(pieces.ravel())[1:].argmax() + 1)


def _dark_share(signal: np.ndarray, inside: np.ndarray, spacing: np.ndarray) -> float:
    """Say which part of what lies some millimetres below the surface is as dark as bone."""
    depth = ndimage.distance_transform_edt(np.pad(inside, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    shell, deep = (depth > SKULL_MM[0]) & (depth <= SKULL_MM[1]), depth > SKULL_MM[1]
    if not shell.any() or not deep.any():
        return 0.0
    return float(np.mean(signal[shell] < DARK * np.median(signal[deep])))
