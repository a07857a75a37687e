# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Tables of a report about differences: one modality more, another run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib import colormaps

from ..metrics.statistics import SIGNIFICANT
from .numbers import MINUS, NOTHING, Cell, HeatMap, Row, Table, coloured, number, title_of

COLOUR_MAP = colormaps["PuOr_r"]  # the same to colour-blind readers; white is no difference
BETTER, WORSE = "better", "worse"


def monotonicity_table(rates: pd.DataFrame, metric: str = "dice") -> Table:
    """Lay out how often one modality more makes a score worse: a row for each added modality.

    Args:
        rates: rows of ``region``, ``added`` (a modality, or ``all`` of them together), ``n`` pairs, their share
            ``rate`` that is worse, and ``mean_change``.
        metric: that they are about.
    """
    regions = list(dict.fromkeys(rates["region"]))
    rows = []
    for added, group in rates.groupby("added", sort=False):
        found = group.set_index("region")
        cells = [_rate(found.loc[region], metric) if region in found.index else NOTHING for region in regions]
        rows.append([added, *cells, int(group["n"].max())])
    caption = (
        f"How often {title_of(metric)} of a case is worse with one modality more than with the subset before it; in "
        "brackets the mean change"
    )
    return Table(caption, ["added modality", *(region.upper() for region in regions), "pairs"], rows)


def _rate(row: pd.Series, metric: str) -> str:
    return f"{100 * row['rate']:.0f} % ({signed(row['mean_change'], metric)})"


def signed(value: float, metric: str) -> str:
    """Write a difference with its sign."""
    text = number(value, metric)
    return text if text == NOTHING or text.startswith(MINUS) else f"+{text}"


def difference_map(differences: pd.DataFrame, modalities: Sequence[str]) -> HeatMap:
    """Lay out paired differences between two runs, orange where this run is better and purple where it is worse.

    Args:
        differences: rows of one ``run`` and ``metric``: ``level`` (``subset``, ``num_modalities`` or ``overall``),
            ``group``, ``region``, ``n``, ``difference``, ``low``, ``high``, ``p_holm``, ``reading``.
        modalities: names in channel order.
    """
    metric = str(differences["metric"].iloc[0])
    regions = list(dict.fromkeys(differences["region"]))
    largest = float(differences["difference"].abs().max())
    scale = largest if largest > 0 else 1.0  # NaN if nothing is defined
    groups: dict[int, list[Row]] = {}
    means: dict[str, Row] = {}
    for (level, group), rows in differences.groupby(["level", "group"], sort=False):
        found = rows.set_index("region")
        cells = [_cell(found.loc[each] if each in found.index else None, metric, scale) for each in regions]
        names = group.split("+") if level == "subset" else []
        available, cases = tuple(name in names for name in modalities), int(rows["n"].max())
        if names:
            groups.setdefault(len(names), []).append(Row(" + ".join(names), available, cases, cells))
        else:
            label = "mean of all subsets" if level == "overall" else f"mean of {group}"
            means[label] = Row(label, (), cases, cells)
    ends = (f"{number(scale, metric)} worse", f"{number(scale, metric)} better")
    ordered = [groups[size] for size in sorted(groups)]
    return HeatMap(metric, f"Difference in {title_of(metric)}", regions, ordered, list(means.values()), ends)


def _cell(row: Any, metric: str, scale: float) -> Cell:
    if row is None or pd.isna(row["difference"]):
        return Cell(NOTHING, "", "not defined", "", "")
    gain = {BETTER: 1, WORSE: -1}.get(row["reading"], 0) * abs(row["difference"]) / scale
    star = " *" if row["p_holm"] < SIGNIFICANT else ""
    small = "" if pd.isna(row["low"]) else f"{signed(row['low'], metric)} to {signed(row['high'], metric)}"
    corrected = "" if pd.isna(row["p_holm"]) else f", p {row['p_holm']:.3g} (Holm)"
    words = f"difference {signed(row['difference'], metric)}, {row['reading']}, n {row['n']}{corrected}"
    return coloured(signed(row["difference"], metric) + star, small, words, COLOUR_MAP((1 + 0.8 * gain) / 2))
