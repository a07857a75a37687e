# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Gives a network the weights of a file, or says in words why they are not its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from zipfile import ZipFile, is_zipfile

import torch
from torch import Tensor, nn

FEW = 3  # names in a message
LFS_POINTER = b"version https://git-lfs"  # how one begins


def load_weights(network: nn.Module, file: str | Path) -> None:
    """Load a flat state dict, as training writes it; every name and shape must fit. Nothing in the file is executed.

    Args:
        network: receives the weights, wherever it is.
        file: that exists.

    Raises:
        ValueError: if the file holds no weights, in words; if they are those of another network or alignment.
    """
    weights = read_weights(file)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = misfits(weights, network) or str(error)
        raise ValueError(
            f"the weights in {file} are of another network or alignment: {reason}. Expected the overlays and options "
            "that they were trained with, such as network_*.yaml and method_medmap.yaml. See `network_def` and "
            "`alignment`, or name other weights with `--model_file`."
        ) from None  # which lists every name


def read_weights(file: str | Path) -> dict[str, Tensor]:
    """Read a flat state dict; nothing in the file is executed.

    Raises:
        ValueError: if the file is no such dictionary, whatever else it is, or a weight is not finite.
    """
    try:
        damaged = _damaged_part(file)
        weights = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # its messages advise to load what is not safe
        raise ValueError(_no_weights(file, _what_it_is(Path(file), error))) from None
    if damaged is not None:
        raise ValueError(_no_weights(file, f"it is damaged, in {damaged}"))
    if not isinstance(weights, dict):
        raise ValueError(_no_weights(file, f"it holds a {type(weights).__name__}"))
    others = [str(name) for name, each in weights.items() if not isinstance(each, Tensor)]
    if others:
        raise ValueError(_no_weights(file, f"it holds other things than tensors, such as {', '.join(others[:FEW])}"))
    broken = [
        name for name, each in weights.items() if each.is_floating_point() and not bool(torch.isfinite(each).all())
    ]
    if broken:
        raise ValueError(
            f"the weights in {file} are not finite: NaN or infinity in {len(broken)} of {len(weights)} tensors, such "
            f"as {', '.join(broken[:FEW])}; expected numbers. The training has diverged, or the file is damaged."
        )
    return weights


def _no_weights(file: str | Path, found: str) -> str:
    size = Path(file).stat().st_size
    return (
        f"{file} ({size:,} bytes) holds no weights: {found}; expected a dictionary of names and tensors, as training "
        "writes it. See docs/reference/weights.md."
    )


def _damaged_part(file: str | Path) -> str | None:
    """Name a part whose checksum is wrong, which PyTorch does not look at; older files of PyTorch have none."""
    if not is_zipfile(file):
        return None
    with ZipFile(file) as archive:
        return archive.testzip()


def _what_it_is(file: Path, error: Exception) -> str:
    with file.open("rb") as stream:
        head = stream.read(len(LFS_POINTER))
    if head == LFS_POINTER:
        return "it is a Git-LFS pointer, in the place of the file (`git lfs pull` fetches that)"
    if not head:
        return "it is empty"
    if not is_zipfile(file):
        return "it is damaged, was cut, or is no file of PyTorch"
    foreign = re.search(r"GLOBAL (\S+)", str(error))
    if foreign:
        return f"it holds {foreign[1]}, which could run code and is not loaded"
    return f"it is damaged ({type(error).__name__})"


def misfits(weights: Mapping[str, Tensor], network: nn.Module) -> str:
    """Sum up in words which names and shapes of a state dict do not fit; empty if they do."""
    expected = network.state_dict()
    shapes = {name: [list(each[name].shape) for each in (weights, expected)] for name in expected if name in weights}
    found = {
        "missing": [name for name in expected if name not in weights],
        "unknown": [name for name in weights if name not in expected],
        "of another shape": [f"{name} {one} for {other}" for name, (one, other) in shapes.items() if one != other],
    }
    parts = [f"{len(names)} {what}, such as {', '.join(islice(names, FEW))}" for what, names in found.items() if names]
    return "; ".join(parts)
