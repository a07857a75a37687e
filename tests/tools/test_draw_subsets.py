# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""One case segmented from every subset, drawn."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from matplotlib.image import imread

from scripts.data.datalist import read_section, write_datalist
from scripts.modalities import modality_subsets, subset_name
from scripts.tools.draw_subsets import SegmentedCase, draw, main, segment
from scripts.tools.show_config import merge

CONFIGS = Path(__file__).parents[2] / "configs"
FILES = [str(CONFIGS / name) for name in ("train.yaml", "evaluate.yaml")]
NAMES = ["flair", "t1ce", "t1", "t2"]
REGIONS = {"wt": [1, 2, 3], "tc": [1, 3], "et": [3]}


def with_axes(file, axes):
    """Load an image with the axes of its array turned, e.g. to ``"LPS"``."""
    image, target = nib.load(file), nib.orientations.axcodes2ornt(axes)
    return image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(image.affine), target))


@pytest.fixture(scope="module")
def knobs(tiny, phantoms, tmp_path_factory):
    """What draws quickly: untrained weights, and as a third test case one with FLAIR and T2 alone, its axes turned."""
    folder = tmp_path_factory.mktemp("drawn")
    cases = read_section(phantoms / "datalist.json", "testing")
    files = {**{name: cases[1].images[name] for name in ("flair", "t2")}, "seg": cases[1].label}
    turned = {role: str(folder / f"turned_{role}.nii.gz") for role in files}
    for role, file in files.items():
        nib.save(with_axes(file, "PIR"), turned[role])
    cases.append(replace(cases[1], name="turned", label=turned.pop("seg"), images=turned))
    write_datalist(folder / "datalist.json", {"testing": cases}, NAMES)
    settings = {**tiny, "datalist_file": str(folder / "datalist.json"), "sliding_window_overlap": 0.0}
    settings |= {"model_file": str(folder / "model.pt"), "output_dir": str(folder / "out")}
    torch.manual_seed(0)
    torch.save(merge(FILES, settings)[0].get_parsed_content("network_def").state_dict(), settings["model_file"])
    return settings


@pytest.fixture(scope="module")
def complete(knobs):
    return segment(merge(FILES, knobs)[0])


@pytest.fixture(scope="module")
def turned(knobs):
    return segment(merge(FILES, knobs)[0], "turned")


def test_the_first_case_is_segmented_from_all_of_its_subsets(complete, knobs):
    first, *_ = read_section(knobs["datalist_file"], "testing")
    assert complete.name == first.name
    assert list(complete.predictions) == [subset_name(subset, NAMES) for subset in modality_subsets(4)]
    assert {labels.shape for labels in complete.predictions.values()} == {complete.truth.shape}
    assert len({labels.tobytes() for labels in complete.predictions.values()}) > 1


def test_images_and_labels_lie_on_one_grid_with_the_axes_of_radiologists(turned, knobs):
    entry = read_section(knobs["datalist_file"], "testing")[-1]
    assert list(turned.images) == ["flair", "t2"]
    for name, image in turned.images.items():
        np.testing.assert_allclose(image, with_axes(entry.images[name], "LPS").get_fdata(), rtol=1e-5)
    on_disk = with_axes(entry.label, "LPS").get_fdata()
    np.testing.assert_array_equal(turned.truth > 0, on_disk > 0)
    assert turned.truth.any() and turned.spacing_mm == pytest.approx([8.0] * 3)


def test_the_dice_of_a_subset_is_that_of_the_arrays_that_are_drawn(complete):
    for subset, labels in complete.predictions.items():
        for region, classes in REGIONS.items():
            p, t = np.isin(labels, classes), np.isin(complete.truth, classes)
            assert t.any()
            expected = 2 * (p & t).sum() / (p.sum() + t.sum())
            assert complete.scores[subset][region, "dice"] == pytest.approx(expected), (subset, region)
    assert max(scores["wt", "dice"] for scores in complete.scores.values()) > 0


def test_the_figure_has_a_panel_for_each_image_the_truth_and_each_subset(complete, turned):
    figure = draw(complete, REGIONS, 4)
    captions = [panel.get_xlabel() for panel in figure.axes]
    assert captions[:5] == [*NAMES, "ground truth"]
    for caption, (subset, scores) in zip(captions[5:], complete.scores.items(), strict=True):
        dice = "  ".join(f"{region.upper()} {scores[region, 'dice']:.2f}" for region in REGIONS)
        assert caption == f"{subset}\n{dice}"
    assert complete.name in figure.get_suptitle()
    captions = [panel.get_xlabel().partition("\n")[0] for panel in draw(turned, REGIONS, 4).axes]
    assert captions == ["flair", "t2", "ground truth", "flair", "t2", "flair+t2"]


def by_hand(truth=True, predicted=True):
    """A head of 6 x 10 pixels in a slice of 20 x 30; labels in slices 1 (2 pixels) and 3 (6 pixels)."""
    image, labels = np.zeros((20, 30, 5)), np.zeros((20, 30, 5), dtype=int)
    image[4:10, 7:17] = 100.0
    labels[5:7, 8, 1], labels[5:8, 8:10, 3] = 2, 5
    scores = {"a": {("x", "dice"): 0.25, ("y", "dice"): math.nan}}
    return SegmentedCase("toy", {"a": image}, labels * truth, {"a": labels * predicted}, scores, [1.0, 2.0, 5.0])


