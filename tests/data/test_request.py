# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Every form of a request is understood as one case, without opening a file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.data.case import Case
from scripts.data.case_error import CaseError
from scripts.data.request import understand

ROOT = Path(__file__).parents[2]
NAMES = ["flair", "t1ce", "t1", "t2"]


@pytest.fixture
def files(tmp_path):
    """Three empty files of one patient in a folder that ends like a file."""
    folder = tmp_path / "p.nii.gz"
    folder.mkdir()
    paths = {name: str(folder / f"P_{name}.nii.gz") for name in ("flair", "t2")}
    for path in (*paths.values(), folder / "P_seg.nii.gz"):
        Path(path).touch()
    return paths


def test_a_request_is_understood_without_torch():
    code = "import sys, scripts.data.request; print({'torch', 'monai'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_form_of_a_patient_is_the_same_case(files):
    folder = Path(files["t2"]).parent
    backwards = dict(reversed(files.items()))
    for request in (
        {"case": "P", "images": backwards},
        {"case": "P", "image": backwards},
        {"image": str(folder)},
        {"image": list(files.values()), "images": "all"},
        {"image": "item.of.a.store", "case": "P", **backwards},
        folder,
        tuple(files.values()),
        Case("P", backwards),
    ):
        case = understand(request, NAMES)
        assert case == Case("P", files), request
        assert list(case.images) == list(files), "in the configured order"


@pytest.mark.parametrize(
    ("more", "channels"),
    [({}, tuple(NAMES)), ({"channels": "t2,none"}, ("t2", None)), ({"channels": ["t2", None]}, ("t2", None))],
)
def test_one_file_is_stacked(more, channels):
    # whether it exists is found out when it is read
    expected = Case("a", image="x/a.nii.gz", channels=channels)
    assert understand({"image": Path("x/a.nii.gz"), **more}, NAMES) == expected
    if not more:
        assert understand("x/a.nii.gz", NAMES) == expected


def test_the_label_is_taken_under_its_key_and_else_left_with_the_rest():
    request = {"case": "a", "scan": {"t1": "t"}, "truth": Path("s"), "label_convention": "msd", "site": 3}
    case = understand(request, NAMES, "scan", "truth")
    assert case == Case("a", {"t1": "t"}, label="s", label_convention="msd", more={"site": 3})
    case = understand(request, NAMES, "scan", None)
    assert case.label is None and case.more == {"truth": Path("s"), "site": 3}


def test_nothing_acquired_is_a_case_without_files():
    for images in ({}, {"t1": None, "t2": ""}):
        case = understand({"case": "a", "images": images}, NAMES)
        assert case == Case("a") and not case.files


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"case": "a", "image": None}, "case `a`: the entry gives NoneType for its images; expected `images` with a"),
        ({"case": "a", "images": {"dwi": "d"}}, r"lists the modalities \['dwi'\]; expected names out of \['flair'"),
        ({"case": "a", "image": "s.nii", "channels": "t1,t1"}, r"each at most once.*\(file: s.nii\)"),
        ({"case": "a", "image": ["nowhere.nii.gz"]}, "case `a`: there is no such file"),
    ],
)
def test_what_is_no_patient_is_refused_by_name(request_, message):
    with pytest.raises(CaseError, match=message):
        understand(request_, NAMES)
