# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Trains a network and the discriminators it plays against, in turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ignite.distributed as idist
import torch
from monai.engines import AdversarialTrainer
from monai.engines.utils import IterationEvents
from monai.inferers import Inferer
from monai.utils import AdversarialIterationEvents, AdversarialKeys
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor
from torch.optim import Optimizer

from ..losses.adversarial import AdversarialLoss
from ..losses.co_training import CoTrainingLoss, PairedPaths, paired_paths
from ..networks.base import IncompleteMultiModalNetwork
from ..networks.discriminators import PathDiscriminators
from ..networks.outputs import PathOutput


class CoTrainer(AdversarialTrainer):
    """MONAI's adversarial trainer, for one network with a full and a missing path and two discriminators of them.

    Each iteration first moves the network, by its objective plus the adversarial terms of the missing path, then the
    discriminators, on what both paths said before. Neither step leaves a gradient in the other's weights. A batch
    without any missing path, or of a warm-up, gives no adversarial terms and leaves the discriminators as they are.
    Samples without a missing path count in the means over a batch, with zero.

    Takes the names of ``SupervisedTrainer`` for what both have, and has its ``network``, ``optimizer``,
    ``loss_function`` and ``accumulation_steps``. The adversarial terms join those of the objective, for logging, and
    count in its ``total``. The engine's own state holds no weights: checkpoints list networks and optimizers by name.

    Args:
        network: to be trained.
        optimizer: of the network.
        loss_function: the objective without adversarial terms.
        discriminators: of the network's paths.
        discriminator_optimizer: of the discriminators.
        adversarial_loss: terms of both players, with their weights.
        inferer: runs the network; expected to ask it for the missing path.
        accumulation_steps: iterations for each step of the optimizers, as in ``SupervisedTrainer``.
        kwargs: further arguments of ``AdversarialTrainer``, such as ``device``, ``max_epochs``, ``train_data_loader``;
            ``prepare_batch`` is to return image, label, arguments and named arguments of the network.

    Raises:
        ValueError: if ``amp`` is set, ``accumulation_steps`` is below 1, or there are several processes, which would
            each train discriminators of their own.
    """

    def __init__(
        self,
        network: IncompleteMultiModalNetwork,
        optimizer: Optimizer,
        loss_function: CoTrainingLoss,
        discriminators: PathDiscriminators,
        discriminator_optimizer: Optimizer,
        adversarial_loss: AdversarialLoss,
        inferer: Inferer | None = None,
        accumulation_steps: int = 1,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("amp"):
            raise ValueError("`amp` is set; expected false. Use `precision: bfloat16` for the network instead.")
        if accumulation_steps < 1:
            raise ValueError(f"`accumulation_steps` is {accumulation_steps}; expected 1 or more.")
        if idist.get_world_size() > 1:
            raise ValueError(
                f"co-training with discriminators was started in {idist.get_world_size()} processes; expected one. "
                "Leave configs/multi_gpu_train.yaml out, or configs/method_da.yaml."
            )
        super().__init__(
            g_network=network,
            g_optimizer=optimizer,
            g_loss_function=adversarial_loss.deceive,
            recon_loss_function=loss_function,
            d_network=discriminators,
            d_optimizer=discriminator_optimizer,
            d_loss_function=adversarial_loss.tell_apart,
            g_inferer=inferer,
            **kwargs,
        )
        self.network, self.optimizer, self.loss_function = network, optimizer, loss_function
        self.discriminators, self.discriminator_optimizer = discriminators, discriminator_optimizer
        self.adversarial_loss, self.accumulation_steps = adversarial_loss, accumulation_steps

    def _complete_state_dict_user_keys(self) -> None:
        """Add nothing to the engine's state: MONAI puts whole objects there, which only unpickling could read."""

    def _iteration(self, engine: AdversarialTrainer, batchdata: Mapping[str, Any]) -> dict[str, Any]:
        image, label, args, kwargs = self.prepare_batch(
            batchdata, self.state.device, self.non_blocking, **self.to_kwargs
        )
        self.state.output = {Keys.IMAGE: image, Keys.LABEL: label}
        self.adversarial_loss.clear(self.state.device)
        first, last = self._place_in_step()
        self.network.train()
        if first:
            self.optimizer.zero_grad(set_to_none=self.optim_set_to_none)
            self.discriminator_optimizer.zero_grad(set_to_none=True)  # so that nothing moves where nothing is judged
        self.state.output[Keys.PRED] = self.g_inferer(image, self.network, *args, **kwargs)
        self.fire_event(AdversarialIterationEvents.GENERATOR_FORWARD_COMPLETED)
        pair = None if self.loss_function.warming_up else paired_paths(self.state.output[Keys.PRED])
        self._learn(pair, label)
        if last:
            self.optimizer.step()
        self.fire_event(AdversarialIterationEvents.GENERATOR_MODEL_COMPLETED)
        if pair is not None:
            self._discriminate(pair, label)
        if last:
            self.discriminator_optimizer.step()
        self.fire_event(AdversarialIterationEvents.DISCRIMINATOR_MODEL_COMPLETED)
        self.loss_function.terms.update(self.adversarial_loss.terms, total=self.state.output[Keys.LOSS].detach())
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return self.state.output

    def _place_in_step(self) -> tuple[bool, bool]:
        """Tell whether an iteration is the first and the last of those that a step of the optimizers is made of."""
        number = self.state.iteration - 1
        if self.state.epoch_length is not None:
            number %= self.state.epoch_length
        last = (number + 1) % self.accumulation_steps == 0 or number + 1 == self.state.epoch_length
        return number % self.accumulation_steps == 0, last

    def _learn(self, pair: PairedPaths | None, label: Tensor) -> None:
        """Leave gradients of the objective and the adversarial terms in the network."""
        output = self.state.output
        output[AdversarialKeys.RECONSTRUCTION_LOSS] = self.loss_function(output[Keys.PRED], label)
        self.fire_event(AdversarialIterationEvents.RECONSTRUCTION_LOSS_COMPLETED)
        output[AdversarialKeys.GENERATOR_LOSS] = torch.zeros((), device=label.device)
        if pair is not None:
            self.discriminators.requires_grad_(False)
            judged = self.discriminators(pair.missing)
            self.discriminators.requires_grad_(True)
            share = len(pair.rows) / len(label)
            output[AdversarialKeys.GENERATOR_LOSS] = share * self.adversarial_loss.deceive(judged)
        self.fire_event(AdversarialIterationEvents.GENERATOR_LOSS_COMPLETED)
        output[Keys.LOSS] = output[AdversarialKeys.RECONSTRUCTION_LOSS] + output[AdversarialKeys.GENERATOR_LOSS]
        (output[Keys.LOSS] / self.accumulation_steps).backward()
        self.fire_event(AdversarialIterationEvents.GENERATOR_BACKWARD_COMPLETED)

    def _discriminate(self, pair: PairedPaths, label: Tensor) -> None:
        """Leave gradients in the discriminators, from both paths as they were."""
        self.discriminators.train()
        full, missing = (self.discriminators(_detached(path)) for path in (pair.full, pair.missing))
        loss = len(pair.rows) / len(label) * self.adversarial_loss.tell_apart(full, missing)
        self.state.output[AdversarialKeys.DISCRIMINATOR_LOSS] = loss.detach()
        self.fire_event(AdversarialIterationEvents.DISCRIMINATOR_LOSS_COMPLETED)
        if loss.requires_grad:  # not if every discriminator weighs nothing
            (loss / self.accumulation_steps).backward()
        self.fire_event(AdversarialIterationEvents.DISCRIMINATOR_BACKWARD_COMPLETED)


def _detached(path: PathOutput) -> PathOutput:
    bottleneck = None if path.bottleneck is None else path.bottleneck.detach()
    return path._replace(logits=path.logits.detach(), bottleneck=bottleneck)
