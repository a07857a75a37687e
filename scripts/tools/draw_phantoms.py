# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Draw phantoms: a row per case, a column per modality, the label's outlines in the last column.

python -m scripts.tools.draw_phantoms --output runs/phantoms.png --indices 0,8,36,7,33,22
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from ..drawing.figures import DIMMED, class_colour, draw_classes, draw_slice, png_path, save_png
from ..drawing.planes import upright, white_level
from ..phantom.contrast import default_modalities
from ..phantom.dataset import Phantom, PhantomSettings, make_phantom
from ..phantom.variety import TYPICAL
from ..utils.flags import as_list
from .command_line import run_tool

CLASSES = {1: "NCR/NET", 2: "ED", 3: "ET"}
PLANES = ((2, "axial"), (1, "coronal"), (0, "sagittal"))


def main(
    output: str = "runs/phantoms.png",
    indices: Sequence[int] = (0, 8, 36, 7, 33, 22),
    spacing_mm: float = 1.0,
    modalities: str | Sequence[str] | None = None,
    seed: int = 0,
    row_inches: float = 1.75,
    dots_per_inch: int = 90,
    variety: str = TYPICAL,
) -> None:
    """Draw some phantoms into a PNG file; end with status 1 and a message if there are no such phantoms.

    Args:
        output: the file.
        indices: which phantoms of the seed; planes alternate between axial, coronal and sagittal.
        spacing_mm: edge of a voxel, in mm.
        modalities: names from scripts/phantom/contrasts.yaml, joined by commas.
        seed: of the data set.
        row_inches: height of a row.
        dots_per_inch: resolution.
        variety: how much phantoms differ, a name of scripts/phantom/variety.yaml: typical or randomized.
    """
    names = as_list(modalities) if modalities else default_modalities()
    try:
        settings = PhantomSettings(spacing_mm, None, tuple(names), seed, variety)
    except ValueError as error:
        raise SystemExit(f"No phantoms drawn: {error}") from error
    indices = [indices] if isinstance(indices, int) else list(indices)
    columns = len(settings.modalities) + 1
    layout = ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0, hspace=0)
    figure = Figure(figsize=(row_inches * columns, row_inches * len(indices) + 0.3), layout=layout)
    figure.set_facecolor("black")
    axes = figure.subplots(len(indices), columns, squeeze=False)
    for row, (index, panels) in enumerate(zip(indices, axes, strict=True)):
        axis, plane = PLANES[row % len(PLANES)]
        _draw_row(panels, make_phantom(settings, index), axis)
        panels[0].text(0.02, 0.02, f"case {index}, {plane}", color="white", fontsize=6, transform=panels[0].transAxes)
    _name_columns(axes[0], (*settings.modalities, "outlines"))
    save_png(figure, png_path(output), dots_per_inch)
    print(f"{len(indices)} phantoms drawn: {png_path(output)}")


def _draw_row(panels: NDArray, phantom: Phantom, axis: int) -> None:
    """Draw the slice with the largest tumour, in radiological convention (the patient's right is on the left)."""
    images, label = phantom.images, phantom.label
    others = tuple(i for i in range(3) if i != axis)
    number = int((label > 0).sum(others).argmax())
    whites = [white_level(image) for image in images]
    for panel, image, white in zip(panels, (*images, images[0]), (*whites, whites[0] / DIMMED), strict=True):
        draw_slice(panel, upright(image.take(number, axis), axis), white)
        panel.axis("off")
    draw_classes(panels[-1], upright(label.take(number, axis), axis))


def _name_columns(panels: NDArray, titles: Sequence[str]) -> None:
    """Write titles above the first row, and into its last panel what the outlines' colours mean."""
    for panel, title in zip(panels, titles, strict=True):
        panel.set_title(title, color="white", fontsize=8, pad=2)
    for value, name in CLASSES.items():
        panels[-1].plot([], [], color=class_colour(value), label=f"{value} {name}")
    panels[-1].legend(loc="lower right", fontsize=5, labelcolor="white", facecolor="black", handlelength=1)


if __name__ == "__main__":
    run_tool(main)
