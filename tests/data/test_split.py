# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random

import pytest

from scripts.data.case import Case
from scripts.data.split import k_folds, patient_of, split_cases


def cases(number: int, name: str = "case_{:03d}") -> list[Case]:
    return [Case(name.format(place)) for place in range(number)]


def names(entries: list[Case]) -> list[str]:
    return [entry.name for entry in entries]


def test_fractions_become_whole_numbers_of_cases_that_sum_to_all():
    sections = split_cases(cases(10), (0.7, 0.1, 0.2))
    assert {name: len(entries) for name, entries in sections.items()} == {"training": 7, "validation": 1, "testing": 2}
    assert sorted(name for part in sections.values() for name in names(part)) == names(cases(10))


def test_counts_are_met_exactly():
    sections = split_cases(cases(369), (219, 50, 100), seed=5)
    assert [len(entries) for entries in sections.values()] == [219, 50, 100]


def test_sections_can_be_named():
    sections = split_cases(cases(4), {"training": 0.5, "mine": 0.5})
    assert {name: len(entries) for name, entries in sections.items()} == {"training": 2, "mine": 2}


def test_split_depends_on_the_seed_and_not_on_the_order_of_the_entries():
    entries = cases(40)
    expected = split_cases(entries, (0.5, 0.5), seed=1)
    shuffled = random.Random(0).sample(entries, len(entries))
    assert split_cases(shuffled, (0.5, 0.5), seed=1) == expected
    assert split_cases(entries, (0.5, 0.5), seed=2) != expected
    assert names(expected["training"]) == sorted(names(expected["training"]))


def test_time_points_of_one_patient_stay_together():
    entries = cases(30, "BraTS-GLI-{:05d}-000") + cases(10, "BraTS-GLI-{:05d}-001") + cases(5, "BraTS-GLI-{:05d}-002")
    for seed in range(10):
        sections = list(split_cases(entries, (0.6, 0.2, 0.2), seed).values())
        assert [abs(len(part) - size) <= 2 for part, size in zip(sections, (27, 9, 9), strict=True)] == [True] * 3
        patients = [{patient_of(entry) for entry in part} for part in sections]
        assert not (patients[0] & patients[1] or patients[0] & patients[2] or patients[1] & patients[2])
        for fold in k_folds(entries, 4, seed):
            assert not {*map(patient_of, fold["training"])} & {*map(patient_of, fold["validation"])}


@pytest.mark.parametrize(
    ("case", "patient"),
    [
        ("BraTS-GLI-00000-001", "BraTS-GLI-00000"),
        ("BraTS-MET-00012-000", "BraTS-MET-00012"),
        ("Brats18_TCIA01_131_1", "Brats18_TCIA01_131"),
        ("BraTS20_Training_355", "BraTS20_Training_355"),
        ("BraTS2021_00000", "BraTS2021_00000"),
        ("brats_2013_pat0005_1", "brats_2013_pat0005"),
        ("UPENN-GBM-00001_21", "UPENN-GBM-00001"),
        ("UCSF-PDGM-0429_FU003d", "UCSF-PDGM-0429"),
        ("UCSF-PDGM-0429", "UCSF-PDGM-0429"),
        ("BRATS_001", "BRATS_001"),
    ],
)
def test_patient_is_found_from_the_case_name(case, patient):
    assert patient_of(Case(case)) == patient


def test_patient_can_be_named_in_the_entry():
    entries = [Case(f"scan{place}", more={"patient": place // 3}) for place in range(12)]
    for part in split_cases(entries, (0.5, 0.5)).values():
        assert len(part) == 6 and len({entry.more["patient"] for entry in part}) == 2


def test_small_section_does_not_stay_empty():
    assert [len(part) for part in split_cases(cases(3), (0.7, 0.1, 0.2)).values()] == [1, 1, 1]
    three_patients = [Case(f"{place}", more={"patient": patient}) for place, patient in enumerate("aaabbbc")]
    assert all(split_cases(three_patients, (0.8, 0.1, 0.1)).values())


def test_section_of_size_zero_stays_empty():
    assert [len(part) for part in split_cases(cases(5), (0.8, 0.0, 0.2)).values()] == [4, 0, 1]


@pytest.mark.parametrize("sizes", [(0.7, 0.2), (5, 4), (0.5, 0.6), (1.5, -0.5)])
def test_sizes_that_do_not_add_up_are_refused(sizes):
    with pytest.raises(
        ValueError, match="for 10 cases; expected fractions that sum to 1, or whole numbers .* sum to 10"
    ):
        split_cases(cases(10), sizes)


def test_too_few_patients_or_odd_number_of_sizes_is_refused():
    with pytest.raises(ValueError, match="2 patients cannot fill the 3 sections"):
        split_cases(cases(2), (0.4, 0.3, 0.3))
    with pytest.raises(ValueError, match="expected two or three sizes, for training, validation, testing"):
        split_cases(cases(2), (1.0,))


def test_every_case_is_validated_once_and_trained_on_otherwise():
    folds = k_folds(cases(11), 4)
    assert sorted(len(fold["validation"]) for fold in folds) == [2, 3, 3, 3]
    assert sorted(name for fold in folds for name in names(fold["validation"])) == names(cases(11))
    for fold in folds:
        assert sorted(names(fold["training"]) + names(fold["validation"])) == names(cases(11))


@pytest.mark.parametrize("num_folds", [1, 4])
def test_number_of_folds_has_to_fit_the_patients(num_folds):
    with pytest.raises(ValueError, match=f"{num_folds} folds were asked for; expected 2 to 3"):
        k_folds(cases(3), num_folds)
