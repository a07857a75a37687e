# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What two discriminators and a network play for."""

from __future__ import annotations

from typing import NamedTuple

import torch
from monai.losses import PatchAdversarialLoss
from torch import Tensor

from ..networks.discriminators import PathDiscriminators
from ..networks.outputs import MultiModalOutput, PathOutput
from .co_training import PairedPaths, PathTerm


class Judgement(NamedTuple):
    """What a discriminator pays for the paths it mistakes, a scalar; and the share of patches it tells rightly."""

    loss: Tensor
    accuracy: Tensor


class AdversarialTerm(PathTerm):
    """How far the missing path is from being taken for the full one by a discriminator: ``(B,)``.

    With D what the discriminator says of every patch and E the mean over the patches::

        adversarial   = E[ criterion(D(missing), full) ]                                          of the network
        discriminator = 1/2 (E[ criterion(D(full), full) ] + E[ criterion(D(missing), missing) ])    ``tell_apart``

    No gradient gets into the weights of the discriminator here, and none into the network in ``tell_apart``, which
    ``DiscriminatorHandler`` calls. ``None`` of a network without what the discriminator looks at.

    Args:
        discriminators: of the network's paths.
        judge: name of one of them: ``"entropy"``, of self-information maps, or ``"knowledge"``, of the bottleneck.
        weight: of the term, dimensionless; 0 leaves it out and the discriminator untrained.
        criterion: ``"bce"``, ``"least_squares"`` or ``"hinge"``, see MONAI's ``PatchAdversarialLoss``.

    Reference:
        Weights: Wang et al., ACN, MICCAI 2021, training script. The criterion is ours.
    """

    def __init__(
        self, discriminators: PathDiscriminators, judge: str, weight: float = 0.001, criterion: str = "bce"
    ) -> None:
        super().__init__(weight)
        self.judge = judge
        self.criterion = PatchAdversarialLoss(criterion=criterion)
        self._discriminators = (discriminators,)  # in a tuple, so that their weights are not among the objective's

    @property
    def discriminators(self) -> PathDiscriminators:
        """The discriminators, which an optimizer of their own moves."""
        return self._discriminators[0]

    @property
    def judges(self) -> bool:
        """Whether there is something for the discriminator to look at, and it weighs anything."""
        return self.judge in self.discriminators.judges and self.weight != 0

    def forward(self, output: MultiModalOutput, label: Tensor) -> Tensor | None:
        return super().forward(output, label) if self.judges else None

    def of_pairs(self, pair: PairedPaths, label: Tensor) -> Tensor:
        self.discriminators.requires_grad_(False)
        judged = self.discriminators.judge(self.judge, pair.missing)  # (n, 1, *S')
        self.discriminators.requires_grad_(True)
        each = [self.criterion(one, target_is_real=True, for_discriminator=False) for one in judged.split(1)]
        return torch.stack(each)

    def tell_apart(self, pair: PairedPaths) -> Judgement:
        """Let the discriminator judge both paths as they are; gradient gets into its weights alone."""
        full, missing = (self.discriminators.judge(self.judge, _detached(path)) for path in (pair.full, pair.missing))
        on_full = self.criterion(full, target_is_real=True, for_discriminator=True)
        on_missing = self.criterion(missing, target_is_real=False, for_discriminator=True)
        return Judgement((on_full + on_missing) / 2, self._accuracy(full, missing))

    @torch.no_grad()
    def _accuracy(self, full: Tensor, missing: Tensor) -> Tensor:
        between = (self.criterion.real_label + self.criterion.fake_label) / 2
        on_full, on_missing = (self.criterion.activation(each) > between for each in (full, missing))
        return (on_full.float().mean() + (~on_missing).float().mean()) / 2


def _detached(path: PathOutput) -> PathOutput:
    bottleneck = None if path.bottleneck is None else path.bottleneck.detach()
    return path._replace(logits=path.logits.detach(), bottleneck=bottleneck)
