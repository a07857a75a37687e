# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Which cases a run works on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..utils.flags import as_flag
from .case import Case
from .case_error import CaseError
from .datalist import DATALIST_FILE, availability, read_section
from .layouts import find_cases

OPTIONAL_SECTION = "validation"  # which may be empty: a training then keeps its last weights
logger = logging.getLogger(__name__)


def read_cases(
    section: str,
    modalities: Sequence[str],
    dataset_dir: str,
    datalist_file: str = DATALIST_FILE,
    complete: bool | str = False,
) -> list[dict]:
    """Read one section of a datalist, as the entries that MONAI's data sets take.

    Args:
        section: ``"training"``, ``"validation"`` or ``"testing"``.
        modalities: names that the run knows, in channel order.
        dataset_dir: folder of the data set.
        datalist_file: datalist inside ``dataset_dir``, or an absolute path.
        complete: keep only the cases that list every modality, also given as a word.

    Raises:
        FileNotFoundError: if the datalist is not there.
        ValueError: if there is no case, but for validation; if none is complete, where only those are wanted.
    """
    path = datalist_path(dataset_dir, datalist_file)
    if not path.is_file():
        raise FileNotFoundError(
            f"no datalist at {path}; expected the JSON file that `python -m scripts.tools.make_datalist` writes. "
            "See `dataset_dir` and `datalist_file` in the configuration."
        )
    cases = read_section(path, section, modalities)
    if not cases and section != OPTIONAL_SECTION:
        raise ValueError(f"section `{section}` of {path} lists no case; expected at least one.")
    if as_flag(complete, "complete"):
        cases = _complete(cases, modalities, f"section `{section}` of {path}")
    return [case.to_entry() for case in cases]


def datalist_path(dataset_dir: str, datalist_file: str = DATALIST_FILE, phantom_dir: str | None = None) -> Path:
    """Say where the datalist of a run lies: in the data set, or where there is none, with the phantoms.

    Raises:
        FileNotFoundError: if there is neither a data set nor a place for phantoms.
    """
    if dataset_dir:
        return Path(dataset_dir) / datalist_file
    if phantom_dir is None:
        raise FileNotFoundError("`dataset_dir` is empty; expected the folder that holds the datalist.")
    return Path(phantom_dir) / DATALIST_FILE


def _complete(cases: list[Case], modalities: Sequence[str], where: str) -> list[Case]:
    """Keep the cases that list every modality."""
    available = availability(cases, modalities)  # (N, M)
    kept = [case for case, row in zip(cases, available, strict=True) if row.all()]
    if not kept:
        raise ValueError(
            f"none of the {len(cases)} cases in {where} has all of {list(modalities)}; expected at least one, since "
            "`train::cases::complete` is set, as for a teacher (configs/method_kd_teacher.yaml)."
        )
    logger.info("%d of %d cases in %s are complete", len(kept), len(cases), where)
    return kept


def find_patients(
    dataset_dir: str, modalities: Sequence[str], layout: str = "auto", patterns: Mapping[str, str] | None = None
) -> list[dict]:
    """Find the patients of a folder for inference; labels, where there are any, are left aside.

    A patient whose files are ambiguous comes as ``{"case": name, "failure": reason}``, so that the others are not lost.

    Args:
        dataset_dir: folder of patients, or one patient's own folder.
        modalities: names to look for.
        layout: see ``scripts.data.layouts.find_cases``.
        patterns: file name of each modality, for files that no known layout describes.
    """
    failures: list[CaseError] = []
    found = find_cases(dataset_dir, layout=layout, modalities=modalities, patterns=patterns, failures=failures)
    cases = [replace(case, label=None, label_convention=None).with_doubts().to_entry() for case in found]
    return cases + [{"case": error.case, "failure": str(error)} for error in failures]


def choose_case(cases: Sequence[Mapping], name: str | None, section: str) -> Mapping:
    """Choose the case of a name, or without one the first case.

    Raises:
        ValueError: if no case of ``section`` has this name.
    """
    for entry in cases:
        if name in (None, str(entry["case"])):
            return entry
    names = [entry["case"] for entry in cases]
    raise ValueError(f"no {section} case is called `{name}`; expected one of {names[:20]}, {len(names)} in all.")
