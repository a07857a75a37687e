# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Relative preference: how much closer a modality is to the fused prediction than the others are.

Pure functions, and what joins them over the epochs of a training. Source: Shi et al., PASSION, ACM MM 2024,
relative-preference regularization, task-wise and gradient-wise. What is not a number in its release is no preference
here: a sample with a single modality, a modality that was never seen, distances that are all zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .state import ObjectiveState

STEP_GROWTH = 1.5  # of the step size, every STEP_EPOCHS epochs
STEP_EPOCHS = 100
BOUNDS = (0.1, 4.0)  # of a coefficient, before they are rescaled


def relative_preference(distance: Tensor) -> Tensor:
    """Compare distances with their mean: positive for a modality closer to the teacher than the average.

    Args:
        distance: ``(..., M)``, NaN for a modality that is not there.

    Returns:
        ``(mean - distance) / mean``; 0 where there is no distance, and everywhere if the mean is 0.
    """
    mean = distance.nanmean(dim=-1, keepdim=True)
    preference = (mean - distance) / mean
    return torch.where(preference.isfinite(), preference, 0)


def lagging(distance: Tensor, acquired: Tensor) -> Tensor:
    """Tell which modalities are further from the teacher than the average of their sample: the task-wise gate.

    Each sample decides for itself; in the release one sum over the batch decides for all.

    Args:
        distance: ``(B, M)``.
        acquired: ``(B, M)`` bool.

    Returns:
        ``(B, M)`` bool; never a modality that is not acquired, or the only one of its sample.
    """
    return relative_preference(torch.where(acquired, distance, torch.nan)) < 0


def step_size(epoch: int, start_epoch: int = 0, initial: float = 0.01) -> float:
    """Give the step of the coefficients behind an epoch, counted from 0: grows by half at every hundredth epoch.

    Epochs before ``start_epoch`` do not count, the hundreds do: 0.015 for epochs 0 to 99 if started at 0.
    """
    first = -(-start_epoch // STEP_EPOCHS)
    return initial * STEP_GROWTH ** max(0, epoch // STEP_EPOCHS - first + 1)


def rebalance(coefficient: Tensor, preference: Tensor, step: float) -> Tensor:
    """Give less to preferred modalities and more to the others: the gradient-wise coefficients of the next epoch.

    Args:
        coefficient: ``(M,)``.
        preference: ``(M,)``, see ``relative_preference``.
        step: see ``step_size``.

    Returns:
        ``(M,)`` with norm sqrt(M), that of all ones (the release has 2, the same for its four modalities).
    """
    moved = (coefficient - step * preference).clamp(*BOUNDS)
    return moved * (len(moved) ** 0.5 / moved.norm())


def inverse_frequency(num_cases: float | Tensor, counts: Tensor) -> Tensor:
    """Weigh modalities by how rare they are: cases over the cases that have each, ``(M,)``; 0 for one that none has."""
    return torch.where(counts > 0, num_cases / counts, 0)


class PreferenceRows(NamedTuple):
    """What an epoch gave, ``(M,)`` each; the distance is NaN for a modality that was never compared."""

    distance: Tensor
    preference: Tensor
    coefficient: Tensor


class RelativePreference:
    """Average the distances of an epoch, and set the weights of the modalities in the state of an objective.

    ``begin`` an epoch, ``collect`` what each iteration gave, and ``end`` it. Then, with d_m the mean distance over the
    samples in which modality m was compared::

        preference_m  = (mean(d) - d_m) / mean(d)
        coefficient_m = rescale(clamp(coefficient_m - step preference_m, 0.1, 4))      norm sqrt(M)
        weight_m      = samples of the run / those that showed m

    In the first epoch the weights are ``listed``; they stay so where every case shows all it has (``idt``). Without
    distances the coefficients stay as they are.

    Args:
        state: of the objective; keeps coefficients, weights and counts.
        num_modalities: M.
        gradient_wise: let the coefficients follow the preference; ones otherwise.
        listed: ``(M,)`` weights of the modalities before anything was shown; ``None``: the modalities weigh alike.
        start_epoch: first epoch, from 0, behind which the coefficients move.
        initial_step: step size before its first growth, dimensionless.
        reduce: sums a tensor up over all processes.

    Reference:
        Shi et al., PASSION, ACM MM 2024, relative-preference regularization. Differs from the release: weights count
        samples, not batches, and what was shown, not what was there; a distance is averaged over the cases that show
        the modality, in every setting; a modality that an epoch never showed keeps its coefficient but for the
        rescaling.
    """

    sums: Tensor
    counts: Tensor
    shown: Tensor

    def __init__(
        self,
        state: ObjectiveState,
        num_modalities: int,
        gradient_wise: bool = False,
        listed: Tensor | None = None,
        start_epoch: int = 0,
        initial_step: float = 0.01,
        reduce: Callable[[Tensor], Tensor] = torch.clone,
    ) -> None:
        self.state, self.num_modalities = state, num_modalities
        self.gradient_wise, self.listed = gradient_wise, listed
        self.start_epoch, self.initial_step, self.reduce = start_epoch, initial_step, reduce
        self._clear()

    def begin(self) -> None:
        """Begin an epoch, also the first one of a resumed run."""
        self._clear()
        self.state.coefficient = self._coefficient()
        self.state.modality_weight = self._weight()

    def collect(self, acquired: Tensor, distance: Tensor | None) -> None:
        """Take in an iteration: what is acquired and, where there are students, their distances ``(B, M)`` with NaN."""
        acquired = acquired.cpu()
        self.shown = self.shown + torch.cat([torch.tensor([float(len(acquired))]), acquired.sum(dim=0)])
        if distance is not None:
            distance = distance.cpu()
            self.sums = self.sums + distance.nansum(dim=0)
            self.counts = self.counts + (~distance.isnan()).sum(dim=0)

    def end(self, epoch: int) -> PreferenceRows | None:
        """End an epoch, counted from 0; ``None`` if nothing was compared."""
        sums, counts, shown = (self.reduce(each) for each in (self.sums, self.counts, self.shown))
        self.state.shown = shown if self.state.shown is None else self.state.shown + shown
        if not counts.any():
            return None
        distance = sums / counts
        preference = relative_preference(distance)
        if self.gradient_wise and epoch >= self.start_epoch:
            step = step_size(epoch, self.start_epoch, self.initial_step)
            self.state.coefficient = rebalance(self._coefficient(), preference, step)
        return PreferenceRows(distance, preference, self._coefficient())

    def _clear(self) -> None:
        """Forget the epoch: sums and counts of distances ``(M,)``, samples shown ``(1 + M,)``."""
        self.sums = torch.zeros(self.num_modalities)
        self.counts = torch.zeros(self.num_modalities)
        self.shown = torch.zeros(1 + self.num_modalities)

    def _coefficient(self) -> Tensor:
        kept = self.state.coefficient
        return torch.ones(self.num_modalities) if kept is None else kept

    def _weight(self) -> Tensor | None:
        """Weigh the modalities by what was shown so far; one that never was, as listed."""
        if self.listed is None or self.state.shown is None:
            return self.listed
        samples, counts = self.state.shown[0], self.state.shown[1:]
        return torch.where(counts > 0, inverse_frequency(samples, counts), self.listed)
