# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Files beside the weights: what they carry, and that they are refused beside other weights."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone
from importlib.metadata import version

import pytest

from scripts.records.side_files import (
    BLOCK,
    deliver_side_file,
    read_keep,
    read_side_file,
    require_weights,
    sha256,
    side_file,
    write_side_file,
)

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of "abc", FIPS 180-2, appendix B.1
MILLION = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"  # of a million "a", appendix B.3


@pytest.fixture
def weights(tmp_path):
    file = tmp_path / "model.pt"
    file.write_bytes(b"abc")
    return file


def test_the_hash_is_that_of_the_published_examples(weights):
    assert sha256(weights) == ABC
    weights.write_bytes(b"a" * 10**6)
    assert sha256(weights) == MILLION
    weights.write_bytes(b"a" * BLOCK)
    one_block = sha256(weights)
    weights.write_bytes(b"a" * BLOCK + b"b")
    assert sha256(weights) != one_block


def test_a_side_file_says_with_which_weights_when_and_by_what_it_was_made(weights):
    path = write_side_file(weights, "figures.json", {"figure": 1.5})
    assert path == side_file(weights, "figures.json") == weights.parent / "figures.json"
    content = read_side_file(weights, "figures.json")
    assert (content["checkpoint"], content["sha256"], content["figure"]) == ("model.pt", ABC, 1.5)
    assert datetime.now(timezone.utc) - datetime.fromisoformat(content["date"]) < timedelta(minutes=1)
    assert content["versions"]["torch"] == version("torch")


def test_what_was_read_and_is_written_beside_other_weights_gets_their_stamp(weights, tmp_path):
    write_side_file(weights, "figures.json", {"figure": 1.5})
    other = tmp_path / "other" / "better.pt"
    other.parent.mkdir()
    other.write_bytes(b"a" * 10**6)
    write_side_file(other, "figures.json", read_side_file(weights, "figures.json"))
    content = read_side_file(other, "figures.json")
    assert (content["checkpoint"], content["sha256"], content["figure"]) == ("better.pt", MILLION, 1.5)


def test_where_there_is_no_side_file_there_is_none(weights):
    assert read_side_file(weights, "figures.json") is None


def test_a_side_file_of_other_weights_is_refused(weights):
    write_side_file(weights, "figures.json", {})
    weights.write_bytes(b"a" * 10**6)
    expected = f"figures.json was made with other weights: sha256 {ABC[:12]}…; these are {MILLION[:12]}… ({weights})"
    with pytest.raises(ValueError, match=re.escape(expected) + "; evaluate again"):
        read_side_file(weights, "figures.json")
    with pytest.raises(ValueError, match=re.escape(expected) + "; draw them anew"):
        read_side_file(weights, "figures.json", advice="draw them anew")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "does not say which weights"),
        ("{}", "does not say which weights"),
        (json.dumps({"sha256": 3}), "does not say which weights"),
    ],
)
def test_a_damaged_side_file_is_refused(weights, text, reason):
    side_file(weights, "figures.json").write_text(text)
    with pytest.raises(ValueError, match=f"figures.json {reason}.*evaluate again"):
        read_side_file(weights, "figures.json")


# --- joining the weights ---------------------------------------------------------------------------


@pytest.fixture
def deliver(weights, tmp_path):
    """Deliver figures of so many cases and subsets from the folder of a run; return those beside the weights."""

    def _deliver(cases, subsets, keep, folder=tmp_path / "run"):
        content = {"cases": cases, "subsets": subsets}
        amounts = {"amounts_of": lambda found: {name: found[name] for name in content}, "option": "keep_figures"}
        path = deliver_side_file(weights, "figures.json", content, folder, keep, **amounts)
        assert json.loads(path.read_text())["sha256"] == ABC
        return read_side_file(weights, "figures.json")

    return _deliver


def test_a_side_file_joins_the_weights_only_when_asked(deliver, tmp_path):
    assert deliver(3, 15, "false") is None
    assert json.loads((tmp_path / "run" / "figures.json").read_text())["cases"] == 3
    assert deliver(3, 15, "true")["cases"] == 3


@pytest.mark.parametrize("fewer", [(29, 15), (30, 14), (31, 14)])
def test_figures_of_fewer_cases_or_subsets_do_not_replace_those_of_more(deliver, tmp_path, fewer):
    deliver(30, 15, "true")
    words = f"is of these weights and of more: 30 cases, 15 subsets; the new one is of {fewer[0]} cases, {fewer[1]} sub"
    with pytest.raises(ValueError, match=rf"{tmp_path}/figures.json {words}.* `--keep_figures replace`"):
        deliver(*fewer, "true")
    assert read_side_file(tmp_path / "model.pt", "figures.json")["cases"] == 30
    assert json.loads((tmp_path / "run" / "figures.json").read_text())["cases"] == fewer[0], "the run keeps its own"
    assert deliver(*fewer, "replace")["subsets"] == fewer[1]


def test_figures_of_as_many_or_more_replace(deliver):
    deliver(30, 15, "true")
    assert deliver(30, 15, "true")["cases"] == 30
    assert deliver(31, 15, "true")["cases"] == 31


@pytest.mark.parametrize("useless", ["of other weights", "damaged", "without amounts"])
def test_what_nobody_can_use_is_replaced(deliver, weights, tmp_path, useless):
    deliver(30, 15, "true")
    file, content = tmp_path / "figures.json", read_side_file(weights, "figures.json")
    changes = {"of other weights": {"sha256": MILLION}, "without amounts": {"cases": None}}
    file.write_text("{" if useless == "damaged" else json.dumps({**content, **changes[useless]}))
    assert deliver(3, 1, "true")["cases"] == 3


def test_a_run_in_the_folder_of_the_weights_is_held_to_the_same(deliver, tmp_path):
    assert deliver(30, 15, "false", tmp_path)["cases"] == 30
    with pytest.raises(ValueError, match="of more: 30 cases"):
        deliver(3, 15, "false", tmp_path)
    assert read_side_file(tmp_path / "model.pt", "figures.json")["cases"] == 30


def test_whether_to_keep_is_one_of_three_words():
    assert [read_keep(value, "keep_x") for value in (False, "True", "replace")] == ["false", "true", "replace"]
    with pytest.raises(ValueError, match="`keep_x` is `yes`; expected one of false, true, replace"):
        read_keep("yes", "keep_x")


def test_weights_that_are_not_there_are_named(weights, tmp_path):
    assert require_weights(str(weights)) == weights
    with pytest.raises(FileNotFoundError, match=rf"no weights at {tmp_path}/x.pt; .*`--model_file`"):
        require_weights(tmp_path / "x.pt")
