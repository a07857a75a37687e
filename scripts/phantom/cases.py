# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Phantoms as the cases of a run: where no data set is named, grown while a network trains, or held back from it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import ignite.distributed as idist

from ..data.case import Case
from ..data.cases import datalist_path, read_cases
from .dataset import PhantomSettings, write_phantoms

logger = logging.getLogger(__name__)

PHANTOM_CASES = {"training": 16, "validation": 2, "testing": 4}
HELD_BACK = {"validation": 6, "testing": 30}
PHANTOM_SPACING = 2.0  # mm; a brain is about 70 x 90 x 70 voxels


def cases_or_phantoms(
    section: str,
    modalities: Sequence[str],
    dataset_dir: str = "",
    datalist_file: str = "datalist.json",
    phantom_dir: str | None = None,
    complete: bool | str = False,
) -> list[dict]:
    """Read one section of a datalist as `read_cases` does; with no data set at all, make phantoms first.

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
    if dataset_dir:
        return read_cases(section, modalities, dataset_dir, datalist_file, complete)
    folder = datalist_path("", phantom_dir=phantom_dir).parent
    logger.warning("no `dataset_dir` was given: using PHANTOMS, simulated images, in %s", phantom_dir)
    settings = PhantomSettings(spacing_mm=PHANTOM_SPACING, modalities=tuple(modalities))
    with idist.one_rank_first():  # several processes do not write the same files
        datalist = write_phantoms(folder, PHANTOM_CASES, settings)
    return read_cases(section, modalities, str(folder), datalist.name, complete)


def held_back_phantoms(
    section: str,
    modalities: Sequence[str],
    folder: str,
    seed: int,
    training_seed: int,
    spacing_mm: float = PHANTOM_SPACING,
    variety: str = "randomized",
    num_cases: Mapping[str, int] | None = None,
) -> list[dict]:
    """Read one section of phantoms that no training sees; make them first if they are not there.

    Args:
        section: ``"validation"`` or ``"testing"``.
        modalities: names that the run knows, in channel order.
        folder: of the phantoms, a data set with a datalist; also to be named as ``dataset_dir``.
        seed: of the patients.
        training_seed: that of the patients of the training, ``train::load::seed``.
        spacing_mm: edge of a voxel, in mm.
        variety: how much phantoms differ, a name of ``scripts/phantom/variety.yaml``.
        num_cases: number of cases of each section; by default ``HELD_BACK``.

    Raises:
        ValueError: if the training has the same seed, so that it sees these patients, or if the folder holds phantoms
            of other settings.
    """
    if int(seed) == int(training_seed):
        raise ValueError(
            f"the phantoms held back for {section} have the seed {int(seed)} and those of the training have the seed "
            f"{int(training_seed)}: they would be the same patients; expected two different seeds. See `phantom_seed`, "
            "`train::load::seed` and `validate::cases::seed` in the configuration (configs/train_phantom.yaml)."
        )
    settings = PhantomSettings(float(spacing_mm), None, tuple(modalities), int(seed), variety)
    with idist.one_rank_first():
        datalist = write_phantoms(folder, num_cases or HELD_BACK, settings)
    return read_cases(section, modalities, str(Path(folder)), datalist.name)


def phantom_entries(number: int, modalities: Sequence[str]) -> list[dict[str, object]]:
    """List phantoms as entries of a datalist for ``RandImagePhantomd``.

    Args:
        number: of patients.
        modalities: names in channel order.
    """
    cases = [Case(f"phantom_{i:05d}", channels=tuple(modalities), phantom=i) for i in range(number)]
    return [case.to_entry() for case in cases]
