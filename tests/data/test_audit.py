# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest

from scripts.data.audit import audit_datalist, audit_section, format_audit
from scripts.data.case import Case

MODALITIES = ["flair", "t1ce", "t1", "t2"]


@pytest.fixture
def entries() -> list[Case]:
    acquired = [["flair", "t1ce"], ["t1ce", "flair"], ["t2"], MODALITIES]
    conventions = {0: "brats2023", 3: "brats2015"}
    return [
        Case(
            str(place),
            dict.fromkeys(names, "f"),
            label="s" if place in conventions else None,
            label_convention=conventions.get(place),
        )
        for place, names in enumerate(acquired)
    ]


def test_audit_of_four_cases_by_hand(entries):
    audit = audit_section(entries, MODALITIES)
    assert audit == {
        "cases": 4,
        "labels": {"brats2015": 1, "brats2023": 1, "none": 2},
        "modalities": {
            "flair": {"cases": 3, "missing_rate": 1 / 4},
            "t1ce": {"cases": 3, "missing_rate": 1 / 4},
            "t1": {"cases": 1, "missing_rate": 3 / 4},
            "t2": {"cases": 2, "missing_rate": 2 / 4},
        },
        "patterns": [
            {"subset": "flair+t1ce", "cases": 2, "share": 2 / 4},
            {"subset": "flair+t1ce+t1+t2", "cases": 1, "share": 1 / 4},
            {"subset": "t2", "cases": 1, "share": 1 / 4},
        ],
        "single_modality_share": 1 / 4,
    }
    assert json.loads(json.dumps(audit)) == audit
    assert audit_section([case.to_entry() for case in entries], MODALITIES) == audit, "of MONAI's dictionaries as well"


def test_text_has_columns_of_one_width_and_every_number(entries):
    text = format_audit(audit_datalist({"training": entries, "testing": []}, MODALITIES))
    assert text.startswith("training: 4 cases (labels: 1 brats2015, 1 brats2023, 2 none)")
    assert text.endswith("testing: 0 cases")
    tables = [line for line in text.splitlines() if line.endswith(("%", "missing", "share"))]
    assert len({len(line) for line in tables}) == 1 and len(tables) == 1 + 4 + 1 + 3
    assert [line.split() for line in tables][3] == ["t1", "1", "75.0", "%"]
    assert "one modality only: 25.0 % of cases" in text


def test_empty_section_has_no_shares():
    audit = audit_section([], MODALITIES)
    assert audit["single_modality_share"] is None and audit["patterns"] == []
    assert audit["modalities"]["t1"] == {"cases": 0, "missing_rate": None}
