# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..drawing.figures import COLOURS, MARKERS, save_png, shared_legend
from .heading import outcome_name, p_value
from .plan import Study
from .results import ALL

# Tags of curves that tell how near modalities are: of PASSION, and the term of MedMAP
NEARNESS = r"^(?P<kind>distance|coefficient|loss_alignment(?=_per_modality))(?:_per_modality)?/(?P<modality>.+)$"
BASELINE = {"color": "0.45", "marker": "*", "markersize": 6}


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
    variants = [name for name in dict.fromkeys(summary["variant"]) if name != baseline]
    _draw_by_number(gains, lambda axis, panel: _differences(axis, panel, variants), "difference in Dice", path)


def _draw_by_number(
    summary: pd.DataFrame, draw: Callable[[Axes, pd.DataFrame], None], quantity: str, path: Path
) -> None:
    """Draw a panel for each missing rates and region, over the number of modalities shown; nothing without rows."""
    rates, regions = (list(dict.fromkeys(summary[name])) for name in ("rates", "region"))
    if not rates:
        return
    figure, axes = _grid(len(rates), len(regions))
    for row, name in enumerate(rates):
        for column, region in enumerate(regions):
            draw(axes[row][column], summary[(summary["rates"] == name) & (summary["region"] == region)])
            axes[row][column].set_title(f"{name}, {region if region == 'mean' else region.upper()}", fontsize=9)
        axes[row][0].set_ylabel(quantity)
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
        error = np.array([rows["difference"] - rows["difference_low"], rows["difference_high"] - rows["difference"]])
        look = _look(variants.index(variant))
        axis.errorbar(x, rows["difference"], yerr=error, linestyle="", elinewidth=1, label=variant, **look)
    axis.set_xticks(range(len(places)), places)


def draw_dice(summary: pd.DataFrame, baseline: str, path: Path) -> None:
    """Draw Dice of each variant over the number of modalities shown, with intervals where there are several seeds.

    Args:
        summary: of ``results.compare`` by ``num_modalities``; rows of missing rates, columns of regions.
        baseline: the variant that is drawn in grey; the others have the colours of ``draw_differences``.
        path: PNG file; none is written without scores.
    """
    others = [name for name in dict.fromkeys(summary["variant"]) if name != baseline]
    looks = {baseline: BASELINE, **{name: _look(number) for number, name in enumerate(others)}}
    _draw_by_number(summary, lambda axis, panel: _dice(axis, panel, looks), "Dice", path)


def _dice(axis: Axes, panel: pd.DataFrame, looks: Mapping[str, Mapping[str, Any]]) -> None:
    """Join the numbers of modalities by a line; the mean over all combinations stands apart."""
    places = list(dict.fromkeys(panel["num_modalities"].astype(str)))
    here = [variant for variant in looks if variant in set(panel["variant"])]
    for number, variant in enumerate(here):
        rows, look = panel[panel["variant"] == variant], looks[variant]
        shift = 0.6 / len(here) * (number - (len(here) - 1) / 2)
        x = pd.Series([places.index(value) + shift for value in rows["num_modalities"].astype(str)], index=rows.index)
        whole = rows["num_modalities"] == ALL
        axis.plot(x[~whole], rows["mean"][~whole], color=look["color"], linewidth=0.8, alpha=0.6)
        error = np.array([rows["mean"] - rows["low"], rows["high"] - rows["mean"]])  # (2, points)
        axis.errorbar(x, rows["mean"], yerr=error, linestyle="", elinewidth=1, label=variant, **look)
    axis.set_xticks(range(len(places)), places)
    if str(ALL) in places and len(places) > 1:
        axis.axvline(places.index(str(ALL)) - 0.5, color="0.8", linewidth=0.8)


