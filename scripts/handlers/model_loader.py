# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Loads trained weights when an evaluation or inference starts."""

from __future__ import annotations

from pathlib import Path

from ignite.engine import Engine
from monai.handlers import CheckpointLoader
from torch import nn


class ModelLoader(CheckpointLoader):
    """MONAI's checkpoint loader for a flat state dict, which says what to do where there is none.

    Args:
        model_file: path of the weights, as training writes them.
        network: receives the weights; every name and shape must fit.

    Raises:
        FileNotFoundError: on start, if the file is not there.
        ValueError: on start, if the weights are not those of such a network.
    """

    def __init__(self, model_file: str, network: nn.Module) -> None:
        super().__init__(load_path=str(model_file), load_dict={"model": network}, map_location="cpu")

    def __call__(self, engine: Engine) -> None:
        if not Path(self.load_path).is_file():
            raise FileNotFoundError(
                f"no weights at {self.load_path}; expected the file that training writes. Run training first, or name "
                "another file with `--model_file`."
            )
        try:
            super().__call__(engine)
        except RuntimeError as error:
            raise ValueError(
                f"the weights in {self.load_path} do not fit the network: {error}\nThey are of another configuration; "
                "expected the overlays that they were trained with, such as network_*.yaml and method_medmap.yaml."
            ) from None  # the message says it all
