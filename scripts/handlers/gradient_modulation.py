# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""On-the-fly gradient modulation: the encoder of a modality that is ahead learns more slowly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys
from torch import Tensor, nn

from ..losses.objective import Objective
from ..networks.outputs import UNIMODAL, MultiModalOutput
from ..utils.flags import as_flag
from .epoch_publisher import EpochPublisher, over_processes

EPSILON = 1e-7  # of a sum of scores
LARGE = 2**31  # period of seeds


class GradientModulationHandler(EpochPublisher):
    """Scale the gradients of each modality's encoder by how far the modality is ahead, before the optimiser steps.

    With s_bm the score of modality m in sample b, the mean over the classes that the sample has of the mean probability
    that the uni-modal head gives the true class, over the samples B_m that have m and another modality::

        rho_m = sum_{b in B_m} s_bm / sum_{b in B_m} mean_{others of b} s_b,other
        k_m   = 1 - tanh(strength rho_m)    if rho_m > 1, else 1

    and every gradient of the encoder becomes ``k_m gradient``, plus Gaussian noise of the gradient's own standard
    deviation (of each parameter, before it is scaled) with ``noise``. ``rho_m`` and ``k_m``, averaged over the epoch,
    are published as ``discrepancy/<modality>`` and ``modulation/<modality>``.

    Args:
        loss: the objective. While its state is warming up, nothing is modulated.
        network: which has an encoder for each modality, maybe wrapped.
        modalities: names in channel order.
        strength: of the modulation, from 0 (none), dimensionless.
        noise: whether to add noise. Also a word.
        epochs: in which gradients are modulated, from the first; all of them if not given.
        seed: of the noise. With the number of the iteration it decides the noise, in every process alike.
        accumulation_steps: of the trainer, which has to be 1: the gradients of several batches cannot be told apart.

    Raises:
        ValueError: if the network has no encoder for each modality, the strength is below 0, gradients are accumulated,
            or no term of the objective reads the uni-modal heads.

    Reference:
        Peng et al., Balanced Multimodal Learning via On-the-fly Gradient Modulation (OGM-GE), CVPR 2022: ratio for two
        modalities, coefficient, noise. Ours, since the paper classifies and fuses by a sum of logits: scores from the
        uni-modal heads and by class, the mean of the others in the place of the other modality, samples that have
        several modalities alone.
    """

    def __init__(
        self,
        loss: Objective,
        network: nn.Module,
        modalities: Sequence[str],
        strength: float = 0.3,
        noise: bool | str = True,
        epochs: float | None = None,
        seed: int = 0,
        accumulation_steps: int = 1,
    ) -> None:
        encoders = getattr(getattr(network, "module", network), "encoders", None)
        if encoders is None or len(encoders) != len(modalities):
            raise ValueError(
                f"{type(network).__name__} has no encoder for each of {list(modalities)}, whose gradients could be "
                "modulated; expected another network than an early fusion. See `network_def`."
            )
        if strength < 0:
            raise ValueError(f"`strength` is {strength}; expected at least 0. See configs/method_ogm_ge.yaml.")
        if accumulation_steps != 1:
            raise ValueError(
                f"`accumulation_steps` is {accumulation_steps}; expected 1, since gradients are modulated batch by "
                "batch. See configs/method_ogm_ge.yaml."
            )
        if UNIMODAL not in loss.paths:
            raise ValueError(
                f"gradients are modulated by the scores of the uni-modal heads, which no term of {list(loss.terms)} "
                "reads; expected `loss::terms::unimodal::weight` above 0."
            )
        self.loss, self.encoders, self.modalities = loss, encoders, list(modalities)
        self.strength, self.noise, self.epochs, self.seed = strength, as_flag(noise, "noise"), epochs, int(seed)
        self._sums = torch.zeros(2, len(self.modalities))
        self._batches = 0

    def attach(self, engine: Engine) -> None:
        super().attach(engine)
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self._modulate)

    def begin(self, engine: Engine) -> None:
        self._sums, self._batches = torch.zeros_like(self._sums), 0

    def metrics(self, engine: Engine) -> Mapping[str, float]:
        if not self._batches:
            return {}
        rows = zip(("discrepancy", "modulation"), (self._sums / self._batches).tolist(), strict=True)
        return {f"{row}/{name}": mean for row, means in rows for name, mean in zip(self.modalities, means, strict=True)}

    def _modulate(self, engine: Engine) -> None:
        over = self.epochs is not None and engine.state.epoch > self.epochs
        if over or self.loss.state.warming_up:
            return
        state: Any = engine.state
        ratio = discrepancy(state.output[CommonKeys.PRED], state.output[CommonKeys.LABEL])
        coefficients = torch.where(ratio > 1, 1 - torch.tanh(self.strength * ratio), 1)
        self._sums += torch.stack([ratio, coefficients])
        self._batches += 1
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + engine.state.iteration) % LARGE)
        for encoder, coefficient in zip(self.encoders, coefficients.tolist(), strict=True):
            for parameter in encoder.parameters():
                self._change(parameter, coefficient, generator)

    def _change(self, parameter: nn.Parameter, coefficient: float, generator: torch.Generator) -> None:
        gradient = parameter.grad
        if gradient is None:
            return
        deviation = gradient.std(correction=0)
        if coefficient != 1:
            gradient.mul_(coefficient)
        if self.noise:
            drawn = torch.randn(gradient.shape, generator=generator)
            gradient.add_(deviation * drawn.to(gradient))


@torch.no_grad()
def discrepancy(output: MultiModalOutput, label: Tensor) -> Tensor:
    """Give ``rho_m`` of a batch, over all processes: ``(M,)`` on the CPU, from 0; 1 for one compared with nothing.

    Args:
        output: of the network in training mode, with ``unimodal``.
        label: ``(B, 1, *S)`` integers in 0..C-1.
    """
    assert output.unimodal is not None, "a term reads it, see GradientModulationHandler"
    score = class_scores(output.unimodal, label)  # (B, M)
    there = output.acquired.to(score)
    others = there.sum(dim=1, keepdim=True) - there
    compared = there * (others > 0)
    mean = ((score * there).sum(dim=1, keepdim=True) - score * there) / others.clamp(min=1)
    sums = over_processes(torch.stack([(score * compared).sum(dim=0), (mean * compared).sum(dim=0)])).cpu()
    return torch.where(sums[1] > EPSILON, sums[0] / sums[1].clamp(min=EPSILON), 1)


def class_scores(probabilities: Tensor, label: Tensor) -> Tensor:
    """Average the probability of the true class, over the voxels of a class, then over the classes of a sample.

    Args:
        probabilities: ``(B, M, C, *S)``.
        label: ``(B, 1, *S)`` integers in 0..C-1.

    Returns:
        ``(B, M)``, 0 to 1.
    """
    p, y = probabilities.flatten(3), label.flatten(2).long()  # (B, M, C, V), (B, 1, V)
    of_truth = p.gather(2, y[:, :, None].expand(-1, p.shape[1], -1, -1)).squeeze(2)  # (B, M, V)
    sums = torch.zeros_like(p[..., 0]).scatter_add(2, y.expand_as(of_truth), of_truth)  # (B, M, C)
    voxels = torch.zeros_like(p[:, :1, :, 0]).scatter_add(2, y, torch.ones_like(y, dtype=p.dtype))  # (B, 1, C)
    return (sums / voxels.clamp(min=1)).sum(dim=2) / (voxels > 0).sum(dim=2)
