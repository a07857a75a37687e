# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Relative preference: how much closer a modality is to the fused prediction than the others are.

Pure functions. Source: Shi et al., PASSION, ACM MM 2024, relative-preference regularization, task-wise and
gradient-wise. What is not a number in its release is no preference here: a sample with a single modality, a modality
that was never seen, distances that are all zero.
"""

from __future__ import annotations

import torch
from torch import Tensor

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


def lagging(distance: Tensor, seen: Tensor) -> Tensor:
    """Tell which modalities are further from the teacher than the average of their sample: the task-wise gate.

    Each sample decides for itself; in the release one sum over the batch decides for all.

    Args:
        distance: ``(B, M)``.
        seen: ``(B, M)`` bool, modalities that take part.

    Returns:
        ``(B, M)`` bool; never a modality that is not seen, or the only one of its sample.
    """
    return relative_preference(torch.where(seen, distance, torch.nan)) < 0


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
