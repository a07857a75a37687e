# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What two discriminators and a network play for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.losses import PatchAdversarialLoss
from torch import Tensor, nn


class AdversarialLoss(nn.Module):
    """Adversarial terms of a network, and the losses of the discriminators it plays against, one for each name.

    With D what a discriminator says of every patch and E the mean over patches and samples::

        adversarial   = sum_names weight * E[ criterion(D(missing), full) ]
        discriminator = sum_names 1/2 (E[ criterion(D(full), full) ] + E[ criterion(D(missing), missing) ])

    The last values are kept, detached and unweighted, in ``terms``: ``<name>_adversarial``, ``<name>_discriminator``,
    and ``<name>_discriminator_accuracy``, the share of patches that the discriminator tells rightly (1/2: it cannot).

    Args:
        entropy: weight of the discriminator of self-information maps; 0 leaves it out, untrained.
        knowledge: weight of the discriminator of bottleneck features; 0 leaves it out, untrained.
        criterion: ``"bce"``, ``"least_squares"`` or ``"hinge"``, see MONAI's ``PatchAdversarialLoss``.

    Shape:
        - full, missing: name to ``(n, 1, *S')`` what ``PathDiscriminators`` say, before any activation
        - the methods return a scalar

    Reference:
        Weights: Wang et al., ACN, MICCAI 2021, training script. The criterion is ours.
    """

    def __init__(self, entropy: float = 0.001, knowledge: float = 0.0002, criterion: str = "bce") -> None:
        super().__init__()
        self.weights = {"entropy": entropy, "knowledge": knowledge}
        self.criterion = PatchAdversarialLoss(criterion=criterion)
        self.terms: dict[str, Tensor] = {}

    def deceive(self, missing: Mapping[str, Tensor]) -> Tensor:
        """Say how far the missing path is from being taken for the full one, weighted; for the network."""
        total = torch.zeros((), device=_device(missing))
        for name in self._counted(missing):
            value = self.criterion(missing[name], target_is_real=True, for_discriminator=False)
            self.terms[f"{name}_adversarial"] = value.detach()
            total = total + self.weights[name] * value
        return total

    def tell_apart(self, full: Mapping[str, Tensor], missing: Mapping[str, Tensor]) -> Tensor:
        """Say how badly the discriminators tell the paths apart, each with weight one; for the discriminators."""
        total = torch.zeros((), device=_device(full))
        for name in self._counted(full):
            on_full = self.criterion(full[name], target_is_real=True, for_discriminator=True)
            on_missing = self.criterion(missing[name], target_is_real=False, for_discriminator=True)
            value = (on_full + on_missing) / 2
            self.terms[f"{name}_discriminator"] = value.detach()
            self.terms[f"{name}_discriminator_accuracy"] = self._accuracy(full[name], missing[name])
            total = total + value
        return total

    def clear(self, device: torch.device | str) -> None:
        """Set every term to NaN, which stands where no sample has two paths."""
        kinds = ("adversarial", "discriminator", "discriminator_accuracy")
        names = [f"{name}_{kind}" for name in self._counted(self.weights) for kind in kinds]
        self.terms = {name: torch.tensor(torch.nan, device=device) for name in names}

    def _counted(self, judged: Mapping[str, Any]) -> list[str]:
        return [name for name in judged if self.weights[name] != 0]

    @torch.no_grad()
    def _accuracy(self, full: Tensor, missing: Tensor) -> Tensor:
        between = (self.criterion.real_label + self.criterion.fake_label) / 2
        on_full, on_missing = (self.criterion.activation(each) > between for each in (full, missing))
        return (on_full.float().mean() + (~on_missing).float().mean()) / 2


def _device(judged: Mapping[str, Tensor]) -> torch.device:
    return next(iter(judged.values())).device
