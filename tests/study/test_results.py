# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from statistics import fmean, stdev

import pandas as pd
import pytest
from scipy import stats

from scripts.evaluation.tables import ScoreWriter
from scripts.study import results
from scripts.study.plan import Outcome, Run, Study, Variant
from scripts.study.results import (
    collect_gaps,
    collect_scores,
    compare,
    gap_ratios,
    mean_interval,
    mean_per_modality,
    mean_per_seed,
    primary_comparisons,
)
from scripts.utils.files import write_json

NAN = math.nan
# Dice of two cases for each subset and region: the second case lacks ET, and T2
CASES = [
    {"t1": {"wt": 0.2, "et": 0.4}, "t2": {"wt": 0.6, "et": 0.1}, "t1+t2": {"wt": 0.9, "et": 0.5}},
    {"t1": {"wt": 0.4, "et": NAN}},
]


@pytest.fixture
def scores(tmp_path):
    """Score two variants with two seeds; the second variant is better by 0.1, with the second seed by 0.2."""
    folders = {}
    for variant, gains in (("without", (0, 0.05)), ("with", (0.1, 0.25))):
        for seed, gain in enumerate(gains):
            run = Run("mr", variant, seed)
            folders[run] = tmp_path / run.name
            folders[run].mkdir(parents=True)
            with ScoreWriter(folders[run] / "per_case.csv", "nan") as writer:
                for number, subsets in enumerate(CASES):
                    of_case = {
                        subset: {(region, "dice"): value + gain for region, value in regions.items()}
                        for subset, regions in subsets.items()
                    }
                    writer.write_case(f"case{number}", of_case)
    return collect_scores(folders)


def test_modality_gaps_are_compared_like_scores_and_what_is_not_defined_is_left_out(tmp_path):
    gaps = {("without", 0): 2.0, ("without", 1): 3.0, ("with", 0): 1.0, ("with", 1): None}
    folders = {Run("mr", variant, seed): tmp_path / f"{variant}{seed}" for variant, seed in gaps}
    for folder, gap in zip(folders.values(), gaps.values(), strict=True):
        folder.mkdir()
        write_json(folder / "modality_gap.json", {"gap": gap, "centroid_distance": 6.0, "spread": 3.0, "num_cases": 9})
    found = collect_gaps(folders)
    assert len(found) == 3 * 4 - 1
    summary = compare(found, "without", "measure")
    assert value(summary, variant="without", measure="gap")["mean"] == 2.5
    better = value(summary, variant="with", measure="gap")
    assert (better["difference"], better["paired_seeds"]) == (-1.0, 1)
    assert value(summary, variant="with", measure="spread")["difference"] == 0.0
    nothing = {run: folder for run, folder in folders.items() if gaps[run.variant, run.seed] is None}
    assert list(collect_gaps(nothing)["measure"]) == ["centroid_distance", "spread"]
    assert collect_gaps({}).empty


def value(table, **keys):
    for name, wanted in keys.items():
        table = table[table[name] == wanted]
    assert len(table) == 1
    return table.iloc[0]


def test_means_are_over_cases_then_over_subsets_by_hand(scores):
    means = mean_per_seed(scores)
    plain = {"variant": "without", "seed": 0}
    t1, t2 = (0.2 + 0.4) / 2, 0.6
    assert value(means, num_modalities=1, region="wt", **plain)["value"] == pytest.approx((t1 + t2) / 2)
    assert value(means, num_modalities="all", region="wt", **plain)["value"] == pytest.approx((t1 + t2 + 0.9) / 3)
    et = value(means, num_modalities=1, region="et", **plain)["value"]
    assert et == pytest.approx((0.4 + 0.1) / 2), "a case without the region does not count for it"
    mean = value(means, num_modalities=1, region="mean", **plain)["value"]
    assert mean == pytest.approx(((t1 + t2) / 2 + et) / 2)


def test_single_modalities_are_kept_apart(scores):
    means = mean_per_modality(scores)
    assert set(means["subset"]) == {"t1", "t2"}
    assert value(means, variant="without", seed=0, subset="t2", region="mean")["value"] == pytest.approx(0.35)


