# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Tables and figures of a study."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.image import imread

from scripts.drawing.figures import COLOURS
from scripts.study import figures
from scripts.study.figures import draw_dice, draw_differences, draw_preference, draw_primary
from scripts.study.plan import Run, Study, Variant
from scripts.study.results import Findings, compare, gap_ratios, primary_comparisons
from scripts.study.tables import copy_tables, write_tables

STUDY = Study(
    missing_rates={"mr28": {"t1": 0.2, "t2": 0.8}},
    seeds=[0, 1],
    variants={"without": Variant(), "with": Variant()},
    options={"max_epochs": 3},
    about="A trial",
)


@pytest.fixture
def per_seed():
    """Make two seeds, which say the same for WT but not for ET."""
    gains = {"wt": (0.1, 0.1001), "et": (-0.1, 0.3)}
    rows = [
        ("mr28", variant, seed, number, region, 0.5 + (gain[seed] if variant == "with" else 0))
        for number in (1, "all")
        for region, gain in gains.items()
        for variant in STUDY.variants
        for seed in STUDY.seeds
    ]
    return pd.DataFrame(rows, columns=["rates", "variant", "seed", "num_modalities", "region", "value"])


@pytest.fixture
def summary(per_seed):
    return compare(per_seed, "without")


@pytest.fixture
def findings(per_seed, summary):
    """Give what is found, with these minutes and records of the runs."""
    primary = primary_comparisons(per_seed.assign(region=per_seed["region"].replace("wt", "mean")), STUDY)
    gaps = pd.DataFrame(columns=["rates", "variant", "seed", "measure", "value"])

    def _findings(minutes, records):
        records = dict(zip(minutes, records, strict=False))
        return Findings({"num_modalities": summary}, primary, gap_ratios(gaps, "without"), minutes, records)

    return _findings


def lines_of(path, start):
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith(start)]


def test_the_tables_hold_means_differences_and_what_was_run(findings, tmp_path):
    minutes = {Run("mr28", variant, seed): 2.0 + seed for variant in STUDY.variants for seed in STUDY.seeds}
    machine = {"versions": {"torch": "9.9"}, "gpu": None, "processor": "abacus", "threads": 2}
    records = [
        {"git_commit": f"{digit}" * 40, "git_changes": changes, **machine} for digit, changes in ((1, ""), (2, "M"))
    ]
    path = write_tables(tmp_path / "results.md", STUDY, findings(minutes, records))
    (origin,) = lines_of(path, "Made with ")
    assert origin == ("Made with commit 111111111 / commit 222222222 with changes; torch 9.9; on abacus, 2 threads.")
    records[0]["git_commit"] = records[0]["git_changes"] = None  # as in a bundle that was downloaded
    path = write_tables(tmp_path / "results.md", STUDY, findings(minutes, records[:1]))
    assert lines_of(path, "Made with ") == ["Made with a copy without git; torch 9.9; on abacus, 2 threads."]
    assert lines_of(path, "# ") == ["# A trial"]
    assert lines_of(path, "## ") == [
        "## Primary outcomes",
        "## What was run",
        "## mr28 (missing in training: t1 20%, t2 80%), by modalities shown",
    ]
    assert "max_epochs: 3" in path.read_text(encoding="utf-8")
    assert "without 2.5 (2), with 2.5 (2); 10 in all" in path.read_text(encoding="utf-8")
    plain, of_method, difference = (line.split(" | ") for line in lines_of(path, "| all "))
    assert plain[1:4] == ["without", "2", "0.500 [0.500, 0.500]"]
    assert of_method[1:3] == ["with", "2"] and of_method[3].startswith("0.600 [")
    wt, et = difference[3:]
    assert wt.startswith("+0.100 [") and wt.endswith("*"), "the interval does not hold 0"
    assert et.startswith("+0.100 [-") and "*" not in et, "the interval holds 0"


def drawn(path):
    """Share of the pixels of a picture that are not white."""
    return float((imread(path)[..., :3].min(axis=2) < 0.9).mean())


def test_the_figures_show_something(summary, tmp_path):
    draw_differences(summary, "without", tmp_path / "differences.png")
    epochs = np.arange(1, 4)
    curves = pd.concat(
        pd.DataFrame({"tag": f"{kind}/{name}", "epoch": epochs, "value": rate * epochs})
        for kind in ("distance", "coefficient")
        for name, rate in (("t1", 0.1), ("t2", 0.2))
    ).assign(rates="mr28", variant="with", seed=0)
    draw_preference(curves, tmp_path / "preference.png")
    assert 0.005 < drawn(tmp_path / "differences.png") < 0.5
    assert 0.005 < drawn(tmp_path / "preference.png") < 0.5


