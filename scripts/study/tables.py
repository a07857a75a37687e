# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The tables of a study, in Markdown."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import yaml

from ..utils.files import replacing
from .heading import core_hour, heading, interval
from .plan import Run, Study
from .results import CONFIDENCE, Findings

EXPLANATION = (
    f"Dice: mean over test cases, then subsets, then seeds; in brackets the {CONFIDENCE:.0%} confidence interval over "
    "seeds (Student's t). Differences are paired by seed; marked * where the interval does not hold 0. They say what "
    "another seed would give on these test cases, not what other test cases would give."
)
GAPS = (
    "Modality gap: distance between the modalities' mean features at the deepest encoder level, over the spread of the "
    "test cases around them. Of single voxels: their correlation between modalities (1: aligned), the distance of "
    "matched over that of mismatched voxels (0: aligned), and how often a linear probe tells the modality (at "
    "chance: aligned, or nothing but noise)."
)
FIGURES = {
    "primary.png": "Primary outcomes: difference from the first variant, with interval and p after Holm's correction",
    "dice.png": "Dice over the number of modalities shown, with intervals over seeds",
    "differences.png": "Difference in Dice from the first variant, over the number of modalities shown",
    "preference.png": "Distance, coefficient and alignment term of each modality over the epochs",
}
TITLES = {"num_modalities": "modalities shown", "subset": "the only one shown", "measure": "modality gap"}


def write_tables(path: Path, study: Study, findings: Findings, plan_file: str = "") -> Path:
    """Write ``results.md``: question and primary outcomes, figures, what was run, and tables of means and differences.

    The figures of the study that lie beside the file, see ``FIGURES``, are shown above the tables.

    Args:
        path: the file to write.
        study: the plan.
        findings: of its finished runs.
        plan_file: where the plan was read from, to be named.
    """
    parts = [
        f"# {study.about or path.parent.name}",
        *heading(study, findings),
        *(f"![{title}]({name})" for name, title in FIGURES.items() if (path.parent / name).is_file()),
        "## What was run",
        _plan(study),
        " ".join(filter(None, [_durations(findings.minutes), core_hour(findings.minutes, findings.records)])),
        _origin(list(findings.records.values())),
        *([f"The plan, in which the variants are explained: `{plan_file}`."] if plan_file else []),
        EXPLANATION,
        GAPS,
    ]
    parts += _views(study, findings.summaries)
    with replacing(path) as temporary:
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def _views(study: Study, summaries: Mapping[str, pd.DataFrame]) -> list[str]:
    """For each missing rates and each column: the means, and the differences from the first variant."""
    parts = []
    for rates, missing in study.missing_rates.items():
        shares = ", ".join(f"{name} {rate:.0%}" for name, rate in missing.items())
        for column, summary in summaries.items():
            rows = summary[summary["rates"] == rates]
            if rows.empty:
                continue
            parts += [f"## {rates} (missing in training: {shares}), by {TITLES[column]}"]
            parts += [markdown_table(rows, column, _mean_cell)]
            gains = rows[(rows["variant"] != study.baseline) & (rows["paired_seeds"] > 0)]
            if not gains.empty:
                parts += [f"Difference from `{study.baseline}`:", markdown_table(gains, column, _difference_cell)]
    return parts


def copy_tables(results: Path, target: Path) -> None:
    """Put a copy of ``results.md`` elsewhere, with its figures beside it: ``<target>_<figure>.png``.

    Args:
        results: of ``write_tables``.
        target: the Markdown file to write, e.g. ``docs/studies/passion.md``.

    Raises:
        ValueError: if ``target`` has another extension.
    """
    if target.suffix != ".md":
        raise ValueError(f"the copy of the results would be {target}; expected a Markdown file, e.g. {target}.md.")
    text = results.read_text(encoding="utf-8")
    for name in FIGURES:
        figure = results.with_name(name)
        if figure.is_file():
            copied = target.with_name(f"{target.stem}_{name}")
            with replacing(copied) as temporary:
                shutil.copyfile(figure, temporary)
            text = text.replace(f"]({name})", f"]({copied.name})")
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def markdown_table(rows: pd.DataFrame, column: str, cell: Callable[[pd.Series], str]) -> str:
    """Render a line for each value of ``column`` and variant, a column for each region."""
    regions, values, variants = (list(dict.fromkeys(rows[name])) for name in ("region", column, "variant"))
    lines = [f"| {TITLES[column]} | variant | seeds | " + " | ".join(map(_title, regions)) + " |"]
    lines.append("| --- | --- | --- |" + " --- |" * len(regions))
    for value in values:
        for variant in variants:
            found = rows[(rows[column] == value) & (rows["variant"] == variant)].set_index("region")
            if not found.empty:
                cells = [cell(found.loc[region]) if region in found.index else "" for region in regions]
                lines.append(f"| {value} | {variant} | {found['seeds'].max()} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _title(region: str) -> str:
    return region if region == "mean" else region.upper()


def _mean_cell(row: pd.Series) -> str:
    return f"{row['mean']:.3f}" + interval(row["low"], row["high"], "")


def _difference_cell(row: pd.Series) -> str:
    certain = "*" if row["difference_low"] > 0 or row["difference_high"] < 0 else ""
    return f"{row['difference']:+.3f}" + interval(row["difference_low"], row["difference_high"]) + certain


def _plan(study: Study) -> str:
    record = {name: value for name, value in study.record().items() if value}
    return "```yaml\n" + yaml.safe_dump(record, sort_keys=False, default_flow_style=None).strip() + "\n```"


def _durations(minutes: Mapping[Run, float]) -> str:
    by_variant: dict[str, list[float]] = {}
    for run, duration in minutes.items():
        by_variant.setdefault(run.variant, []).append(duration)
    each = ", ".join(f"{name} {median(found):.1f} ({len(found)})" for name, found in by_variant.items())
    heading = "Minutes for training and evaluation of one run, since it was last resumed, median (runs)"
    return f"{heading}: {each}; {sum(minutes.values()):.0f} in all."


def _origin(records: Sequence[Mapping[str, Any]]) -> str:
    """Say what the runs were made with."""
    commits = {
        (
            f"commit {each['git_commit'][:9]}{' with changes' * bool(each['git_changes'])}"
            if each["git_commit"]
            else "a copy without git"
        )
        for each in records
    }
    versions = {", ".join(f"{name} {number}" for name, number in each["versions"].items()) for each in records}
    machines = {f"{each['gpu'] or each['processor']}, {each['threads']} threads" for each in records}
    parts = [" / ".join(sorted(found)) for found in (commits, versions, machines)]
    return f"Made with {parts[0]}; {parts[1]}; on {parts[2]}."
