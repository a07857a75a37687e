# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Makes of good images what the checks must find; for measuring and testing them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

# Signal of what surrounds a brain, in medians of the brain's: lowest and highest, by modality. Fat is bright but where
# it is suppressed, bone has hardly any signal.
FAT = {"flair": (0.8, 1.6), "t1ce": (1.3, 2.2), "t1": (1.3, 2.2), "t2": (0.8, 1.6)}
BONE = (0.02, 0.12)
MUSCLE = (0.5, 0.9)


def add_head(image: NDArray, modality: str, spacing: NDArray, rng: np.random.Generator) -> NDArray:
    """Put a head around a brain ``(X, Y, Z)``: fluid, skull, muscle, scalp, in shells of drawn thickness.

    The result is larger by 28 mm on each side. It has no face and no neck, so that a check cannot lean on those.
    """
    image = np.pad(image, [(int(np.ceil(28 / mm)),) * 2 for mm in spacing]).astype(np.float32)
    brain = ndimage.binary_fill_holes(image != 0)
    away = ndimage.distance_transform_edt(~brain, sampling=spacing)
    unit = float(np.median(image[brain]))
    marrow, scalp = rng.uniform(*FAT[modality]), rng.uniform(*FAT[modality])
    thickness = np.cumsum(
        [rng.uniform(1, 4), rng.uniform(2, 3), rng.uniform(1, 4), rng.uniform(2, 3), *rng.uniform(2, 6, 2)]
    )
    levels = [rng.uniform(*BONE), rng.uniform(*BONE), marrow, rng.uniform(*BONE), rng.uniform(*MUSCLE), scalp]
    for near, far, level in zip([0, *thickness], thickness, levels, strict=False):
        shell = (away > near) & (away <= far)
        image[shell] = unit * level * np.exp(0.1 * rng.standard_normal(np.count_nonzero(shell)))
    return image


def move(image: NDArray, spacing: NDArray, shift_mm: NDArray, degrees: NDArray) -> NDArray:
    """Move an image ``(X, Y, Z)`` rigidly: turned about its centre by angles about the axes, then shifted, linearly."""
    angles = np.deg2rad(degrees)
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        one, other = [each for each in range(3) if each != axis]
        about = np.eye(3)
        about[[one, other], [one, other]] = np.cos(angle)
        about[one, other], about[other, one] = -np.sin(angle), np.sin(angle)
        turn = turn @ about
    matrix = np.diag(1 / spacing) @ turn @ np.diag(spacing)
    centre = (np.array(image.shape) - 1) / 2
    offset = centre - matrix @ (centre + shift_mm / spacing)
    there = ndimage.affine_transform((image != 0).astype(np.float32), matrix, offset, order=1)
    moved = ndimage.affine_transform(image.astype(np.float32), matrix, offset, order=1)
    return np.where(there >= 0.5, moved / np.maximum(there, 0.5), 0).astype(np.float32)


def unit_vector(rng: np.random.Generator) -> NDArray:
    """Draw a direction, ``(3,)``."""
    vector = rng.standard_normal(3)
    return vector / np.linalg.norm(vector)
