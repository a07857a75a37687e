# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Loads trained weights when an evaluation or inference starts."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from torch import nn

from ..evaluation.origin import trained_with
from ..networks.weights import load_weights
from ..records.side_files import require_weights

logger = logging.getLogger(__name__)


class ModelLoader:
    """Load a flat state dict into a network when the run starts, or say what is wrong with the file.

    Args:
        model_file: path of the weights, as training writes them.
        network: receives the weights; every name and shape must fit.
        settings: name to value of what this run should share with the training, such as the voxel spacing; where the
            weights' ``training.json`` says otherwise, a warning is logged.

    Raises:
        FileNotFoundError: on start, if the file is not there.
        ValueError: on start, if the file holds no weights, or those of another network or alignment.
    """

    def __init__(self, model_file: str, network: nn.Module, settings: Mapping[str, Any] | None = None) -> None:
        self.model_file, self.network, self.settings = Path(model_file), network, dict(settings or {})

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        self.load()

    def load(self) -> None:
        """Load the weights now; raises what is raised on start."""
        load_weights(self.network, require_weights(self.model_file))
        logger.info("weights are those of %s", self.model_file)
        for name, found in trained_with(self.model_file, self.settings).items():
            if found != self.settings[name]:
                logger.warning(
                    "%s were trained with `%s` %s; this run has %s, for which they may be worse",
                    self.model_file,
                    name,
                    found,
                    self.settings[name],
                )
