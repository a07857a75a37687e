# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Collects latent features of the cases of an evaluation."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any, cast

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator
from monai.engines.utils import IterationEvents
from torch import Tensor

from ..evaluation.store import CaseStore
from ..inferers.sliding_window import SubsetSlidingWindowInferer
from ..metrics.modality_gap import modality_gap
from ..metrics.undefined import or_none
from ..modalities import acquired_in
from ..networks.base import IncompleteMultiModalNetwork
from ..utils.files import replacing, write_json

logger = logging.getLogger(__name__)

FEATURES = "features.json"  # part of a case in the store
FEATURES_FILE = "features.npz"
GAP_FILE = "modality_gap.json"


class LatentFeaturesHandler:
    """Keep the mean latent features of each case and modality, and measure the modality gap when the run ends.

    The features are what the encoders make of each acquired modality at one level, before any alignment, averaged over
    all windows of the inferer and their voxels; a voxel that lies in several windows counts in each of them. They are
    taken as the windows pass by: the network does nothing more for them. Early fusion encodes nothing: its only level
    is the normalised image, whose mean is about 0 whatever the case, so that its gap says nothing.

    The evaluation's folder gets ``features.npz`` (``features`` ``(N, M, F)`` float32, NaN where a case lacks the
    modality, ``cases`` ``(N,)`` and ``modalities`` ``(M,)`` text, ``level``) and ``modality_gap.json``, in which what
    is not defined is ``null``. ``engine.state.metrics["modality_gap"]`` is published, see
    ``scripts.metrics.modality_gap``. Cases that fail are left out.

    Attach to a ``CaseEvaluator`` with the same inferer, whose network keeps the contract of
    ``IncompleteMultiModalNetwork``.

    Args:
        inferer: shows the features of each batch of windows to its observers.
        modalities: names in channel order.
        store: keeps the features of each case; those that are done make up the two files.
        level: of the encoder, 0 the finest, -1 the deepest.

    Raises:
        ValueError: when the run starts, if the network has no such level.
    """

    def __init__(
        self, inferer: SubsetSlidingWindowInferer, modalities: Sequence[str], store: CaseStore, level: int = -1
    ) -> None:
        self.inferer = inferer
        self.modalities = list(modalities)
        self.store = store
        self.level = level
        self.means: list[Tensor] = []  # of each batch of windows of the case at hand, (b, M, F)

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        self.inferer.observers.append(self._observe)
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_STARTED, self._clear)
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self._keep)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _start(self, engine: SupervisedEvaluator) -> None:
        number = len(_level_channels(engine))
        if not -number <= self.level < number:
            raise ValueError(
                f"`level` is {self.level}, but the encoders of {type(engine.network).__name__} have {number} levels; "
                f"expected {-number} to {number - 1}. See `latent_level` in the configuration."
            )

    def _clear(self, engine: Engine) -> None:
        self.means = []

    def _observe(self, features: list[Tensor], acquired: Tensor) -> None:
        level = features[self.level]  # (b, M, F, *S)
        mean = level.mean(dim=list(range(3, level.dim())), dtype=torch.float32)
        self.means.append(mean.masked_fill(~acquired[..., None], math.nan))

    def _keep(self, engine: Engine) -> None:
        (item,) = cast(list, engine.state.batch)
        case, mean = str(item["case"]), torch.cat(self.means).double().mean(dim=0).cpu()  # (M, F)
        acquired = acquired_in(item["image"]).cpu()
        if not torch.isfinite(mean[acquired]).all():
            logger.warning("case %s has latent features that are not finite; has the training diverged?", case)
        listed = [list(map(or_none, row)) for row in mean.tolist()]
        self.store.write(case, FEATURES, listed)

    @idist.one_rank_only()
    def _finish(self, engine: SupervisedEvaluator) -> None:
        channels, found = _level_channels(engine), self.store.done()
        shape = (len(found), len(self.modalities), channels[self.level])
        features = np.array([self.store.read(case, FEATURES) for case in found], dtype=np.float32).reshape(shape)
        result, level = modality_gap(features), self.level % len(channels)
        engine.state.metrics["modality_gap"] = result.gap
        names: dict[str, Any] = {
            "cases": np.array(found, dtype=str),
            "modalities": np.array(self.modalities, dtype=str),
        }
        with replacing(self.store.output_dir / FEATURES_FILE) as temporary:
            np.savez(temporary, features=features, **names, level=np.array(level))
        numbers = {name: or_none(value) for name, value in result._asdict().items()}
        write_json(self.store.output_dir / GAP_FILE, {**numbers, "num_cases": len(found), "level": level})
        logger.info("modality gap %.3g; latent features are in %s", result.gap, self.store.output_dir / FEATURES_FILE)


def _level_channels(engine: SupervisedEvaluator) -> list[int]:
    return cast(IncompleteMultiModalNetwork, engine.network).level_channels
