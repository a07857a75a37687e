# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Seeded splits and folds of the cases that never divide one patient."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from .case import Case
from .layouts import read_layout_file

SECTIONS = ("training", "validation", "testing")


def split_cases(
    cases: Sequence[Case], sizes: Mapping[str, float] | Sequence[float], seed: int = 0
) -> dict[str, list[Case]]:
    """Divide cases between sections; all cases of one patient go to the same section.

    Patients with more cases are placed first, the others in random order, each where most cases are lacking. So the
    sizes are met exactly if every patient has one case, and as nearly as whole patients allow otherwise; a section of
    size above zero never stays empty. The result does not depend on the order of the cases, nor on the platform.

    Args:
        cases: with different names.
        sizes: of each section: fractions that sum to 1, or numbers of cases (all integers) that sum to the number of
            cases; two or three numbers are training, validation and testing in this order.
        seed: of NumPy's legacy generator.

    Returns:
        Sections, each sorted by case name.

    Raises:
        ValueError: if the sizes do not add up, or there are more sections to fill than patients.
    """
    wanted = _cases_wanted(sizes, len(cases))
    patients = _shuffled_patients(cases, seed)
    filled = [name for name, number in wanted.items() if number > 0]
    if len(patients) < len(filled):
        raise ValueError(f"{len(patients)} patients cannot fill the {len(filled)} sections {filled}.")
    result: dict[str, list[Case]] = {name: [] for name in wanted}
    for place, of_patient in enumerate(patients):
        empty = [name for name in filled if not result[name]]
        choice = empty if len(patients) - place <= len(empty) else filled
        neediest = max(choice, key=lambda name: wanted[name] - len(result[name]))
        result[neediest] += of_patient
    return {name: sorted(section, key=_name) for name, section in result.items()}


def k_folds(cases: Sequence[Case], num_folds: int, seed: int = 0) -> list[dict[str, list[Case]]]:
    """Divide cases into folds of like size; every case is validated once, and trained on in all other folds.

    Args:
        cases: with different names.
        num_folds: from 2 to the number of patients.
        seed: of NumPy's legacy generator.

    Returns:
        For each fold its ``training`` and ``validation`` section, sorted by case name.

    Raises:
        ValueError: if the number of folds does not fit the number of patients.
    """
    patients = _shuffled_patients(cases, seed)
    if not 2 <= num_folds <= len(patients):
        raise ValueError(f"{num_folds} folds were asked for; expected 2 to {len(patients)}, the number of patients.")
    folds: list[list[Case]] = [[] for _ in range(num_folds)]
    for of_patient in patients:
        min(folds, key=len).extend(of_patient)
    training, validation = SECTIONS[:2]
    return [
        {
            training: sorted((case for other in folds if other is not fold for case in other), key=_name),
            validation: sorted(fold, key=_name),
        }
        for fold in folds
    ]


def patient_of(case: Case) -> str:
    """Name the patient of a case: the entry's ``patient``, or the case name without a time point.

    The names that carry time points are listed in ``layouts.yaml``: ``BraTS-GLI-00000-001`` is a case of the patient
    ``BraTS-GLI-00000``; any other case is its own patient.
    """
    if "patient" in case.more:
        return str(case.more["patient"])
    for expression in read_layout_file()["patients"]:
        match = re.fullmatch(expression, case.name)
        if match:
            return match[1]
    return case.name


def _name(case: Case) -> str:
    return case.name


def _shuffled_patients(cases: Sequence[Case], seed: int) -> list[list[Case]]:
    """Cases of each patient, in random order but for those with more cases, who come first."""
    patients: dict[str, list[Case]] = {}
    for case in sorted(cases, key=_name):
        patients.setdefault(patient_of(case), []).append(case)
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
        return {name: int(number) for name, number in sizes.items()}
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
