# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""A folder belongs to what it was claimed for."""

from __future__ import annotations

import json

import pytest

from scripts.records.claims import claim, refuse_other

WORDS = {"holds": "runs of another plan", "advice": "Use another folder."}


def test_the_first_claim_is_noted_and_the_same_one_again_changes_nothing(tmp_path):
    file = tmp_path / "new" / "plan.json"
    claim(file, {"seeds": (0, 1), "name": "a"}, **WORDS)
    assert json.loads(file.read_text()) == {"seeds": [0, 1], "name": "a"}
    before = file.stat().st_mtime_ns
    claim(file, {"name": "a", "seeds": [0, 1]}, **WORDS)
    assert file.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"name": "b", "seeds": [0]}, r"`name` is a, asked for is b \(differing: \['name'\]\)"),
        ({"name": "a", "seeds": [0], "more": 1}, "`more` is not said, asked for is 1"),
        ({"seeds": [0]}, "`name` is a, asked for is not said"),
    ],
)
def test_another_claim_is_refused_and_the_record_stays(tmp_path, other, words):
    file = tmp_path / "plan.json"
    claim(file, {"name": "a", "seeds": [0]}, **WORDS)
    with pytest.raises(ValueError, match=rf"holds runs of another plan: {words}.* Use another folder. See {file}"):
        claim(file, other, **WORDS)
    assert json.loads(file.read_text())["name"] == "a"


def test_what_is_not_compared_may_differ(tmp_path):
    refuse_other(tmp_path / "x.json", {"a": 1, "b": 2}, {"a": 1, "b": 3}, **WORDS, ignored=["b"])


@pytest.mark.parametrize(("text", "words"), [("{", "cannot be read as JSON"), ("[]", "holds list; expected names")])
def test_a_damaged_record_is_no_claim(tmp_path, text, words):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(ValueError, match=words):
        claim(tmp_path / "plan.json", {}, **WORDS)
