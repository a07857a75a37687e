# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Which cases a run works on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import ignite.distributed as idist

from ..phantom.dataset import DATALIST_FILE, PhantomSettings, write_phantoms
from ..utils.flags import as_flag
from .case_error import CaseError
from .datalist import availability, read_section
from .layouts import find_cases

logger = logging.getLogger(__name__)

PHANTOM_CASES = {"training": 16, "validation": 2, "testing": 4}
PATIENT = "phantom"  # the key of an entry that has the number of a patient to grow, see ``phantom_entries``
HELD_BACK = {"validation": 6, "testing": 30}
PHANTOM_SPACING = 2.0  # mm; a brain is about 70 x 90 x 70 voxels


def read_cases(
    section: str,
    modalities: Sequence[str],
    dataset_dir: str = "",
    datalist_file: str = "datalist.json",
    phantom_dir: str | None = None,
    complete: bool | str = False,
) -> list[dict]:
    """Read one section of a datalist; with no data set at all, make phantoms first.

    Args:
        section: ``"training"``, ``"validation"`` or ``"testing"``.
        modalities: names that the run knows, in channel order.
        dataset_dir: folder of the data set; empty means that there is none.
        datalist_file: datalist inside ``dataset_dir``, or an absolute path.
        phantom_dir: where phantoms are made if ``dataset_dir`` is empty.
        complete: keep only the cases that list every modality, also given as a word.

    Raises:
        FileNotFoundError: if the datalist is not there; phantoms never stand in for a data set that was named.
        ValueError: if no case is complete, where only those are wanted.
    """
    path = datalist_path(dataset_dir, datalist_file, phantom_dir)
    if not dataset_dir:
        logger.warning("no `dataset_dir` was given: using PHANTOMS, simulated images, in %s", phantom_dir)
        settings = PhantomSettings(spacing_mm=PHANTOM_SPACING, modalities=tuple(modalities))
        with idist.one_rank_first():  # several processes do not write the same files
            write_phantoms(path.parent, PHANTOM_CASES, settings)
    if not path.is_file():
        raise FileNotFoundError(
            f"no datalist at {path}; expected the JSON file that `python -m scripts.tools.make_datalist` writes. "
            "See `dataset_dir` and `datalist_file` in the configuration."
        )
    cases = read_section(path, section, modalities)
    return _complete(cases, modalities, f"section `{section}` of {path}") if as_flag(complete, "complete") else cases


def held_back_phantoms(
    section: str,
    modalities: Sequence[str],
    folder: str,
    spacing_mm: float = PHANTOM_SPACING,
    seed: int = 0,
    variety: str = "randomized",
    num_cases: Mapping[str, int] | None = None,
) -> list[dict]:
    """Read one section of phantoms that no training sees; make them first if they are not there.

    Args:
        section: ``"validation"`` or ``"testing"``.
        modalities: names that the run knows, in channel order.
        folder: of the phantoms, a data set with a datalist; also to be named as ``dataset_dir``.
        spacing_mm: edge of a voxel, in mm.
        seed: of the patients; to be another than that of training.
        variety: how much phantoms differ, a name of ``scripts/phantom/variety.yaml``.
        num_cases: number of cases of each section; by default ``HELD_BACK``.

    Raises:
        ValueError: if the folder holds phantoms of other settings.
    """
    settings = PhantomSettings(float(spacing_mm), None, tuple(modalities), int(seed), variety)
    with idist.one_rank_first():
        datalist = write_phantoms(folder, num_cases or HELD_BACK, settings)
    return read_section(datalist, section, modalities)


def phantom_entries(number: int, modalities: Sequence[str]) -> list[dict[str, object]]:
    """List phantoms as entries of a datalist for ``RandImagePhantomd``.

    Args:
        number: of patients.
        modalities: names in channel order.
    """
    names = list(modalities)
    return [{"case": f"phantom_{index:05d}", "channels": names, PATIENT: index} for index in range(number)]


def datalist_path(dataset_dir: str, datalist_file: str = "datalist.json", phantom_dir: str | None = None) -> Path:
    """Say where the datalist of `read_cases` lies.

    Raises:
        FileNotFoundError: if there is neither a data set nor a place for phantoms.
    """
    if dataset_dir:
        return Path(dataset_dir) / datalist_file
    if phantom_dir is None:
        raise FileNotFoundError("`dataset_dir` is empty; expected the folder that holds the datalist.")
    return Path(phantom_dir) / DATALIST_FILE


def _complete(cases: list[dict], modalities: Sequence[str], where: str) -> list[dict]:
    """Keep the cases that list every modality."""
    rows = availability(cases, modalities).all(axis=1)
    kept = [case for case, row in zip(cases, rows, strict=True) if row]
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
    kept = ("case", "images", "image", "channels")
    cases = [{key: entry[key] for key in kept if key in entry} for entry in found]
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
