# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of the regions of one case."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from monai.utils import convert_to_tensor
from numpy.typing import NDArray
from torch import Tensor

from .empty_policy import empty_policy
from .lesions import LESION_RULES, LesionRule, LesionScores
from .regions import Regions, region_masks, remove_small_region
from .surfaces import HD95_FROM_DISTANCES, Surface, surface_dice

Scores = dict[tuple[str, str], float]
"""``(region, metric)`` to value."""


@dataclass(frozen=True)
class ScoreSettings:
    """What is measured, and by which conventions.

    Args:
        policy: name of the empty-mask policy: ``brats``, ``passion`` or ``nan`` (see `empty_policy`). It is for
            ``dice``, ``hd95`` and ``nsd``; the other metrics are always defined.
        surface: how ``hd95`` is made from the distances between the two surfaces:
            ``monai``: the larger of the two directed 95th percentiles (MONAI and BraTS);
            ``pooled``: the 95th percentile of both directions together (medpy and the published PASSION code), mostly
            the smaller number.
        metrics: which of ``METRICS`` to compute, in the order of the tables:
            ``dice``: 0 to 1;
            ``hd95``: 95th percentile Hausdorff distance in mm;
            ``nsd``: normalised surface Dice, 0 to 1 (see `surface_dice`);
            ``volume_error``: predicted minus true volume in mL; a 2D image is taken for a slice of 1 mm;
            ``lesion_dice``, ``lesion_hd95``: lesion by lesion (see ``lesion_rules``).
            Without those that need surfaces or lesions, none are looked for.
        lesion_rules: of the challenge of which year lesion-wise scores are: ``brats2023`` (see `Lesions`) or
            ``brats2025`` (see `MatchedLesions`). Results of the latter are named so, e.g. ``lesion_dice_brats2025``.
        tolerance_mm: largest distance that is right for ``nsd``.
        small_region: ``{"region": "et", "voxels": 500}`` adds the region ``et_min500`` beside the plain ones: the
            region emptied where fewer voxels of the label's grid are predicted, as published. ``None`` adds none.

    Raises:
        ValueError: if a setting has an unknown name or value.
    """

    policy: str
    surface: str = "monai"
    metrics: Sequence[str] = ("dice", "hd95")
    tolerance_mm: float = 1.0
    small_region: Mapping[str, str | int] | None = None
    lesion_rules: str = "brats2023"

    def __post_init__(self) -> None:
        empty_policy(self.policy)
        if not self.metrics or not set(self.metrics) <= set(METRICS):
            raise ValueError(f"`metrics` is {list(self.metrics)}; expected one or more of {list(METRICS)}.")
        if self.surface not in HD95_FROM_DISTANCES:
            raise ValueError(f"`surface` is `{self.surface}`; expected one of {list(HD95_FROM_DISTANCES)}.")
        if not 0 <= self.tolerance_mm < math.inf:
            raise ValueError(f"`tolerance_mm` is {self.tolerance_mm}; expected a distance in mm, 0 or more.")
        if self.lesion_rules not in LESION_RULES:
            raise ValueError(f"`lesion_rules` is `{self.lesion_rules}`; expected one of {list(LESION_RULES)}.")
        small = self.small_region
        if small is not None and (set(small) != {"region", "voxels"} or not isinstance(small["voxels"], int)):
            raise ValueError(f"`small_region` is {small}; expected the name of a `region` and a number of `voxels`.")

    def name_of(self, metric: str) -> str:
        """Name a metric in results: of lesion-wise scores by other rules than the default, the rules are part of it."""
        other = metric in LESION_WISE and self.lesion_rules != "brats2023"
        return f"{metric}_{self.lesion_rules}" if other else metric


