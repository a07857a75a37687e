# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What the data that a number was measured on are called, and whether they are simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..phantom.dataset import RECORD_FILE
from .cases import datalist_path
from .datalist import read_properties

PHANTOMS = "phantoms (simulated gliomas)"


def describe_data(
    cases: Sequence[Mapping[str, Any]],
    section: str,
    dataset_dir: str = "",
    datalist_file: str = "datalist.json",
    phantom_dir: str | None = None,
) -> dict[str, Any]:
    """Describe the cases of `read_cases`, which takes the same places.

    ``synthetic`` is true if the datalist says that it is one of phantoms, and also if any case lies in a folder of
    phantoms: another datalist of the same images does not turn them into patients.

    Args:
        cases: what `read_cases` returned.
        section: of the datalist.
        dataset_dir: folder of the data set; empty means that phantoms were made.
        datalist_file: datalist inside ``dataset_dir``, or an absolute path.
        phantom_dir: where phantoms are made if ``dataset_dir`` is empty.

    Returns:
        ``name`` (that of the datalist, else of its folder), ``synthetic``, ``section`` and ``num_cases``.
    """
    path = datalist_path(dataset_dir, datalist_file, phantom_dir).resolve()
    properties = read_properties(path)
    synthetic = "phantom" in properties or _any_phantom(cases)
    names = [properties.get("name"), PHANTOMS if synthetic else None]
    name = ", ".join(str(name) for name in names if name) or path.parent.name
    return {"name": name, "synthetic": synthetic, "section": section, "num_cases": len(cases)}


def _any_phantom(cases: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether a case lies in a folder of phantoms, ``<folder>/<case>/<image>``."""
    images = [path for case in cases for path in (case.get("image"), *case.get("images", {}).values()) if path]
    folders = {Path(image).parent.parent for image in images}
    return any((folder / RECORD_FILE).is_file() for folder in folders)
