# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from statistics import fmean, stdev

import pandas as pd
import pytest
from scipy import stats

from scripts.evaluation.tables import ScoreWriter
from scripts.study.plan import Run
from scripts.study.results import collect_gaps, collect_scores, compare, mean_interval, mean_per_modality, mean_per_seed
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
