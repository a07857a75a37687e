# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..drawing.figures import COLOURS, MARKERS, save_png, shared_legend


def draw_differences(summary: pd.DataFrame, baseline: str, path: Path) -> None:
    """Draw the difference from the baseline over the number of modalities shown, with intervals.

    Variants with fewer seeds than others are left to the tables: their intervals would hide the rest.

    Args:
        summary: of ``results.compare`` by ``num_modalities``; rows of missing rates, columns of regions.
        baseline: the variant that the others are compared with.
        path: PNG file.
    """
    gains = summary[summary["difference"].notna() & (summary["variant"] != baseline)]
    gains = gains[gains["paired_seeds"] == gains["paired_seeds"].max()]
    rates, regions, variants = (list(dict.fromkeys(gains[name])) for name in ("rates", "region", "variant"))
    if not rates:
        return
    figure, axes = _grid(len(rates), len(regions))
    for row, name in enumerate(rates):
        for column, region in enumerate(regions):
            panel = gains[(gains["rates"] == name) & (gains["region"] == region)]
            _differences(axes[row][column], panel, variants)
            axes[row][column].set_title(f"{name}, {region if region == 'mean' else region.upper()}", fontsize=9)
        axes[row][0].set_ylabel("difference in Dice")
    for axis in axes[-1]:
        axis.set_xlabel("modalities shown")
    _save(figure, path)


def _differences(axis: Axes, panel: pd.DataFrame, variants: Sequence[str]) -> None:
    places = list(dict.fromkeys(panel["num_modalities"].astype(str)))
    axis.axhline(0, color="0.4", linewidth=0.8)
    here = [variant for variant in variants if variant in set(panel["variant"])]
    for place, variant in enumerate(here):
        rows = panel[panel["variant"] == variant]
        shift = 0.15 * (place - (len(here) - 1) / 2)
        x = [places.index(value) + shift for value in rows["num_modalities"].astype(str)]
        below, above = (rows["difference"] - rows["difference_low"], rows["difference_high"] - rows["difference"])
        number = variants.index(variant)
        look: dict[str, Any] = {
            "color": COLOURS[number % len(COLOURS)],
            "marker": MARKERS[number % len(MARKERS)],
            "markersize": 4,
        }
        axis.errorbar(x, rows["difference"], yerr=[below, above], linestyle="", elinewidth=1, label=variant, **look)
    axis.set_xticks(range(len(places)), places)


def draw_preference(curves: pd.DataFrame, path: Path) -> None:
    """Draw distance and coefficient of each modality over the epochs, of the variants whose coefficients move.

    Args:
        curves: of ``results.collect_curves``; lines are means over seeds.
        path: PNG file; none is written where no coefficient moves.
    """
    parts = curves["tag"].str.extract(r"^(?P<kind>distance|coefficient)/(?P<modality>.+)$")  # NaN for other tags
    rows = curves.join(parts).dropna(subset="kind")
    spread = (
        rows[rows["kind"] == "coefficient"]
        .groupby(["rates", "variant"])["value"]
        .agg(lambda each: each.max() - each.min())
    )
    moving = [key for key, width in spread.items() if width > 0]
    if not moving:
        return
    figure, axes = _grid(2, len(moving))
    for column, (rates, variant) in enumerate(moving):
        for row, kind in enumerate(("distance", "coefficient")):
            axis = axes[row][column]
            of_panel = rows[(rows["rates"] == rates) & (rows["variant"] == variant) & (rows["kind"] == kind)]
            for number, (modality, lines) in enumerate(of_panel.groupby("modality", sort=False)):
                mean = lines.groupby("epoch")["value"].mean()
                axis.plot(mean.index, mean, color=COLOURS[number], label=modality)
            axis.set_title(f"{rates}, {variant}", fontsize=9)
            axis.set_ylabel(kind)
            axis.set_xlabel("epoch")
    _save(figure, path)


def _grid(rows: int, columns: int) -> tuple[Figure, list[list[Axes]]]:
    figure = Figure(figsize=(2.8 * columns + 0.6, 2.4 * rows + 0.6), layout="constrained")
    return figure, figure.subplots(rows, columns, sharey="row", squeeze=False).tolist()


def _save(figure: Figure, path: Path) -> None:
    """Save with one legend for all panels."""
    shared_legend(figure, ncols=6)
    save_png(figure, path, dots_per_inch=110)
