# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Seeded splits and folds of the cases that never divide one patient."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from .layouts import read_layout_file

SECTIONS = ("training", "validation", "testing")


def split_cases(
    entries: Sequence[dict], sizes: Mapping[str, float] | Sequence[float], seed: int = 0
) -> dict[str, list[dict]]:
    """Divide cases between sections; all cases of one patient go to the same section.

    Patients with more cases are placed first, the others in random order, each where most cases are lacking. So the
    sizes are met exactly if every patient has one case, and as nearly as whole patients allow otherwise; a section of
    size above zero never stays empty. The result does not depend on the order of the entries, nor on the platform.

    Args:
        entries: of the datalist, with different case names.
        sizes: of each section: fractions that sum to 1, or numbers of cases (all integers) that sum to the number of
            entries; two or three numbers are training, validation and testing in this order.
        seed: of NumPy's legacy generator.

    Returns:
        Sections, each sorted by case name.

    Raises:
        ValueError: if the sizes do not add up, or there are more sections to fill than patients.
    """
    wanted = _cases_wanted(sizes, len(entries))
    patients = _shuffled_patients(entries, seed)
    filled = [name for name, number in wanted.items() if number > 0]
    if len(patients) < len(filled):
        raise ValueError(f"{len(patients)} patients cannot fill the {len(filled)} sections {filled}.")
    result: dict[str, list[dict]] = {name: [] for name in wanted}
    for place, cases in enumerate(patients):
        empty = [name for name in filled if not result[name]]
        choice = empty if len(patients) - place <= len(empty) else filled
        neediest = max(choice, key=lambda name: wanted[name] - len(result[name]))
        result[neediest] += cases
    return {name: sorted(cases, key=_name) for name, cases in result.items()}


def k_folds(entries: Sequence[dict], num_folds: int, seed: int = 0) -> list[dict[str, list[dict]]]:
    """Divide cases into folds of like size; every case is validated once, and trained on in all other folds.

    Args:
        entries: of the datalist, with different case names.
        num_folds: from 2 to the number of patients.
        seed: of NumPy's legacy generator.

    Returns:
        For each fold its ``training`` and ``validation`` section, sorted by case name.

    Raises:
        ValueError: if the number of folds does not fit the number of patients.
    """
    patients = _shuffled_patients(entries, seed)
    if not 2 <= num_folds <= len(patients):
        raise ValueError(f"{num_folds} folds were asked for; expected 2 to {len(patients)}, the number of patients.")
    folds: list[list[dict]] = [[] for _ in range(num_folds)]
    for cases in patients:
        min(folds, key=len).extend(cases)
    training, validation = SECTIONS[:2]
    return [
        {
            training: sorted((case for other in folds if other is not fold for case in other), key=_name),
            validation: sorted(fold, key=_name),
        }
        for fold in folds
    ]


def patient_of(entry: dict) -> str:
    """Name the patient of a case: the entry's ``patient``, or the case name without a time point.

    The names that carry time points are listed in ``layouts.yaml``: ``BraTS-GLI-00000-001`` is a case of the patient
    ``BraTS-GLI-00000``; any other case is its own patient.
    """
    if "patient" in entry:
        return str(entry["patient"])
    for expression in read_layout_file()["patients"]:
        match = re.fullmatch(expression, entry["case"])
        if match:
            return match[1]
    return entry["case"]


def _name(entry: dict) -> str:
    return entry["case"]


def _shuffled_patients(entries: Sequence[dict], seed: int) -> list[list[dict]]:
    """Cases of each patient, in random order but for those with more cases, who come first."""
    patients: dict[str, list[dict]] = {}
    for entry in sorted(entries, key=_name):
        patients.setdefault(patient_of(entry), []).append(entry)
    names = sorted(patients)
    order = np.random.RandomState(seed).permutation(len(names))
    return sorted((patients[names[place]] for place in order), key=len, reverse=True)


def _cases_wanted(sizes: Mapping[str, float] | Sequence[float], total: int) -> dict[str, int]:
    """Whole numbers of cases for each section; what rounding down leaves goes to the largest remainders."""
    if not isinstance(sizes, Mapping):
        if not 2 <= len(sizes) <= len(SECTIONS):
            raise ValueError(f"split is {tuple(sizes)}; expected two or three sizes, for {', '.join(SECTIONS)}.")
        sizes = dict(zip(SECTIONS, sizes, strict=False))
    numbers = list(sizes.values())
    if all(isinstance(number, int) for number in numbers) and sum(numbers) == total and min(numbers) >= 0:
        return dict(sizes)
    if not all(0 <= number <= 1 for number in numbers) or abs(sum(numbers) - 1) > 1e-6:
        raise ValueError(
            f"split is {dict(sizes)} for {total} cases; expected fractions that sum to 1, "
            f"or whole numbers of cases that sum to {total}."
        )
    exact = {name: total * number for name, number in sizes.items()}
    wanted = {name: max(int(number + 1e-9), int(number > 0)) for name, number in exact.items()}
    for name in sorted(exact, key=lambda name: exact[name] - wanted[name], reverse=True):
        wanted[name] += int(sum(wanted.values()) < total)
    return wanted
