# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What training.json says of weights and of those before them, in words too, and what is refused on reading."""

from __future__ import annotations

import json

import pytest

from scripts.evaluation.origin import (
    SYNTHETIC_ONLY,
    ancestors,
    origin_in_words,
    origin_of,
    read_training,
    settings_of,
    synthetic_only,
    trained_with,
)
from scripts.records.side_files import sha256, write_side_file


def data(num_synthetic, num_cases=3, name="made up"):
    counts = {"num_cases": num_cases, "num_synthetic": num_synthetic}
    return {"name": name, "synthetic": num_synthetic > 0, "section": "training", **counts}


@pytest.fixture
def weights(tmp_path):
    """Make weights with a record of what they were trained on, and of what weights their training started from."""

    def _weights(name, trained_on, initial=None):
        file = tmp_path / name / "model.pt"
        file.parent.mkdir()
        file.write_bytes(name.encode())
        initial = None if initial is None else origin_of(initial)
        write_side_file(file, "training.json", {"trained_on": trained_on, "initial_file": initial, "epoch": 4})
        return file

    return _weights


def test_weights_trained_on_phantoms_are_synthetic_only_and_their_words_begin_with_the_sentence(weights):
    file = weights("phantoms", data(3))
    origin = origin_of(file)
    assert origin == {"file": "model.pt", "sha256": sha256(file), "trained_on": data(3), "initial_file": None}
    assert synthetic_only(origin)
    assert origin_in_words(origin) == f"model.pt, {SYNTHETIC_ONLY}: made up, section training, 3 cases"


def test_weights_fine_tuned_on_patients_are_not_and_say_what_they_were_before(weights):
    tuned = weights("tuned", data(0, 1, "hospital"), initial=weights("phantoms", data(3)))
    origin = origin_of(tuned)
    assert not synthetic_only(origin)
    assert origin_in_words(origin) == (
        "model.pt, trained on hospital, section training, 1 case; started from "
        f"model.pt, {SYNTHETIC_ONLY}: made up, section training, 3 cases"
    )


def test_trainings_in_a_row_on_the_same_data_are_said_once(weights):
    first = weights("first", data(3))
    third = weights("third", data(3), initial=weights("second", data(3), initial=first))
    once = f"model.pt, {SYNTHETIC_ONLY}: made up, section training, 3 cases, in 3 trainings, one after the other"
    assert origin_in_words(origin_of(third)) == once
    tuned = origin_of(weights("tuned", data(0, 1, "hospital"), initial=third))
    expected = f"model.pt, trained on hospital, section training, 1 case; started from {once}"
    assert origin_in_words(tuned) == expected
    assert [each["sha256"] for each in ancestors(tuned)[::2]] == [sha256(third), sha256(first)]


def test_phantoms_do_not_undo_the_patients_of_an_earlier_training_however_long_ago(weights):
    real = weights("real", data(0))
    first = weights("first", data(3), initial=real)
    assert not synthetic_only(origin_of(weights("second", data(3), initial=first)))
    assert synthetic_only(origin_of(weights("other", data(3), initial=weights("phantoms", data(3)))))


def test_one_patient_among_phantoms_is_enough(weights):
    origin = origin_of(weights("mixed", data(2)))
    assert not synthetic_only(origin)
    assert origin_in_words(origin) == "model.pt, trained on made up, section training, 3 cases, 2 of them synthetic"


def test_nothing_is_claimed_where_the_first_weights_have_no_record(weights):
    first = weights("first", data(3))
    first.with_name("training.json").unlink()
    origin = origin_of(weights("second", data(3), initial=first))
    assert origin["initial_file"]["trained_on"] is None and not synthetic_only(origin)
    words = "model.pt: no training.json beside the weights; what these weights were trained on is not known"
    assert origin_in_words(origin).endswith(f"3 cases; started from {words}")


