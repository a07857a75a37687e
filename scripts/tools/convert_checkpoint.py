# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Convert a checkpoint of a published implementation into the weights of a network here.

python -m scripts.tools.convert_checkpoint --checkpoint model_last.pth --output models/model.pt
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from ..networks.reference_checkpoint import PUBLISHED, Published, convert_state_dict, encoder_order, without_prefix
from ..utils.files import replacing
from .command_line import run_tool

TRAIN_CONFIG = Path(__file__).parents[2] / "configs" / "train.yaml"
WRAPPERS = ("state_dict", "model", "network")  # keys under which training scripts keep the parameters


@dataclass
class ConvertCheckpoint:
    """Convert a checkpoint of a published implementation; sizes are read from its shapes.

    Nothing in the file is executed: only tensors and plain containers are loaded.

    Args:
        checkpoint: file of the published implementation: a state dict, or one under `state_dict`, `model` or
            `network`, with or without the `module.` prefix of data-parallel training.
        output: where to write the flat state dict, e.g. models/model.pt.
        network: rfnet, mmformer or m2ftrans.
        modalities: names in the channel order wanted, e.g. flair,t1ce,t1,t2; those of configs/train.yaml by default.
            They may stand in another order in the checkpoint.
    """

    checkpoint: str
    output: str
    network: str = "rfnet"
    modalities: str | Sequence[str] | None = None

    def __call__(self) -> None:
        """Write the weights and report; end with status 1 and a message if that cannot be done."""
        try:
            self.write()
        except (ValueError, OSError) as error:
            raise SystemExit(f"No checkpoint converted: {error}") from error

    def write(self) -> Path:
        """Write the weights and print what was done.

        Raises:
            ValueError: if the file holds anything but tensors and plain containers, or does not fit the network.
            FileNotFoundError: if there is no such file.
        """
        if self.network not in PUBLISHED:
            raise ValueError(f"`network` is {self.network}; expected one of {sorted(PUBLISHED)}.")
        published, modalities = PUBLISHED[self.network], self._names()
        reference = without_prefix(read_state_dict(self.checkpoint))
        arguments = network_arguments(reference, published)
        with torch.device("meta"):  # only names and shapes are needed
            network = published.network(len(modalities), **arguments)
        state = convert_state_dict(reference, network, modalities)
        with replacing(self.output) as temporary:
            torch.save(state, temporary)
        number = sum(value.numel() for value in state.values())
        print(f"Read {len(reference)} tensors of {type(network).__name__} ({number} parameters) from {self.checkpoint}")
        print(f"Modalities of the checkpoint: {', '.join(encoder_order(reference))}")
        print(f"Modalities of the weights:    {', '.join(modalities)}")
        print("Network: " + ", ".join(f"{name} {value}" for name, value in arguments.items()))
        print(f"Weights: {Path(self.output).resolve()}")
        return Path(self.output)

    def _names(self) -> list[str]:
        names = self.modalities or yaml.safe_load(TRAIN_CONFIG.read_text(encoding="utf-8"))["modalities"]
        return [part.strip() for part in (names.split(",") if isinstance(names, str) else names)]


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Load the parameters of a checkpoint on the CPU without executing anything in it.

    Raises:
        ValueError: if the file cannot be read as tensors and plain containers, or holds no state dict.
        FileNotFoundError: if there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"`{path}` is not a file; expected a checkpoint written by PyTorch.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # archives and pickles break in many ways
        raise ValueError(_refusal(path, error)) from error
    return _unwrap(content, path)


def _refusal(path: Path, error: Exception) -> str:
    """Say why a file was not loaded, without PyTorch's advice to load it all the same."""
    text = str(error) or type(error).__name__
    forbidden = re.search(r"GLOBAL (\S+)", text)
    if forbidden:
        return (
            f"`{path}` holds `{forbidden[1]}`, which could run code when it is loaded, so it was not loaded; expected "
            "tensors only. Save `network.state_dict()` alone where the network was trained."
        )
    if "weights_only" in text:
        unpickler = re.search(r"WeightsUnpickler error: (.+)", text)
        text = unpickler[1] if unpickler else "it holds more than tensors and plain containers"
    reason = text.strip().splitlines()[0]
    return f"`{path}` is not a checkpoint of PyTorch, or is damaged: {reason}"


def _unwrap(content: Any, path: Path) -> dict[str, Tensor]:
    """Find the state dict in what a training script saved."""
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"`{path}` holds {type(content).__name__} without parameters; expected a state dict.")
    others = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise ValueError(
            f"`{path}` holds {len(others)} entries that are not tensors: {', '.join(others[:8])}; expected a state "
            f"dict, by itself or under one of {list(WRAPPERS)}."
        )
    return dict(content)


def network_arguments(reference: Mapping[str, Tensor], published: Published) -> dict[str, Any]:
    """Read the arguments of the network from the shapes of its published parameters.

    Raises:
        ValueError: if a parameter is not there, or has an impossible shape.
    """
    try:
        return published.arguments(reference)
    except KeyError as error:
        raise ValueError(
            f"`{error.args[0]}` is not in the checkpoint, whose first keys are {list(reference)[:4]}; expected one of "
            f"{published.network.__name__}. See `--network`."
        ) from error


if __name__ == "__main__":
    run_tool(ConvertCheckpoint)
