# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What to expect of a case that was segmented from some of the modalities, by what the weights reached before."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .performance import METRIC, PERFORMANCE_FILE, counted, measured_on, read_performance

logger = logging.getLogger(__name__)

NO_FILE = f"no {PERFORMANCE_FILE} beside the weights; run the evaluation to make one"
SMALLEST_GAIN = 0.02  # Dice; a modality that adds less is not worth another scan


class ExpectedPerformance:
    """Say for a subset of modalities which Dice the weights reached with it, and what another modality would add.

    The figures are those of the ``performance.json`` that the evaluation wrote beside the weights: means over the cases
    of a data set with their 95 % intervals, not statements about one patient. Without the file, or if it is damaged or
    of other weights, there is no expectation, and ``reason`` says why; a run is never ended by it.

    Args:
        model_file: path of the weights.
        modalities: names in channel order.
        regions: names of the regions to speak of.
        floor: expected Dice below which a region is warned of, 0 to 1.
        settings: name to value of what the evaluation must share for its figures to hold, e.g. the voxel spacing;
            what differs is said.

    Attributes:
        reason: why there is no expectation, ``None`` where there is one.

    Raises:
        ValueError: if ``floor`` is not a Dice.
    """

    def __init__(
        self,
        model_file: str,
        modalities: Sequence[str],
        regions: Sequence[str] | Mapping[str, Any],
        floor: float = 0.5,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(floor, (int, float)) or not 0 <= floor <= 1:
            raise ValueError(f"`performance_floor` is `{floor}`; expected a Dice between 0 and 1.")
        self.model_file = Path(model_file)
        self.modalities, self.regions = list(modalities), list(regions)
        self.floor, self.settings = floor, json.loads(json.dumps(settings or {}))  # as they are read back
        self.performance: dict[str, Any] | None = None
        self.reason: str | None = NO_FILE

    def load(self) -> None:
        """Read the file again, as a run does when it starts; log why there is no expectation."""
        self.performance, self.reason = None, NO_FILE
        try:
            self.performance = read_performance(self.model_file)
        except (OSError, ValueError) as error:
            self.reason = str(error)
            logger.warning("no expected performance: %s", self.reason)
            return
        if self.performance is None:
            logger.info("no expected performance: %s", self.reason)
        else:
            self.reason = None

    def of(self, available: Sequence[bool]) -> dict[str, Any] | None:
        """Say what to expect, ready for JSON; ``None`` where `load` found nothing.

        Args:
            available: ``(M,)`` flags, ``True`` where the modality is used.

        Returns:
            ``modalities_used``; ``data_set``, ``date``, ``num_cases`` and ``num_failed`` of the evaluation; ``dice``,
            region to ``mean``, ``low``, ``high`` and ``n``, or ``None`` where it is not known; ``floor``;
            ``warnings``; ``improvements``, largest first: ``region``, ``modality`` to add, mean Dice ``before`` and
            ``after``, ``gain``, ``n``; and all of it ``in_words``, line by line.
        """
        found = self.performance
        if found is None:
            return None
        used = [name for name, there in zip(self.modalities, available, strict=True) if there]
        subset = next((each for each in found["per_subset"] if set(each.split("+")) == set(used)), "+".join(used))
        cells = found["per_subset"].get(subset, {})
        dice = {region: cells.get(region, {}).get(METRIC) for region in self.regions}
        dice = {region: cell if cell and cell["mean"] is not None else None for region, cell in dice.items()}
        warnings = [*self._warnings(dice, subset), *self._differences(found["settings"])]
        gains = found["gains"].get(subset, {})
        improvements = self._improvements(gains, dice)
        unknown = [name for name in self.modalities if name not in used and name not in gains]
        worth_saying = any(dice.values()) and not all(available)
        added = _improvements_in_words(improvements, dice, unknown) if worth_saying else []
        return {
            "modalities_used": used,
            **{name: found[name] for name in ("data_set", "date", "num_cases", "num_failed")},
            "dice": dice,
            "floor": self.floor,
            "warnings": warnings,
            "improvements": improvements,
            "in_words": [
                *_figures_in_words(dice, subset, found),
                *(f"warning: {warning}" for warning in warnings),
                *added,
            ],
        }

    def _warnings(self, dice: Mapping[str, Any], subset: str) -> list[str]:
        low = {region: cell for region, cell in dice.items() if cell and cell["mean"] < self.floor}
        return [
            f"region {region}: expected Dice {_with_interval(cell)} from {subset} is below {self.floor:.2f}; do not "
            "rely on it"
            for region, cell in low.items()
        ]

    def _differences(self, measured: Mapping[str, Any]) -> list[str]:
        pairs = {name: (measured[name], here) for name, here in self.settings.items() if name in measured}
        return [
            f"expected performance was measured with {name} {before}, this case was segmented with {here}; the "
            "figures may not hold"
            for name, (before, here) in pairs.items()
            if before != here
        ]

    def _improvements(self, gains: Mapping[str, Any], dice: Mapping[str, Any]) -> list[dict[str, Any]]:
        """List what each absent modality would add to each region, largest first."""
        found = [
            {"region": region, "modality": added, **gain, "gain": gain["after"] - gain["before"]}
            for added, by_region in gains.items()
            for region, gain in by_region.items()
            if dice.get(region) and added in self.modalities
        ]
        return sorted((each for each in found if each["gain"] > SMALLEST_GAIN), key=lambda each: -each["gain"])


def _figures_in_words(dice: Mapping[str, Any], subset: str, performance: Mapping[str, Any]) -> list[str]:
    """Say what is known of the regions, and of what it is known."""
    known = {region: cell for region, cell in dice.items() if cell}
    if not known:
        subsets = ", ".join(performance["per_subset"])
        return [f"expected Dice from {subset}: not known, {PERFORMANCE_FILE} has figures for {subsets or 'no subset'}"]
    figures = [
        f"{region} {_with_interval(cell)}{_if_fewer(cell['n'], performance['num_cases'])}"
        for region, cell in known.items()
    ]
    unknown = [region for region in dice if region not in known]
    return [
        f"expected Dice from {subset} (mean and its 95 % interval): " + ", ".join(figures),
        *([f"expected Dice of {', '.join(unknown)}: not known, {PERFORMANCE_FILE} has no figure"] if unknown else []),
        f"measured on {measured_on(performance)}. A mean over those cases; this one may be far from it.",
    ]


def _improvements_in_words(
    improvements: Sequence[Mapping[str, Any]], dice: Mapping[str, Any], unknown: Sequence[str]
) -> list[str]:
    """Say for each region which one modality would add most, and of which modalities it is not known."""
    best: dict[str, Mapping[str, Any]] = {}
    for each in improvements:
        best.setdefault(each["region"], each)
    lines = [
        f"{each['modality']} would be expected to raise {region} from {each['before']:.2f} to {each['after']:.2f} "
        f"({each['gain']:+.2f}){_if_fewer(each['n'], dice[region]['n'])}"
        for region, each in best.items()
    ]
    if unknown:
        lines.append(f"what {', '.join(unknown)} would add: not known, {PERFORMANCE_FILE} has no figure")
    elif not lines:
        lines.append(f"no absent modality would be expected to raise a region by more than {SMALLEST_GAIN:.2f}")
    return lines


def _with_interval(cell: Mapping[str, Any]) -> str:
    bounds = [cell["low"], cell["high"]]
    return f"{cell['mean']:.2f}" + ("" if None in bounds else " [{:.2f}, {:.2f}]".format(*bounds))


def _if_fewer(number: int, cases: int) -> str:
    return "" if number == cases else f" on {counted(number, 'case')}"
