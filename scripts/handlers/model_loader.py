# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Loads trained weights when an evaluation or inference starts."""

from __future__ import annotations

import logging
from pathlib import Path

from ignite.engine import Engine, Events
from torch import nn

from ..networks.weights import load_weights

logger = logging.getLogger(__name__)


class ModelLoader:
    """Load a flat state dict into a network when the run starts, or say what is wrong with the file.

    Args:
        model_file: path of the weights, as training writes them.
        network: receives the weights; every name and shape must fit.

    Raises:
        FileNotFoundError: on start, if the file is not there.
        ValueError: on start, if the weights are those of another network or alignment.
    """

    def __init__(self, model_file: str, network: nn.Module) -> None:
        self.model_file, self.network = Path(model_file), network

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        self.load()

    def load(self) -> None:
        """Load the weights now; raises what is raised on start."""
        if not self.model_file.is_file():
            raise FileNotFoundError(
                f"no weights at {self.model_file}; expected the file that training writes. Run training first, or name "
                "another file with `--model_file`."
            )
        load_weights(self.network, self.model_file)
        logger.info("weights are those of %s", self.model_file)