def draw_primary(primary: pd.DataFrame, study: Study, path: Path) -> None:
    """Draw the primary comparisons as a forest: a line for each variant, a panel for each outcome and missing rates.

    Args:
        primary: of ``results.primary_comparisons``.
        study: the plan.
        path: PNG file; none is written where nothing can be compared yet.
    """
    rows = primary[primary["difference"].notna()]
    rates = list(dict.fromkeys(rows["rates"]))
    if not rates:
        return
    variants = [name for name in study.variants if name != study.baseline]
    drawn = [name for name in variants if name in set(rows["variant"])]
    looks = {name: _look(number) for number, name in enumerate(drawn)}
    size = (4.2 * len(study.outcomes) + 1.2, (0.3 * len(variants) + 0.6) * len(rates) + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(rates), len(study.outcomes), sharex=True, sharey=True, squeeze=False)
    for row, name in enumerate(rates):
        for column, outcome in enumerate(study.outcomes):
            axis = axes[row][column]
            chosen = (primary["num_modalities"] == outcome.num_modalities) & (primary["region"] == outcome.region)
            _forest(axis, primary[chosen & (primary["rates"] == name)], variants, looks)
            axis.set_title(f"{name}: {outcome_name(outcome.num_modalities, outcome.region)}", fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel(f"difference from {study.baseline}", fontsize=9)
    save_png(figure, path, dots_per_inch=110)


def _forest(axis: Axes, rows: pd.DataFrame, variants: Sequence[str], looks: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw differences with intervals from the top down; right of the panel stand seeds and corrected p of each."""
    axis.axvline(0, color="0.4", linewidth=0.8)
    for _, row in rows.iterrows():
        y, text = variants.index(row["variant"]), f"{row['seeds']} of {row['planned_seeds']} seeds"
        if row["seeds"]:
            error = [[row["difference"] - row["low"]], [row["high"] - row["difference"]]]
            look = looks[row["variant"]]
            axis.errorbar(row["difference"], y, xerr=error, linestyle="", elinewidth=1.2, capsize=2, **look)
        if p := p_value(row["p_holm"]):
            text += f", p {p if p.startswith('<') else f'= {p}'}"
        axis.annotate(text, (1.02, y), xycoords=("axes fraction", "data"), va="center", fontsize=8)
    axis.set_yticks(range(len(variants)), variants)
    axis.set_ylim(len(variants) - 0.5, -0.5)
    axis.tick_params(labelsize=9)


def draw_preference(curves: pd.DataFrame, path: Path) -> None:
    """Draw what tells how near modalities are over the epochs: distance, coefficient, MedMAP's term.

    Distances and coefficients are drawn of the variants whose coefficients move.

    Args:
        curves: of ``results.collect_curves``; lines are means over seeds.
        path: PNG file; none is written where nothing of it was recorded, or no coefficient moves.
    """
    rows = curves.join(curves["tag"].str.extract(NEARNESS)).dropna(subset="kind")  # NaN for other tags
    coefficients = rows[rows["kind"] == "coefficient"].groupby(["rates", "variant"])["value"]
    moving = [key for key, values in coefficients if values.max() > values.min()]
    of_passion = rows["kind"].isin(["distance", "coefficient"])
    moves = pd.Series(
        [key in moving for key in zip(rows["rates"], rows["variant"], strict=True)], rows.index, dtype=bool
    )
    rows = rows[~of_passion | moves]
    kinds = sorted(set(rows["kind"]), key=lambda kind: (kind != "distance", kind != "coefficient", kind))
    columns = list(dict.fromkeys(zip(rows["rates"], rows["variant"], strict=True)))
    if not columns:
        return
    figure, axes = _grid(len(kinds), len(columns))
    modalities = list(dict.fromkeys(rows["modality"]))
    for row, kind in enumerate(kinds):
        for column, (rates, variant) in enumerate(columns):
            panel = rows[(rows["rates"] == rates) & (rows["variant"] == variant) & (rows["kind"] == kind)]
            _curves(axes[row][column], panel, modalities)
            axes[row][column].set_title(f"{rates}, {variant}", fontsize=9)
        first = next(axis for axis in axes[row] if axis.get_visible())
        first.set_ylabel(kind.removeprefix("loss_"))
        first.tick_params(labelleft=True)
    _save(figure, path)


def _curves(axis: Axes, panel: pd.DataFrame, modalities: Sequence[str]) -> None:
    """Draw a line for each modality, the mean over seeds; a panel without any is not shown."""
    axis.set_visible(not panel.empty)
    for modality, lines in panel.groupby("modality", sort=False):
        mean = lines.groupby("epoch")["value"].mean()
        axis.plot(mean.index, mean, color=COLOURS[modalities.index(modality) % len(COLOURS)], label=modality)
    axis.set_xlabel("epoch")


def _look(number: int) -> dict[str, Any]:
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)], "markersize": 4}


def _grid(rows: int, columns: int) -> tuple[Figure, list[list[Axes]]]:
    figure = Figure(figsize=(2.8 * columns + 0.6, 2.4 * rows + 0.6), layout="constrained")
    return figure, figure.subplots(rows, columns, sharey="row", squeeze=False).tolist()


def _save(figure: Figure, path: Path) -> None:
    """Save with one legend for all panels."""
    shared_legend(figure, ncols=6)
    save_png(figure, path, dots_per_inch=110)
