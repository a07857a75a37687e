# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Draw how one case is segmented from every subset of its modalities, with the Dice of each region.

python -m scripts.tools.draw_subsets configs/train.yaml configs/evaluate.yaml --dataset_dir DIR --case NAME
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.engines.utils import IterationEvents
from monai.transforms import Orientation
from monai.utils import convert_to_tensor
from numpy.typing import NDArray

from ..bundle.configuration import merge
from ..data.cases import choose_case
from ..drawing.figures import DIMMED, class_colour, class_names, draw_classes, draw_slice, png_path, save_png
from ..drawing.planes import box_around, largest_slice, upright, white_level
from ..engines.case_evaluator import root_cause
from ..evaluation.descriptions import tissue_names
from ..metrics.regions import Regions
from ..metrics.scores import Scores
from ..modalities import acquired_in
from .command_line import run_tool

PANEL_INCHES = 1.6  # width
LINE_INCHES = 0.12  # height of a line of text
FONT_SIZE = 7
REGIONS_OF_A_LINE = 3


class SegmentedCase(NamedTuple):
    """One case, segmented from each subset of its modalities; every array lies on the grid of the label.

    Attributes:
        name: of the case.
        images: acquired modality to ``(X, Y, Z)`` intensities as in the file, Z the axis of the slices.
        truth: ``(X, Y, Z)`` classes.
        predictions: subset to ``(X, Y, Z)`` classes.
        scores: subset to the Dice of each region, over the whole case.
        spacing_mm: voxel size along X, Y and Z.
    """

    name: str
    images: dict[str, NDArray]
    truth: NDArray
    predictions: dict[str, NDArray]
    scores: dict[str, Scores]
    spacing_mm: Sequence[float]


def segment(parser: ConfigParser, case: str | None = None) -> SegmentedCase:
    """Segment one case with the evaluation that a configuration describes; its handlers do not run, no file is written.

    Volumes come with the axes of radiologists (LPS), so that slices are axial; stacks, whose ``orientation`` is null,
    as they are in the files.

    Args:
        parser: the merged configuration, which is changed.
        case: name of a case of the evaluated section; the first one if there is none.

    Raises:
        FileNotFoundError: if there are no weights.
        ValueError: if the configuration does not evaluate, there is no such case, or it cannot be segmented or scored.
    """
    if "validate::evaluator" not in parser:
        raise ValueError("the configuration has no `validate::evaluator`; expected configs/train.yaml and overlays.")
    cases, section = map(parser.get_parsed_content, ("validate::cases", "validate::cases::section"))
    entry = choose_case(cases, case, section)
    parser["validate::dataset::data"] = [entry]
    parser["validate::dataloader::num_workers"] = 0
    parser["validate::scores::settings::metrics"] = ["dice"]
    loader = {"_target_": "scripts.handlers.model_loader.ModelLoader"}
    parser["validate::handlers"] = [{**loader, "model_file": "@model_file", "network": "@network"}]
    evaluator, handler = map(parser.get_parsed_content, ("validate::evaluator", "validate::scores"))
    found: dict[str, Any] = {}

    @evaluator.on(IterationEvents.MODEL_COMPLETED)
    def keep(engine: Any) -> None:
        found.update(engine.state.batch[0], **engine.state.output[0])
        found["scores"] = handler.score(found)

    evaluator.run()
    if evaluator.failures:
        raise ValueError("; ".join(evaluator.failures.values()))
    read = parser.get_parsed_content("validate::preprocessing")(entry, end=1)  # the images as in the files
    return _on_one_grid({**found, "image": read["image"]}, handler.modalities, parser.get("orientation") is not None)


def _on_one_grid(case: Mapping[str, Any], modalities: Sequence[str], oriented: bool) -> SegmentedCase:
    """Bring the parts of a case, on the grid of the files, to the axes of the figure."""
    image, label, prediction = (convert_to_tensor(case[key], track_meta=False) for key in ("image", "label", "pred"))
    acquired = acquired_in(image)
    stack = MetaTensor(torch.cat([image[acquired], label, prediction.cpu()]), affine=case["image"].affine)
    if oriented:
        stack = cast(MetaTensor, Orientation("LPS", labels=None)(stack))
    names = [name for name, there in zip(modalities, acquired.tolist(), strict=True) if there]
    volumes = stack.numpy()
    truth, *predictions = volumes[len(names) :].astype(int)
    return SegmentedCase(
        name=str(case["case"]),
        images=dict(zip(names, volumes, strict=False)),
        truth=truth,
        predictions=dict(zip(case["scores"], predictions, strict=True)),
        scores=case["scores"],
        spacing_mm=stack.pixdim.tolist(),
    )