class CaseScorer:
    """Score any number of predictions of one case; what depends on the truth alone is computed once.

    Args:
        truth: ``(*S)`` true class labels, 2D or 3D.
        regions: classes of each region.
        spacing_mm: voxel size along each spatial axis; ones measure HD95 in voxels, as the published PASSION code does.
        settings: what is measured.

    Raises:
        ValueError: if the spacing does not fit, or the region of ``small_region`` is unknown.
    """

    def __init__(self, truth: Tensor, regions: Regions, spacing_mm: Sequence[float], settings: ScoreSettings) -> None:
        if len(spacing_mm) != truth.ndim or not all(step > 0 for step in spacing_mm):
            raise ValueError(
                f"`spacing_mm` is {tuple(spacing_mm)}; expected one positive voxel size in mm for each of the "
                f"{truth.ndim} spatial axes."
            )
        self.regions, self.settings = regions, settings
        self.shape, self.spacing_mm = tuple(truth.shape), tuple(float(step) for step in spacing_mm)
        self._truths = dict(zip(regions, self._masks(truth), strict=True))
        if settings.small_region is not None and settings.small_region["region"] not in regions:
            raise ValueError(
                f"`small_region` is about `{settings.small_region['region']}`, which is not among {list(regions)}; "
                "see `regions` in the configuration."
            )

    def score(self, prediction: Tensor) -> Scores:
        """Score one prediction.

        Args:
            prediction: ``(*S)`` predicted class labels.

        Returns:
            ``{(region, metric): value, ...}``, regions in their configured order, then that of ``small_region``.

        Raises:
            ValueError: if the prediction lies on another grid than the truth.
        """
        if tuple(prediction.shape) != self.shape:
            raise ValueError(
                f"prediction has shape {tuple(prediction.shape)} but truth has {self.shape}; expected the same "
                "grid without batch and channel axes. Check that both went through the same transforms."
            )
        predictions = dict(zip(self.regions, self._masks(prediction), strict=True))
        scores = {
            (name, metric): value
            for name, predicted in predictions.items()
            for metric, value in self._compare(predicted, self._truths[name]).items()
        }
        if self.settings.small_region is not None:
            region, voxels = str(self.settings.small_region["region"]), int(self.settings.small_region["voxels"])
            mask = convert_to_tensor(predictions[region].mask)[None]
            kept = remove_small_region(mask, {region: self.regions[region]}, region, voxels)[0]
            if kept.any():
                named = map(self.settings.name_of, self.settings.metrics)
                of_kept = {metric: scores[region, metric] for metric in named}
            else:
                of_kept = self._compare(self._mask(kept.numpy()), self._truths[region])
            scores |= {(f"{region}_min{voxels}", metric): value for metric, value in of_kept.items()}
        return scores

    def _masks(self, labels: Tensor) -> list[_Mask]:
        # in one memory order: a label read by nibabel has another than a prediction, and comparing the two is slow
        labels = convert_to_tensor(labels, track_meta=False, device="cpu").contiguous()
        return [self._mask(mask) for mask in region_masks(labels, self.regions).numpy()]

    def _mask(self, mask: NDArray) -> _Mask:
        return _Mask(mask, self.spacing_mm, LESION_RULES[self.settings.lesion_rules])

    def _compare(self, predicted: _Mask, true: _Mask) -> dict[str, float]:
        """Compute the metrics of one region; what is not computed of empty masks comes from the policy."""
        rule = empty_policy(self.settings.policy)
        empty = (not predicted.size, not true.size)
        pair = _Pair(predicted, true, self.settings)
        return {
            self.settings.name_of(metric): rule.value(metric, *empty)
            if any(empty) and rule.is_for(metric)
            else _COMPUTE[metric](pair)
            for metric in self.settings.metrics
        }


@dataclass(frozen=True, eq=False)
class _Mask:
    """A ``(*S)`` bool mask with what is found of it, once and only if it is asked for."""

    mask: NDArray
    spacing_mm: Sequence[float]
    rule: type[LesionRule]

    @cached_property
    def size(self) -> int:
        return int(np.count_nonzero(self.mask))

    @cached_property
    def surface(self) -> Surface:
        return Surface.of(self.mask, self.spacing_mm)

    @cached_property
    def lesions(self) -> LesionRule:
        return self.rule(self.mask, self.spacing_mm, self.surface)


@dataclass(frozen=True, eq=False)
class _Pair:
    """One predicted and one true mask of a region, with what several metrics share."""

    predicted: _Mask
    true: _Mask
    settings: ScoreSettings

    @cached_property
    def distances(self) -> tuple[NDArray, NDArray]:
        one, other = self.predicted.surface, self.true.surface
        return one.distances_to(other), other.distances_to(one)

    @cached_property
    def of_lesions(self) -> LesionScores:
        return self.true.lesions.score(self.predicted.mask, self.predicted.surface)

    def dice(self) -> float:
        common = np.count_nonzero(self.predicted.mask & self.true.mask)
        return 2 * common / (self.predicted.size + self.true.size)

    def hd95(self) -> float:
        return HD95_FROM_DISTANCES[self.settings.surface](*self.distances)

    def nsd(self) -> float:
        return surface_dice(*self.distances, self.settings.tolerance_mm)

    def volume_error(self) -> float:
        return (self.predicted.size - self.true.size) * math.prod(self.true.spacing_mm) / 1000

    def lesion_dice(self) -> float:
        return self.of_lesions.dice

    def lesion_hd95(self) -> float:
        return self.of_lesions.hd95


_COMPUTE: Mapping[str, Callable[[_Pair], float]] = {
    "dice": _Pair.dice,
    "hd95": _Pair.hd95,
    "nsd": _Pair.nsd,
    "volume_error": _Pair.volume_error,
    "lesion_dice": _Pair.lesion_dice,
    "lesion_hd95": _Pair.lesion_hd95,
}

LESION_WISE = ("lesion_dice", "lesion_hd95")

METRICS = tuple(_COMPUTE)
"""What can be computed, in the order of the tables."""
