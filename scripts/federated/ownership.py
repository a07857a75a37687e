# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Finds out which weights of a network only one modality trains."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..losses.anchor_alignment import AnchorAlignmentTerm
from ..losses.objective import Objective
from ..losses.task import DeepSupervisionTerm, FusedTerm, UnimodalTerm
from ..networks.base import IncompleteMultiModalNetwork

SHARED = -1  # in the place of a modality's position: trained by all
NEGLIGIBLE = 1e-12  # share of the largest gradient, in float64: rounding noise of weights without any effect
SMALLEST_IMAGE = 16  # voxels along each axis, or what the network needs


def find_owners(network: IncompleteMultiModalNetwork, spatial_dims: int) -> dict[str, NDArray[np.int8]]:
    """Say for every number of a network's state which modality alone trains it.

    Found by trial, so it holds for any network of the contract: on a random image without one modality after the other,
    a number is owned by modality m if its gradient is zero (or there is none) when m is absent, and only then. That
    covers whole tensors (encoders), rows and columns (convolutions that mix the modalities, tables of positions)
    and single numbers (weights of an anchor). What lies in the encoder of m is m's in any case: mmFormer also reads the
    positions learnt there, in the place of absent tokens.

    Args:
        network: not changed; a copy on the CPU is tried.
        spatial_dims: of its images.

    Returns:
        for each name of the state dict the position of the owner, or ``SHARED``: one number ``()`` where it is the same
        for the whole tensor, else an array of the tensor's shape.
    """
    owners = {name: np.full(value.shape, SHARED, dtype=np.int8) for name, value in network.state_dict().items()}
    if network.num_modalities > 1:
        gradients = _gradients(network, spatial_dims)
        threshold = NEGLIGIBLE * max(rows.max() for rows in gradients.values())
        for name, rows in gradients.items():
            for m in range(network.num_modalities):
                owners[name][(rows[m] == 0) & (np.delete(rows, m, axis=0) > threshold).all(axis=0)] = m
    for m, encoder in enumerate(getattr(network, "encoders", ())):
        for name in encoder.state_dict():
            owners[f"encoders.{m}.{name}"][...] = m
    return {name: _compact(owner) for name, owner in owners.items()}


def _gradients(network: IncompleteMultiModalNetwork, spatial_dims: int) -> dict[str, NDArray[np.float64]]:
    """Give by name ``(M, *shape)`` the size of the gradient without each modality."""
    trial, generator = _without_chance(network), torch.Generator().manual_seed(0)
    size = [max(network.smallest_size, SMALLEST_IMAGE)] * spatial_dims
    image = torch.randn([1, network.num_modalities, *size], generator=generator, dtype=torch.float64)
    label = torch.randint(network.num_classes, [1, 1, *size], generator=generator)
    rows: dict[str, list[NDArray]] = {name: [] for name, _ in trial.named_parameters()}
    terms = {"fused": FusedTerm(), "heads": DeepSupervisionTerm(), "unimodal": UnimodalTerm()}
    objective = Objective({**terms, "alignment": AnchorAlignmentTerm()})
    for m in range(network.num_modalities):
        given = image.clone()
        given[:, m] = float("nan")
        trial.zero_grad(set_to_none=True)
        objective(trial(given, paths=objective.paths), label).backward()
        for name, value in trial.named_parameters():
            rows[name].append(np.abs(np.zeros(value.shape) if value.grad is None else value.grad.numpy()))
    return {name: np.stack(gradients) for name, gradients in rows.items()}


def _without_chance(network: nn.Module) -> nn.Module:
    """Copy a network in training mode, in float64, without what zeroes a gradient by chance: dropout and ReLU."""
    trial = deepcopy(network).cpu().double().train()
    for parent in list(trial.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Dropout):
                setattr(parent, name, nn.Identity())
            elif isinstance(child, nn.ReLU):
                setattr(parent, name, nn.LeakyReLU(0.1))
    return trial


def _compact(owner: NDArray[np.int8]) -> NDArray[np.int8]:
    """Put one number in the place of an array that is the same throughout."""
    first = owner.flat[0] if owner.size else np.int8(SHARED)
    return np.array(first) if (owner == first).all() else owner
