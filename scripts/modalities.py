# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Which modalities an image has, and how subsets of them are enumerated, named and parsed.

A mask of modalities has one of two names everywhere: ``acquired``, what the image has, and ``available``, what of it a
network, or one of its paths, may see. What may be asked for before a case is known is a ``subset``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

import torch
from torch import Tensor

ALL = "all"  # in place of a subset's name: everything there is


def acquired_modalities(x: Tensor) -> Tensor:
    """Tell which channels are acquired: ``(B, M, *S)`` to ``(B, M)`` bool, ``False`` if any voxel is NaN.

    The one rule of absence in memory. Any, not all: sliding windows, padding and rotations write zeros into an absent
    channel. Scriptable.
    """
    return ~torch.isnan(x).flatten(2).any(dim=2)


def acquired_in(image: Tensor) -> Tensor:
    """Tell which modalities the image of one case ``(M, *S)`` has, see ``acquired_modalities``: plain ``(M,)`` bool."""
    return acquired_modalities(torch.as_tensor(image).as_subclass(Tensor)[None])[0]


def modality_subsets(num_modalities: int) -> Tensor:
    """Enumerate every non-empty subset of the modalities, smallest subsets first.

    Returns:
        ``(2**M - 1, M)`` bool, ``True`` where the subset has the modality.

    Raises:
        ValueError: if there is no modality.
    """
    if num_modalities < 1:
        raise ValueError(f"`num_modalities` is {num_modalities}; at least one modality is needed.")
    order = range(num_modalities)
    rows = [[m in kept for m in order] for size in range(1, num_modalities + 1) for kept in combinations(order, size)]
    return torch.tensor(rows)


def subset_name(available: Iterable[bool], modalities: Sequence[str]) -> str:
    """Join the names of the available modalities, e.g. ``"flair+t2"``; ``"none"`` for an empty subset.

    Args:
        available: ``(M,)`` flags, ``True`` where the modality is available.
        modalities: ``(M,)`` names, in channel order.
    """
    kept = [name for name, there in zip(modalities, available, strict=True) if there]
    return "+".join(kept) or "none"


def parse_subset(name: str, modalities: Sequence[str]) -> Tensor:
    """Read a subset's name (modalities in any order, joined by ``+``, or ``all``) into ``(M,)`` bool.

    Raises:
        ValueError: if the name is empty or has a modality that is not configured.
    """
    names = list(modalities) if name.strip() == ALL else [part.strip() for part in name.split("+") if part.strip()]
    unknown = [part for part in names if part not in modalities]
    if unknown or not names:
        raise ValueError(
            f"subset `{name}` names {unknown or 'no modality'}; expected one or more of {list(modalities)} joined "
            "by '+'. See `modalities` in the configuration."
        )
    return torch.tensor([m in names for m in modalities])


def evaluable_subsets(acquired: Tensor, subsets: Tensor | None = None) -> Tensor:
    """Keep the subsets that a case can be shown with.

    Args:
        acquired: ``(M,)`` bool, what the case has.
        subsets: ``(K, M)`` bool to choose from; all non-empty ones by default.

    Returns:
        ``(k, M)`` bool, in the given order.

    Raises:
        ValueError: if none is left.
    """
    candidates = modality_subsets(len(acquired)) if subsets is None else subsets
    kept = candidates[~(candidates & ~acquired).any(dim=1)]
    if len(kept) == 0:
        raise ValueError(
            f"the case has modalities {acquired.int().tolist()}, and none of the {len(candidates)} asked-for subsets "
            "is contained in them. See `subsets` in the configuration."
        )
    return kept


def unique_rows(subsets: Tensor) -> Tensor:
    """Drop the subsets ``(K, M)`` that stand there a second time, keeping the order."""
    return torch.tensor(list(dict.fromkeys(tuple(row) for row in subsets.tolist())))
