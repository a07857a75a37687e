# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Gives a network the weights of a file, or says in words why they are not its own."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn

FEW = 3  # names in a message


def load_weights(network: nn.Module, file: str | Path) -> None:
    """Load a flat state dict, as training writes it; every name and shape must fit. Nothing in the file is executed.

    Args:
        network: receives the weights, wherever it is.
        file: that exists.

    Raises:
        ValueError: if the weights are those of another network or alignment.
    """
    weights = torch.load(file, map_location="cpu", weights_only=True)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = misfits(weights, network) or str(error)
        raise ValueError(
            f"the weights in {file} are of another network or alignment: {reason}. Expected the overlays and options "
            "that they were trained with, such as network_*.yaml and method_medmap.yaml. See `network_def` and "
            "`alignment`, or name other weights with `--model_file`."
        ) from None  # which lists every name


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
