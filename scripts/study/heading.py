# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What stands first on the page of a study: what it asks, how far it has come, what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ..metrics.statistics import CONFIDENCE
from .plan import ALL, MEAN, PAIRED_T, WILCOXON, Run, Study
from .results import Findings

NAMES = {PAIRED_T: "paired t-test", WILCOXON: "Wilcoxon's signed ranks"}
LEGEND = (
    f"Difference: mean over seeds, with its {CONFIDENCE:.0%} interval (Student's t), not corrected. d_z: that mean "
    "over the standard deviation of the differences. p (Holm): corrected for all comparisons of this table; one that "
    "cannot be made yet counts as p = 1. Nothing else on this page is corrected: other "
    "tables raise questions, and answer none."
)
RATIOS = (
    "Each number is the variant's measure over that of the baseline with the same seed. Distances and ratios are to "
    "fall, a correlation is to rise. What the measures are is said below."
)


def heading(study: Study, findings: Findings) -> list[str]:
    """Give the paragraphs and tables: question, outcomes, test, progress, primary comparisons, modality gap."""
    return [
        _asked(study),
        _progress(study, list(findings.minutes)),
        _variants(study, list(findings.minutes)),
        *(_answered(study, findings.primary) if study.comparisons() else []),
        *_ratios(study, findings.ratios),
    ]


def _asked(study: Study) -> str:
    """State question, outcomes and test as the plan has them; without a question nothing was asked beforehand."""
    outcomes = "; ".join(outcome_name(each.num_modalities, each.region) for each in study.outcomes)
    family = len(study.comparisons())
    seeds = len(study.seeds_of(study.baseline))
    lines = [
        f"**Question.** {study.question.strip()}"
        if study.question
        else "**Question.** The plan states none: the comparisons below decide nothing.",
        f"**Primary outcomes.** {outcomes[0].upper()}{outcomes[1:]}.",
        f"**Test.** Each variant against `{study.baseline}`, paired by seed, {_number(seeds, 'seed')}: "
        f"{NAMES[study.test]}, two-sided, at {study.alpha:g} "
        f"after Holm's correction over {_number(family, 'comparison')}.",
    ]
    smallest = family * 2 * 0.5**seeds  # p (Holm) of ranks that all have one sign
    if study.test == WILCOXON and smallest >= study.alpha:
        lines[-1] += f" With so few seeds it cannot bring p below {study.alpha:g}: at best to {min(smallest, 1.0):.2g}."
    return "\n\n".join(lines)


def outcome_name(num_modalities: int | str, region: str) -> str:
    """Say what an outcome is: ``Dice of WT, all combinations``."""
    shown = "all combinations" if num_modalities == ALL else f"{_number(int(num_modalities), 'modality')} shown"
    return f"{'mean Dice of all regions' if region == MEAN else f'Dice of {region.upper()}'}, {shown}"


def _progress(study: Study, finished: Sequence[Run]) -> str:
    runs, baseline = study.runs(), study.baseline
    seeds = study.seeds_of(baseline)
    whole = [
        seed for seed in seeds if all(run in finished for run in runs if (run.variant, run.seed) == (baseline, seed))
    ]
    text = f"**Progress.** {len(finished)} of {len(runs)} runs finished; "
    text += f"the baseline has {len(whole)} of {_number(len(seeds), 'seed')}."
    without = [name for name in study.variants if name not in {run.variant for run in finished}]
    if without:
        text += f" No finished run yet: {', '.join(f'`{name}`' for name in without)}."
    return text + " Nothing here is a result before all are there." * (len(finished) < len(runs))


def _variants(study: Study, finished: Sequence[Run]) -> str:
    """Table of the variants: how many of their runs are finished, and what they are."""
    lines = ["| variant | runs finished | what it is |", "| --- | --- | --- |"]
    for name, variant in study.variants.items():
        planned, done = (sum(run.variant == name for run in runs) for runs in (study.runs(), finished))
        about = variant.about.strip().replace("|", "\\|") or ("the baseline" if name == study.baseline else "")
        lines.append(f"| {name} | {done} of {planned} | {about} |")
    return "\n".join(lines)


