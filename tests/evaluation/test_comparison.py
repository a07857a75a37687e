# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Paired differences of evaluations, by hand."""

from __future__ import annotations

import math

import pytest

from scripts.evaluation.comparison import common_cases, compare, read_evaluation
from scripts.utils.files import write_json

NAN = math.nan


@pytest.fixture
def evaluate(tmp_path, write_scores):
    """Write an evaluation from Dice (or another metric) of each case, subset and region, and read it."""

    def _evaluate(name, cases, metric="dice", settings=None, **conventions):
        rows = {
            case: {subset: {(r, metric): value for r, value in found.items()} for subset, found in subsets.items()}
            for case, subsets in cases.items()
        }
        write_scores(tmp_path / name / "per_case.csv", rows, **conventions)
        if settings is not None:
            write_json(tmp_path / name / "evaluation.json", settings)
        return read_evaluation(tmp_path / name)

    return _evaluate


def row_of(found, group, region="wt"):
    """Pick one row of a comparison."""
    (row,) = found[(found["group"] == group) & (found["region"] == region)].to_dict("records")
    return row


def six_cases(gains, region="wt", start=0.5):
    """Score six cases under one subset."""
    return {f"case{n}": {"t2": {region: start + gain}} for n, gain in enumerate(gains)}


def test_differences_are_paired_by_case_subset_and_region(evaluate):
    baseline = {"a": {"t1": {"wt": 0.25, "et": 0.5}, "t2": {"wt": 0.5}}, "b": {"t1": {"wt": 0.75}}}
    run = {"b": {"t1": {"wt": 0.5}}, "a": {"t2": {"wt": 1.0}, "t1": {"et": 0.75, "wt": 0.5}}}  # in another order
    found = compare({"old": evaluate("old", baseline), "new": evaluate("new", run)})
    # a: t1 +0.25, t2 +0.5; b: t1 -0.25, no t2
    t1, t2, both = (row_of(found, group) for group in ("t1", "t2", "1"))
    assert (t1["n"], t1["baseline_mean"], t1["run_mean"], t1["difference"]) == (2, 0.5, 0.5, 0.0)
    assert (t1["low"], t1["high"], t1["reading"]) == (-0.25, 0.25, "same")
    assert (t2["n"], t2["difference"], t2["reading"]) == (1, 0.5, "better")
    assert math.isnan(t2["low"]), "one case has no interval"
    # over both subsets: means 0 and 0.5; a alone: 0.375, b alone: -0.25
    assert (both["n"], both["difference"]) == (2, 0.25)
    assert (both["low"], both["high"]) == pytest.approx((-0.25, 0.375))
    assert row_of(found, "t1", "et")["difference"] == 0.25
    assert set(found["run"]) == {"new"}


def test_subsets_and_averages_come_in_order_for_every_region(evaluate):
    scores = {"a": {name: {"wt": 0.5, "et": 0.5} for name in ("t1+t2", "t2", "t1")}}
    same = evaluate("x", scores)
    found = compare({"x": same, "y": same})
    expected = ["t1", "t2", "t1+t2", "1", "2", "overall"]
    assert found["group"].tolist() == 2 * expected
    assert found["level"].tolist() == 2 * (3 * ["subset"] + 2 * ["num_modalities"] + ["overall"])
    assert set(found["p"]) == {1.0} and set(found["note"]) == {"all differences are zero"}


def test_p_is_corrected_in_families_of_subsets_and_of_averages(evaluate):
    gains = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06]
    regions = {"wt": gains, "et": [-gains[0], *gains[1:]]}
    baseline = {f"case{n}": {"t2": {"wt": 0.5, "et": 0.5}} for n in range(6)}
    run = {f"case{n}": {"t2": {region: 0.5 + each[n] for region, each in regions.items()}} for n in range(6)}
    found = compare({"old": evaluate("old", baseline), "new": evaluate("new", run)})
    # six differences of one sign: 2 / 64; the smallest of the other sign: 4 / 64
    wt, et = row_of(found, "t2"), row_of(found, "t2", "et")
    assert (wt["p"], et["p"]) == pytest.approx((2 / 64, 4 / 64))
    assert (wt["p_holm"], et["p_holm"]) == pytest.approx((2 * 2 / 64, 4 / 64))
    assert wt["num_comparisons"] == 2
    # the averages, of one modality and overall, are the same differences: four comparisons
    average = row_of(found, "overall")
    assert (average["num_comparisons"], average["p_holm"]) == (4, pytest.approx(4 * 2 / 64))


