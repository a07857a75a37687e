# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The whole report: of a real run, and of runs that lack this or that."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from scripts.data.datalist import read_section
from scripts.evaluation.origin import SYNTHETIC_ONLY
from scripts.report.inputs import read_evaluation
from scripts.report.page import build
from scripts.tools.make_report import main
from scripts.utils.files import write_json

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr"]
VOID = {"meta", "img", "br", "link", "hr", "input"}
SECTIONS = ["top", "subsets", "numbers", "cases", "slices", "monotonicity", "comparison", "training", "made"]
SECTIONS.append("conventions")


class Page(HTMLParser):
    """Reads a page; refuses tags that are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data

    def values(self, name):
        return [attributes[name] for _, attributes in self.tags if name in attributes]


def check(text):
    """Read a page that must be whole, need nothing beside itself, and say what each figure shows."""
    page = Page(text)
    ids = page.values("id")
    assert len(set(ids)) == len(ids) and [name for name in ids if name in SECTIONS] == SECTIONS
    targets = [each for each in page.values("href") + page.values("xlink:href") if not each.startswith("data:")]
    assert all(target.startswith("#") and target[1:] in ids for target in targets)
    assert all(source.startswith("data:image/") for source in page.values("src"))
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    assert not re.search(r"https?://|@import|url\((?!#)", text)
    assert len(text) < 5e6
    figures = [attributes for tag, attributes in page.tags if tag in ("img", "svg")]
    assert all(each.get("alt") or each.get("aria-label") for each in figures)
    return page


@pytest.fixture(scope="module")
def folders(trained, workflow, tmp_path_factory):
    """Evaluate a trained network on the two test cases; the training's folder and the evaluation's."""
    training, _ = trained
    folder = tmp_path_factory.mktemp("evaluated")
    places = {"model_file": str(training / "model.pt"), "output_dir": str(folder)}
    workflow("train.yaml", "evaluate.yaml", run_id="evaluating", **places).run()
    shutil.copy(training / "config.yaml", folder)  # the command line of a test names no configuration
    return training, folder


@pytest.fixture(scope="module")
def report(folders, tmp_path_factory):
    """The report of a real run: its file, and the page."""
    training, evaluation = folders
    file = tmp_path_factory.mktemp("report") / "new" / "report.html"
    main(str(evaluation), str(training), output=str(file))
    return file, check(file.read_text(encoding="utf-8"))


def test_numbers_are_those_of_the_summary(folders, report):
    summary = json.loads((folders[1] / "summary.json").read_text())
    _, page = report
    words = page.values("title")
    titles = {"dice": ("Dice", 3), "hd95": ("HD95 [mm]", 2)}
    for subset, statistics in summary["per_subset"].items():
        for region in summary["regions"]:
            for metric, (title, decimals) in titles.items():
                start = f"{subset.replace('+', ' + ')}, {title} {region.upper()}: mean "
                mean = statistics[region][metric]["mean"]
                assert sum(each.startswith(f"{start}{mean:.{decimals}f},") for each in words) == 1, start
    for region in summary["regions"]:
        assert f"{summary['overall'][region]['dice']['mean']:.3f}" in page.text
    for sentence in ("averaging", "empty_policy_in_words", "surface_in_words"):
        assert summary[sentence] in page.text


def test_the_report_says_what_was_trained_and_evaluated_on_what(folders, report):
    _, page = report
    training, evaluation = folders
    assert (
        "RFNet" in page.text
        and "Evaluated on phantoms (simulated gliomas), section testing: 2 cases, 15 subsets" in page.text
    )
    assert "Simulated images, not patients." in page.text
    origin = f"Weights: model.pt, {SYNTHETIC_ONLY}: phantoms (simulated gliomas), section training, 3 cases (SHA-256"
    assert origin in page.text
    assert page.text.count(SYNTHETIC_ONLY) == 1 and "$@" not in page.text.partition("The whole configuration")[0]
    sha256 = json.loads((training / "training.json").read_text())["sha256"]
    assert f"The training that made the weights that were evaluated (SHA-256 {sha256[:12]}…)." in page.text
    assert "necrotic core (WT, TC)" in page.text and "edema (WT)" in page.text and "class 1" not in page.text
    for folder in folders:
        record = json.loads((folder / "run.json").read_text())
        assert f"{record['data']['cases']} cases, labels: " in page.text
        assert record["versions"]["torch"] in page.text and str(record["seed"]) in page.text
    missing = json.loads((training / "run.json").read_text())["data"]["modalities"]["t2"]["missing_rate"]
    assert f"{100 * missing:.0f} %" in page.text
    assert "--max_epochs=4" in page.text, "the command"
    assert (training / "config.yaml").read_text() in page.text, "the whole configuration"


def test_every_curve_of_the_training_is_drawn(folders, report):
    file, page = report
    labels = " ".join(page.values("aria-label"))
    for title in ("total", "fused", "deep supervision", "unimodal", "validation Dice", "learning rate"):
        assert title in labels, title
    assert "Modality gap" in page.text


def test_slices_are_those_of_the_files(folders, report, phantoms):
    _, evaluation = folders
    _, page = report
    cases = {case.name: case for case in read_section(phantoms / "datalist.json", "testing")}
    assert {file.name.partition(".")[0] for file in (evaluation / "cases").glob("*.npz")} == set(cases)
    for name, case in cases.items():
        with np.load(evaluation / "cases" / f"{name}.slices.npz") as kept:
            found = {key: kept[key] for key in kept.files}
        label = nib.load(case.label)
        assert nib.aff2axcodes(label.affine)[2] == "S", "so that slices across the last axis are axial, from the foot"
        areas = (label.get_fdata() > 0).sum(axis=(0, 1))
        assert int(found["number"]) == areas.argmax() and (found["truth"] > 0).sum() == areas.max()
        assert found["predictions"].shape == (15, *found["truth"].shape) and len(np.unique(found["images"])) > 50
        file = evaluation / "cases" / f"{name}.slices.npz"
        assert file.stat().st_size < 100_000
    alternatives = [text for text in page.values("alt") if "ground truth" in text]
    assert len(alternatives) == 2 and "Worst case" in page.text and "Best case" in page.text


def browse(file, *flags):
    command = [BROWSER, *FLAGS, "--window-size=1280,4000", *flags, file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium")
@pytest.mark.parametrize(("scheme", "paper"), [(1, 1.0), (0, 0x14 / 255)])
def test_a_browser_shows_it_light_and_dark_without_an_error(report, tmp_path, scheme, paper):
    file, _ = report
    result = browse(file, f"--screenshot={tmp_path / 'page.png'}", f"--blink-settings=preferredColorScheme={scheme}")
    assert "CONSOLE" not in result.stderr
    image = imread(tmp_path / "page.png")[..., :3]
    assert image.shape[1] == 1280 and image[3, 3, 0] == pytest.approx(paper, abs=0.01)
    ink = np.abs(image - image[3, 3]).max(axis=2) > 0.3
    assert 0.02 < ink.mean() < 0.7, "neither blank nor full"
    assert all(part.any() for part in np.array_split(ink[:3600], 6)), "something in every sixth of the page"


@pytest.mark.skipif(BROWSER is None, reason="no Chromium")
def test_no_horizontal_scrolling_at_1280_pixels(report, tmp_path):
    file, page = report
    probe = "<script>document.title = 'width ' + document.documentElement.scrollWidth</script>"
    (tmp_path / "probe.html").write_text(file.read_text(encoding="utf-8").replace("</body>", f"{probe}</body>"))
    dom = browse(tmp_path / "probe.html", "--dump-dom").stdout
    width = int(re.search(r"<title>width (\d+)</title>", dom).group(1))
    assert 1200 < width <= 1280
    assert all(f'id="{name}"' in dom for name in SECTIONS)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium")
def test_it_prints_on_few_pages(report, tmp_path):
    file, _ = report
    browse(file, f"--print-to-pdf={tmp_path / 'page.pdf'}", "--no-pdf-header-footer")
    pages = re.findall(rb"/Type\s*/Page\b", (tmp_path / "page.pdf").read_bytes())
    assert 1 < len(pages) <= 8


def left_out(page):
    return re.findall(r"Left out: ([^.]*)", page.text)


def test_without_training_slices_or_config_the_sections_are_left_out_with_a_sentence(write_evaluation, tmp_path):
    page = check(build(read_evaluation(write_evaluation(tmp_path, slices=False))))
    assert [text.strip() for text in left_out(page)] == [
        "the evaluation kept no slices (keep_slices in the configuration)",
        "it was not computed",
        "no other evaluation was given (--compare)",
        "no training was given (--training)",
    ]
    assert "Whether these data are synthetic is not recorded" in page.text and "No config.yaml was kept" in page.text
    assert "The 3 lowest of 3 cases" in page.text


@pytest.mark.parametrize(
    "settings",
    [
        {"cases": ["only"]},
        {"subsets": {"p+q": 0.5}},
        {"subsets": {"p": 0.5}},
        {"regions": [f"region_{n}" for n in range(6)]},
        {"subsets": {"p": -9.0, "q": -9.0}},  # nothing is defined
        {"cases": []},
    ],
)
def test_whatever_was_evaluated_becomes_a_report(write_evaluation, tmp_path, settings):
    evaluation = read_evaluation(write_evaluation(tmp_path, **settings))
    page = check(build(evaluation))
    assert ("No case was scored" in page.text) == (settings.get("cases") == [])
    assert ("do not differ in their number" in page.text) == (len(evaluation.summary["per_num_modalities"]) < 2)
    assert ("The only case: only" in page.text) == (settings.get("cases") == ["only"])


def test_monotonicity_and_comparison_have_their_place(write_evaluation, tmp_path):
    rates = {"region": ["x"], "added": ["p"], "n": [12], "rate": [0.25], "mean_change": [0.1]}
    difference = {"level": "subset", "group": "p+q", "region": "x", "n": 3, "difference": -0.125, "low": -0.25}
    difference |= {"high": 0.5, "p_holm": 0.01, "reading": "worse", "metric": "dice", "run": "new"}
    evaluation = read_evaluation(write_evaluation(tmp_path))
    page = check(build(evaluation, None, pd.DataFrame(rates), pd.DataFrame([difference])))
    assert "25 % (+0.100)" in page.text and "−0.125 *" in page.text and "−0.250 to +0.500" in page.text
    assert not any("not computed" in text or "--compare" in text for text in left_out(page))


def test_names_are_text_wherever_they_stand(write_evaluation, tmp_path):
    odd = "a<q>&\"$x$'"
    folder = write_evaluation(tmp_path, cases=(odd, "two"), subsets={"p<mark>": 0.2, "q": 0.5, "p<mark>+q": 0.7})
    summary = json.loads((folder / "summary.json").read_text())
    summary |= {"failed_cases": {"<u>": "because <s>"}, "unlabelled_cases": ["<em>"]}
    write_json(folder / "summary.json", summary)
    page = check(build(read_evaluation(folder)))
    assert not {"q", "mark", "u", "s", "em"} & {tag for tag, _ in page.tags}
    assert page.text.count(odd) >= 3 and "because <s>" in page.text and "<em>" in page.text
    assert "1 case failed" in page.text and "Without a label, so not scored (1)" in page.text


ORIGIN = {"file": "model.pt", "trained_on": {"name": "n", "section": "s", "num_cases": 2, "num_synthetic": 0}}


@pytest.fixture
def pair(write_evaluation, tmp_path):
    """Write an evaluation of weights that were trained twice, and a training that made given weights."""

    def _pair(made, where=".", **config):
        evaluation, training = write_evaluation(tmp_path / "evaluation", slices=False), tmp_path / "training"
        summary = json.loads((evaluation / "summary.json").read_text())
        first = {**ORIGIN, "sha256": "first", "initial_file": None}
        weights = {**ORIGIN, "sha256": "second", "initial_file": first}
        write_json(evaluation / "summary.json", {**summary, "weights": weights})
        write_json(training / "run.json", {"seed": 1})
        if made:
            write_json(training / where / "training.json", {"sha256": made})
        (training / "config.yaml").write_text(json.dumps(config))
        return str(evaluation), str(training)

    return _pair


def test_curves_of_a_training_that_made_other_weights_are_refused(pair):
    said = "in .*training made the weights third…, but those evaluated in .*evaluation are second… .SHA-256.; its"
    with pytest.raises(SystemExit, match=f"Cannot report: the training {said} curves would be of another network."):
        main(*pair("third"))


def test_curves_of_an_earlier_training_of_the_same_weights_are_called_so(pair, tmp_path):
    main(*pair("first"), output=str(tmp_path / "report.html"))
    page = check((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "it made those that they started from, 1 training earlier (SHA-256 first…, evaluated second…)" in page.text


@pytest.mark.parametrize(
    ("made", "where", "said"),
    [
        ("second", ".", "The training that made the weights that were evaluated (SHA-256 second…)."),
        ("second", "../models", "The training that made the weights that were evaluated"),
        ("third", "../models", "is not recorded: nothing in"),  # they may have been replaced since
        (None, ".", "Whether this training made the weights that were evaluated is not recorded: nothing in"),
    ],
)
def test_whose_curves_they_are_is_said_as_far_as_it_is_recorded(pair, tmp_path, made, where, said):
    evaluation, training = pair(made, where, model_file=str(tmp_path / "models" / "model.pt"))
    main(evaluation, training, output=str(tmp_path / "report.html"))
    assert said in check((tmp_path / "report.html").read_text(encoding="utf-8")).text


def test_what_would_have_to_be_resolved_is_left_out(write_evaluation, tmp_path):
    folder = write_evaluation(tmp_path, slices=False)
    config = {"model_file": "$@bundle_root + '/models/model.pt'", "dataset_dir": "@data", "alignment": "%alignment"}
    config |= {"evaluated_section": "testing"}
    (folder / "config.yaml").write_text(json.dumps(config))
    text = check(build(read_evaluation(folder))).text.partition("The whole configuration")[0]
    assert not {"$", "@", "%alignment"} & {*text, *text.split()} and "evaluated_section" in text


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "summary.json").unlink(), "no summary.json in .*; expected the `output_dir` of an evaluation"),
        (lambda f: (f / "summary.json").write_text("{"), "summary.json cannot be read as JSON"),
        (lambda f: (f / "config.yaml").write_text("a: [b"), "config.yaml cannot be read as YAML"),
    ],
)
def test_what_cannot_be_reported_is_refused_with_the_reason(write_evaluation, tmp_path, break_it, message):
    folder = write_evaluation(tmp_path, slices=False)
    break_it(folder)
    with pytest.raises(SystemExit, match=f"Cannot report: .*{message}"):
        main(str(folder))
    assert not (folder / "report.html").exists()


def test_a_folder_that_is_no_training_is_refused(write_evaluation, tmp_path):
    with pytest.raises(SystemExit, match="Cannot report: neither run.json nor tensorboard/ in .*of a training"):
        main(str(write_evaluation(tmp_path)), training=str(tmp_path / "nowhere"))
    (tmp_path / "started").mkdir()
    write_json(tmp_path / "started" / "run.json", {"seed": 3})
    main(str(tmp_path), training=str(tmp_path / "started"))
    assert "the training kept no curves" in check((tmp_path / "report.html").read_text(encoding="utf-8")).text
