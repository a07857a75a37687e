# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What figures have in common: colours, slices, label maps, files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..utils.files import replacing

# Okabe and Ito's palette, distinct to colour-blind readers
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")  # on white
CLASS_COLOURS = ("#F0E442", "#56B4E9", "#D55E00", "#009E73", "#CC79A7", "#0072B2", "#E69F00")  # on grey images
MARKERS = "osD^vPX"
DIMMED = 0.55  # brightness of an image under a label map, so that the labels stand out


def class_colour(label: int) -> str:
    """Give the colour of a class, 1 and above; after seven classes they repeat."""
    return CLASS_COLOURS[(label - 1) % len(CLASS_COLOURS)]


def draw_slice(panel: Axes, plane: NDArray, white: float, aspect: float = 1.0) -> None:
    """Draw an upright slice in grey; ``aspect`` is the height of a pixel over its width."""
    panel.imshow(plane, cmap="gray", vmin=0, vmax=white, interpolation="bilinear", aspect=aspect)


def draw_classes(panel: Axes, labels: NDArray) -> None:
    """Draw the classes of an upright slice over its image: tinted, with their outlines."""
    for label in np.unique(labels[labels > 0]).tolist():
        mask, colours = labels == label, [class_colour(int(label))]
        panel.contourf(mask, levels=[0.5, 1], colors=colours, alpha=0.35)
        panel.contour(mask, levels=[0.5], colors=colours, linewidths=0.7)


def class_names(
    regions: Mapping[str, Sequence[int]], num_classes: int, tissues: Mapping[int, str] | None = None
) -> dict[int, str]:
    """Name each class above the background by what it is and the regions it belongs to: ``edema (WT)``.

    Args:
        regions: name of each region to the classes it unites.
        num_classes: with the background.
        tissues: what the classes are; where one is not said, it goes by its number: ``class 2 (WT)``.
    """
    found = {}
    for value in range(1, num_classes):
        names = ", ".join(name.upper() for name, classes in regions.items() if value in classes)
        tissue = (tissues or {}).get(value, f"class {value}")
        found[value] = f"{tissue} ({names})" if names else tissue
    return found


def shared_legend(figure: Figure, ncols: int, **look: Any) -> None:
    """Give all panels one legend below them, in which every label stands once."""
    labelled = [panel.get_legend_handles_labels() for panel in figure.axes]
    handles = {label: handle for found in labelled for handle, label in zip(*found, strict=True)}
    look = {"loc": "outside lower center", "frameon": False, "fontsize": 9, **look}
    figure.legend(list(handles.values()), list(handles), ncols=ncols, **look)


def png_path(output: str | Path) -> Path:
    """Name the PNG file of a figure; the extension may be left out.

    Raises:
        ValueError: if the name has another extension.
    """
    path = Path(output)
    if path.suffix.lower() not in ("", ".png"):
        raise ValueError(f"`output` is {path}; expected the name of a PNG file, e.g. {path.with_suffix('.png')}.")
    return path if path.suffix else path.with_suffix(".png")


def save_png(figure: Figure, path: Path, dots_per_inch: int) -> None:
    """Write a figure into a PNG file."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=dots_per_inch, pil_kwargs={"optimize": True})
