# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Which slice of a case is shown, which part of it, how it is turned and how bright it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

MARGIN = 2  # pixels around what is shown


def upright(plane: NDArray, axis: int = 2) -> NDArray:
    """Turn a slice of an LPS volume as radiologists look at it: head's top or front up, patient's right on the left.

    Args:
        plane: slice across ``axis``.
        axis: 0 sagittal, 1 coronal, 2 axial.
    """
    return plane.T if axis == 2 else plane.T[::-1]


def white_level(image: NDArray) -> float:
    """Choose the intensity of an image, whose background is 0, that is shown white."""
    return float(np.percentile(image[image != 0], 99.6))


def largest_slice(candidates: Iterable[NDArray]) -> int:
    """Find the slice ``Z`` with the most labelled voxels.

    Args:
        candidates: ``(X, Y, Z)`` volumes, the truth first; the next one is asked only if nothing is labelled. If that
            is so in all of them, the middle slice is taken.
    """
    number = 0
    for labels in candidates:
        areas = (labels > 0).sum(axis=(0, 1))
        if areas.any():
            return int(areas.argmax())
        number = len(areas) // 2
    return number


def box_around(planes: Sequence[NDArray]) -> tuple[slice, slice]:
    """Box around what any of the slices ``(X, Y)`` of one grid shows, with a margin; all of it if none does."""
    there = np.any([plane != 0 for plane in planes], axis=0)  # (X, Y)
    rows, columns = (_extent(there.any(axis=1 - axis)) for axis in (0, 1))
    return rows, columns


def _extent(there: NDArray) -> slice:
    hits = there.nonzero()[0]
    low, high = (int(hits[0]), int(hits[-1]) + 1) if len(hits) else (0, len(there))
    return slice(max(low - MARGIN, 0), high + MARGIN)
