# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What a result may be written over: an earlier result, and nothing else."""

from __future__ import annotations

import json

import pytest

from scripts.records.results import check_output


def test_an_input_is_never_written_over(tmp_path):
    inputs = [tmp_path / "a.nii.gz", tmp_path / "b_wt_probability.nii.gz", tmp_path / "c_on_flair.nii.gz"]
    for file in inputs:
        file.touch()
    (tmp_path / "link.nii.gz").symlink_to(inputs[0])
    for name in ("a", "b", "c", "link"):
        with pytest.raises(ValueError, match="is an input and would be overwritten; name another output"):
            check_output(tmp_path / f"{name}.nii.gz", inputs, ["wt"], ["flair"])
    check_output(tmp_path / "d.nii.gz", inputs, ["wt"], ["flair"])


@pytest.mark.parametrize("there", ["a.nii.gz", "a.json", "a.png", "a_on_t1.nii.gz"])
def test_a_file_of_another_origin_is_never_written_over(tmp_path, there):
    (tmp_path / there).write_text("{}")
    with pytest.raises(ValueError, match=f"{there} exists and is not the result of an earlier call"):
        check_output(tmp_path / "a.nii.gz", [], [], ["t1"])
    (tmp_path / "a.json").write_text(json.dumps({"segmentation": "a.nii.gz"}))
    check_output(tmp_path / "a.nii.gz", [], [], ["t1"])


def test_a_report_without_its_label_map_is_what_a_kill_has_left(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"segmentation": "a.nii.gz"}))
    check_output(tmp_path / "a.nii.gz", [])
