# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Asks a network in training for a second path, from fewer modalities."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..modalities import modality_subsets
from ..networks.base import acquired_modalities
from .autocast import AutocastInferer


def draw_strict_subset(shown: Tensor) -> Tensor:
    """Draw one of the ``2**k - 2`` non-empty strict subsets of k modalities, each as likely as the others.

    Args:
        shown: ``(M,)`` bool, on the CPU.

    Returns:
        ``(M,)`` bool; nothing if k < 2. Draws from torch's generator of the CPU.
    """
    subset = torch.zeros_like(shown)
    positions = shown.nonzero().squeeze(1)  # (k,)
    if len(positions) > 1:
        strict = modality_subsets(len(positions))[:-1]  # the last one has all
        subset[positions] = strict[torch.randint(len(strict), ())]
    return subset


class CoTrainingInferer(AutocastInferer):
    """Run the network once, and fuse a random non-empty strict subset of what each sample shows as well.

    The result's ``narrowed`` is what the network says from that subset; a sample that shows a single modality has
    none, and a batch of such samples has no ``narrowed`` at all. In evaluation mode nothing is added.

    Takes the arguments of ``AutocastInferer``.
    """

    def __call__(self, inputs: Tensor, network: nn.Module, *args, **kwargs):
        if network.training:
            shown = acquired_modalities(inputs).cpu()
            if kwargs.get("available") is not None:
                shown = shown & kwargs["available"].cpu()
            narrowed = torch.stack([draw_strict_subset(each) for each in shown])  # (B, M)
            if narrowed.any():
                kwargs["narrowed"] = narrowed
        return super().__call__(inputs, network, *args, **kwargs)
