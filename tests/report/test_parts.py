# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of the report: curves, pictures, provenance, figures as markup."""

from __future__ import annotations

import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from scripts.data.audit import audit_section
from scripts.report.curves import curve_sections
from scripts.report.figures import draw_strips, series_look
from scripts.report.inputs import Run, read_evaluation
from scripts.report.pictures import case_pictures, choose_cases, choose_subsets
from scripts.report.provenance import provenance
from scripts.report.svg import INK, inline, page_style

TAGS = ["loss_unimodal", "loss_fused", "loss_total", "loss_unimodal_per_modality/p", "loss_unimodal_per_modality/q"]
TAGS += ["distance/p", "distance/q", "coefficient/p", "dice_x", "mean_dice", "dice/p-q", "learning_rate"]
TAGS += ["something_new"]


def test_every_curve_is_in_one_figure_with_those_it_belongs_to():
    sections = curve_sections(TAGS)
    lines = [tag for groups in sections.values() for group in groups.values() for tag in group]
    assert sorted(lines) == sorted(TAGS)
    objective, validation, subsets, terms, balance = sections.values()
    assert list(objective) == ["total", "fused", "unimodal"]
    assert validation["validation Dice"] == {"dice_x": "X", "mean_dice": "mean"}
    assert {"learning rate", "something new"} <= set(validation)
    assert subsets == {"validation Dice": {"dice/p-q": "p+q"}}
    assert terms == {"unimodal": {f"loss_unimodal_per_modality/{name}": name for name in "pq"}}
    assert balance == {"distance": {"distance/p": "p", "distance/q": "q"}, "coefficient": {"coefficient/p": "p"}}
    assert curve_sections([]) == {}


def test_worst_median_and_best_are_shown_as_far_as_there_are_cases():
    assert choose_cases("a") == {"The only case": "a"}
    assert choose_cases("ab") == {"Worst case": "a", "Best case": "b"}
    assert choose_cases("abcde") == {"Worst case": "a", "Median case": "c", "Best case": "e"}


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        (["p", "q", "r", "p+q", "p+q+r"], ["q", "r", "p+q+r"]),
        (["p", "r", "p+r"], ["p", "r", "p+r"]),  # a case that lacks q
        (["r"], ["r"]),
        (["p+q", "p+q+r"], ["p+q+r"]),
    ],
)
def test_the_best_and_worst_single_modality_and_all_are_shown(there, chosen):
    means = {"q": 0.9, "p": 0.5, "r": 0.1, "p+q": 0.95}
    assert list(choose_subsets(there, means)) == chosen


def decode(picture):
    kind, _, content = picture.source.partition(",")
    assert kind == "data:image/jpeg;base64"
    array = imread(BytesIO(b64decode(content)), format="jpeg").astype(int)
    assert array.shape == (picture.height, picture.width, 3)
    return array


def test_pictures_show_images_then_truth_and_predictions_in_proportion(write_evaluation, tmp_path):
    evaluation = read_evaluation(write_evaluation(tmp_path))
    means = {"p": 0.0, "q": 0.1, "r": 0.2}
    found = case_pictures("Worst case", "one", evaluation.slices["one"], evaluation.dice, means)
    assert [picture.caption for picture in found.images] == ["p", "q", "r"]
    assert [picture.caption for picture in found.labels] == ["ground truth", "r", "p", "p + q + r"]
    assert found.labels[1].small == "best single modality; Dice X 0.20, Y 0.15"
    assert found.labels[2].small == "worst single modality; Dice X 0.00, Y –"
    assert found.where == "slice 4 of 10"
    assert found.images[0].height / found.images[0].width == pytest.approx(20 * 2 / 25, rel=0.01)  # mm, (X, Y) turned
    image, truth, prediction = map(decode, (found.images[0], found.labels[0], found.labels[-1]))
    assert (image.max(axis=2) - image.min(axis=2)).max() < 12, "grey"
    assert image[:, -8:].mean() > 200 > 20 > image[:, :8].mean(), "the ramp from left to right"
    for coloured in (truth, prediction):
        assert (coloured.max(axis=2) - coloured.min(axis=2)).max() > 60
    assert np.abs(truth - prediction).max() > 60


