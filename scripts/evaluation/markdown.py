# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Tables for people: padded Markdown with dots for the modalities shown, and the summary of an evaluation in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..utils.files import replacing, write_json
from .descriptions import UNDEFINED, Metric, metric_of

COUNTING = (
    "n: cases with that subset; in rows of several subsets, pairs of case and subset. "
    "A cell behind which fewer values are defined says so."
)
LEGEND = "● shown, ○ not shown"


def padded(table: Sequence[Sequence[str]]) -> list[str]:
    """Lay out a header and rows of cells as Markdown, columns padded so that the raw text reads well too."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    header, *rows = table
    lines = [header, ["-" * width for width in widths], *rows]
    cells = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in lines)
    return ["| " + " | ".join(row) + " |" for row in cells]


def subset_cells(subset: str, modalities: Sequence[str]) -> list[str]:
    """Begin a row of a subset: the number of its modalities, and a dot for each that there is."""
    names = subset.split("+")
    return [str(len(names)), *("●" if name in names else "○" for name in modalities)]


def convention_lines(found: Mapping[str, Any]) -> list[str]:
    """Write what `conventions` says."""
    return [
        f"- Empty masks, policy `{found['empty_policy']}`: {found['empty_policy_in_words'] or 'no words'}.",
        f"- HD95, convention `{found['surface']}`: {found['surface_in_words'] or 'not described'}.",
        *(f"- {region.upper()}: {words}." for region, words in found["regions_in_words"].items()),
    ]


def markdown_table(summary: Mapping[str, Any]) -> str:
    """Render a summary of `summarise` for people: conventions, cases left out, a table for each metric."""
    lines = ["# Scores per subset of modalities", ""]
    if summary["num_cases"]:
        lines += [*convention_lines(summary), f"- {summary['averaging']}", f"- {summary['intervals']}", f"- {COUNTING}"]
    lines += _case_lines(summary)
    lines += [f"- Weights: {summary['weights']['in_words']}."] if "weights" in summary else []
    if summary["num_cases"]:
        lines += ["", LEGEND]
    for name in summary["metrics"]:
        metric, words = metric_of(name), summary["metrics_in_words"][name]
        lines += ["", f"## {metric.title}", "", *([f"{words}.", ""] if words else []), *_table_lines(summary, name)]
    return "\n".join(lines) + "\n"


def _case_lines(summary: Mapping[str, Any]) -> list[str]:
    """Count the cases, and name those without scores."""
    failed, unlabelled = summary["failed_cases"], summary["unlabelled_cases"]
    counts = f"- Cases scored: {summary['num_cases']}. Cases failed: {len(failed)}."
    lines = [f"{counts} Cases without a label, not scored: {len(unlabelled)}."]
    lines += [f"  - `{case}`: {' '.join(reason.split())}" for case, reason in failed.items()]
    if unlabelled:
        lines.append("  - without a label: " + ", ".join(f"`{case}`" for case in unlabelled))
    return lines


def _table_lines(summary: Mapping[str, Any], metric: str) -> list[str]:
    """Lay out one metric: a row for each subset and average, a column for each region."""
    modalities = summary["modalities"]
    regions = [region for region in summary["regions"] if metric in summary["overall"][region]]
    rows = [(subset_cells(subset, modalities), cells) for subset, cells in summary["per_subset"].items()]
    blank = [""] * len(modalities)
    rows += [([f"mean of {size}", *blank], cells) for size, cells in summary["per_num_modalities"].items()]
    rows.append((["overall", *blank], summary["overall"]))
    table = [["modalities", *modalities, *map(str.upper, regions), "n"]]
    for start, statistics in rows:
        entries = [statistics.get(region, {}).get(metric) for region in regions]
        count = max((entry["n"] + entry["num_nan"] for entry in entries if entry), default=0)
        table.append([*start, *(_cell(entry, count, metric_of(metric)) for entry in entries), str(count)])
    return padded(table)


def _cell(entry: Mapping[str, Any] | None, count: int, metric: Metric) -> str:
    """Write ``mean ± sd [low, high]``; a cell of fewer values than the row's count carries its own."""
    if entry is None or entry["mean"] is None:
        return "undefined" if entry else UNDEFINED
    spread = "" if entry["sd"] is None else f" ± {metric.text(entry['sd'])}"
    interval = "" if entry["low"] is None else f" [{metric.text(entry['low'])}, {metric.text(entry['high'])}]"
    fewer = "" if entry["n"] == count else f" (n={entry['n']})"
    return f"{metric.text(entry['mean'])}{spread}{interval}{fewer}"


def write_summary(summary: Mapping[str, Any], json_path: str | Path, markdown_path: str | Path) -> None:
    """Write a summary as JSON and as Markdown; each file appears whole or not at all."""
    write_json(json_path, summary)
    with replacing(markdown_path) as temporary:
        temporary.write_text(markdown_table(summary), encoding="utf-8")