def test_differences_are_paired_by_seed(scores):
    summary = compare(mean_per_seed(scores), "without")
    row = value(summary, variant="with", num_modalities=2, region="wt")
    gains = [0.1, 0.25 - 0.05]
    assert row["difference"] == pytest.approx(fmean(gains))
    assert row["mean"] == pytest.approx(0.9 + fmean([0.1, 0.25]))
    half = stats.t.ppf(0.975, 1) * stdev(gains) / math.sqrt(2)
    assert row["difference_low"] == pytest.approx(fmean(gains) - half)
    assert row["difference_high"] == pytest.approx(fmean(gains) + half)
    assert (row["seeds"], row["paired_seeds"]) == (2, 2)
    same = summary[summary["variant"] == "without"]
    assert same["difference"].abs().max() == 0


def test_a_seed_that_the_baseline_lacks_has_no_difference(scores):
    fewer = scores[(scores["variant"] == "with") | (scores["seed"] == 0)]
    row = value(compare(mean_per_seed(fewer), "without"), variant="with", num_modalities=2, region="wt")
    assert (row["seeds"], row["paired_seeds"]) == (2, 1)
    assert row["difference"] == pytest.approx(0.1) and math.isnan(row["difference_low"])


def test_variants_and_regions_stay_in_the_order_of_the_study(scores):
    summary = compare(mean_per_seed(scores), "without")
    assert list(dict.fromkeys(summary["variant"])) == ["without", "with"]
    assert list(dict.fromkeys(summary["region"])) == ["wt", "et", "mean"]


def test_a_region_without_its_small_predictions_is_no_part_of_the_mean_of_the_regions(scores):
    small = scores[scores["region"] == "et"].assign(region="et_min500", value=1.0)
    with_small = mean_per_seed(pd.concat([scores, small]))
    assert set(with_small["region"]) == {"wt", "et", "et_min500", "mean"}
    plain = with_small[with_small["region"] != "et_min500"].reset_index(drop=True)
    pd.testing.assert_frame_equal(plain, mean_per_seed(scores))


def test_one_value_has_no_interval():
    mean, low, high = mean_interval([0.4])
    assert mean == 0.4 and math.isnan(low) and math.isnan(high)


# ---- primary comparisons ----

PLAIN = [0.50, 0.50, 0.50, 0.50]


def study_of(variants, test="paired_t", seeds=4, region="mean"):
    return Study({"mr": {"t1": 0.2}}, range(seeds), variants, test=test, outcomes=[Outcome("all", region)])


def per_seed(**values):
    """The outcome of each variant, seed by seed."""
    rows = [("mr", name, seed, "all", "mean", each) for name, of in values.items() for seed, each in enumerate(of)]
    return pd.DataFrame(rows, columns=["rates", "variant", "seed", "num_modalities", "region", "value"])


def test_effect_and_paired_t_by_hand():
    # differences 1, 2, 3, -2 hundredths: mean 1; deviations 0, 1, 2, -3, so their SD is sqrt(14 / 3)
    study = study_of({"plain": Variant(), "with": Variant()})
    found = primary_comparisons(per_seed(plain=PLAIN, **{"with": [0.51, 0.52, 0.53, 0.48]}), study).iloc[0]
    d_z = 1 / math.sqrt(14 / 3)
    assert found["difference"] == pytest.approx(0.01)
    assert found["d_z"] == pytest.approx(d_z)
    # t = d_z * sqrt(4) with 3 degrees of freedom, whose distribution is in closed form:
    # F(t) = 1/2 + (atan(x) + x / (1 + x^2)) / pi with x = t / sqrt(3)
    x = d_z * 2 / math.sqrt(3)
    assert found["p"] == pytest.approx(2 * (0.5 - (math.atan(x) + x / (1 + x**2)) / math.pi))
    assert (found["wins"], found["seeds"], found["planned_seeds"]) == (3, 4, 4)
    half = stats.t.ppf(0.975, 3) * math.sqrt(14 / 3) / 100 / 2
    assert (found["low"], found["high"]) == pytest.approx((0.01 - half, 0.01 + half))
    worse = primary_comparisons(per_seed(plain=PLAIN, **{"with": [0.49, 0.48, 0.47, 0.52]}), study).iloc[0]
    assert worse["d_z"] == pytest.approx(-d_z) and worse["wins"] == 1 and worse["p"] == pytest.approx(found["p"])


