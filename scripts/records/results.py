# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How the files of a result are called, and the one rule of what they may be written over."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

ENDINGS = (".nii.gz", ".nii")


def output_files(output: str | PathLike, regions: Sequence[str] | Mapping[str, Any] = ()) -> dict[str, Path]:
    """Name the files of a result: ``label_map``, ``report``, and a probability map by region.

    Raises:
        ValueError: if ``output`` ends neither in ``.nii.gz`` nor in ``.nii``.
    """
    path = Path(output)
    ending = next((each for each in ENDINGS if path.name.endswith(each) and path.name != each), None)
    if ending is None:
        raise ValueError(f"the output is `{output}`; expected a file name that ends in {' or '.join(ENDINGS)}.")
    stem = path.name.removesuffix(ending)
    maps = {region: path.with_name(f"{stem}_{region}_probability{ending}") for region in regions}
    return {"label_map": path, "report": path.with_name(f"{stem}.json"), **maps}


def preview_of(output: str | PathLike) -> Path:
    """Name the picture of a result, the ``.png`` beside its report."""
    return output_files(output)["report"].with_suffix(".png")


def on_series_of(output: str | PathLike, modality: str) -> Path:
    """Name the label map on the grid of a series, ``<name>_on_<modality>``, beside the one asked for."""
    path = output_files(output)["label_map"]
    ending = next(each for each in ENDINGS if path.name.endswith(each))
    return path.with_name(f"{path.name.removesuffix(ending)}_on_{modality}{ending}")


def check_output(
    output: str | PathLike,
    inputs: Iterable[str | PathLike],
    regions: Sequence[str] | Mapping[str, Any] = (),
    on_series: Sequence[str] = (),
) -> None:
    """Refuse to write over an input, or over anything else that is not an earlier result: a drawn label, for one.

    Args:
        output: the label map.
        inputs: files that are read.
        regions: whose probability maps may be written.
        on_series: modalities on whose grids label maps may be written.

    Raises:
        ValueError: if it would; if ``output`` is no name of a label map.
    """
    files = output_files(output, regions)
    others = [on_series_of(output, name) for name in on_series]
    more = [file for each in others for role, file in output_files(each, regions).items() if role != "report"]
    given = {Path(file).resolve() for file in inputs}
    clash = [str(file) for file in (*files.values(), *more) if file.resolve() in given]
    if clash:
        raise ValueError(f"{clash[0]} is an input and would be overwritten; name another output.")
    there = [str(each) for each in (files["label_map"], files["report"], preview_of(output), *others) if each.exists()]
    if there and not _is_report_of(files["report"], files["label_map"].name):
        raise ValueError(
            f"{there[0]} exists and is not the result of an earlier call, whose report would lie beside it; name "
            "another output, or remove it."
        )


def _is_report_of(file: Path, segmentation: str) -> bool:
    try:
        return json.loads(file.read_text(encoding="utf-8")).get("segmentation") == segmentation
    except (OSError, ValueError, AttributeError):
        return False
