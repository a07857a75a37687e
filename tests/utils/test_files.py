# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest

from scripts.utils.files import replacing, write_json


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
