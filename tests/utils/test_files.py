# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import pytest

from scripts.utils import files
from scripts.utils.files import replacing, replacing_all, write_json


def test_a_file_appears_whole_with_its_folders(tmp_path):
    path = tmp_path / "runs" / "one" / "prediction.nii.gz"
    with replacing(path) as temporary:
        assert temporary.parent == path.parent and temporary.name.endswith(".nii.gz")
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "model.pt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="disk"), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("disk")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_writes_nothing_fails(tmp_path):
    path = tmp_path / "model.pt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert path.read_text() == "old"


def test_json_is_written_for_readers_and_replaces_what_was_there(tmp_path):
    path = tmp_path / "tables" / "summary.json"
    content = {"case": "Müller", "dice": [0.5, None]}
    assert write_json(path, {}) == path == write_json(path, content)
    assert json.loads(path.read_text(encoding="utf-8")) == content
    assert "Müller" in path.read_text(encoding="utf-8") and path.read_text(encoding="utf-8").endswith("}\n")
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "content", [{"dice": float("nan")}, {"hd95": float("inf")}, {"case": object()}], ids=["nan", "inf", "object"]
)
def test_what_json_cannot_say_is_refused_before_anything_is_written(tmp_path, content):
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "summary.json", content)
    assert not list(tmp_path.iterdir())


def test_several_files_change_together_in_the_order_given(tmp_path, monkeypatch):
    paths = [tmp_path / "report.json", tmp_path / "label.nii.gz"]
    for path in paths:
        path.write_text("old")
    with pytest.raises(RuntimeError), replacing_all(paths) as temporaries:
        temporaries[0].write_text("new")
        raise RuntimeError("killed before the second was written")
    with pytest.raises(FileNotFoundError), replacing_all(paths) as temporaries:
        temporaries[0].write_text("new")
    assert [path.read_text() for path in paths] == ["old", "old"]
    order, replace = [], os.replace
    monkeypatch.setattr(files.os, "replace", lambda one, other: (order.append(other), replace(one, other)))
    with replacing_all(paths) as temporaries:
        for temporary in temporaries:
            temporary.write_text("new")
    assert order == paths and [path.read_text() for path in paths] == ["new", "new"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_a_full_disk_is_said_with_the_file_and_the_space(tmp_path):
    paths = [tmp_path / "report.json", tmp_path / "label.nii.gz", tmp_path / "map.nii.gz"]
    with pytest.raises(
        OSError, match=r"label.nii.gz cannot be written: its disk is full, [\d.]+ MB are free"
    ) as caught:
        with replacing_all(paths) as temporaries:
            temporaries[0].write_text("new")
            temporaries[1].write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_of_a_file_is_removed_and_nothing_else(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    stale, other = tmp_path / f".{ended.pid}.tmp.a.json", tmp_path / f".{ended.pid}.tmp.b.json"
    running = tmp_path / f".{os.getppid()}.tmp.a.json"
    for file in (stale, other, running, tmp_path / ".x.tmp.a.json"):
        file.touch()
    write_json(tmp_path / "a.json", {})
    assert not stale.exists()
    assert other.exists() and running.exists() and (tmp_path / ".x.tmp.a.json").exists()
