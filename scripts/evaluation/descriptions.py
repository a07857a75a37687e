# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What people are told of metrics and regions: titles, decimals, definitions, which way is better."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import pandas as pd

from ..data.label_conventions import get_convention
from ..metrics.empty_policy import EMPTY_POLICIES
from ..metrics.lesions import JOINING_STEPS, MISSED_MM, NONE_MATCHED_MM, SMALLEST_MM3

Values = TypeVar("Values", pd.Series, pd.DataFrame)

UNDEFINED = "-"
HIGHER, LOWER, ZERO = "higher", "lower", "closer to zero"
SURFACES_IN_WORDS = {
    "monai": "larger of the two directed 95th percentiles (MONAI, BraTS)",
    "pooled": "95th percentile of both directions pooled (medpy, published PASSION numbers)",
}
_LESION_WISE = (
    f"BraTS 2023, lesion by lesion: lesions of the truth that touch after {JOINING_STEPS} dilations are one, those of "
    f"at most {SMALLEST_MM3:g} mm³ are ignored, every false-positive component counts"
)


_MATCHED = (
    "BraTS 2025, lesion by lesion: mean over the lesions that are matched one to one, of any size; missed and "
    "false-positive lesions do not enter; undefined where neither has a lesion"
)


@dataclass(frozen=True)
class Metric:
    """How a metric is shown and read.

    Args:
        title: with its unit.
        decimals: that are shown.
        better: ``higher``, ``lower`` or ``closer to zero``; ``None`` where that is not known.
        in_words: its definition in one line.
    """

    title: str
    decimals: int = 3
    better: str | None = None
    in_words: str = ""

    @property
    def direction(self) -> int:
        """1 where a rise is an improvement, -1 where a fall is."""
        return 1 if self.better == HIGHER else -1

    def text(self, value: float | None, sign: str = "") -> str:
        """Write a value, with its sign where ``sign`` is ``+``; a dash where it is not defined."""
        if value is None or not math.isfinite(value):
            return UNDEFINED
        rounded = round(value, self.decimals) + 0.0  # makes -0 to 0
        return f"{rounded:{sign}.{self.decimals}f}"

    def comparable(self, values: Values) -> Values:
        """Make values of which one way is better: errors of either sign become their size."""
        return values.abs() if self.better == ZERO else values


METRICS: Mapping[str, Metric] = {
    "dice": Metric("Dice", 3, HIGHER, "Overlap of prediction and truth, 0 to 1"),
    "hd95": Metric("HD95 [mm]", 2, LOWER, "95th percentile of the distances between the two surfaces"),
    "nsd": Metric(
        "NSD",
        3,
        HIGHER,
        "Normalised surface Dice: share of both surfaces within `surface_tolerance` (1 mm by default), 0 to 1",
    ),
    "volume_error": Metric("Volume error [mL]", 2, ZERO, "Predicted minus true volume"),
    "lesion_dice": Metric("Lesion-wise Dice", 3, HIGHER, f"{_LESION_WISE} with Dice 0"),
    "lesion_hd95": Metric(
        "Lesion-wise HD95 [mm]", 2, LOWER, f"{_LESION_WISE}, as a missed lesion does, with {MISSED_MM:g} mm"
    ),
    "lesion_dice_brats2025": Metric("Lesion-wise Dice (2025)", 3, HIGHER, f"{_MATCHED}, 0 where none is matched"),
    "lesion_hd95_brats2025": Metric(
        "Lesion-wise HD95 (2025) [mm]", 2, LOWER, f"{_MATCHED}, {NONE_MATCHED_MM:g} mm where none is matched"
    ),
    "ece": Metric("ECE", 3, LOWER, "Expected calibration error: mean gap of confidence and accuracy, 0 to 1"),
}


def metric_of(name: str) -> Metric:
    """Describe a metric; one that is not known goes by its name."""
    return METRICS.get(name, Metric(name))


def directed_metric(name: str) -> Metric:
    """Describe a metric of which it is known which way is better.

    Raises:
        ValueError: if it is not.
    """
    if name not in METRICS:
        raise ValueError(
            f"which values of the metric `{name}` are better is not known; expected one of {list(METRICS)}."
        )
    return METRICS[name]


def small_region_rule(region: str) -> tuple[str, int] | None:
    """Read the name of a region with the rule for small predictions.

    Returns:
        Name of the plain region and the fewest voxels, e.g. ``("et", 500)`` of ``et_min500``; ``None`` for plain ones.
    """
    match = re.fullmatch(r"(.+)_min(\d+)", region)
    return (match[1], int(match[2])) if match else None


def policy_in_words(name: str | None) -> str | None:
    """Say an empty-mask policy in one line; ``None`` where there is none of that name."""
    if name is None or name not in EMPTY_POLICIES:
        return None
    policy = EMPTY_POLICIES[name]
    return (
        f"prediction and truth both empty: {_listed(policy.both_empty)}; "
        f"exactly one of them empty: {_listed(policy.one_empty)}"
    )


def _listed(values: Mapping[str, float]) -> str:
    words = {metric: "undefined" if math.isnan(value) else f"{value:g}" for metric, value in values.items()}
    return ", ".join(f"{metric} {word}" for metric, word in words.items())


def tissue_names(conventions: Iterable[str | Mapping]) -> dict[int, str]:
    """Say what the classes are, by the conventions of their labels; nothing where none says it, or two disagree."""
    known = []
    for convention in conventions:
        with suppress(ValueError):  # of somebody's own, or of cases without labels
            known.append(dict(get_convention(convention).class_names))
    return known[0] if known and all(each == known[0] for each in known) else {}


def plain_regions(regions: Iterable[str]) -> list[str]:
    """Leave out the regions that follow from others by the rule for small predictions."""
    return [region for region in regions if small_region_rule(region) is None]


def region_in_words(region: str) -> str | None:
    """Say the rule of a region's name in one line; ``None`` for a plain region, which has none."""
    rule = small_region_rule(region)
    if rule is None:
        return None
    return f"`{rule[0]}`, emptied where fewer than {rule[1]} voxels of it are predicted; beside the plain result"