def _answered(study: Study, primary: pd.DataFrame) -> list[str]:
    columns = [
        "missing rates",
        "outcome",
        "variant",
        "seeds",
        "difference",
        "d_z",
        "p",
        "p (Holm)",
        "better in",
        "note",
    ]
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for _, row in primary.iterrows():
        cells = [
            *(row["rates"], outcome_name(row["num_modalities"], row["region"]), row["variant"]),
            f"{row['seeds']} of {row['planned_seeds']}",
            "" if pd.isna(row["difference"]) else f"{row['difference']:+.3f}" + interval(row["low"], row["high"]),
            "" if pd.isna(row["d_z"]) else f"{row['d_z']:+.2f}",
            p_value(row["p"]),
            p_value(row["p_holm"]) + "*" * bool(_whole(primary) and row["p_holm"] < study.alpha),
            f"{row['wins']} of {row['seeds']}" if row["seeds"] else "",
            row["note"],
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return ["## Primary outcomes", _made(study, primary), "\n".join(lines), LEGEND]


def _whole(primary: pd.DataFrame) -> bool:
    """Tell whether every comparison has all its seeds; before that any corrected p may still rise."""
    return bool((primary["seeds"] == primary["planned_seeds"]).all())


def _made(study: Study, primary: pd.DataFrame) -> str:
    """Say in words how many tests were planned and made, and what came out."""
    made, below = int(primary["p"].notna().sum()), int((primary["p_holm"] < study.alpha).sum())
    text = f"Planned: {_number(len(primary), 'comparison')}. Made: {_number(made, 'test')}"
    if _whole(primary):
        return f"{text}, {below} of them with p below {study.alpha:g} after Holm's correction, marked *."
    return (
        f"{text} so far. Seeds are missing: these are looks before the end, which no correction covers. None is marked."
    )


def _ratios(study: Study, ratios: pd.DataFrame) -> list[str]:
    """Table of the ratios of each measure, seed by seed, with how often it falls by at least half."""
    if ratios.empty:
        return []
    seeds = [seed for seed in study.seeds if seed in set(ratios["seed"])]
    columns = ["missing rates", "measure", "variant", *(f"seed {seed}" for seed in seeds), "falls by at least half in"]
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    order = list(dict.fromkeys(ratios["measure"]))
    ordered = ratios.sort_values("measure", key=lambda names: names.map(order.index), kind="stable")
    for (rates, measure, variant), rows in ordered.groupby(["rates", "measure", "variant"], sort=False):
        of_seed = rows.set_index("seed")["ratio"]
        cells = [f"{of_seed[seed]:.2f}" if seed in of_seed.index else "" for seed in seeds]
        halved = f"{int((of_seed <= 0.5).sum())} of {_number(len(of_seed), 'seed')}"
        lines.append("| " + " | ".join([rates, measure, variant, *cells, halved]) + " |")
    return [f"## Modality gap over that of `{study.baseline}`, seed by seed", RATIOS, "\n".join(lines)]


def core_hour(minutes: Mapping[Run, float], records: Mapping[Run, Mapping[str, Any]]) -> str:
    """Say how many runs an hour of one core gives, by minutes times threads of the runs that have a record."""
    known = {run: minutes[run] * records[run]["threads"] / 60 for run in minutes if run in records}
    hours = sum(known.values())
    return (
        f"One core hour gives {len(known) / hours:.2g} runs ({hours:.1f} core hours: minutes x threads)."
        if hours
        else ""
    )


def interval(low: float, high: float, sign: str = "+") -> str:
    """Write an interval behind its number; nothing where there is none."""
    return "" if pd.isna(low) else f" [{low:{sign}.3f}, {high:{sign}.3f}]"


def p_value(p: float) -> str:
    """Write p; nothing where there is none."""
    return "" if pd.isna(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def _number(count: int, name: str) -> str:
    plural = f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"
    return f"{count} {name if count == 1 else plural}"
