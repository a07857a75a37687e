# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Trains the discriminators that an objective has adversarial terms of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import ignite.distributed as idist
import torch
from ignite.engine import Engine
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.utils import CommonKeys
from torch import Tensor
from torch.optim import Optimizer

from ..losses.adversarial import AdversarialTerm
from ..losses.co_training import paired_paths
from ..losses.objective import Objective
from ..networks.outputs import MultiModalOutput
from .epoch_publisher import EpochPublisher, epoch_length
from .loss_terms import TermMeans

KINDS = ("discriminator", "discriminator_accuracy")  # of what is logged, in the order of ``Judgement``


class DiscriminatorHandler(EpochPublisher):
    """After each step of the network, move the discriminators, on what both paths said before it.

    Neither step leaves a gradient in the other's weights. A batch without any missing path, or of a warm-up, leaves the
    discriminators as they are; samples without a missing path count in the mean over a batch, with zero. Optimizer
    steps are made of as many iterations as the trainer's.

    ``engine.state.metrics`` gets ``loss_<judge>_discriminator`` and ``loss_<judge>_discriminator_accuracy``, the share
    of patches that the discriminator tells rightly (1/2: it cannot).

    Args:
        loss: the objective, with ``AdversarialTerm`` among its terms; those that weigh nothing train nothing.
        optimizer: of the discriminators.
        modalities: names in channel order.

    Raises:
        ValueError: if the objective has no such term, or there are several processes, which would each train
            discriminators of their own.
    """

    def __init__(self, loss: Objective, optimizer: Optimizer, modalities: Sequence[str]) -> None:
        self.players = [term for term in loss.terms.values() if isinstance(term, AdversarialTerm)]
        if not self.players:
            raise ValueError(
                f"the objective's terms {list(loss.terms)} have no discriminator; expected an AdversarialTerm, as in "
                "configs/method_da.yaml."
            )
        if idist.get_world_size() > 1:
            raise ValueError(
                f"co-training with discriminators was started in {idist.get_world_size()} processes; expected one. "
                "Leave configs/multi_gpu_train.yaml out, or configs/method_da.yaml."
            )
        self.loss, self.optimizer = loss, optimizer
        self.means = TermMeans(modalities)

    def attach(self, engine: Engine) -> None:
        """Attach to MONAI's ``SupervisedTrainer``."""
        super().attach(engine)
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self._play)

    def metrics(self, engine: Engine) -> Mapping[str, float]:
        return self.means.result()

    def _play(self, engine: SupervisedTrainer) -> None:
        first, last = _place_in_step(engine)
        if first:
            self.optimizer.zero_grad(set_to_none=True)  # so that nothing moves where nothing is judged
        output = cast(dict, engine.state.output)[CommonKeys.PRED]
        terms = {f"{term.judge}_{kind}": torch.tensor(torch.nan) for term in self.players for kind in KINDS}
        if not self.loss.state.warming_up:
            terms.update(self._learn(output, engine.accumulation_steps))
        self.means.add(terms)
        if last:
            self.optimizer.step()

    def _learn(self, output: MultiModalOutput, accumulation_steps: int) -> dict[str, Tensor]:
        """Leave gradients in the discriminators, from both paths as they were; give what is logged."""
        players, pair = [term for term in self.players if term.judges], paired_paths(output)
        if pair is None or not players:
            return {}
        judgements = [term.tell_apart(pair) for term in players]
        share = len(pair.rows) / len(output.acquired)
        (share * torch.stack([each.loss for each in judgements]).sum() / accumulation_steps).backward()
        named = zip((term.judge for term in players), judgements, strict=True)
        return {
            f"{judge}_{kind}": value.detach().cpu()
            for judge, each in named
            for kind, value in zip(KINDS, each, strict=True)
        }


def _place_in_step(engine: SupervisedTrainer) -> tuple[bool, bool]:
    """Tell whether an iteration is the first and the last of those that a step of the optimizers is made of."""
    length = epoch_length(engine)
    number = (engine.state.iteration - 1) % length
    last = (number + 1) % engine.accumulation_steps == 0 or number + 1 == length
    return number % engine.accumulation_steps == 0, last
