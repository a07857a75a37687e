# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Tables of scores: tidy rows per case, their summary, its rendering for people."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from contextlib import AbstractContextManager
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd

from ..files import replacing, write_json
from .empty_policy import EMPTY_POLICIES, empty_policy
from .scores import HD95_FROM_DISTANCES, Scores

COLUMNS = ("case", "subset", "num_modalities", "region", "metric", "value", "empty_policy", "surface")
METRIC_TITLES = {"dice": "Dice", "hd95": "HD95 [mm]"}
METRIC_DECIMALS = {"dice": 3, "hd95": 2}
SURFACES_IN_WORDS = {
    "monai": "larger of the two directed 95th percentiles (MONAI, BraTS)",
    "pooled": "95th percentile of both directions pooled (medpy, published PASSION numbers)",
}
AVERAGING = (
    "Each row of a subset is the mean over its cases. Rows of several subsets are the mean over those subsets' means, "
    "so that every subset weighs the same however many cases have it (cases first, then subsets, as in the "
    "literature). ± is the standard deviation (n - 1) of all single scores behind the row."
)
COUNTING = (
    "n: cases with that subset; in rows of several subsets, pairs of case and subset. "
    "A cell behind which fewer values are defined says so."
)


class ScoreWriter(AbstractContextManager):
    """Append the scores of one case after the other to a CSV file, each case on disk before the next begins.

    One row per case, subset, region and metric. The file is plain CSV without comment lines, which pandas and Excel
    both open as it is; the empty-mask policy and the HD95 convention are columns rather than a file beside it, so no
    number can be parted from them by copying, filtering or joining files. Undefined values are written ``nan``.

    Args:
        path: the file to begin (an older one is replaced); its folder must exist.
        policy: name of the empty-mask policy the scores were made with.
        surface: name of the HD95 convention, as in `score_case`.

    Raises:
        ValueError: if a setting has an unknown name.
    """

    def __init__(self, path: str | Path, policy: str, surface: str = "monai") -> None:
        if surface not in HD95_FROM_DISTANCES:
            raise ValueError(f"`surface` is `{surface}`; expected one of {list(HD95_FROM_DISTANCES)}.")
        self.settings = (empty_policy(policy).name, surface)
        self.path = Path(path)
        self._file = self.path.open("w", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file)
        self._rows.writerow(COLUMNS)
        self._file.flush()

    def write_case(self, case: str, scores: Mapping[str, Scores]) -> None:
        """Append a finished case.

        Args:
            case: name of the case.
            scores: subset (modalities joined by ``+``) to the scores of `score_case`.
        """
        self._rows.writerows(
            (case, subset, len(subset.split("+")), region, metric, float(value), *self.settings)
            for subset, of_subset in scores.items()
            for (region, metric), value in of_subset.items()
        )
        self._file.flush()

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        self._file.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_scores(path: str | Path) -> pd.DataFrame:
    """Read a file of `ScoreWriter`; names stay text (``007`` keeps its zeros, a case may be called ``NA``)."""
    text = dict.fromkeys(("case", "subset", "region", "metric", "empty_policy", "surface"), str)
    return pd.read_csv(path, dtype=text, keep_default_na=False, na_values={"value": ["nan", "NaN", ""]})