def test_slices_that_cannot_be_read_are_named(write_evaluation, tmp_path):
    evaluation = read_evaluation(write_evaluation(tmp_path))
    for content in (b"PK broken", b""):
        evaluation.slices["one"].write_bytes(content)
        with pytest.raises(ValueError, match="one.slices.npz cannot be read as what an evaluation keeps.*Evaluate aga"):
            case_pictures("", "one", evaluation.slices["one"], evaluation.dice, {})


CONFIG = {
    "bundle_root": ".",
    "output_dir": "$@bundle_root + '/runs'",
    "names": ["p", "q"],
    "flag": False,
    "nothing": None,
    "regions": {"x": [1], "y": [1, 2]},
    "network_def": {"_target_": "somewhere.Net", "width": 8, "num": "$len(@names)"},
    "loss": {"_target_": "somewhere.Loss", "fused": 1.0},
    "train": {"handlers": [{"_target_": "a.B"}]},
    "run": ["$@train.run()"],
    "training": "@run",
}


def test_knobs_are_the_values_at_the_root_of_the_configuration():
    found = provenance("Training", Run(Path("runs/a"), {}, "text", CONFIG))
    assert dict(found.knobs) == {
        "bundle_root": ".",
        "names": "[p, q]",
        "flag": "false",
        "nothing": "null",
        "regions": "x [1], y [1, 2]",
        "network_def": "Net: width 8",
        "loss": "Loss: fused 1.0",
    }
    assert found.facts == [("folder", "runs/a")] and found.audit is None and found.config == "text"


def test_knobs_that_another_run_says_already_are_not_said_again():
    config = {**CONFIG, "flag": True, "metrics": ["dice"], "data_set": {"_target_": "somewhere.describe", "section": 1}}
    found = provenance("Evaluation", Run(Path("runs/b"), {}, "text", config), CONFIG)
    assert dict(found.knobs) == {"flag": "true", "metrics": "[dice]"}, "nor what functions make"


def test_the_command_can_be_typed_again():
    program = "/venv/lib/python3.11/site-packages/monai/bundle/__main__.py"
    command = [program, "run", "training", "--config_file", "['a.yaml','b.yaml']", "--name", "two words"]
    record = {"command": command, "git_commit": "abc", "git_changes": "M a\n?? b", "versions": {"torch": "2"}}
    facts = dict(provenance("", Run(Path("a"), record, "", {})).facts)
    expected = "python -m monai.bundle run training --config_file \"['a.yaml','b.yaml']\" --name 'two words'"
    assert facts["command"] == expected
    assert facts["git commit"] == "abc, with 2 changed files"


def test_the_audit_says_what_the_cases_lack():
    cases = [{"case": str(n), "images": dict.fromkeys(names, "x")} for n, names in enumerate(("pq", "p", "p", "q"))]
    record = {"data": audit_section(cases, ["p", "q"])}
    audit = provenance("", Run(Path("a"), record, "", {})).audit
    assert audit.modalities == [("p", 3, "25 %"), ("q", 2, "50 %")]
    assert [(row.available, row.cases, row.share) for row in audit.patterns][0] == ((True, False), 2, "50 %")


def test_a_figure_becomes_markup_that_follows_the_page_and_shares_no_name():
    with page_style():
        figure = Figure(figsize=(2, 1))
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], label="a<b & $x$")
        axes.legend()
        one, other = (inline(figure, 'says "this" & that', prefix) for prefix in ("one", "other"))
    assert one.startswith("<svg viewBox=") and one.rstrip().endswith("</svg>")
    assert INK not in one and "currentColor" in one and "a&lt;b &amp; $x$" in one
    assert 'aria-label="says &#34;this&#34; &amp; that"' in one
    assert "http" not in one and "<metadata" not in one and "xlink" not in one
    names = [set(re.findall(r'\bid="([^"]+)"', each)) for each in (one, other)]
    assert names[0] and not names[0] & names[1]
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', one))
    assert used and used <= names[0]


def test_black_becomes_the_colour_of_the_text():
    colours = [series_look(place)["color"] for place in range(8)]
    assert INK in colours and "#000000" not in colours and len(set(colours[:7])) == 7


def test_thousands_of_dots_stay_a_small_file():
    cases = pd.DataFrame({"case": [f"c{n}" for n in range(4000)], "subset": "p", "region": "x", "num_modalities": 1})
    with page_style():
        figure = draw_strips(cases.assign(value=np.linspace(0, 1, 4000)), ["x"], ["c0", "c1"])
        markup = inline(figure, "", "strips")
    assert len(markup) < 200_000 and 'href="data:image/png;base64,' in markup
