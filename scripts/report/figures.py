# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of a report about scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ..drawing.figures import COLOURS, MARKERS
from .numbers import is_share, title_of
from .svg import INK

WIDTH = 10.4  # inches, that of a page's column
PANELS_OF_A_ROW = 3
NAMED_CASES = 3
MOST_SHAPES = 3000  # dots of a panel that are drawn as shapes; more become one image
GREY = "#808080"  # of an image, which cannot follow the page: seen on white and on black


def series_look(place: int) -> dict[str, Any]:
    """Colour and marker of the series at a place; black becomes the colour of the page's text."""
    colour = COLOURS[place % len(COLOURS)]
    return {"color": INK if colour == "#000000" else colour, "marker": MARKERS[place % len(MARKERS)]}


def grid(panels: int, height: float, columns: int = PANELS_OF_A_ROW) -> tuple[Figure, list[Axes]]:
    """Make a figure of panels side by side, at most ``columns`` in a row; ``height`` of a row in inches."""
    rows = math.ceil(panels / columns)
    figure = Figure(figsize=(WIDTH, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for panel in axes[panels:]:
        panel.remove()
    return figure, axes[:panels]


def draw_by_number(summary: Mapping[str, Any]) -> Figure:
    """Draw the mean of each metric and region over the number of modalities, with its interval where there is one."""
    number = len(summary["metrics"])
    figure, panels = grid(number, 2.6, columns=PANELS_OF_A_ROW if number <= PANELS_OF_A_ROW else PANELS_OF_A_ROW + 1)
    sizes = [int(size) for size in summary["per_num_modalities"]]
    for panel, metric in zip(panels, summary["metrics"], strict=True):
        for place, region in enumerate(summary["regions"]):
            entries = [each.get(region, {}).get(metric) or {} for each in summary["per_num_modalities"].values()]
            values, low, high = (_column(entries, name) for name in ("mean", "low", "high"))
            if np.isfinite(values).any():
                shift = 0.06 * (place - (len(summary["regions"]) - 1) / 2)
                x = np.array(sizes) + shift
                panel.plot(x, values, label=region.upper(), markersize=4, linewidth=1.2, **series_look(place))
                panel.vlines(x, low, high, color=series_look(place)["color"], linewidth=1.2)
        panel.set(title=title_of(metric), xlabel="modalities shown", xticks=sizes)
        panel.set_xlim(min(sizes, default=0) - 0.4, max(sizes, default=1) + 0.4)
        if is_share(metric):
            panel.set_ylim(0, 1)
    _legend_below(figure, panels)
    return figure


def _column(entries: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    return np.array([entry.get(name) for entry in entries], dtype=float)  # None becomes NaN


def _legend_below(figure: Figure, panels: Sequence[Axes]) -> None:
    found: dict[str, Any] = {}  # label to handle
    for panel in panels:
        handles, labels = panel.get_legend_handles_labels()
        found.update(zip(labels, handles, strict=True))
    if found:
        figure.legend(list(found.values()), list(found), loc="outside lower left", ncols=8)


def draw_strips(dice: pd.DataFrame, regions: Sequence[str], worst: Sequence[str]) -> Figure:
    """Draw the Dice of every case over the number of modalities: its mean over the subsets of that number.

    A case has the same place in all columns. The cases named ``worst`` get a colour of their own and the legend.
    """
    means = dice.groupby(["region", "case", "num_modalities"], sort=False)["value"].mean().dropna().reset_index()
    cases = list(dict.fromkeys(means["case"]))
    golden = (5**0.5 - 1) / 2  # spreads any number of cases evenly
    offset = {case: 0.6 * ((number * golden) % 1 - 0.5) for number, case in enumerate(cases)}
    figure, panels = grid(len(regions), 2.9)
    sizes = sorted(means["num_modalities"].unique().tolist())
    for panel, region in zip(panels, regions, strict=True):
        here = means[means["region"] == region]
        x, named = here["num_modalities"] + here["case"].map(offset), here["case"].isin(worst)
        many = len(here) > MOST_SHAPES
        others: dict[str, Any] = {
            "s": 12,
            "color": GREY if many else INK,
            "alpha": 0.45,
            "linewidths": 0,
            "rasterized": many,
        }
        panel.scatter(x[~named], here["value"][~named], **others)
        for place, case in enumerate(worst):
            of_case = here["case"] == case
            panel.scatter(x[of_case], here["value"][of_case], s=24, linewidths=0, zorder=3, **_worst_look(place))
        panel.set(title=f"Dice {region.upper()}", xlabel="modalities shown", xticks=sizes, ylim=(-0.03, 1.03))
        panel.xaxis.grid(False)
    handles = [Line2D([], [], linestyle="", markersize=5, **_worst_look(place)) for place in range(len(worst))]
    handles.append(Line2D([], [], linestyle="", marker="o", markersize=3.5, color=INK, alpha=0.45))
    names = [*worst, "every other case"] if len(cases) > len(worst) else list(worst)
    figure.legend(handles[: len(names)], names, loc="outside lower left", ncols=4)
    return figure


def _worst_look(place: int) -> dict[str, Any]:
    return {"color": COLOURS[(1, 5, 3)[place]], "marker": "vD^"[place]}


def draw_curves(curves: pd.DataFrame, groups: Mapping[str, Mapping[str, str]]) -> Figure:
    """Draw curves over epochs, one panel for each group.

    Args:
        curves: ``tag``, ``epoch``, ``value``.
        groups: title of each panel to the tags of its lines and their names.
    """
    figure, panels = grid(len(groups), 2.2, columns=min(4, max(len(groups), PANELS_OF_A_ROW)))
    for panel, (title, lines) in zip(panels, groups.items(), strict=True):
        for place, (tag, name) in enumerate(lines.items()):
            line = curves[curves["tag"] == tag].sort_values("epoch")
            look = series_look(place) if len(lines) > 1 else {"color": COLOURS[0], "marker": MARKERS[0]}
            mark: dict[str, Any] = {"markersize": 3, "markevery": max(1, len(line) // 6)}
            panel.plot(line["epoch"], line["value"], label=name, linewidth=1.2, **look, **mark)
        panel.set(title=title, xlabel="epoch")
        panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        panel.ticklabel_format(axis="y", scilimits=(-3, 4))
    _legend_below(figure, [panel for panel, lines in zip(panels, groups.values(), strict=True) if len(lines) > 1])
    return figure