def test_a_lower_distance_is_better(evaluate):
    old, new = evaluate("old", six_cases([0] * 6), "hd95"), evaluate("new", six_cases([-0.25] * 6), "hd95")
    row = row_of(compare({"old": old, "new": new}, "hd95"), "t2")
    assert (row["difference"], row["reading"]) == (-0.25, "better")


def test_errors_of_either_sign_are_compared_by_their_size(evaluate):
    old = evaluate("old", {"a": {"t2": {"wt": -3.0}}, "b": {"t2": {"wt": 1.0}}}, "volume_error")
    new = evaluate("new", {"a": {"t2": {"wt": 1.0}}, "b": {"t2": {"wt": -1.0}}}, "volume_error")
    row = row_of(compare({"old": old, "new": new}, "volume_error"), "t2")
    # sizes 3 and 1 became 1 and 1
    assert (row["baseline_mean"], row["run_mean"], row["difference"], row["reading"]) == (2.0, 1.0, -1.0, "better")


def test_pairs_of_which_one_is_undefined_are_left_out_and_counted(evaluate):
    old = evaluate("old", {"a": {"t2": {"wt": NAN, "et": NAN}}, "b": {"t2": {"wt": 0.25, "et": 0.5}}}, policy="nan")
    new = evaluate("new", {"a": {"t2": {"wt": 0.75, "et": NAN}}, "b": {"t2": {"wt": 0.5, "et": NAN}}}, policy="nan")
    found = compare({"old": old, "new": new})
    row = row_of(found, "t2")
    assert (row["n"], row["num_undefined"], row["baseline_mean"], row["run_mean"]) == (1, 1, 0.25, 0.5)
    nothing = row_of(found, "t2", "et")
    assert (nothing["n"], nothing["num_undefined"], nothing["note"], nothing["reading"]) == (0, 2, "no pair", "")
    assert math.isnan(nothing["difference"]) and math.isnan(nothing["p_holm"])
    assert row["num_comparisons"] == 1, "what has no p is no comparison"


def test_only_cases_that_all_runs_have_are_compared(evaluate):
    runs = {
        "x": evaluate("x", six_cases([0.0] * 6)),
        "y": evaluate("y", dict(list(six_cases([0.1] * 6).items())[1:])),
        "z": evaluate("z", dict(list(six_cases([0.2] * 6).items())[:5])),
    }
    assert common_cases(runs) == ["case1", "case2", "case3", "case4"]
    found = compare(runs)
    assert found[found["level"] == "subset"]["run"].tolist() == ["y", "z"]
    assert set(found["n"]) == {4}


def test_evaluations_of_different_conventions_are_not_compared(evaluate):
    cases = six_cases([0] * 6)
    plain = evaluate("x", cases, settings={"regions": {"wt": [1, 2, 3]}})
    with pytest.raises(ValueError, match="differ in `surface`: x monai, y pooled; paired differences need one"):
        compare({"x": plain, "y": evaluate("y", cases, surface="pooled")})
    with pytest.raises(ValueError, match="differ in `empty_policy`: x brats, y passion"):
        compare({"x": plain, "y": evaluate("y", cases, policy="passion")})
    with pytest.raises(ValueError, match="differ in `regions`"):
        compare({"x": plain, "y": evaluate("y", cases, settings={"regions": {"wt": [1, 2]}})})
    wide, narrow = (evaluate(f"{mm} mm", cases, settings={"surface_tolerance": mm}) for mm in (2.0, 1.0))
    with pytest.raises(ValueError, match=r"differ in `surface_tolerance`: wide 2.0, narrow 1.0"):
        compare({"wide": wide, "narrow": narrow})


def test_evaluations_without_anything_in_common_are_refused(evaluate):
    one = evaluate("x", {"a": {"t1": {"wt": 0.5}}})
    with pytest.raises(ValueError, match=r"no case in common; the first of each are \{'x': \['a'\], 'y': \['b'\]\}"):
        compare({"x": one, "y": evaluate("y", {"b": {"t1": {"wt": 0.5}}})})
    with pytest.raises(ValueError, match="`y` and `x` have no subset and region of a case in common"):
        compare({"x": one, "y": evaluate("y", {"a": {"t2": {"wt": 0.5}}})})
    with pytest.raises(ValueError, match=r"`x` has no scores of `hd95`; it has \['dice'\]"):
        compare({"x": one, "y": one}, "hd95")
    with pytest.raises(ValueError, match="1 evaluation to compare"):
        compare({"x": one})


def test_a_folder_without_scores_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no per_case.csv at .*; expected the `output_dir` of an evaluation"):
        read_evaluation(tmp_path)
