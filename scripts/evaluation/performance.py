# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The content of ``performance.json``: what weights reached on a data set, for every subset and region."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from types import NoneType
from typing import Any

import pandas as pd

from ..data.split import SECTIONS
from ..records.side_files import read_side_file, recorded_settings, side_file
from .monotonicity import modality_steps

PERFORMANCE_FILE = "performance.json"
METRIC = "dice"  # that an inference quotes
CONVENTIONS = ("empty_policy", "empty_policy_in_words", "surface", "surface_in_words")
STATISTICS = ("mean", "low", "high", "n")
NUMBER, MAYBE = (int, float), (int, float, NoneType)
EACH = "*"  # in place of any name
CELL = {"mean": MAYBE, "low": MAYBE, "high": MAYBE, "n": int}
SHAPE = {
    "date": str,
    "data_set": {"name": str, "synthetic": bool, "section": str},
    "num_cases": int,
    "num_failed": int,
    "settings": {},
    "per_subset": {EACH: {EACH: {EACH: CELL}}},
    "gains": {EACH: {EACH: {EACH: {"before": NUMBER, "after": NUMBER, "n": int}}}},
}


def performance_of(
    rows: pd.DataFrame, summary: Mapping[str, Any], data_set: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Put together what ``performance.json`` says beside the stamp of a side file.

    Args:
        rows: scores per case, as `scripts.evaluation.tables.read_scores` reads them.
        summary: of these rows, as `summary.json` holds it.
        data_set: as `scripts.data.description.describe_data` describes it.
        settings: name to value of what an inference must share for the numbers to hold, e.g. the voxel spacing.

    Returns:
        ready for JSON; ``per_subset[subset][region][metric]`` has ``mean``, ``low``, ``high`` (95 % interval of the
        mean, ``None`` where there is none) and ``n``; ``gains`` is that of `gains_of`.
    """
    return {
        "data_set": dict(data_set),
        "num_cases": summary["num_cases"],
        "num_failed": len(summary["failed_cases"]),
        "conventions": {name: summary.get(name) for name in CONVENTIONS},
        "settings": dict(settings),
        **{name: summary[name] for name in ("modalities", "regions", "metrics")},
        "per_subset": {
            subset: {
                region: {metric: {name: cell.get(name) for name in STATISTICS} for metric, cell in metrics.items()}
                for region, metrics in regions.items()
            }
            for subset, regions in summary["per_subset"].items()
        },
        "gains": gains_of(rows),
    }


def amounts_of(content: Mapping[str, Any]) -> dict[str, int]:
    """Say of how much an evaluation is, by which a smaller one is told from a larger one."""
    return {"cases": content["num_cases"], "subsets": len(content["per_subset"])}


def eval_metrics(record: Mapping[str, Any] | None) -> dict[str, Any]:
    """Say in short what weights reached, as ``eval_metrics`` of a bundle's metadata.

    Args:
        record: content of ``performance.json``; ``None`` without one.

    Returns:
        on what was measured, and the mean Dice of each region with all modalities, rounded to four digits; empty
        where there is none.
    """
    if record is None:
        return {}
    complete = record["per_subset"].get("+".join(record.get("modalities", [])), {})
    dice = {region: metrics[METRIC]["mean"] for region, metrics in complete.items() if METRIC in metrics}
    means = {f"{METRIC}_{region}": round(mean, 4) for region, mean in dice.items() if mean is not None}
    return {"measured_on": measured_on(record), **means} if means else {}


def gains_of(rows: pd.DataFrame) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Compare each subset with itself and one modality more, over the cases that were scored with both.

    Returns:
        ``[subset][added modality][region]``: mean Dice ``before`` and ``after``, over ``n`` cases. Pairs that no case
        has are left out, and so are undefined scores.
    """
    gains: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for (subset, added, region), pairs in modality_steps(rows, METRIC).groupby(["subset", "added", "region"]):
        means = {name: float(pairs[name].mean()) for name in ("before", "after")}
        gains.setdefault(subset, {}).setdefault(added, {})[region] = {**means, "n": len(pairs)}
    return gains


def counted(number: int, thing: str) -> str:
    """Write a number of things, e.g. ``1 case`` or ``2 cases``."""
    return f"{number} {thing}" + ("" if number == 1 else "s")


def measured_on(performance: Mapping[str, Any]) -> str:
    """Say in words on what and when figures were measured."""
    data_set, failed = performance["data_set"], performance["num_failed"]
    parts = [
        data_set["name"] + (", not on patients" if data_set["synthetic"] else ""),
        f"section {data_set['section']}"
        + (", which the network may have learned from: expect less" if data_set["section"] == SECTIONS[0] else ""),
        counted(performance["num_cases"], "case") + (f" and {failed} that failed" if failed else ""),
        performance["date"][:10],
    ]
    return "; ".join(parts)


def read_performance(model_file: str | Path) -> dict[str, Any] | None:
    """Read the ``performance.json`` of weights; ``None`` where there is none.

    Raises:
        ValueError: if it cannot be read, was made with other weights, or is not of the expected shape.
    """
    content = read_side_file(model_file, PERFORMANCE_FILE)
    if content is not None:
        problem = misfit(content, SHAPE)
        if problem:
            raise ValueError(f"{side_file(model_file, PERFORMANCE_FILE)} is damaged: {problem}; evaluate again.")
    return content


def evaluated_with(model_file: str | Path, otherwise: Mapping[str, Any]) -> dict[str, Any]:
    """Say with which settings weights were evaluated, so that inference takes the same and their figures hold.

    What is wrong with the file says whoever quotes its figures, ``ExpectedPerformance``.

    Args:
        model_file: need not exist.
        otherwise: name to value of each setting, where there is no ``performance.json`` or it does not say.
    """
    return recorded_settings(read_performance, model_file, otherwise, logging.DEBUG)


def misfit(value: Any, shape: Any, place: str = "the file") -> str | None:
    """Say where a value is not of a shape: a type, several of them, or a dictionary of shapes by name."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"`{place}` is of type {type(value).__name__}; expected names and values"
        missing = [name for name in shape if name not in (EACH, *value)]
        if missing:
            return f"`{place}` lacks {missing}"
        expected = dict.fromkeys(value, shape[EACH]) if EACH in shape else shape
        problems = (misfit(value[name], each, f"{place}::{name}") for name, each in expected.items())
        return next((problem for problem in problems if problem), None)
    if not isinstance(value, shape) or (isinstance(value, float) and not isfinite(value)):
        kinds = shape if isinstance(shape, tuple) else (shape,)
        return f"`{place}` is {value!r}; expected {' or '.join(kind.__name__ for kind in kinds)}"
    return None
