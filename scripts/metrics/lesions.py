# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Lesion-wise Dice and HD95, by the rules of BraTS 2023 or of 2025."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, generate_binary_structure, label
from scipy.optimize import linear_sum_assignment

from .surfaces import HD95_FROM_DISTANCES, ROUNDING, Surface, bounding_box

JOINING_STEPS = 3  # of dilation; up to twice as many background voxels in between, two parts are one lesion
SMALLEST_MM3 = 50.0  # a lesion of at most this volume is ignored
MISSED_MM = 374.0  # HD95 of a missed lesion and of a false positive
NONE_MATCHED_MM = 373.0  # HD95 by the rules of 2025 where no lesion is matched, but there is one in either mask


class LesionScores(NamedTuple):
    """Means over lesions, of whichever a rule counts.

    Attributes:
        dice: 0 to 1.
        hd95: in mm.
    """

    dice: float
    hd95: float


class LesionRule(Protocol):
    """The lesions of one true mask, to score any number of predictions of it lesion by lesion."""

    def __init__(self, truth: NDArray, spacing_mm: Sequence[float], surface: Surface | None = None) -> None: ...

    def score(self, prediction: NDArray, surface: Surface | None = None) -> LesionScores:
        """Score one prediction."""


class Lesions:
    """Lesions by the rules of BraTS 2023.

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


class MatchedLesions:
    """Lesions by the rules of BraTS 2025: matched one to one, and the mean over the matched ones alone.

    - A lesion is a 26-connected component (2D: neighbours across edges alone) of either mask, of whatever size.
      Nothing is dilated.
    - Lesions of the truth and of the prediction are matched one to one, so that the sum of their Dice is as large as
      it gets. Those that share no voxel are never matched.
    - Dice and HD95 are the means over the matched pairs. The HD95 is the 95th percentile of both directions pooled.
      **Missed lesions and false positives do not enter.**
    - Where no pair is matched, but a lesion is in either mask, Dice is 0 and HD95 373 mm. Where there is none in
      either, both are undefined, NaN.

    Args:
        truth: ``(*S)`` bool, 2D or 3D.
        spacing_mm: voxel size along each axis.
        surface: that of ``truth``, if it is known already.

    Reference:
        Package `BraTS_evaluation` 0.0.10, configuration for gliomas, columns ``lesionwise_dsc_mean`` and
        ``lesionwise_hd95_mean``; there, HD95 is infinite where no pair is matched, and 373 mm in place of the infinite
        in its other columns. Written from its results and from the documentation of panoptica.
    """

    def __init__(self, truth: NDArray, spacing_mm: Sequence[float], surface: Surface | None = None) -> None:
        self.spacing_mm = spacing_mm
        self._mask = truth
        self._surface = surface or Surface.of(truth, spacing_mm)
        self._parts, self._number = _lesions(truth)

    def score(self, prediction: NDArray, surface: Surface | None = None) -> LesionScores:
        """Score one prediction.

        Args:
            prediction: ``(*S)`` bool.
            surface: that of ``prediction``, if it is known already.
        """
        parts, number = _lesions(prediction)
        if not number and not self._number:
            return LesionScores(math.nan, math.nan)
        both = self._mask & prediction
        common = np.zeros((self._number + 1, number + 1))
        np.add.at(common, (self._parts[both], parts[both]), 1)
        sizes = (
            np.bincount(of[mask], minlength=count + 1)
            for of, mask, count in ((self._parts, self._mask, self._number), (parts, prediction, number))
        )
        dice = (2 * common / np.maximum(np.add.outer(*sizes), 1))[1:, 1:]
        pairs = [(a, b) for a, b in zip(*linear_sum_assignment(dice, maximize=True), strict=True) if dice[a, b] > 0]
        if not pairs:
            return LesionScores(0.0, NONE_MATCHED_MM)
        surface = surface or Surface.of(prediction, self.spacing_mm)
        of_truth, of_prediction = (
            numbers[tuple(each.voxels.T)] for numbers, each in ((self._parts, self._surface), (parts, surface))
        )
        hd95 = []
        for a, b in pairs:
            true, found = self._surface.part(of_truth == a + 1), surface.part(of_prediction == b + 1)
            hd95.append(HD95_FROM_DISTANCES["pooled"](found.distances_to(true), true.distances_to(found)))
        return LesionScores(float(np.mean([dice[pair] for pair in pairs])), float(np.mean(hd95)))


LESION_RULES: Mapping[str, type[LesionRule]] = {"brats2023": Lesions, "brats2025": MatchedLesions}
"""Rules of lesion-wise scores, by the year of the challenge."""


def _lesions(mask: NDArray) -> tuple[NDArray, int]:
    """Number the lesions of a mask by the rules of 2025: ``(*S)``, and how many there are."""
    return label(mask, generate_binary_structure(mask.ndim, 3 if mask.ndim == 3 else 1))


def _components(mask: NDArray) -> tuple[NDArray, int]:
    """Number the connected components, neighbours across edges and corners included."""
    return label(mask, generate_binary_structure(mask.ndim, mask.ndim))


def _places(mask: NDArray, start: NDArray) -> tuple[NDArray, ...]:
    """Index the voxels of a mask that begins at ``start``."""
    return tuple(index + begin for index, begin in zip(np.nonzero(mask), start, strict=True))
