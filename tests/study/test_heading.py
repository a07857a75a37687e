# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pandas as pd
import pytest

from scripts.study.heading import core_hour, heading, outcome_name, p_value
from scripts.study.plan import ALL, Outcome, Run, Study, Variant
from scripts.study.results import Findings, gap_ratios, primary_comparisons

VARIANTS = {"plain": Variant(), "good": Variant(about="better | by much"), "few": Variant(seeds=[0, 1])}
GAINS = {"plain": (0, 0, 0, 0), "good": (0.10, 0.11, 0.12, 0.11), "few": (0.1, -0.2)}
NO_GAPS = pd.DataFrame(columns=["rates", "variant", "seed", "measure", "value"])


def study_of(**changes):
    plan = {"question": "Is it better?", "outcomes": [Outcome(ALL)], "variants": VARIANTS}
    return Study(**{"missing_rates": {"mr": {"t1": 0.2, "t2": 0.8}}, "seeds": [0, 1, 2, 3], **plan, **changes})


def head(study, finished=lambda run: True, gaps=NO_GAPS):
    """The heading of a study of which these runs are finished, in one text."""
    runs = [run for run in study.runs() if finished(run)]
    rows = [(run.rates, run.variant, run.seed, ALL, "mean", 0.5 + GAINS[run.variant][run.seed]) for run in runs]
    per_seed = pd.DataFrame(rows, columns=["rates", "variant", "seed", "num_modalities", "region", "value"])
    ratios = gap_ratios(gaps, study.baseline)
    findings = Findings({}, primary_comparisons(per_seed, study), ratios, dict.fromkeys(runs, 6.0), {})
    return "\n\n".join(heading(study, findings))


def row_of(text, variant, columns):
    """Cells of the line of a variant, in the table that has so many columns."""
    lines = [line[2:-2].split(" | ") for line in text.splitlines() if f"| {variant} |" in line]
    return next(cells for cells in lines if len(cells) == columns)


def test_question_outcome_and_test_come_first():
    question, outcomes, test = head(study_of()).split("\n\n")[:3]
    assert question == "**Question.** Is it better?"
    assert outcomes == "**Primary outcomes.** Mean Dice of all regions, all combinations."
    assert test == (
        "**Test.** Each variant against `plain`, paired by seed, 4 seeds: paired t-test, two-sided, at 0.05 after "
        "Holm's correction over 2 comparisons."
    )


def test_ranks_that_cannot_decide_are_said_to():
    # the smallest p of n ranks is 2 / 2^n: for two comparisons 0.25 of four seeds, and 0.031 of seven
    assert "Wilcoxon's signed ranks, two-sided, at 0.05 after" in head(study_of(test="wilcoxon"))
    assert "With so few seeds it cannot bring p below 0.05: at best to 0.25." in head(study_of(test="wilcoxon"))
    assert "so few" not in head(study_of(test="wilcoxon", seeds=range(7)), lambda run: False)
    assert "so few" not in head(study_of())


def test_a_plan_without_a_question_is_said_to_decide_nothing():
    assert head(study_of(question="")).startswith(
        "**Question.** The plan states none: the comparisons below decide noth"
    )


def test_an_unfinished_study_says_how_far_it_is_and_marks_nothing():
    text = head(study_of(), lambda run: run.variant != "few" and run.seed < 3)
    assert (
        "**Progress.** 6 of 10 runs finished; the baseline has 3 of 4 seeds. No finished run yet: `few`. Nothing here "
        "is a result before all are there."
    ) in text
    assert "Planned: 2 comparisons. Made: 1 test so far. Seeds are missing: these are looks before the end" in text
    assert "| good | 3 of 4 | better \\| by much |" in text
    assert row_of(text, "few", 3)[:2] == ["few", "0 of 2"]
    cells = row_of(text, "good", 10)
    assert cells[3] == "3 of 4" and float(cells[7]) < 0.05, "p is small, with fewer seeds than planned"
    assert row_of(text, "few", 10)[3] == "0 of 2"


def test_a_finished_study_marks_what_is_below_alpha_and_counts_it():
    text = head(study_of())
    assert "**Progress.** 10 of 10 runs finished; the baseline has 4 of 4 seeds.\n" in text
    assert (
        "Planned: 2 comparisons. Made: 2 tests, 1 of them with p below 0.05 after Holm's correction, marked *." in text
    )
    good, few = (row_of(text, name, 10) for name in ("good", "few"))
    # differences 10, 11, 12 and 11 hundredths: mean 11, SD sqrt(2 / 3); t = 11 / (sqrt(2 / 3) / 2) = 26.9
    assert good[3:6] == ["4 of 4", "+0.110 [+0.097, +0.123]", "+13.47"]
    assert good[6:9] == ["<0.001", "<0.001*", "4 of 4"]
    assert few[3] == "2 of 2" and "*" not in few[7] and few[8] == "1 of 2"


def test_a_mark_waits_for_the_rest_of_the_family():
    """The corrected p of a whole comparison may still rise, with the ranks of the others."""
    text = head(study_of(), lambda run: run.variant != "few" or run.seed == 0)
    assert row_of(text, "good", 10)[3] == "4 of 4" and "*" not in row_of(text, "good", 10)[7]


def test_the_gap_over_that_of_the_baseline_is_counted_by_seeds():
    values = {("plain", 0): 4.0, ("plain", 1): 4.0, ("good", 0): 2.0, ("good", 1): 2.1}
    gaps = pd.DataFrame([("mr", *run, "of_some_kind", value) for run, value in values.items()], columns=NO_GAPS.columns)
    text = head(study_of(), gaps=gaps)
    assert "| missing rates | measure | variant | seed 0 | seed 1 | falls by at least half in |" in text
    assert "| mr | of_some_kind | good | 0.50 | 0.53 | 1 of 2 seeds |" in text
    assert "Modality gap" not in head(study_of()), "nothing was measured"


def test_a_study_of_one_variant_has_nothing_to_compare():
    assert "## Primary outcomes" not in head(study_of(variants={"plain": Variant()}))


def test_a_core_hour_is_minutes_times_threads_of_the_runs_that_have_a_record():
    one, two, three = (Run("mr", "plain", seed) for seed in range(3))
    minutes, records = {one: 10.0, two: 25.0, three: 99.0}, {one: {"threads": 2}, two: {"threads": 4}}
    # 10 * 2 + 25 * 4 = 120 minutes of a core, for two runs
    assert core_hour(minutes, records) == "One core hour gives 1 runs (2.0 core hours: minutes x threads)."
    assert core_hour(minutes, {}) == ""


@pytest.mark.parametrize(("p", "text"), [(0.0004, "<0.001"), (0.0123, "0.012"), (1.0, "1.000"), (float("nan"), "")])
def test_p_is_written_with_three_digits(p, text):
    assert p_value(p) == text


def test_an_outcome_has_a_name():
    assert outcome_name(1, "wt") == "Dice of WT, 1 modality shown"
    assert outcome_name(3, "mean") == "mean Dice of all regions, 3 modalities shown"
