# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""A folder of phantoms with its datalist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ..data.case import Case
from ..data.datalist import DATALIST_FILE, SIMULATED_FILE, write_datalist
from ..data.label_conventions import from_internal
from ..data.missing_rate import assign_availability, parse_missing_rates
from ..data.split import SECTIONS
from ..utils.files import replacing
from .case import Phantom, PhantomSettings, make_phantom
from .record import GENERATOR_VERSION, claim, describe

__all__ = ["Phantom", "PhantomSettings", "make_phantom", "write_phantoms"]

LABEL_CONVENTION = "brats2021"


def write_phantoms(
    folder: str | Path,
    num_cases: Mapping[str, int],
    settings: PhantomSettings,
    missing_rates: str | Mapping[str, float] | None = None,
    progress: bool = True,
) -> Path:
    """Write phantoms as a data set of BraTS 2018-2021 files, ``<case>/<case>_<modality>.nii.gz`` and ``_seg``.

    Files that are there already, from the same settings, are kept: an interrupted call can be repeated, and a complete
    folder is returned at once. The datalist is written last.

    Args:
        folder: where to write; made if need be.
        num_cases: number of cases of ``training``, ``validation`` and ``testing``, numbered on in this order.
        settings: what phantoms to make.
        missing_rates: share of the training cases without each modality, by name; these images are not written.
            Validation and testing cases are complete.
        progress: show a progress bar.

    Returns:
        Path of ``datalist.json`` in the folder.

    Raises:
        ValueError: if the folder holds phantoms of other settings, or a section or a modality is unknown.
    """
    unknown = sorted(set(num_cases) - set(SECTIONS))
    if unknown:
        raise ValueError(f"`num_cases` names the sections {unknown}; expected some of {list(SECTIONS)}.")
    folder = Path(folder)
    counts = {section: int(num_cases.get(section, 0)) for section in SECTIONS}
    rates = parse_missing_rates(missing_rates, settings.modalities) if missing_rates else {}
    acquired = _acquired(settings, counts, rates)
    # rates as pairs, since their order matters
    record = {**describe(settings), "num_cases": counts, "missing_rates": list(rates.items())}
    claim(folder / SIMULATED_FILE, record)

    cases = [_case(folder, index, names) for index, names in enumerate(acquired)]
    todo = [index for index, case in enumerate(cases) if not all(file.exists() for file in _files(case))]
    datalist = folder / DATALIST_FILE
    if todo or not datalist.exists():
        for index in tqdm(todo, desc="making phantoms", unit="case", disable=not progress):
            _write_case(cases[index], make_phantom(settings, index), settings.modalities)
        write_datalist(
            datalist,
            _by_section(cases, counts),
            settings.modalities,
            missing_rates=rates,
            phantom={"version": GENERATOR_VERSION, **asdict(settings)},
        )
    return datalist


def _acquired(settings: PhantomSettings, counts: dict[str, int], missing_rates: dict[str, float]) -> list[list[str]]:
    """Modalities that each case has, training cases first."""
    complete = [list(settings.modalities) for _ in range(sum(counts.values()))]
    training = counts[SECTIONS[0]]
    if not missing_rates or not training:
        return complete
    available = assign_availability(training, list(missing_rates.values()))  # (N, M), columns as the rates are named
    for names, row in zip(complete[:training], available, strict=True):
        kept = {name for name, there in zip(missing_rates, row, strict=True) if there}
        names[:] = [name for name in names if name in kept]
    return complete


def _case(folder: Path, index: int, names: list[str]) -> Case:
    case = f"phantom_{index:04d}"
    stem = folder / case / case
    images = {name: f"{stem}_{name}.nii.gz" for name in names}
    return Case(case, images, label=f"{stem}_seg.nii.gz", label_convention=LABEL_CONVENTION)


def _files(case: Case) -> list[Path]:
    return [Path(file) for file in (*case.files, case.label) if file]


def _by_section(cases: list[Case], counts: dict[str, int]) -> dict[str, list[Case]]:
    stops = np.cumsum(list(counts.values()))
    return {section: cases[stop - counts[section] : stop] for section, stop in zip(counts, stops, strict=True)}


def _write_case(case: Case, phantom: Phantom, modalities: tuple[str, ...]) -> None:
    for name, file in case.images.items():
        _write_image(file, phantom.images[modalities.index(name)], phantom.affine)
    _write_image(str(case.label), from_internal(phantom.label, LABEL_CONVENTION), phantom.affine)


def _write_image(file: str, array: NDArray, affine: NDArray) -> None:
    image = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    with replacing(file) as temporary:
        nibabel.save(image, temporary)
