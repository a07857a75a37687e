# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The tables of a report: numbers as text, cells with colours, cases in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import Colormap, to_hex

from ..evaluation.descriptions import HIGHER, UNDEFINED, metric_of

COLOUR_MAP = colormaps["cividis"]  # the same to colour-blind readers; brighter is better
NOTHING, MINUS = "–", "−"


class Cell(NamedTuple):
    """A cell of a heat map: text, a small line below it, and what says it in words; colours are empty without value."""

    text: str
    small: str
    words: str
    background: str
    colour: str


class Row(NamedTuple):
    """A row of a heat map: ``label``, whether each modality is available, number of cases, a cell for each region."""

    label: str
    available: tuple[bool, ...]
    cases: int
    cells: list[Cell]


class HeatMap(NamedTuple):
    """A metric of every subset and region.

    Attributes:
        metric: its name.
        title: with its unit.
        regions: of the columns.
        groups: rows of the subsets, by the number of modalities.
        means: rows of each number of modalities and of all.
        ends: what the worst and the best colour stand for.
    """

    metric: str
    title: str
    regions: list[str]
    groups: list[list[Row]]
    means: list[Row]
    ends: tuple[str, str]


class Table(NamedTuple):
    """A plain table: what it shows, names of its columns, rows of text."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def title_of(metric: str) -> str:
    """Name a metric with its unit."""
    return metric_of(metric).title


def number(value: float | None, metric: str) -> str:
    """Write a value of a metric; a dash where it is not defined."""
    text = metric_of(metric).text(value)
    return NOTHING if text == UNDEFINED else text.replace("-", MINUS)


def interval(entry: Mapping[str, Any], metric: str) -> str:
    """Write the 95 % interval of a mean; empty where there is none."""
    low, high = entry.get("low"), entry.get("high")
    if low is None or high is None:
        return ""
    return f"{number(low, metric)}{'–' if low >= 0 else ' to '}{number(high, metric)}"


def spread_or_interval(entry: Mapping[str, Any], metric: str) -> str:
    """Write the interval of a mean or, where there is none, the standard deviation of its scores."""
    if entry.get("sd") is None or interval(entry, metric):
        return interval(entry, metric)
    return f"± {number(entry['sd'], metric)}"


def is_share(metric: str) -> bool:
    """Tell whether a metric goes from 0, the worst, to 1; of all others, the nearer to 0 the better."""
    return metric_of(metric).better == HIGHER


def heat_maps(summary: Mapping[str, Any]) -> list[HeatMap]:
    """Lay out every metric of a summary."""
    return [_heat_map(summary, metric) for metric in summary["metrics"]]


def _heat_map(summary: Mapping[str, Any], metric: str) -> HeatMap:
    regions = [region for region in summary["regions"] if _has(summary["overall"], region, metric)]
    scale = _scale(summary, metric, regions)
    sizes: dict[int, list[Row]] = {}
    for subset, statistics in summary["per_subset"].items():
        names = subset.split("+")
        available = tuple(name in names for name in summary["modalities"])
        row = _row(" + ".join(names), available, statistics, (metric, regions, scale))
        sizes.setdefault(len(names), []).append(row)
    means = {f"mean of {size}": statistics for size, statistics in summary["per_num_modalities"].items()}
    means["mean of all subsets"] = summary["overall"]
    rows = [_row(label, (), statistics, (metric, regions, scale)) for label, statistics in means.items()]
    ends = ("0", "1") if is_share(metric) else (f"{scale:.3g} and more", "0")
    return HeatMap(metric, title_of(metric), regions, list(sizes.values()), rows, ends)


def _has(statistics: Mapping[str, Any], region: str, metric: str) -> bool:
    return metric in statistics.get(region, {})


def _scale(summary: Mapping[str, Any], metric: str, regions: Sequence[str]) -> float:
    """Choose the magnitude that gets the worst colour, where 0 gets the best: the largest mean of a subset."""
    entries = [each.get(region, {}).get(metric) for each in summary["per_subset"].values() for region in regions]
    values = [abs(entry["mean"]) for entry in entries if entry and entry["mean"] is not None]
    return max(values, default=0.0) or 1.0


def _row(
    label: str, available: tuple[bool, ...], statistics: Mapping[str, Any], how: tuple[str, Sequence[str], float]
) -> Row:
    metric, regions, scale = how
    entries = [statistics.get(region, {}).get(metric) for region in regions]
    cases = max((entry["n"] + entry["num_nan"] for entry in entries if entry), default=0)
    cells = [_cell(entry, metric, scale, cases) for entry in entries]
    return Row(label, available, cases, cells)


def _cell(entry: Mapping[str, Any] | None, metric: str, scale: float, cases: int) -> Cell:
    if not entry or entry["mean"] is None:
        return Cell(NOTHING, "", "not defined", "", "")
    goodness = entry["mean"] if is_share(metric) else 1 - abs(entry["mean"]) / scale
    small = [spread_or_interval(entry, metric)]
    small += [] if entry["n"] == cases else [f"n {entry['n']}"]
    sd = f", standard deviation {number(entry['sd'], metric)}" if entry["sd"] is not None else ""
    within = f", 95 % interval {interval(entry, metric)}" if interval(entry, metric) else ""
    words = f"mean {number(entry['mean'], metric)}{within}{sd}, n {entry['n']}"
    colour = COLOUR_MAP(min(max(goodness, 0.0), 1.0))
    return coloured(number(entry["mean"], metric), ", ".join(filter(None, small)), words, colour)


def coloured(text: str, small: str, words: str, colour: tuple[float, float, float, float]) -> Cell:
    """Make a cell whose text is readable on its colour (red, green, blue and opacity from 0 to 1)."""
    luminance = sum(share * part for share, part in zip((0.21, 0.72, 0.07), colour, strict=False))
    return Cell(text, small, words, to_hex(colour), "#000000" if luminance > 0.45 else "#ffffff")


def gradient(colours: Colormap = COLOUR_MAP) -> str:
    """The colours of a heat map from the worst to the best, for a style sheet."""
    return ", ".join(to_hex(colours(step / 8)) for step in range(9))


def cases_from_worst(dice: pd.DataFrame, regions: Sequence[str]) -> pd.DataFrame:
    """Order the cases by their mean Dice over regions and subsets, the lowest first.

    Args:
        dice: rows of ``case``, ``subset``, ``region``, ``value``.
        regions: that count.

    Returns:
        A row for each case: its mean Dice of each of the ``regions`` over its subsets, NaN where none is defined, and
        their ``mean``. A case without any is left out.
    """
    table = dice.pivot_table("value", "case", "region", aggfunc="mean", dropna=False, sort=False)
    table = table.reindex(columns=list(regions))
    table = table.assign(mean=table.mean(axis=1)).dropna(subset="mean")
    return table.sort_values("mean", kind="stable")
