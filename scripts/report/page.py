# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a run: one HTML file that needs nothing beside itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..drawing.figures import class_colour, class_names
from ..evaluation.descriptions import tissue_names
from ..evaluation.markdown import COUNTING
from .curves import curve_sections
from .differences import COLOUR_MAP as DIFFERENCE_COLOURS
from .differences import difference_map, monotonicity_table
from .figures import NAMED_CASES, draw_by_number, draw_curves, draw_strips
from .headline import cards, head, page_title, remarks, subset_means
from .inputs import Evaluation, Run, Training
from .numbers import Table, cases_from_worst, gradient, heat_maps, number, title_of
from .pictures import CasePictures, case_pictures, choose_cases
from .provenance import Provenance, provenance, relation
from .svg import inline, page_style

TEMPLATES = Path(__file__).with_name("templates")
LISTED_CASES = 5  # in the table of the worst


class Figure(NamedTuple):
    """A drawn figure: its title and its markup."""

    title: str
    svg: Markup


def build(
    evaluation: Evaluation,
    training: Training | None = None,
    monotonicity: pd.DataFrame | None = None,
    comparison: pd.DataFrame | None = None,
) -> str:
    """Write the report of an evaluation as HTML; what is not there leaves out its section with a sentence.

    Args:
        evaluation: what it reports.
        training: the training of the network that was evaluated.
        monotonicity: how often one modality more lowers Dice, see ``differences.monotonicity_table``.
        comparison: differences from another run, see ``differences.difference_map``.

    Raises:
        ValueError: if the training made other weights.
    """
    summary = evaluation.summary
    with page_style():
        figures = {"by_number": _by_number(summary), "curves": [] if training is None else _curves(training)}
        cases = _cases(evaluation)
    content = {
        "title": page_title(evaluation),
        "head": head(evaluation),
        "cards": cards(summary),
        "remarks": remarks(evaluation),
        "summary": summary,
        "heat_maps": heat_maps(summary) if summary["num_cases"] else [],
        "gradient": Markup(gradient()),
        **figures,
        **cases,
        "classes": _classes(evaluation.run),
        "monotonicity": None if monotonicity is None else monotonicity_table(monotonicity),
        "comparison": None if comparison is None else difference_map(comparison, summary["modalities"]),
        "difference_gradient": Markup(gradient(DIFFERENCE_COLOURS)),
        "training": None if training is None else relation(training, evaluation),
        "gap": evaluation.gap,
        "runs": _runs(evaluation, training),
        "conventions": _conventions(summary),
    }
    return _environment().get_template("report.html").render(content)


def _environment() -> Environment:
    """Fill templates strictly: what they name and nobody gives is an error."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _cases(evaluation: Evaluation) -> dict[str, Any]:
    """Show every case: strips, the table of the worst, pictures."""
    order = cases_from_worst(evaluation.dice, evaluation.regions)
    names = list(order.index)
    return {
        "strips": _strips(evaluation, names),
        "worst_table": _worst_table(evaluation, order),
        "pictures": _pictures(evaluation, [case for case in names if case in evaluation.slices]),
    }


def _by_number(summary: Mapping[str, Any]) -> Figure | None:
    if len(summary["per_num_modalities"]) < 2:
        return None
    label = "Curves of each metric over the number of modalities shown, a line for each region"
    return Figure("", inline(draw_by_number(summary), label, "by-number"))


def _strips(evaluation: Evaluation, order: list[str]) -> Figure | None:
    if len(order) < 2:
        return None
    worst = order[: min(NAMED_CASES, len(order) - 1)]
    label = (
        f"Dice of every case over the number of modalities shown, a panel for each region; worst: {', '.join(worst)}"
    )
    return Figure("", inline(draw_strips(evaluation.dice, evaluation.regions, worst), label, "strips"))


def _worst_table(evaluation: Evaluation, order: pd.DataFrame) -> Table | None:
    """List the lowest cases: mean Dice over their subsets, and where it is lowest."""
    if order.empty:
        return None
    regions = evaluation.regions
    dice = evaluation.dice[evaluation.dice["region"].isin(regions)].dropna(subset="value")
    rows = []
    for case, means in order.head(LISTED_CASES).iterrows():
        of_case = dice[dice["case"] == case]
        low = of_case.loc[of_case["value"].idxmin()]
        where = f"{low['region'].upper()} from {low['subset'].replace('+', ' + ')}: {number(low['value'], 'dice')}"
        rows.append([case, *(number(means[name], "dice") for name in ["mean", *regions]), where])
    caption = f"The {len(rows)} lowest of {len(order)} cases: mean Dice over all of their subsets"
    columns = ["case", "mean", *(region.upper() for region in regions), "lowest"]
    return Table(caption if len(order) > 1 else "Mean Dice over all subsets", columns, rows)


def _pictures(evaluation: Evaluation, order: list[str]) -> list[CasePictures]:
    if not order:
        return []
    means, chosen = subset_means(evaluation), choose_cases(order).items()
    dice = evaluation.dice[evaluation.dice["region"].isin(evaluation.regions)]
    return [case_pictures(title, case, evaluation.slices[case], dice, means) for title, case in chosen]


def _classes(run: Run) -> list[tuple[str, str]]:
    """Name the classes of the pictures with their colours; none where the configuration does not say."""
    regions, num_classes = run.config.get("regions"), run.config.get("num_classes")
    if not (isinstance(regions, dict) and isinstance(num_classes, int)):
        return []
    labels = run.record.get("data", {}).get("labels") or [run.config.get("label_convention", "")]
    names = class_names(regions, num_classes, tissue_names(labels))
    return [(name, class_colour(value)) for value, name in names.items()]


def _curves(training: Training) -> list[Figure]:
    return [
        Figure(title, inline(draw_curves(training.scalars, groups), f"{title}: {', '.join(groups)}", f"curves{place}"))
        for place, (title, groups) in enumerate(curve_sections(training.scalars["tag"]).items())
    ]


def _runs(evaluation: Evaluation, training: Training | None) -> list[Provenance]:
    if training is None:
        return [provenance("Evaluation", evaluation.run)]
    return [provenance("Training", training.run), provenance("Evaluation", evaluation.run, training.run.config)]


def _conventions(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """List the sentences of a summary with what they are about."""
    metrics = {title_of(name): words for name, words in summary.get("metrics_in_words", {}).items()}
    regions = {name.upper(): words for name, words in summary.get("regions_in_words", {}).items()}
    named = {
        f"Empty masks, policy {summary['empty_policy']}": summary.get("empty_policy_in_words"),
        f"HD95, convention {summary['surface']}": summary.get("surface_in_words"),
        **metrics,
        **regions,
        "Averages": summary.get("averaging"),
        "Intervals": summary.get("intervals"),
        "Counts": COUNTING,
    }
    return [(name, text) for name, text in named.items() if text]
