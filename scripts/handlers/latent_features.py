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
from numpy.typing import NDArray
from torch import Tensor

from ..evaluation.store import CaseStore
from ..inferers.sliding_window import SubsetSlidingWindowInferer
from ..metrics.modality_gap import modality_gap
from ..metrics.paired_gap import paired_gap
from ..metrics.undefined import or_none
from ..modalities import acquired_in
from ..networks.base import IncompleteMultiModalNetwork
from ..utils.files import replacing, write_json

logger = logging.getLogger(__name__)

FEATURES, VOXELS = "features.json", "voxels.json"  # parts of a case in the store
FEATURES_FILE = "features.npz"
GAP_FILE = "modality_gap.json"
PER_WINDOW, PER_CASE = 16, 32  # voxels that are drawn


class LatentFeaturesHandler:
    """Keep the mean latent features of each case and modality, and measure the modality gap when the run ends.

    The features are what the encoders make of each acquired modality at one level, before any alignment, averaged over
    all windows of the inferer and their voxels; a voxel that lies in several windows counts in each of them. They are
    taken as the windows pass by: the network does nothing more for them. Early fusion encodes nothing: its only level
    is the normalised image, whose mean is about 0 whatever the case, so that its gap says nothing.

    Of 32 voxels of each case the features themselves are kept, the same voxels for every modality. They are drawn at
    random, always the same of a case, out of all voxels of the windows, background included.

    The evaluation's folder gets ``features.npz`` (``features`` ``(N, M, F)`` and ``voxels`` ``(N, 32, M, F)`` float32,
    NaN where a case lacks the modality, ``cases`` ``(N,)`` and ``modalities`` ``(M,)`` text, ``level``) and
    ``modality_gap.json``, in which what is not defined is ``null``: see ``scripts.metrics.modality_gap`` and
    ``scripts.metrics.paired_gap``. ``engine.state.metrics["modality_gap"]`` is published. Cases that fail are left out.

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
        self._clear()

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

    def _clear(self, engine: Engine | None = None) -> None:
        """Begin a case: means of each batch of windows ``(b, M, F)``, voxels of each window ``(M, F, 16)``."""
        self.means: list[Tensor] = []
        self.voxels: list[Tensor] = []
        self.generator = torch.Generator().manual_seed(0)

    def _observe(self, features: list[Tensor], acquired: Tensor) -> None:
        level = features[self.level]  # (b, M, F, *S)
        mean = level.mean(dim=list(range(3, level.dim())), dtype=torch.float32)
        self.means.append(mean.masked_fill(~acquired[..., None], math.nan))
        for window in level.flatten(3):  # (M, F, voxels); one by one, so that batches of any size draw the same
            chosen = torch.randint(window.shape[2], (PER_WINDOW,), generator=self.generator).to(window.device)
            self.voxels.append(window[:, :, chosen].float().masked_fill(~acquired[0, :, None, None], math.nan).cpu())

    def _keep(self, engine: Engine) -> None:
        (item,) = cast(list, engine.state.batch)
        case, mean = str(item["case"]), torch.cat(self.means).double().mean(dim=0).cpu()  # (M, F)
        acquired = acquired_in(item["image"]).cpu()
        if not torch.isfinite(mean[acquired]).all():
            logger.warning("case %s has latent features that are not finite; has the training diverged?", case)
        self.store.write(case, FEATURES, [list(map(or_none, row)) for row in mean.tolist()])
        drawn = torch.cat(self.voxels, dim=2)  # (M, F, windows * 16)
        chosen = torch.randint(drawn.shape[2], (PER_CASE,), generator=self.generator)
        drawn = drawn[:, :, chosen].movedim(2, 0)  # (32, M, F)
        self.store.write(case, VOXELS, [[_listed(row) for row in each] for each in drawn.tolist()])

    @idist.one_rank_only()
    def _finish(self, engine: SupervisedEvaluator) -> None:
        channels, found = _level_channels(engine), self.store.done()
        shape = (len(found), len(self.modalities), channels[self.level])
        features = np.array([self.store.read(case, FEATURES) for case in found], dtype=np.float32).reshape(shape)
        voxels = self._read_voxels(found, shape)
        result, level = modality_gap(features), self.level % len(channels)
        engine.state.metrics["modality_gap"] = result.gap
        names: dict[str, Any] = {
            "cases": np.array(found, dtype=str),
            "modalities": np.array(self.modalities, dtype=str),
        }
        with replacing(self.store.output_dir / FEATURES_FILE) as temporary:
            np.savez(temporary, features=features, voxels=voxels, **names, level=np.array(level))
        numbers = {**result._asdict(), **paired_gap(voxels)._asdict()}
        numbers = {name: or_none(value) for name, value in numbers.items()}
        write_json(self.store.output_dir / GAP_FILE, {**numbers, "num_cases": len(found), "level": level})
        logger.info("modality gap %.3g; latent features are in %s", result.gap, self.store.output_dir / FEATURES_FILE)

    def _read_voxels(self, cases: Sequence[str], shape: tuple[int, int, int]) -> NDArray:
        """Read the voxels of all cases, ``(N, 32, M, F)``; NaN for those evaluated before voxels were kept."""
        voxels = np.full((shape[0], PER_CASE, *shape[1:]), math.nan, dtype=np.float32)
        without = [case for case in cases if not self.store.path(case, VOXELS).exists()]
        if without:
            logger.warning(
                "%d of %d cases were evaluated by an earlier version, which kept no voxels; they are left out of the "
                "paired gap measures. Evaluate anew for all.",
                len(without),
                len(cases),
            )
        for row, case in enumerate(cases):
            if case not in without:
                voxels[row] = np.array(self.store.read(case, VOXELS), dtype=np.float32)
        return voxels


def _listed(row: Sequence[float]) -> list[float | None]:
    """Give numbers as JSON keeps them, to five digits."""
    return [or_none(float(f"{value:.5g}")) for value in row]


def _level_channels(engine: SupervisedEvaluator) -> list[int]:
    return cast(IncompleteMultiModalNetwork, engine.network).level_channels