def test_a_copy_has_its_own_figures_and_the_same_tables(summary, findings, tmp_path):
    results = tmp_path / "results.md"
    minutes, record = {Run("mr28", "with", 0): 2.0}, {"versions": {}, "gpu": "g", "threads": 1, "git_commit": None}
    draw_differences(summary, "without", tmp_path / "differences.png")
    write_tables(results, STUDY, findings(minutes, [record]), "configs/studies/trial.yaml")
    copy_tables(results, tmp_path / "docs" / "trial.md")
    assert {file.name for file in (tmp_path / "docs").iterdir()} == {"trial.md", "trial_differences.png"}
    copied = (tmp_path / "docs" / "trial_differences.png").read_bytes()
    assert copied == (tmp_path / "differences.png").read_bytes()
    text, own = (file.read_text(encoding="utf-8") for file in (tmp_path / "docs" / "trial.md", results))
    assert "](trial_differences.png)" in text and "preference" not in text, "a figure that is not there is not shown"
    assert text.replace("trial_differences", "differences") == own
    assert "`configs/studies/trial.yaml`" in text
    with pytest.raises(ValueError, match="would be .*docs/trial; expected a Markdown file, e.g. .*docs/trial.md"):
        copy_tables(results, tmp_path / "docs" / "trial")


def test_primary_outcomes_and_dice_are_drawn(summary, findings, tmp_path):
    draw_primary(findings({}, []).primary, STUDY, tmp_path / "primary.png")
    draw_dice(summary, "without", tmp_path / "dice.png")
    assert 0.005 < drawn(tmp_path / "primary.png") < 0.5
    assert 0.005 < drawn(tmp_path / "dice.png") < 0.5


def test_pictures_without_data_are_not_drawn(per_seed, summary, tmp_path):
    of_baseline = per_seed[per_seed["variant"] == "without"].assign(region="mean").drop_duplicates(["seed", "variant"])
    draw_primary(primary_comparisons(of_baseline, STUDY), STUDY, tmp_path / "primary.png")
    draw_dice(summary[:0], "without", tmp_path / "dice.png")
    assert list(tmp_path.iterdir()) == []


def test_a_variant_has_one_colour_in_all_pictures(summary, per_seed, tmp_path, monkeypatch):
    """Differences leave out the first of two variants, which has fewer seeds; the other keeps its colour."""
    few = per_seed[(per_seed["variant"] == "with") & (per_seed["seed"] == 0)].assign(variant="few")
    rows = pd.concat([per_seed[per_seed["variant"] == "without"], few, per_seed[per_seed["variant"] == "with"]])
    study = replace(STUDY, variants={"without": Variant(), "few": Variant(seeds=[0]), "with": Variant()})
    colours = {}
    plain = Axes.errorbar
    monkeypatch.setattr(
        Axes, "errorbar", lambda self, *args, **look: colours[name].append(look["color"]) or plain(self, *args, **look)
    )
    primary = primary_comparisons(rows.assign(region=rows["region"].replace("wt", "mean")), study)
    sums = compare(rows, "without")
    for name, draw in (
        ("primary", lambda path: draw_primary(primary[primary["num_modalities"] == 1], study, path)),
        ("dice", lambda path: draw_dice(sums[sums["num_modalities"] == 1], "without", path)),
        ("differences", lambda path: draw_differences(sums, "without", path)),
    ):
        colours[name] = []
        draw(tmp_path / f"{name}.png")
    assert {name: found[-1] for name, found in colours.items()} == dict.fromkeys(colours, COLOURS[1])


def test_the_term_of_alignment_is_drawn_where_no_coefficient_moves(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(figures, "_curves", lambda axis, panel, names: shown.append(set(panel["tag"])))
    # as a training writes them; the means of a term, and other terms of single modalities, are not for this picture
    tags = ("loss_alignment", "loss_alignment_per_modality/t1", "loss_alignment_per_modality/t2", "distance/t1")
    tags += ("coefficient/t1", "loss_unimodal_per_modality/t1", "loss_total")
    rows = [(tag, epoch, 1.0 if tag.startswith("coefficient") else 1 / epoch) for tag in tags for epoch in (1, 2)]
    curves = pd.DataFrame(rows, columns=["tag", "epoch", "value"]).assign(rates="mr28", variant="with", seed=0)
    draw_preference(curves, tmp_path / "preference.png")
    assert shown == [{"loss_alignment_per_modality/t1", "loss_alignment_per_modality/t2"}]


def test_every_picture_that_is_there_is_shown_and_copied(findings, tmp_path):
    names = ("primary.png", "dice.png", "differences.png", "preference.png")
    for name in names:
        (tmp_path / name).write_bytes(b"drawn")
    results = write_tables(tmp_path / "results.md", STUDY, findings({}, []))
    copy_tables(results, tmp_path / "docs" / "trial.md")
    assert {file.name for file in (tmp_path / "docs").iterdir()} == {"trial.md", *(f"trial_{name}" for name in names)}
    for name in names:
        assert f"]({name})" in results.read_text(encoding="utf-8")


def test_without_moving_coefficients_and_differences_there_is_no_figure(summary, tmp_path):
    draw_differences(summary[summary["variant"] == "without"], "without", tmp_path / "differences.png")
    for tag in ("coefficient/t1", "loss_total"):  # of a method without preferences there is none at all
        still = {"tag": [tag] * 2, "epoch": [1, 2], "value": [1.0, 1.0]}
        draw_preference(pd.DataFrame(still).assign(rates="mr28", variant="with", seed=0), tmp_path / "preference.png")
    assert list(tmp_path.iterdir()) == []
