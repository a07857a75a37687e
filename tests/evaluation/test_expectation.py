# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What an inference says of a case, from a performance.json by hand."""

from __future__ import annotations

import logging

import pytest

from scripts.evaluation.expectation import NO_FILE, ExpectedPerformance
from scripts.records.side_files import write_side_file

NAMES = ["bssfp", "lge", "t2"]  # three modalities, two regions


def cell(mean, low=None, high=None, n=4):
    return {"dice": {"mean": mean, "low": low, "high": high, "n": n}}


def gain(before, after, n=4):
    return {"before": before, "after": after, "n": n}


PERFORMANCE = {
    "data_set": {"name": "phantoms (simulated gliomas)", "synthetic": True, "section": "testing", "num_cases": 4},
    "num_cases": 4,
    "num_failed": 0,
    "settings": {"spacing": [0.75, 0.75, -1]},
    "per_subset": {
        "bssfp": {"myo": cell(0.8, 0.75, 0.84), "scar": cell(0.04, 0.0, 0.12)},
        "t2": {"myo": cell(0.5, n=1), "scar": cell(None, n=0)},
        "bssfp+lge": {"myo": cell(0.81, 0.7, 0.9), "scar": cell(0.59, 0.4, 0.7)},
        "bssfp+lge+t2": {"myo": cell(0.815, 0.7, 0.9), "scar": cell(0.6, 0.4, 0.7)},
        "lge+t2": {"myo": cell(0.7)},
    },
    "gains": {
        "bssfp": {
            "lge": {"myo": gain(0.8, 0.81), "scar": gain(0.04, 0.59)},
            "t2": {"myo": gain(0.8, 0.83), "scar": gain(0.05, 0.35, n=2)},
        },
        "bssfp+lge": {"t2": {"myo": gain(0.81, 0.815), "scar": gain(0.59, 0.6)}},
        "t2": {"bssfp": {"myo": gain(0.5, 0.7, n=1)}},
    },
}
ONLY_BSSFP = (True, False, False)


@pytest.fixture
def weights(tmp_path):
    file = tmp_path / "model.pt"
    file.write_bytes(b"weights")
    write_side_file(file, "performance.json", PERFORMANCE)
    return file


@pytest.fixture
def expect(weights):
    """Say what to expect of a subset."""

    def _expect(available, names=NAMES, regions=("myo", "scar"), **settings):
        expected = ExpectedPerformance(str(weights), names, regions, **settings)
        expected.load()
        assert expected.reason is None
        return expected.of(available)

    return _expect


def test_the_figures_are_those_of_exactly_this_subset(expect):
    found = expect(ONLY_BSSFP)
    assert found["modalities_used"] == ["bssfp"]
    assert found["dice"] == {region: cells["dice"] for region, cells in PERFORMANCE["per_subset"]["bssfp"].items()}
    assert found["data_set"]["synthetic"] is True
    line = "expected Dice from bssfp (mean and its 95 % interval): myo 0.80 [0.75, 0.84], scar 0.04 [0.00, 0.12]"
    assert found["in_words"][0] == line


def test_what_they_were_measured_on_is_said_plainly(expect):
    line = expect(ONLY_BSSFP)["in_words"][1]
    assert line.startswith("measured on phantoms (simulated gliomas), not on patients; section testing; 4 cases; 20")
    assert line.endswith("A mean over those cases; this one may be far from it.")


@pytest.mark.parametrize(("floor", "regions"), [(0.5, ["scar"]), (0.81, ["myo", "scar"]), (0.04, []), (0, [])])
def test_regions_below_the_floor_are_warned_of(expect, floor, regions):
    found = expect(ONLY_BSSFP, floor=floor)
    assert [warning.split(":")[0] for warning in found["warnings"]] == [f"region {region}" for region in regions]
    if floor == 0.5:
        words = "region scar: expected Dice 0.04 [0.00, 0.12] from bssfp is below 0.50; do not rely on it"
        assert found["warnings"] == [words]
        assert f"warning: {words}" in found["in_words"]


@pytest.mark.parametrize("floor", [-0.1, 50, "high", None])
def test_a_floor_that_is_no_dice_is_refused(floor):
    with pytest.raises(ValueError, match=f"`performance_floor` is `{floor}`; expected a Dice between 0 and 1"):
        ExpectedPerformance("model.pt", NAMES, ["myo"], floor=floor)


def test_modalities_that_would_help_are_listed_largest_gain_first(expect):
    found = [(each["region"], each["modality"], round(each["gain"], 6)) for each in expect(ONLY_BSSFP)["improvements"]]
    # LGE would add 0.81 - 0.8 = 0.01 to the myocardium, which is too little to speak of
    assert found == [("scar", "lge", 0.55), ("scar", "t2", 0.3), ("myo", "t2", 0.03)]


