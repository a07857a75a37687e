# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Knowledge distillation: a student that sees a part of the modalities follows a frozen teacher that sees them all."""

from __future__ import annotations

from torch import Tensor

from ..networks.outputs import FUSED, TEACHER, MultiModalOutput
from .term import Term, given


class TeacherTerm(Term):
    """A term that compares the fused path with a teacher, in the samples of which that has seen every modality.

    The teacher gets no gradient.

    Reference:
        In form KD-Net, Hu et al., MICCAI 2020. Ours: the default weights, and whom the teacher teaches.
    """

    paths = (FUSED, TEACHER)

    def applies(self, output: MultiModalOutput) -> Tensor:
        return given(output.teacher).available.all(dim=1)


class SoftDistillationTerm(TeacherTerm):
    """Divergence of softened class probabilities, of student s from teacher t, with temperature T: ``(B,)``, nats.

    ``T^2 mean_voxels sum_classes KL( softmax(z_t / T) || softmax(z_s / T) )``, z the fused logits.

    Args:
        weight: of the term, dimensionless.
        temperature: T, dimensionless; larger is softer.
    """

    def __init__(self, weight: float = 0.5, temperature: float = 4.0) -> None:
        super().__init__(weight)
        self.temperature = temperature

    def forward(self, output: MultiModalOutput, label: Tensor) -> Tensor:
        pair = (given(output.fused), given(output.teacher).logits.detach())
        s, t = ((logits.float() / self.temperature).log_softmax(dim=1) for logits in pair)
        divergence = (t.exp() * (t - s)).sum(dim=1)  # (B, *S)
        return self.temperature**2 * divergence.flatten(1).mean(dim=1)


class LatentDistillationTerm(TeacherTerm):
    """``mean_{channels, voxels} (h_s - h_t)^2``, h the bottleneck: ``(B,)``; ``None`` from a network without one."""

    def __init__(self, weight: float = 0.1) -> None:
        super().__init__(weight)

    def forward(self, output: MultiModalOutput, label: Tensor) -> Tensor | None:
        own, led = output.bottleneck, given(output.teacher).bottleneck
        if own is None or led is None:
            return None
        difference = own.float() - led.detach().float()
        return difference.square().flatten(1).mean(dim=1)