def test_wilcoxon_is_made_where_it_is_planned():
    study = study_of({"plain": Variant(), "with": Variant()}, "wilcoxon", seeds=6)
    six = per_seed(plain=[0.5] * 6, **{"with": [0.51, 0.52, 0.53, 0.54, 0.55, 0.56]})
    assert primary_comparisons(six, study).iloc[0]["p"] == pytest.approx(2 / 2**6)
    few = primary_comparisons(six[six["seed"] < 4], study).iloc[0]
    assert (few["p"], few["note"]) == (pytest.approx(2 / 2**4), "n too small: p is at least 0.125")


def test_holm_is_over_all_that_is_planned_and_what_is_missing_counts_as_one(monkeypatch):
    variants = {name: Variant() for name in ("plain", "a", "b", "c", "d")}
    values = per_seed(**dict.fromkeys(("plain", "a", "b", "c"), PLAIN))
    given = iter([0.04, 0.01, 0.015, math.nan])
    monkeypatch.setitem(results._TESTS, "paired_t", lambda *_: (next(given), ""))
    found = primary_comparisons(values, study_of(variants)).set_index("variant")
    # of four: 0.01 * 4; 0.015 * 3, 0.04 * 2; d, not there yet, is the largest
    assert found["p_holm"].drop("d").to_dict() == pytest.approx({"b": 0.04, "c": 0.045, "a": 0.08})
    assert math.isnan(found.loc["d", "p_holm"])


def test_a_comparison_that_cannot_be_made_yet_is_listed_and_the_planned_seeds_are_those_of_both():
    variants = {"plain": Variant(), "one": Variant(seeds=[0, 1]), "none": Variant()}
    found = primary_comparisons(per_seed(plain=PLAIN[:1], one=[0.6, 0.7]), study_of(variants)).set_index("variant")
    assert found.loc["one", "difference"] == pytest.approx(0.1) and math.isnan(found.loc["one", "low"])
    assert found["seeds"].to_dict() == {"one": 1, "none": 0}
    assert found["planned_seeds"].to_dict() == {"one": 2, "none": 4}
    assert found[["d_z", "p", "p_holm"]].isna().all(axis=None)
    assert set(found["note"]) == {"fewer than two seeds"}
    without_baseline = primary_comparisons(per_seed(one=[0.6, 0.7]), study_of(variants))
    assert without_baseline["seeds"].tolist() == [0, 0]


def test_differences_without_spread_have_no_effect_size():
    study = study_of({"plain": Variant(), "same": Variant(), "shifted": Variant()})
    values = per_seed(plain=PLAIN, same=PLAIN, shifted=[each + 0.1 for each in PLAIN])
    found = primary_comparisons(values, study).set_index("variant")
    assert found["d_z"].isna().all()
    assert (found.loc["same", "p"], found.loc["same", "note"]) == (1.0, "all differences are zero")
    assert math.isnan(found.loc["shifted", "p"]) and found.loc["shifted", "note"] == "all differences are the same"


def test_an_outcome_of_a_region_that_was_not_scored_is_refused():
    study = study_of({"plain": Variant(), "with": Variant()}, region="core")
    with pytest.raises(ValueError, match=r"an outcome is of the region `core`; expected one of \['mean'\]"):
        primary_comparisons(per_seed(plain=PLAIN), study)


def test_gap_ratios_are_of_the_same_seed_and_of_every_measure_that_is_there():
    values = {("plain", 0): (4.0, 0.5), ("plain", 1): (2.0, -0.1), ("with", 0): (1.0, 0.75), ("with", 1): (3.0, 0.2)}
    rows = [
        ("mr", *run, measure, value)
        for run, pair in {**values, ("with", 2): (1.0, 1.0)}.items()
        for measure, value in zip(("gap", "of_another_kind"), pair, strict=True)
    ]
    gaps = pd.DataFrame(rows, columns=["rates", "variant", "seed", "measure", "value"])
    found = gap_ratios(gaps, "plain").set_index(["measure", "seed"])["ratio"].to_dict()
    # the third seed has no baseline; nothing can be said over a baseline of -0.1
    assert found == pytest.approx({("gap", 0): 0.25, ("gap", 1): 1.5, ("of_another_kind", 0): 1.5})
    assert gap_ratios(gaps[gaps["variant"] == "with"], "plain").empty
