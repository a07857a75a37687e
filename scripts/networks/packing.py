# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How stacks of modalities are packed into those that are available, and put back."""

from __future__ import annotations

import torch
from torch import Tensor

from .blocks import channels_last


def available_in_batch(available: Tensor) -> Tensor:
    """List the modalities that some sample of the batch has: ``(B, M)`` bool to ``(A,)`` positions.

    A batch that has nothing at all gets every position, so that layers always have an input (of zeros); and so does
    every batch of an exported network, which is one graph for all subsets.
    """
    if not torch.jit.is_scripting():
        if torch.compiler.is_exporting():
            return torch.arange(available.shape[1], device=available.device)
    index = available.any(dim=0).nonzero().squeeze(1)
    if index.numel() == 0:
        index = torch.arange(available.shape[1], device=available.device)
    return index


def all_available(available: Tensor) -> bool:
    """Tell whether nothing is missing; ``False`` in a network that is being exported, where that is not known."""
    if not torch.jit.is_scripting():
        if torch.compiler.is_exporting():
            return False
    return bool(available.all())


def pack(features: list[Tensor], available: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
    """Keep the modalities that some sample has, and zero them in the samples that do not.

    Returns:
        levels ``(B, A, F_l, *S_l)``, positions ``(B, A)`` of their modalities, and ``available`` of these: ``(B, A)``.
    """
    index = available_in_batch(available)
    available = available.index_select(1, index)  # (B, A)
    complete = all_available(available)
    packed: list[Tensor] = []
    for level in features:
        if index.shape[0] < level.shape[1]:
            by_voxel = level.movedim([1, 2], [-2, -1])  # (B, *S_l, M, F_l), the order in memory
            level = by_voxel.index_select(-2, index).movedim([-2, -1], [1, 2])
        if not complete:
            level = level * available.to(level.dtype).view(list(available.shape) + [1] * (level.dim() - 2))
        packed.append(level)
    return packed, index.expand(available.shape[0], -1), available


def mean_of_available(level: Tensor, available: Tensor) -> Tensor:
    """Average the modalities that each sample has; zeros for a sample that has none.

    Args:
        level: ``(B, A, F, *S)``, zero where not available.
        available: ``(B, A)`` bool.

    Returns:
        ``(B, F, *S)``.
    """
    count = available.sum(dim=1).clamp(min=1).to(level.dtype)  # (B,)
    return level.sum(dim=1) / count.view([-1] + [1] * (level.dim() - 2))


def in_one_batch(features: list[Tensor], rows: Tensor) -> list[Tensor]:
    """Take modalities out of their stacks: ``(B, M, F_l, *S_l)`` to ``(n, F_l, *S_l)`` for n rows of the B * M."""
    folded = [channels_last(level.flatten(0, 1)) for level in features]
    if rows.numel() < folded[0].shape[0]:
        folded = [level.index_select(0, rows) for level in folded]
    return folded


def place_rows(values: Tensor, rows: Tensor, length: int) -> Tensor:
    """Put ``values`` at ``rows``, in rising order, of a tensor of zeros with ``length`` rows."""
    if rows.numel() == length:
        return values
    shape: list[int] = [length] + list(values.shape[1:])
    return torch.zeros(shape, dtype=values.dtype, device=values.device).index_copy(0, rows, values)


def stack_alone(level: Tensor, available: Tensor) -> Tensor:
    """Put ``(n, F, *S)`` in its place among M modalities, zeros in the others: ``(n, M, F, *S)``.

    Args:
        level: features of one modality for each of n rows.
        available: ``(n, M)`` bool, one ``True`` in each row.
    """
    places = available.view([len(available)] + [1] * (level.dim() - 2) + [available.shape[1], 1])
    by_voxel = level.movedim(1, -1).unsqueeze(-2) * places  # (n, *S, M, F), the order in memory
    return by_voxel.movedim([-2, -1], [1, 2])