def draw(case: SegmentedCase, regions: Regions, num_classes: int, tissues: Mapping[int, str] | None = None) -> Figure:
    """Draw the slice with the most labelled voxels: each image, the truth, and the prediction from each subset.

    Args:
        case: what to draw.
        regions: name of each region to the classes it unites.
        num_classes: with the background.
        tissues: what the classes are, see ``class_names``.
    """
    number = largest_slice((case.truth, np.sum(list(case.predictions.values()), axis=0)))
    box = box_around([volume[..., number] for volume in (*case.images.values(), case.truth)])
    columns = len(case.images) + 1
    rows = 1 + math.ceil(len(case.predictions) / columns)
    width, height = np.multiply(case.truth[..., number][box].shape, case.spacing_mm[:2])
    text = LINE_INCHES * (2 + math.ceil(len(regions) / REGIONS_OF_A_LINE))  # name, Dice, and room between the rows
    size = (PANEL_INCHES * columns, rows * (PANEL_INCHES * height / width + text) + 0.4)
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.03, wspace=0, hspace=0, compress=True)
    figure = Figure(figsize=size, layout=layout, facecolor="black")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel, (caption, image, white, labels) in zip(panels, _panels(case, regions), strict=False):
        draw_slice(panel, upright(image[..., number][box]), white, case.spacing_mm[1] / case.spacing_mm[0])
        if labels is not None:
            draw_classes(panel, upright(labels[..., number][box]))
        panel.set_xlabel(caption, color="white", fontsize=FONT_SIZE, labelpad=2)
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
    for panel in panels[columns + len(case.predictions) :]:
        panel.remove()
    heading = f"{case.name}, slice {number + 1} of {case.truth.shape[2]}\nbelow: Dice of the whole case"
    figure.suptitle(heading, color="white", fontsize=FONT_SIZE + 1)
    look = {"fontsize": FONT_SIZE, "labelcolor": "white", "frameon": False, "handlelength": 1}
    classes = class_names(regions, num_classes, tissues).items()
    handles = [Patch(color=class_colour(value), label=name) for value, name in classes]
    figure.legend(handles=handles, loc="outside lower center", ncols=columns - 1, **look)
    return figure


def _panels(case: SegmentedCase, regions: Regions) -> Iterator[tuple[str, NDArray, float, NDArray | None]]:
    """List what each panel shows: caption, image, the intensity shown white, classes over it."""
    for name, image in case.images.items():
        yield name, image, white_level(image), None
    first = next(iter(case.images.values()))
    white = white_level(first) / DIMMED
    yield "ground truth", first, white, case.truth
    for subset, labels in case.predictions.items():
        yield _caption(subset, case.scores[subset], regions), first, white, labels


def _caption(subset: str, scores: Scores, regions: Regions) -> str:
    dice = {name.upper(): scores[name, "dice"] for name in regions}
    texts = [f"{name} {'–' if math.isnan(value) else f'{value:.2f}'}" for name, value in dice.items()]
    lines = [texts[start : start + REGIONS_OF_A_LINE] for start in range(0, len(texts), REGIONS_OF_A_LINE)]
    return "\n".join([subset, *("  ".join(line) for line in lines)])


def main(
    *files: str, case: str | None = None, output: str | None = None, dots_per_inch: int = 150, **override: Any
) -> None:
    """Draw one case of an evaluation, segmented from every subset of its modalities, into a PNG file.

    Args:
        files: configuration files in the order of the command line of `monai.bundle run`, the base first.
        case: name of a case of the evaluated section; the first one if not given.
        output: the file; `subsets_<case>.png` in the `output_dir` of the configuration if not given.
        dots_per_inch: resolution.
        override: ids and values that override the files, e.g. `--model_file FILE`.
    """
    try:
        path = None if output is None else png_path(output)
        parser, _ = merge(files, override)
        segmented = segment(parser, None if case is None else str(case))
        regions, num_classes = map(parser.get_parsed_content, ("regions", "num_classes"))
        figure = draw(segmented, regions, num_classes, tissue_names([parser.get_parsed_content("label_convention")]))
        path = path or Path(parser.get_parsed_content("output_dir")) / f"subsets_{segmented.name}.png"
    except (FileNotFoundError, ValueError, RuntimeError) as error:
        cause = error if isinstance(error, ValueError) else root_cause(error)  # MONAI wraps what a component raises
        if not isinstance(cause, (FileNotFoundError, ValueError)):
            raise
        raise SystemExit(f"Cannot draw: {cause}") from error
    save_png(figure, path, dots_per_inch)
    print(f"{segmented.name} from {len(segmented.predictions)} subsets drawn: {path}")


if __name__ == "__main__":
    run_tool(main)
