# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What the data of a training or an evaluation are called, and whether they are simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .case import Case, as_case
from .cases import datalist_path
from .datalist import DATALIST_FILE, SIMULATED_FILE, read_properties
from .split import SECTIONS

PHANTOMS = "phantoms (simulated gliomas)"


def describe_data(
    cases: Sequence[Case | Mapping[str, Any]],
    section: str,
    dataset_dir: str = "",
    datalist_file: str = DATALIST_FILE,
    phantom_dir: str | None = None,
) -> dict[str, Any]:
    """Describe the cases of `cases_or_phantoms`, which takes the same places, or others.

    ``synthetic`` is true if the datalist says that it is one of phantoms, and also if any case lies in a folder of
    phantoms or is one of ``phantom_entries``: another datalist of the same images does not turn them into patients.
    Cases that no datalist lists, as those of MONAI Label, are called after the folder of their images.

    Args:
        cases: what `cases_or_phantoms` or `phantom_entries` returned, or cases of MONAI Label.
        section: of the datalist.
        dataset_dir: folder of the data set; empty means that phantoms were made.
        datalist_file: datalist inside ``dataset_dir``, or an absolute path.
        phantom_dir: where phantoms are made if ``dataset_dir`` is empty.

    Returns:
        ``name`` (that of the datalist, else of its folder), ``synthetic``, ``section`` and ``num_cases``.

    Raises:
        FileNotFoundError: if a datalist may list the cases and there is neither a data set nor a place for phantoms.
    """
    found = [as_case(case) for case in cases]
    properties, folder = {}, next((Path(image).resolve().parent.name for case in found for image in case.files), "")
    if not found or any(case.name and case.phantom is None for case in found):
        path = datalist_path(dataset_dir, datalist_file, phantom_dir).resolve()
        if path.is_file():
            properties, folder = read_properties(path), path.parent.name
    synthetic = "phantom" in properties or any(_are_phantoms(found))
    names = [properties.get("name"), PHANTOMS if synthetic else None]
    name = ", ".join(str(name) for name in names if name) or folder
    return {"name": name, "synthetic": synthetic, "section": section, "num_cases": len(cases)}


def describe_training(cases: Sequence[Case | Mapping[str, Any]], **places: Any) -> dict[str, Any]:
    """Describe the cases of a training as `describe_data` does, with the number that are phantoms, ``num_synthetic``.

    Each case is looked at by itself: one patient among phantoms is enough for weights that have seen real images.

    Args:
        cases: as for `describe_data`.
        places: ``dataset_dir``, ``datalist_file`` and ``phantom_dir``, as for `describe_data`.
    """
    number = sum(_are_phantoms([as_case(case) for case in cases]))
    return {**describe_data(cases, SECTIONS[0], **places), "synthetic": number > 0, "num_synthetic": number}


def _are_phantoms(cases: Sequence[Case]) -> list[bool]:
    """Tell which cases are of ``phantom_entries`` or lie in a folder of phantoms, ``<folder>/<case>/<image>``."""
    folders = [{Path(image).parent.parent for image in case.files} for case in cases]
    made = {folder for folder in set().union(*folders) if (folder / SIMULATED_FILE).is_file()}
    simulated = [case.phantom is not None for case in cases]
    return [grown or not of_case.isdisjoint(made) for grown, of_case in zip(simulated, folders, strict=True)]