def summarise(scores: str | Path | pd.DataFrame, failed_cases: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Reduce per-case rows to means, standard deviations and counts.

    Every number is recomputed from the rows. NaN values are left out of means and counted as ``num_nan``. A case that
    lacks modalities has rows for its own subsets only, so ``n`` differs between subsets. How averages over several
    subsets are formed is said in the entry ``averaging``.

    Args:
        scores: path of the CSV file, or its rows as `read_scores` returns them.
        failed_cases: case to reason, for those that could not be scored.

    Returns:
        JSON-ready dictionary; ``per_subset[subset][region][metric]``, ``per_num_modalities["1", ...][region][metric]``
        and ``overall[region][metric]`` hold ``mean``, ``sd`` (``None`` where there is none), ``n`` and ``num_nan``;
        the last two also ``num_subsets``.

    Raises:
        ValueError: if columns are missing, conventions are mixed, or a score is there twice.
    """
    rows = scores if isinstance(scores, pd.DataFrame) else read_scores(scores)
    _check_rows(rows)
    modalities = _modalities_in_order(rows["subset"].unique())
    by_size = rows.groupby("num_modalities")
    by_subset = dict(list(rows.groupby("subset", sort=False)))
    policy = rows["empty_policy"].iloc[0] if len(rows) else None
    surface = rows["surface"].iloc[0] if len(rows) else None
    return {
        "empty_policy": policy,
        "empty_policy_in_words": EMPTY_POLICIES[policy].in_words() if policy in EMPTY_POLICIES else None,
        "surface": surface,
        "surface_in_words": SURFACES_IN_WORDS.get(surface),
        "averaging": AVERAGING,
        "num_cases": int(rows["case"].nunique()),
        "failed_cases": dict(failed_cases or {}),
        "modalities": modalities,
        "regions": rows["region"].unique().tolist(),
        "metrics": rows["metric"].unique().tolist(),
        "per_subset": {subset: _statistics(by_subset[subset]) for subset in _subsets_in_order(by_subset, modalities)},
        "per_num_modalities": {str(size): _statistics(group, over_subsets=True) for size, group in by_size},
        "overall": _statistics(rows, over_subsets=True),
    }


def _check_rows(rows: pd.DataFrame) -> None:
    """Refuse rows whose averages would mean nothing."""
    missing = [column for column in COLUMNS if column not in rows]
    if missing:
        raise ValueError(
            f"the per-case scores lack the columns {missing}; expected {list(COLUMNS)}, as `ScoreWriter` writes."
        )
    for column in ("empty_policy", "surface"):
        found = rows[column].unique().tolist()
        if len(found) > 1:
            raise ValueError(f"the per-case scores mix values of `{column}`: {found}; averages need exactly one.")
    key = ["case", "subset", "region", "metric"]
    twice = rows[rows.duplicated(key)]
    if len(twice):
        raise ValueError(
            f"{len(twice)} scores are there more than once, the first is {dict(twice.iloc[0][key])}; "
            "expected one row per case, subset, region and metric. Were two evaluations joined?"
        )


def _statistics(rows: pd.DataFrame, over_subsets: bool = False) -> dict[str, dict[str, dict[str, Any]]]:
    """Reduce rows to ``[region][metric]`` statistics; over subsets, the mean is the mean of the subsets' means."""
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for (region, metric), group in rows.groupby(["region", "metric"], sort=False):
        values = group["value"].dropna()
        entry: dict[str, Any] = {"mean": values.mean(), "sd": values.std(ddof=1)}
        entry |= {"n": int(values.size), "num_nan": int(group["value"].isna().sum())}
        if over_subsets:
            means = group.groupby("subset")["value"].mean().dropna()
            entry |= {"mean": means.mean(), "num_subsets": int(means.size)}
        defined = {name: None if pd.isna(entry[name]) else float(entry[name]) for name in ("mean", "sd")}
        table.setdefault(region, {})[metric] = entry | defined
    return table


def _modalities_in_order(subsets: Any) -> list[str]:
    """Recover the configured order of the modalities from the subsets' names, each of which keeps it.

    Two modalities that never occur together are ordered by first appearance.
    """
    before: dict[str, list[str]] = {}
    for subset in subsets:
        names = subset.split("+")
        for i, name in enumerate(names):
            before.setdefault(name, []).extend(names[:i])
    try:
        return list(TopologicalSorter(before).static_order())
    except CycleError as error:
        raise ValueError(f"subsets order their modalities in different ways: {error.args[1]}; expected one.") from error


def _subsets_in_order(subsets: Any, modalities: list[str]) -> list[str]:
    """Sort subsets as `modality_subsets` enumerates them: smallest first, then by the place of their modalities."""
    places = {subset: [modalities.index(name) for name in subset.split("+")] for subset in subsets}
    return sorted(places, key=lambda subset: (len(places[subset]), places[subset]))


def markdown_table(summary: Mapping[str, Any]) -> str:
    """Render a summary of `summarise` for people: conventions, failed cases, one table with a row per subset."""
    lines = ["# Scores per subset of modalities", ""]
    if summary["num_cases"]:
        lines += [
            f"- Empty masks, policy `{summary['empty_policy']}`: {summary['empty_policy_in_words'] or 'no words'}.",
            f"- HD95, convention `{summary['surface']}`: {summary['surface_in_words'] or 'not described'}.",
            f"- {summary['averaging']}",
            f"- {COUNTING}",
        ]
    lines.append(f"- Cases scored: {summary['num_cases']}. Cases failed: {len(summary['failed_cases'])}.")
    lines += [f"  - `{case}`: {' '.join(reason.split())}" for case, reason in summary["failed_cases"].items()]
    if summary["num_cases"]:
        lines += ["", "● shown, ○ not shown", "", *_table_lines(summary)]
    return "\n".join(lines) + "\n"


def _table_lines(summary: Mapping[str, Any]) -> list[str]:
    """Lay out the table's lines, columns padded so that the raw text reads well too."""
    modalities = summary["modalities"]
    columns = [(region, metric) for metric in summary["metrics"] for region in summary["regions"]]
    titles = [f"{METRIC_TITLES.get(metric, metric)} {region.upper()}" for region, metric in columns]
    table = [["modalities", *modalities, "n", *titles]]
    for subset, statistics in summary["per_subset"].items():
        shown = subset.split("+")
        dots = ["●" if name in shown else "○" for name in modalities]
        table.append([str(len(shown)), *dots, *_cells(statistics, columns)])
    blank = [""] * len(modalities)
    for size, statistics in summary["per_num_modalities"].items():
        table.append([f"mean of {size}", *blank, *_cells(statistics, columns)])
    table.append(["overall", *blank, *_cells(summary["overall"], columns)])
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    table.insert(1, ["-" * width for width in widths])
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in table]
    return ["| " + " | ".join(row) + " |" for row in padded]


def _cells(statistics: Mapping[str, Any], columns: list[tuple[str, str]]) -> list[str]:
    """Write the count of a row, then its ``mean ± sd`` cells; a cell of fewer values carries its own count."""
    entries = [statistics.get(region, {}).get(metric) for region, metric in columns]
    count = max(entry["n"] + entry["num_nan"] for entry in entries if entry)
    cells = [str(count)]
    for (_, metric), entry in zip(columns, entries, strict=True):
        if entry is None or entry["mean"] is None:
            cells.append("undefined" if entry else "-")
            continue
        decimals = METRIC_DECIMALS.get(metric, 3)
        spread = "" if entry["sd"] is None else f" ± {entry['sd']:.{decimals}f}"
        fewer = "" if entry["n"] == count else f" (n={entry['n']})"
        cells.append(f"{entry['mean']:.{decimals}f}{spread}{fewer}")
    return cells


def write_summary(summary: Mapping[str, Any], json_path: str | Path, markdown_path: str | Path) -> None:
    """Write a summary as JSON and as a Markdown table; each file appears whole or not at all."""
    write_json(json_path, summary)
    with replacing(markdown_path) as temporary:
        temporary.write_text(markdown_table(summary), encoding="utf-8")
