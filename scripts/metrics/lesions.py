# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Lesion-wise Dice and HD95 by the rules of BraTS 2023."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, generate_binary_structure, label

from .surfaces import HD95_FROM_DISTANCES, ROUNDING, Surface, bounding_box

JOINING_STEPS = 3  # of dilation; up to twice as many background voxels in between, two parts are one lesion
SMALLEST_MM3 = 50.0  # a lesion of at most this volume is ignored
MISSED_MM = 374.0  # HD95 of a missed lesion and of a false positive


class LesionScores(NamedTuple):
    """Means over the lesions that count and the false positives.

    Attributes:
        dice: 0 to 1.
        hd95: in mm.
    """

    dice: float
    hd95: float


class Lesions:
    """The lesions of one true mask, to score any number of predictions of it lesion by lesion.

    - The truth is dilated by 3 iterations of the 18-neighbour structure (in voxels, whatever their size; in 2D, the
      8 neighbours). A lesion is the true voxels within one 26-connected (2D: 8-connected) component of that.
    - Every 26-connected component of the prediction that shares a voxel with a dilated lesion is matched to it. One
      that touches two lesions is matched to both, and counts whole in both.
    - A lesion scores Dice and HD95 of its own, undilated voxels against the union of the components matched to it;
      Dice 0 and HD95 374 if there are none. The HD95 is the larger of the two directed 95th percentiles.
    - Lesions of at most 50 mm^3 are ignored, and a component that touches nothing else is no false positive.
    - Every other component is a false positive whatever its size: Dice 0, HD95 374.
    - The score is the mean over lesions and false positives. If there are neither, Dice is 1 and HD95 0.

    So these scores are always defined: they follow neither the empty-mask policy (a missed lesion costs 374, not the
    policy's value) nor the choice of the surface convention.

    Args:
        truth: ``(*S)`` bool, 2D or 3D; a 2D image is taken for a slice of 1 mm.
        spacing_mm: voxel size along each axis.
        surface: that of ``truth``, if it is known already.

    Reference:
        BraTS 2023 challenge, lesion-wise performance metrics. Written from the rules; surfaces are those of
        `Surface` (counted in voxels), so HD95 may differ a little from software that weights them by area.
    """

    def __init__(self, truth: NDArray, spacing_mm: Sequence[float], surface: Surface | None = None) -> None:
        self.spacing_mm = spacing_mm
        box = tuple(
            slice(max(side.start - JOINING_STEPS, 0), side.stop + JOINING_STEPS) for side in bounding_box(truth)
        )
        start = np.array([side.start for side in box])
        near = binary_dilation(truth[box], generate_binary_structure(truth.ndim, 2), iterations=JOINING_STEPS)
        groups = _components(near)[0]
        surface = surface or Surface.of(truth, spacing_mm)
        # each set of voxels: where they are, and the number of the lesion that each belongs to
        self._near, self._near_lesion = _places(near, start), groups[near]
        self._own, self._own_lesion = _places(truth[box], start), groups[truth[box]]
        surface_lesion = groups[tuple((surface.voxels - start).T)]
        volumes = np.bincount(self._own_lesion) * math.prod(spacing_mm)
        counted = np.flatnonzero(volumes > SMALLEST_MM3 * (1 + ROUNDING))
        self._surfaces = {int(lesion): surface.part(surface_lesion == lesion) for lesion in counted}

    def score(self, prediction: NDArray, surface: Surface | None = None) -> LesionScores:
        """Score one prediction.

        Args:
            prediction: ``(*S)`` bool.
            surface: that of ``prediction``, if it is known already.
        """
        surface = surface or Surface.of(prediction, self.spacing_mm)
        box = bounding_box(prediction)
        parts = np.zeros(prediction.shape, dtype=np.int32)
        parts[box], num_parts = _components(prediction[box])
        sizes = np.bincount(parts[prediction], minlength=num_parts + 1)
        near, own = parts[self._near], parts[self._own]
        of_surface = parts[tuple(surface.voxels.T)]
        num_false = num_parts - np.count_nonzero(np.unique(near))
        dice, hd95 = [0.0] * num_false, [MISSED_MM] * num_false
        for lesion, lesion_surface in self._surfaces.items():
            matched = np.unique(near[self._near_lesion == lesion])
            matched = matched[matched > 0]
            if not len(matched):
                dice.append(0.0)
                hd95.append(MISSED_MM)
                continue
            own_parts = own[self._own_lesion == lesion]  # what is predicted there is matched
            dice.append(2 * np.count_nonzero(own_parts) / (len(own_parts) + int(sizes[matched].sum())))
            # components are apart, so the surface of their union is part of that of the prediction; so for lesions
            found = surface.part(np.isin(of_surface, matched))
            distances = found.distances_to(lesion_surface), lesion_surface.distances_to(found)
            hd95.append(HD95_FROM_DISTANCES["monai"](*distances))
        return LesionScores(float(np.mean(dice)), float(np.mean(hd95))) if dice else LesionScores(1.0, 0.0)


def _components(mask: NDArray) -> tuple[NDArray, int]:
    """Number the connected components, neighbours across edges and corners included."""
    return label(mask, generate_binary_structure(mask.ndim, mask.ndim))


def _places(mask: NDArray, start: NDArray) -> tuple[NDArray, ...]:
    """Index the voxels of a mask that begins at ``start``."""
    return tuple(index + begin for index, begin in zip(np.nonzero(mask), start, strict=True))
