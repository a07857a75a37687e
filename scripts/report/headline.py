# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What a report says first: what was evaluated on what, the main numbers, what stands out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..evaluation.origin import origin_in_words
from ..metrics.undefined import mean_of_defined
from ..records.side_files import SHOWN
from .inputs import Evaluation, is_plain
from .numbers import interval, number, title_of
from .provenance import target_name


class Card(NamedTuple):
    """The main numbers of a region.

    Attributes:
        region: its name.
        overall: mean Dice over all subsets.
        overall_interval: of it; empty if there is none.
        complete: mean Dice from all modalities.
        complete_interval: of it.
        others: title and mean over all subsets of every other metric.
    """

    region: str
    overall: str
    overall_interval: str
    complete: str
    complete_interval: str
    others: list[tuple[str, str]]


def page_title(evaluation: Evaluation) -> str:
    """Name the network, or the folder where that is not known."""
    network = target_name(evaluation.run.config.get("network_def")) or evaluation.run.folder.resolve().name
    return f"{network}, segmentation from incomplete modalities"


def head(evaluation: Evaluation) -> dict[str, Any]:
    """Say what was evaluated on what; ``synthetic`` is ``None`` where nobody recorded it."""
    config, summary = evaluation.run.config, evaluation.summary
    config = {name: value for name, value in config.items() if is_plain(value)}  # what else would have to be resolved
    data_set, weights = evaluation.settings.get("data_set") or {}, evaluation.weights
    folder, known = config.get("dataset_dir"), "trained_on" in weights
    return {
        "data": data_set.get("name") or (Path(folder).name if folder else ""),
        "section": data_set.get("section") or config.get("evaluated_section") or "",
        "synthetic": data_set.get("synthetic"),
        "weights": origin_in_words(weights) if known else Path(config.get("model_file") or "").name,
        "sha256": weights.get("sha256", "")[:SHOWN],
        "date": (evaluation.run.record.get("started") or "")[:10],
        "subsets": len(summary["per_subset"]),
        "failed": summary.get("failed_cases") or {},
        "unlabelled": summary.get("unlabelled_cases") or [],
    }


def cards(summary: Mapping[str, Any]) -> list[Card]:
    """Give the main numbers of each region; none where no case was scored."""
    return [_card(summary, region) for region in summary["regions"] if region in summary["overall"]]


def _card(summary: Mapping[str, Any], region: str) -> Card:
    overall = summary["overall"][region]
    complete = summary["per_subset"].get("+".join(summary["modalities"]), {}).get(region, {})
    dice, of_complete = (each.get("dice") or {} for each in (overall, complete))
    return Card(
        region=region,
        overall=number(dice.get("mean"), "dice"),
        overall_interval=interval(dice, "dice"),
        complete=number(of_complete.get("mean"), "dice"),
        complete_interval=interval(of_complete, "dice"),
        others=[(title_of(name), number(each["mean"], name)) for name, each in overall.items() if name != "dice"],
    )


def subset_means(evaluation: Evaluation) -> dict[str, float]:
    """Average the mean Dice of each subset over the regions; a subset without any is left out."""
    values: dict[str, list[float]] = {}
    for (subset, _), mean in _defined(evaluation).items():
        values.setdefault(subset, []).append(mean)
    means = {subset: mean_of_defined(of_regions) for subset, of_regions in values.items()}
    return {subset: mean for subset, mean in means.items() if mean is not None}


def remarks(evaluation: Evaluation) -> list[str]:
    """Say in words what a reader would look for first: the best and worst single modality, the lowest number."""
    means, defined = subset_means(evaluation), _defined(evaluation)
    single = sorted((name for name in means if "+" not in name), key=means.__getitem__)
    found = []
    if len(single) > 1:
        worst, best = single[0], single[-1]
        found.append(
            f"One modality alone: best {best} (mean Dice over the regions {means[best]:.2f}), worst {worst} "
            f"({means[worst]:.2f})."
        )
    if len(defined) > 1:
        subset, region = min(defined, key=defined.__getitem__)
        names = subset.replace("+", " + ")
        found.append(f"Lowest of all: {region.upper()} from {names}, mean Dice {defined[subset, region]:.2f}.")
    return found


def _defined(evaluation: Evaluation) -> dict[tuple[str, str], float]:
    """Look up the mean Dice of each subset and region that has one."""
    entries = {
        (subset, region): statistics.get(region, {}).get("dice") or {}
        for subset, statistics in evaluation.summary["per_subset"].items()
        for region in evaluation.regions
    }
    return {key: entry["mean"] for key, entry in entries.items() if entry.get("mean") is not None}