@pytest.mark.parametrize(
    ("truth", "predicted", "number"),
    [(True, True, 4), (True, False, 4), (False, True, 4), (False, False, 3)],  # counted from 1; no label: the middle
)
def test_the_slice_with_the_largest_label_is_shown(truth, predicted, number):
    figure = draw(by_hand(truth, predicted), {"x": [2], "y": [5]}, 6)
    assert figure.get_suptitle().startswith(f"toy, slice {number} of 5\n")


def test_slices_are_cropped_to_the_head_and_drawn_upright_in_proportion():
    figure = draw(by_hand(), {"x": [2], "y": [5]}, 6)
    (shown,) = figure.axes[0].images
    assert shown.get_array().shape == (10 + 2 * 2, 6 + 2 * 2)  # rows are Y; a margin of two pixels on each side
    assert (np.asarray(shown.get_array())[2:-2, 2:-2] == 100).all()
    assert figure.axes[0].get_aspect() == 2.0


def test_classes_are_named_by_number_and_region_and_undefined_dice_by_a_dash():
    figure = draw(by_hand(), {"x": [2], "y": [5, 2]}, 6)
    assert figure.axes[2].get_xlabel() == "a\nX 0.25  Y –"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["class 1", "class 2 (X, Y)", "class 3", "class 4", "class 5 (Y)"]


def test_stacks_are_drawn_with_the_axes_of_their_files(tiny, hearts, tmp_path):
    files = [FILES[0], str(CONFIGS / "dataset_myops2020.yaml"), FILES[1]]
    places = {"model_file": str(tmp_path / "model.pt"), "output_dir": str(tmp_path)}
    parser, _ = merge(files, {**tiny, **hearts, **places})
    torch.save(parser.get_parsed_content("network_def").state_dict(), tmp_path / "model.pt")
    case = segment(parser)
    (entry,) = parser.get_parsed_content("validate::cases")
    assert list(case.images) == ["bssfp", "lge", "t2"]
    image = np.asarray(nib.load(entry["images"]["lge"]).dataobj)
    there = case.images["lge"] != 0  # the background of every image is set to 0
    np.testing.assert_allclose(case.images["lge"][there], image[there], rtol=1e-5)
    assert there.mean() > 0.5
    figure = draw(case, parser["regions"], parser["num_classes"])
    assert len(figure.axes) == 3 + 1 + 7
    assert figure.axes[4].get_xlabel().count("\n") == 2, "five regions take two lines"


def test_the_tool_writes_one_png_and_nothing_else(knobs, tmp_path, capsys):
    folder = tmp_path / "out"
    main(*FILES, case="turned", dots_per_inch=60, **{**knobs, "output_dir": str(folder)})
    assert f"turned from 3 subsets drawn: {folder / 'subsets_turned.png'}" in capsys.readouterr().out
    assert [file.name for file in folder.iterdir()] == ["subsets_turned.png"]
    height, width = imread(folder / "subsets_turned.png").shape[:2]
    assert width == pytest.approx(3 * 1.6 * 60, abs=1) and 0.5 < height / width < 1.5
    main(*FILES, case="turned", output=str(tmp_path / "named"), dots_per_inch=30, **knobs)
    assert imread(tmp_path / "named.png").std() > 0


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ([], {}, "no file was given"),
        ([str(CONFIGS / "inference.yaml")], {}, "no `validate::evaluator`; expected configs/train.yaml"),
        (
            FILES,
            {"case": "nobody"},
            r"no testing case is called `nobody`; expected one of \['phantom_0004', .*3 in all",
        ),
        (FILES, {"model_file": "/nowhere/model.pt"}, "no weights at /nowhere/model.pt; .*`--model_file`"),
        (FILES, {"datalist_file": "/nowhere/list.json"}, "no datalist at /nowhere/list.json"),
        (FILES, {"output": "figure.pdf"}, "`output` is figure.pdf; expected the name of a PNG file"),
        (FILES, {"validation_subsets": ["t1+t3"]}, r"subset `t1\+t3` names \['t3'\]"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_the_reason(knobs, files, options, message):
    settings = knobs if files == FILES else {}
    with pytest.raises(SystemExit, match=f"Cannot draw: .*{message}"):
        main(*files, **{**settings, **options})


def test_a_case_without_a_label_is_named(knobs, tmp_path):
    (tmp_path / "datalist.json").write_text(Path(knobs["datalist_file"]).read_text())
    cases = read_section(knobs["datalist_file"], "testing")
    cases = [replace(case, label=None, label_convention=None) for case in cases[:1]]
    write_datalist(tmp_path / "datalist.json", {"testing": cases}, NAMES)
    with pytest.raises(SystemExit, match="Cannot draw: case `phantom_0004` has no label, so its prediction cannot be"):
        main(*FILES, **{**knobs, "datalist_file": str(tmp_path / "datalist.json")})
