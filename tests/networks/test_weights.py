# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What is no file of weights is said in one line, and nothing in it is run."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from scripts.networks.weights import load_weights, read_weights

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9634773\n"


@pytest.fixture
def save(tmp_path):
    def _save(content, **options):
        torch.save(content, tmp_path / "model.pt", **options)
        return tmp_path / "model.pt"

    return _save


@pytest.fixture
def good(save):
    return save({"weight": torch.arange(1000.0), "steps": torch.tensor(3)}).read_bytes()


def flipped(data):
    at = data.index(torch.arange(1000.0).numpy().tobytes()[4:12])
    return data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda _: LFS, "it is a Git-LFS pointer.*git lfs pull"),
        (lambda _: b"", "it is empty"),
        (lambda data: data[: len(data) // 2], "it is damaged, was cut, or is no file of PyTorch"),
        (lambda data: data[:-30], "it is damaged, was cut, or is no file of PyTorch"),
        (lambda _: b"a letter", "it is damaged, was cut, or is no file of PyTorch"),
        (lambda _: pickle.dumps(Path("x")), "it is damaged, was cut, or is no file of PyTorch"),
        (flipped, "it is damaged, in .*data"),
    ],
)
def test_a_file_that_is_not_whole_is_named_with_its_size(good, tmp_path, change, reason):
    (tmp_path / "model.pt").write_bytes(change(good))
    with pytest.raises(
        ValueError, match=rf"model.pt \([\d,]+ bytes\) holds no weights: {reason}.*expected a dictionary.*docs"
    ) as error:
        read_weights(tmp_path / "model.pt")
    assert "\n" not in str(error.value) and "weights_only" not in str(error.value)


class Payload:
    """Would create a file when unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("legacy", [False, True])
def test_what_would_run_code_is_refused_unrun(save, tmp_path, legacy):
    file = save({"weight": Payload(tmp_path / "it ran")}, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match="it holds getattr, which could run code" if not legacy else "no weights"):
        read_weights(file)
    assert not (tmp_path / "it ran").exists()


@pytest.mark.parametrize("content", [[torch.ones(1)], {"weight": 1.0}, {"state_dict": {"weight": torch.ones(1)}}])
def test_other_contents_are_refused(save, content):
    with pytest.raises(ValueError, match="it holds (a list|other things than tensors, such as .*); expected"):
        read_weights(save(content))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(save, value):
    weights = {"a.weight": torch.ones(3), "b.weight": torch.tensor([1.0, value]), "steps": torch.tensor(1)}
    with pytest.raises(ValueError, match="not finite: NaN or infinity in 1 of 3 tensors, such as b.weight; expected"):
        load_weights(torch.nn.Linear(1, 1), save(weights))


@pytest.mark.parametrize("legacy", [False, True])
def test_good_weights_are_read_as_they_are(save, legacy):
    found = read_weights(save({"weight": torch.arange(3.0)}, _use_new_zipfile_serialization=not legacy))
    assert torch.equal(found["weight"], torch.arange(3.0))
