# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The picture of a result: what is outlined where, in which proportions, and what is said below."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.image import imread

from scripts.drawing.figures import class_colour
from scripts.drawing.preview import BRAIN, preview_figure, write_preview

REGIONS = {"wt": [1, 2, 3], "tc": [1, 3], "et": [3]}
RAS = np.diag([1.0, 1.0, 1.0, 1.0])


def head(shape=(40, 50, 30), names=("flair", "t1ce")):
    """A block of brain in each series, and classes in it: at the patient's right (the higher x), in front, low."""
    brain = np.zeros(shape, bool)
    brain[4:-4, 4:-4, 3:-3] = True
    rng = np.random.default_rng(0)
    images = {name: np.where(brain, rng.uniform(50, 100, shape), 0).astype(np.float32) for name in names}
    classes = np.zeros(shape, np.uint8)
    classes[20:34, 30:44, 6:14] = 2
    classes[24:30, 34:40, 8:12] = 1
    classes[26:28, 36:38, 9:11] = 3
    classes[18:20, 36:38, 9:11], classes[26:28, 44:45, 9:11] = 2, 2  # the largest slices cut all classes
    return images, classes


def outlines(panel):
    """Colour of each outline to the box around it, in pixels of the panel: left, right, bottom, top."""
    found = {}
    for drawn in panel.collections:
        points = np.concatenate([path.vertices for path in drawn.get_paths()])
        found[to_hex(drawn.get_edgecolor()[0])] = (*points.min(axis=0), *points.max(axis=0))
    return found


def panels(figure):
    return {panel.get_title(): panel for panel in figure.axes}


def test_every_series_is_shown_in_three_planes_with_the_outlines_of_brain_and_regions():
    images, classes = head()
    figure = preview_figure(images, classes, None, RAS, REGIONS, {})
    found = panels(figure)
    assert set(found) == {f"{name} {plane}" for name in images for plane in ("axial", "coronal", "sagittal")}
    for panel in found.values():
        colours = outlines(panel)
        assert set(colours) == {to_hex(BRAIN), *(to_hex(class_colour(k)) for k in (1, 2, 3))}
        brain, whole, enhancing = (colours[to_hex(each)] for each in (BRAIN, class_colour(1), class_colour(3)))
        for inner, outer in ((whole, brain), (enhancing, whole)):
            assert inner[0] > outer[0] and inner[1] > outer[1] and inner[2] < outer[2] and inner[3] < outer[3]


def test_the_patients_right_is_on_the_left_and_the_front_and_the_top_are_up():
    images, classes = head()
    found = panels(preview_figure(images, classes, None, RAS, REGIONS, {}))
    left, top, right, bottom = outlines(found["flair axial"])[to_hex(class_colour(1))]
    # x 18 to 34 of 4 to 36, the higher the further to the left; y 30 to 45 of 4 to 46, the higher the further up
    margin = 2
    assert (left, right) == pytest.approx((36 - 34 + margin - 0.5, 36 - 18 + margin - 0.5))
    assert (top, bottom) == pytest.approx((46 - 45 + margin - 0.5, 46 - 30 + margin - 0.5))
    _, top, _, bottom = outlines(found["flair coronal"])[to_hex(class_colour(1))]
    assert (top, bottom) == pytest.approx((27 - 14 + margin - 0.5, 27 - 6 + margin - 0.5))  # low: further down
    letters = [
        [text.get_text() for text in found[f"flair {plane}"].texts] for plane in ("axial", "coronal", "sagittal")
    ]
    assert letters == [["R", "L"], ["R", "L"], ["A", "P"]]


def test_a_file_with_other_axes_gives_the_same_picture():
    images, classes = head(names=("flair",))
    flipped = {name: image[::-1].transpose(2, 0, 1) for name, image in images.items()}
    affine = np.array([[0, -1.0, 0, 39], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    one = preview_figure(images, classes, None, RAS, REGIONS, {})
    other = preview_figure(flipped, classes[::-1].transpose(2, 0, 1), None, affine, REGIONS, {})
    for first, second in zip(one.axes, other.axes, strict=True):
        np.testing.assert_array_equal(first.images[0].get_array(), second.images[0].get_array())
        assert outlines(first) == outlines(second)


def test_the_picture_is_a_png_file(tmp_path):
    write_preview(tmp_path / "P1.png", *head(names=("t1",)), None, RAS, REGIONS, {})
    assert imread(tmp_path / "P1.png").std() > 0.05


def test_thick_slices_have_the_proportions_of_the_head():
    images, classes = head(shape=(40, 50, 30))
    found = panels(preview_figure(images, classes, None, np.diag([1.0, 1.0, 4.0, 1.0]), REGIONS, {}))
    aspects = {plane: found[f"flair {plane}"].get_aspect() for plane in ("axial", "coronal", "sagittal")}
    assert aspects == {"axial": 1, "coronal": 4, "sagittal": 4}


def test_without_a_tumour_the_middle_of_the_brain_is_shown_with_its_outline_alone():
    images, classes = head(names=("t2",))
    figure = preview_figure(images, 0 * classes, None, RAS, REGIONS, {"warnings": ["nothing was found for region wt"]})
    assert [list(outlines(panel)) for panel in figure.axes] == [[to_hex(BRAIN)]] * 3
    assert "! nothing was found for region wt" in [text.get_text() for text in figure.texts]


def test_the_words_are_those_of_the_report_wrapped_to_the_width():
    images, classes = head()
    report = {
        "case": "P1",
        "subset": "flair+t1ce",
        "volumes": {"wt": {"ml": 12.34}, "et": {"ml": 0.0}},
        "diameters": {"wt": {"longest_mm": 41.4, "perpendicular_mm": 20.6}, "et": None},
        "expected_performance": {"dice": {"wt": {"mean": 0.876}, "et": None}},
        "warnings": ["a sentence of many words " * 12],
    }
    figure = preview_figure(images, classes, None, RAS, REGIONS, report)
    lines = [text.get_text() for text in figure.texts]
    assert "P1: from flair+t1ce. Not for clinical use." in lines
    assert "WT: 12.3 mL, 41 x 21 mm; expected Dice 0.88" in lines and "ET: 0.0 mL" in lines
    wrapped = [line for line in lines if "sentence" in line]
    assert len(wrapped) > 1 and " ".join(" ".join(wrapped).split()) == "! " + " ".join(report["warnings"][0].split())
    figure.canvas.draw()
    edge = max(text.get_window_extent().x1 for text in figure.texts)
    assert edge <= figure.bbox.x1, "no line leaves the picture"
    assert min(text.get_window_extent().y0 for text in figure.texts) >= 0
