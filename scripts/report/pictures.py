# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Slices of cases for a report: images, truth and predictions."""

from __future__ import annotations

import zipfile
from base64 import b64encode
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..drawing.figures import DIMMED, draw_classes, draw_slice
from ..drawing.planes import upright
from .numbers import NOTHING

WHITE = 255
PANEL_PIXELS = 320  # width; twice what a page shows, for sharp screens and paper
DOTS_PER_INCH = 100
JPEG_QUALITY = 88


class Picture(NamedTuple):
    """One panel: the image as a ``data:`` address, its caption, a second line, and its size in pixels."""

    source: str
    caption: str
    small: str
    width: int
    height: int


class CasePictures(NamedTuple):
    """The panels of one case: why it is shown, its name, which slice; images, and the truth with predictions."""

    title: str
    case: str
    where: str
    images: list[Picture]
    labels: list[Picture]


def choose_cases(order: Sequence[str]) -> dict[str, str]:
    """Choose the worst, median and best of cases that are ordered from worst to best: title to case."""
    if len(order) == 1:
        return {"The only case": order[0]}
    places = {"Worst case": 0, "Median case": (len(order) - 1) // 2, "Best case": len(order) - 1}
    if len(order) == 2:
        del places["Median case"]
    return {title: order[place] for title, place in places.items()}


def choose_subsets(there: Sequence[str], means: Mapping[str, float]) -> dict[str, str]:
    """Choose which predictions of a case to show: the best and the worst single modality on average, and all it has.

    Args:
        there: subsets of the case.
        means: subset to its mean Dice over all cases; one without a mean is not chosen.

    Returns:
        Subset to why it was chosen.
    """
    single = sorted((name for name in there if "+" not in name and name in means), key=means.__getitem__)
    chosen = {}
    if len(single) > 1:
        chosen = {single[-1]: "best single modality", single[0]: "worst single modality"}
    most = max(there, key=lambda name: name.count("+"))
    return {**chosen, most: "all modalities"}


def case_pictures(title: str, case: str, file: Path, dice: pd.DataFrame, means: Mapping[str, float]) -> CasePictures:
    """Draw the slice of a case.

    Args:
        title: why the case is shown.
        case: its name.
        file: of ``SliceKeeper``.
        dice: rows of ``case``, ``subset``, ``region``, ``value``; that of the whole case goes below each prediction.
        means: see ``choose_subsets``.

    Raises:
        ValueError: if the file cannot be read.
    """
    try:
        with np.load(file, allow_pickle=False) as content:
            kept = {name: content[name] for name in content.files}
        images = dict(zip(kept["modalities"].tolist(), kept["images"], strict=True))
        predictions = dict(zip(kept["subsets"].tolist(), kept["predictions"], strict=True))
        spacing, truth = kept["spacing_mm"], kept["truth"]
        where = f"slice {int(kept['number']) + 1} of {int(kept['num_slices'])}"
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file} cannot be read as what an evaluation keeps: {error}. Evaluate again.") from error
    first = next(iter(images.values()))
    panels = [_picture(image, None, spacing, name, "") for name, image in images.items()]
    shown = [_picture(first, truth, spacing, "ground truth", "")]
    for subset, reason in choose_subsets(list(predictions), means).items():
        small = f"{reason}; {_in_words(dice, case, subset)}"
        shown.append(_picture(first, predictions[subset], spacing, subset.replace("+", " + "), small))
    return CasePictures(title, case, where, panels, shown)


def _in_words(dice: pd.DataFrame, case: str, subset: str) -> str:
    rows = dice[(dice["case"] == case) & (dice["subset"] == subset)]
    pairs = zip(rows["region"], rows["value"], strict=True)
    return "Dice " + ", ".join(f"{region.upper()} {NOTHING if np.isnan(v) else f'{v:.2f}'}" for region, v in pairs)


def _picture(image: NDArray, labels: NDArray | None, spacing: Sequence[float], caption: str, small: str) -> Picture:
    """Draw one panel; ``image`` ``(X, Y)`` uint8, ``labels`` ``(X, Y)`` classes over it or ``None``."""
    plane, aspect = upright(image), float(spacing[1] / spacing[0])
    width, height = PANEL_PIXELS, round(PANEL_PIXELS * plane.shape[0] * aspect / plane.shape[1])
    figure = Figure(figsize=(width / DOTS_PER_INCH, height / DOTS_PER_INCH), facecolor="black")
    panel = figure.add_axes((0, 0, 1, 1))
    panel.set_axis_off()
    draw_slice(panel, plane, WHITE if labels is None else WHITE / DIMMED, aspect)
    if labels is not None:
        draw_classes(panel, upright(labels))
    buffer = BytesIO()
    figure.savefig(buffer, format="jpeg", dpi=DOTS_PER_INCH, pil_kwargs={"quality": JPEG_QUALITY, "optimize": True})
    source = f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode()}"
    return Picture(source, caption, small, width, height)
