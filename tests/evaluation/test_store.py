# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What an evaluation keeps of each case, and what it does when it goes on."""

from __future__ import annotations

import json

import ignite.distributed as idist
import pytest
from ignite.engine import Engine, Events

from scripts.evaluation.store import SCORES, CaseStore

CASES = [{"case": "b", "label": "b.nii"}, {"case": "none"}, {"case": "a", "label": "a.nii"}]


def begun(folder, cases=CASES, resume=False, **settings):
    """Begin an evaluation, as an engine does when it starts."""
    store, engine = CaseStore(str(folder), cases, settings, resume=resume), Engine(lambda engine, batch: None)
    store.attach(engine)
    engine.fire_event(Events.STARTED)
    return store


def test_cases_without_a_label_are_named_and_left_out(tmp_path, caplog):
    store = begun(tmp_path)
    assert [entry["case"] for entry in store.remaining()] == ["b", "a"]
    assert store.unlabelled == ["none"]
    assert "1 cases have no label and are left out: ['none']" in caplog.text


def test_a_section_without_any_label_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"none of the 1 cases has a label.*`evaluated_section`"):
        CaseStore(str(tmp_path), CASES[1:2], {}).remaining()


def test_a_case_is_done_when_its_scores_are_there(tmp_path):
    store = begun(tmp_path)
    store.write("a", "features.json", [1.0])
    assert store.done() == []
    store.write("a", SCORES, {"flair": {}})
    store.write("b", SCORES, {})
    assert store.done() == ["b", "a"], "in the order of the datalist"
    assert store.read("a", SCORES) == {"flair": {}}


@pytest.mark.parametrize("resume", [True, "true"])
def test_resuming_leaves_what_is_done(tmp_path, resume):
    begun(tmp_path, policy="brats").write("b", SCORES, {})
    store = begun(tmp_path, resume=resume, policy="brats")
    assert [entry["case"] for entry in store.remaining()] == ["a"]
    assert store.done() == ["b"]


@pytest.mark.parametrize("resume", [False, "false"])
def test_beginning_anew_removes_what_is_there(tmp_path, resume):
    begun(tmp_path, policy="brats").write("b", SCORES, {})
    store = begun(tmp_path, resume=resume, policy="nan")
    assert [entry["case"] for entry in store.remaining()] == ["b", "a"]
    assert store.done() == []
    assert json.loads((tmp_path / "evaluation.json").read_text()) == {"policy": "nan"}


def test_results_of_other_settings_are_not_mixed(tmp_path):
    begun(tmp_path, policy="brats", metrics=("dice",)).write("b", SCORES, {})
    begun(tmp_path, resume=True, policy="brats", metrics=["dice"])
    message = (
        rf"`{tmp_path}` holds an evaluation of other settings: `policy` is brats, asked for is nan .*same settings"
    )
    with pytest.raises(ValueError, match=message):
        begun(tmp_path, resume=True, policy="nan", metrics=["dice"])
    assert (tmp_path / "cases" / "b.scores.json").is_file()


def test_what_no_datalist_names_any_more_is_not_counted(tmp_path):
    begun(tmp_path).write("b", SCORES, {})
    assert begun(tmp_path, CASES[2:], resume=True).done() == []


def test_machines_that_do_not_share_the_folder_are_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(idist, "get_world_size", lambda: 2)

    def finish():
        store, engine = CaseStore(str(tmp_path), CASES, {}, resume=True), Engine(lambda engine, batch: None)
        store.attach(engine)
        engine.failures = {"a": "cannot be read"}
        engine.run([0])
        return store

    with pytest.raises(RuntimeError, match="1 cases, such as `b`, were scored by another process but are not in"):
        finish()
    begun(tmp_path).write("b", SCORES, {})
    assert finish().done() == ["b"]
