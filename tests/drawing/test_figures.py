# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Colours, classes and files of figures."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread

from scripts.drawing.figures import CLASS_COLOURS, class_colour, class_names, draw_classes, png_path, save_png


def test_every_class_has_its_colour_however_many_there_are():
    number = len(CLASS_COLOURS)
    assert len({class_colour(label) for label in range(1, number + 1)}) == number
    assert class_colour(number + 1) == class_colour(1)


def test_classes_are_tinted_and_outlined_in_their_colour_and_the_background_is_not():
    labels = np.zeros((8, 8), dtype=int)
    labels[1:4, 1:4], labels[5:7, 5:7] = 1, 5
    panel = Figure().subplots()
    draw_classes(panel, labels)
    colours = {to_hex(each.get_facecolor()[0]).upper() for each in panel.collections if len(each.get_facecolor())}
    assert colours == {class_colour(1), class_colour(5)}
    assert len(panel.collections) == 2 * 2


def test_classes_are_named_by_number_and_regions():
    assert class_names({"x": [2], "y": [2, 3]}, 4) == {1: "class 1", 2: "class 2 (X, Y)", 3: "class 3 (Y)"}
    named = class_names({"wt": [1, 2, 3], "et": [3]}, 4, {0: "background", 2: "edema", 3: "enhancing"})
    assert named == {1: "class 1 (WT)", 2: "edema (WT)", 3: "enhancing (WT, ET)"}


def test_a_figure_becomes_a_png_file_with_or_without_the_extension(tmp_path):
    path = png_path(tmp_path / "new" / "figure")
    save_png(Figure(figsize=(2, 1)), path, dots_per_inch=50)
    assert path == png_path(path) and path.name == "figure.png"
    assert imread(path).shape[:2] == (50, 100)
    assert [each.name for each in path.parent.iterdir()] == ["figure.png"]


def test_another_format_is_refused():
    with pytest.raises(ValueError, match=r"`output` is a/b.pdf; expected the name of a PNG file, e.g. a/b.png"):
        png_path("a/b.pdf")
