# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""One picture of a result, for the person who is to judge it: the series, the outlines, the numbers, the warnings."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .figures import class_colour, save_png
from .planes import box_around, largest_slice, upright, white_level

PLANES = {2: "axial", 1: "coronal", 0: "sagittal"}  # axis of an LPS volume that is looked along
SIDES = {2: "RL", 1: "RL", 0: "AP"}  # letters on the left and on the right
BRAIN = "0.75"  # colour of its outline
PAPER, INK, ALERT = "black", "0.92", "#F0B040"
WIDTH, LARGEST, DOTS = 10.8, 4.0, 110  # inches of the picture, of a panel at most, and dots to an inch
TITLE = 0.22  # inches above a panel
LINE = 0.2  # inches of a line of text
CHARACTERS = 14.5  # of text to an inch


def preview_figure(
    images: Mapping[str, NDArray],
    classes: NDArray,
    brain: NDArray | None,
    affine: NDArray,
    regions: Mapping[str, Sequence[int]],
    report: Mapping[str, Any],
) -> Figure:
    """Draw every series in three planes through the tumour, or the middle of the head, with words below.

    Outlines are those of the brain, grey, and of the regions. Planes lie where most is marked. The patient's right is
    on the left, as radiologists look at it.

    Args:
        images: modality to ``(X, Y, Z)``, background 0.
        classes: ``(X, Y, Z)`` internal classes, on the same grid.
        brain: ``(X, Y, Z)`` bool; where an image is not 0, if not given.
        affine: ``(4, 4)``, index to RAS mm.
        regions: name of each region to the classes it unites, the largest first.
        report: as it is written beside the label map: what is there of ``case``, ``subset``, ``volumes``,
            ``diameters``, ``expected_performance`` and ``warnings`` is said.
    """
    if brain is None:
        brain = np.any([image != 0 for image in images.values()], axis=0)
    (*volumes, labels, head), spacing = _as_lps([*images.values(), classes, brain.astype(np.uint8)], affine)
    size = min(LARGEST, WIDTH / len(volumes))  # inches of a panel
    width = max(size * len(volumes), 0.7 * WIDTH)
    words = _words(report, width)
    above = (size + TITLE) * len(PLANES)
    figure = Figure(figsize=(width, above + LINE * (len(words) + 3)), facecolor=PAPER)
    whites = [white_level(volume) for volume in volumes]
    for row, (axis, plane) in enumerate(PLANES.items()):
        number = largest_slice(np.moveaxis(each, axis, 2) for each in (labels, head))
        cuts = [upright(np.take(each, number, axis), axis) for each in (*volumes, labels, head)]
        box = box_around([cuts[-1], cuts[-2]])
        cuts = [cut[box] for cut in cuts]
        across, down = (spacing[each] for each in range(3) if each != axis)
        for column, (name, white) in enumerate(zip(images, whites, strict=True)):
            panel = _panel(figure, size, row, column)
            _draw(panel, cuts[column], cuts[-2], cuts[-1], regions, white, down / across)
            panel.set_title(f"{name} {plane}", color=INK, size=8, pad=3)
            for place, letter in zip((0.02, 0.98), SIDES[axis], strict=True):
                panel.text(place, 0.5, letter, transform=panel.transAxes, color=INK, ha="center", va="center", size=8)
    _write(figure, words, regions, above)
    return figure


def write_preview(path: str | Path, *arguments: Any, **named: Any) -> None:
    """Write ``preview_figure(*arguments, **named)`` into a PNG file."""
    save_png(preview_figure(*arguments, **named), Path(path), DOTS)


def _panel(figure: Figure, size: float, row: int, column: int) -> Axes:
    """Make a square panel of ``size`` inches, counted from the top left."""
    width, height = figure.get_size_inches()
    bottom = height - (size + TITLE) * (row + 1)
    return figure.add_axes((size * column / width, bottom / height, size / width, size / height))


def _as_lps(volumes: Sequence[NDArray], affine: NDArray) -> tuple[list[NDArray], NDArray]:
    """Turn volumes to LPS, the axes nearest to those of the body; return their voxel sizes (mm) too."""
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt("LPS"))
    turned = [nib.orientations.apply_orientation(each, turn) for each in volumes]
    sizes = np.empty(3)
    sizes[turn[:, 0].astype(int)] = nib.affines.voxel_sizes(affine)
    return turned, sizes


def _draw(
    panel: Axes,
    plane: NDArray,
    labels: NDArray,
    head: NDArray,
    regions: Mapping[str, Sequence[int]],
    white: float,
    aspect: float,
) -> None:
    panel.set_facecolor(PAPER)
    panel.imshow(plane, cmap="gray", vmin=0, vmax=white, interpolation="bilinear", aspect=aspect)
    masks = [(head > 0, BRAIN, 0.5)]
    masks += [(np.isin(labels, values), class_colour(k), 1.0) for k, values in enumerate(regions.values(), 1)]
    for mask, colour, width in masks:
        if mask.any() and not mask.all():
            panel.contour(mask, levels=[0.5], colors=[colour], linewidths=width)
    panel.set_axis_off()


def _words(report: Mapping[str, Any], inches: float) -> list[tuple[str, str]]:
    """Say what the report has, as lines of text and their colour."""
    lines = [(f"{report.get('case', '')}: from {report.get('subset', 'all')}. Not for clinical use.", INK)]
    for region, volume in report.get("volumes", {}).items():
        text = f"{region.upper()}: {volume['ml']:.1f} mL"
        measured = (report.get("diameters") or {}).get(region)
        if measured:
            text += f", {measured['longest_mm']:.0f} x {measured['perpendicular_mm']:.0f} mm"
        expected = ((report.get("expected_performance") or {}).get("dice") or {}).get(region)
        if isinstance(expected, Mapping) and expected.get("mean") is not None:
            text += f"; expected Dice {expected['mean']:.2f}"
        lines.append((text, INK))
    width = int(inches * CHARACTERS)
    for warning in report.get("warnings", []):
        wrapped = textwrap.wrap(f"! {warning}", width, subsequent_indent="  ")
        lines += [(line, ALERT) for line in wrapped]
    return lines


def _write(figure: Figure, words: Sequence[tuple[str, str]], regions: Mapping[str, Any], above: float) -> None:
    """Write the legend and the lines below the panels, which take ``above`` inches."""
    width, height = figure.get_size_inches()
    legend = [("outlines:", INK), ("brain", BRAIN)]
    legend += [(name.upper(), class_colour(k)) for k, name in enumerate(regions, 1)]
    place = 0.2  # inches
    for text, colour in legend:
        top = (height - above - LINE) / height
        figure.text(place / width, top, text, color=colour, size=8.5, va="center", weight="bold")
        place += (len(text) + 2) / CHARACTERS * 1.6
    for number, (text, colour) in enumerate(words):
        top = (height - above - LINE * (number + 2.2)) / height
        figure.text(0.2 / width, top, text, color=colour, size=8, va="center")