def test_weights_that_were_written_without_their_record_are_unknown_and_that_is_a_warning(weights, caplog):
    file = weights("killed", data(3))
    file.write_bytes(b"of the next epoch")  # and the run died
    origin = origin_of(file)
    assert (origin["trained_on"], origin["initial_file"], origin["sha256"]) == (None, None, sha256(file))
    assert "was made with other weights" in origin["note"] and not synthetic_only(origin)
    assert [(record.levelname, record.message) for record in caplog.records] == [("WARNING", origin["note"])]


INITIAL = {"file": "model.pt", "sha256": "0"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"trained_on": None}, "`the file::trained_on` is of type NoneType"),
        ({"trained_on": {**data(3), "num_cases": "many"}}, "`the file::trained_on::num_cases` is 'many'; expected int"),
        ({"initial_file": "model.pt"}, "`the file::initial_file` is of type str; expected names and values"),
        ({"initial_file": INITIAL}, r"`the file::initial_file` lacks \['note'\]"),
        ({"initial_file": {**INITIAL, "trained_on": {}}}, "`the file::initial_file::trained_on` lacks"),
        (
            {"initial_file": {**INITIAL, "trained_on": data(3), "initial_file": {}}},
            r"`the file::initial_file::initial_file` lacks \['file', 'sha256', 'note'\]",
        ),
    ],
)
def test_a_record_of_another_shape_is_refused_and_the_place_is_named(weights, change, reason):
    file = weights("damaged", data(3))
    record = file.with_name("training.json")
    record.write_text(json.dumps({**json.loads(record.read_text()), **change}))
    with pytest.raises(ValueError, match=f"training.json is damaged: {reason}.*is not known"):
        read_training(file)
    assert origin_of(file)["trained_on"] is None


def test_inference_takes_the_settings_of_the_training_where_the_record_has_them(weights, caplog):
    otherwise = {"spacing": [1.0, 1.0, 1.0], "patch_size": [80, 80, 80]}
    file = weights("phantoms", data(3))
    assert trained_with(file, otherwise) == otherwise, "a record of before there were settings"
    settings = {"spacing": [2.0, 2.0, 2.0], "learning_rate": 0.1}
    write_side_file(file, "training.json", {"trained_on": data(3), "initial_file": None, "settings": settings})
    assert trained_with(file, otherwise) == {"spacing": [2.0, 2.0, 2.0], "patch_size": [80, 80, 80]}
    assert not caplog.messages
    assert trained_with(file.with_name("none.pt"), otherwise) == otherwise
    file.write_bytes(b"other weights")
    assert trained_with(file, otherwise) == otherwise
    assert "was made with other weights" in caplog.text


def test_weights_are_evaluated_at_the_scale_of_their_record(tmp_path):
    file = tmp_path / "model.pt"
    file.write_bytes(b"weights")
    settings = {"spacing": [2.0, 2.0, 2.0], "patch_size": [64, 64, 64]}
    write_side_file(file, "training.json", {"trained_on": data(3), "settings": {**settings, "other": 1}})
    assert settings_of(str(file), ["spacing", "patch_size"]) == settings


@pytest.mark.parametrize("recorded", [None, {"spacing": [2.0, 2.0, 2.0]}])
def test_where_no_record_says_the_scale_it_is_asked_for(tmp_path, recorded):
    file = tmp_path / "model.pt"
    file.write_bytes(b"weights")
    if recorded is not None:
        write_side_file(file, "training.json", {"trained_on": data(3), "settings": recorded})
    unknown = "spacing and patch_size" if recorded is None else "patch_size"
    words = f"beside {file} says with which {unknown} these weights were trained; .*`--spacing`, `--patch_size`"
    with pytest.raises(ValueError, match=words):
        settings_of(file, ["spacing", "patch_size"])
    with pytest.raises(FileNotFoundError, match="no weights at"):
        settings_of(tmp_path / "nowhere.pt", ["spacing"])