def test_the_best_modality_of_each_region_is_said_in_words(expect):
    assert expect(ONLY_BSSFP)["in_words"][-2:] == [
        "lge would be expected to raise scar from 0.04 to 0.59 (+0.55)",
        "t2 would be expected to raise myo from 0.80 to 0.83 (+0.03)",
    ]


def test_a_gain_on_fewer_cases_says_so(expect, weights):
    gains = {"bssfp": {"t2": PERFORMANCE["gains"]["bssfp"]["t2"]}}
    write_side_file(weights, "performance.json", {**PERFORMANCE, "gains": gains})
    lines = expect(ONLY_BSSFP)["in_words"]
    assert "t2 would be expected to raise scar from 0.05 to 0.35 (+0.30) on 2 cases" in lines
    assert lines[-1] == "what lge would add: not known, performance.json has no figure"


def test_where_no_modality_would_help_that_is_said(expect):
    none = "no absent modality would be expected to raise a region by more than 0.02"
    assert expect((True, True, False))["in_words"][-1] == none
    complete = expect((True, True, True))
    assert complete["improvements"] == [] and complete["warnings"] == []
    assert len(complete["in_words"]) == 2, "there is nothing to add to a complete case"


def test_a_region_without_a_figure_is_named(expect):
    found = expect((False, False, True), regions=["myo", "scar", "edema"])
    assert found["dice"] == {"myo": {"mean": 0.5, "low": None, "high": None, "n": 1}, "scar": None, "edema": None}
    assert found["in_words"][:2] == [
        "expected Dice from t2 (mean and its 95 % interval): myo 0.50 on 1 case",
        "expected Dice of scar, edema: not known, performance.json has no figure",
    ]
    assert found["warnings"] == [], "0.5 is not below the floor, and what is not known is neither"


def test_a_subset_without_figures_is_named(expect):
    found = expect((False, True, False))
    assert found["dice"] == {"myo": None, "scar": None}
    assert found["warnings"] == found["improvements"] == []
    listed = "bssfp, t2, bssfp+lge, bssfp+lge+t2, lge+t2"
    assert found["in_words"] == [f"expected Dice from lge: not known, performance.json has figures for {listed}"]


def test_the_order_of_the_modalities_does_not_matter(expect):
    turned = expect((False, False, True), names=NAMES[::-1])
    assert turned["modalities_used"] == ["bssfp"]
    assert turned["dice"] == expect(ONLY_BSSFP)["dice"]


def test_another_spacing_than_that_of_the_evaluation_is_said(expect):
    same, other = (expect((True, True, True), settings={"spacing": s}) for s in ((0.75, 0.75, -1), (2.0, 2.0, -1)))
    assert same["warnings"] == []
    assert other["warnings"] == [
        "expected performance was measured with spacing [0.75, 0.75, -1], this case was segmented with "
        "[2.0, 2.0, -1]; the figures may not hold"
    ]


def load(weights, caplog):
    expected = ExpectedPerformance(str(weights), NAMES, ["myo"])
    with caplog.at_level(logging.INFO):
        expected.load()
    assert expected.of(ONLY_BSSFP) is None
    return expected.reason, [(record.levelname, record.getMessage()) for record in caplog.records]


def test_weights_without_the_file_have_no_expectation_and_the_way_to_one_is_said(weights, caplog):
    weights.with_name("performance.json").unlink()
    reason, logged = load(weights, caplog)
    assert reason == NO_FILE == "no performance.json beside the weights; run the evaluation to make one"
    assert logged == [("INFO", f"no expected performance: {NO_FILE}")]


@pytest.mark.parametrize("harm", ["other weights", "cut off", "emptied"])
def test_a_file_that_cannot_be_trusted_is_refused_with_one_warning(weights, caplog, harm):
    file = weights.with_name("performance.json")
    if harm == "other weights":
        weights.write_bytes(b"trained again")
    else:
        file.write_text({"cut off": file.read_text()[:-9], "emptied": ""}[harm])
    reason, logged = load(weights, caplog)
    assert {"other weights": "made with other weights: sha256"}.get(harm, "cannot be read as JSON") in reason
    assert logged == [("WARNING", f"no expected performance: {reason}")]


def test_a_later_run_reads_the_file_again(weights):
    expected = ExpectedPerformance(str(weights), NAMES, ["myo"])
    expected.load()
    assert expected.of(ONLY_BSSFP)["dice"]["myo"]["mean"] == 0.8
    weights.write_bytes(b"trained again")
    expected.load()
    assert expected.of(ONLY_BSSFP) is None
    write_side_file(weights, "performance.json", PERFORMANCE)
    expected.load()
    assert expected.reason is None and expected.of(ONLY_BSSFP)["dice"]["myo"]["mean"] == 0.8
