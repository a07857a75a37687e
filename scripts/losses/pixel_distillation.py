# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Pixel-wise self-distillation: what the network says from one modality follows what it says from all."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from ..networks.convolution import upsample
from ..networks.outputs import MultiModalOutput
from .segmentation import MIN_PROBABILITY
from .state import COEFFICIENT, MODALITY_WEIGHT
from .students import StudentTerm, compare_students
from .term import given


class PixelDistillation(nn.Module):
    """Divergence of softened probability maps of M students from that of a teacher, unreduced.

    With temperature T, C classes and V voxels, s and t the softened and clamped probabilities::

        s = clamp(softmax(student / T), 0.005, 1)    t likewise
        divergence = T^2 / (C V) * sum_cv t (ln t - ln s)

    The mean is over classes as well as voxels, so it is 1/C of the usual divergence. The teacher gets no gradient.

    Args:
        temperature: T, dimensionless.

    Shape:
        - student: ``(B, M, C, *S_l)`` logits; teacher: ``(B, C, *S_l)`` logits
        - size: if given, probabilities (not logits) are upsampled to this spatial size first
        - output: ``(B, M)``, nats times T^2

    Reference:
        Shi et al., PASSION, ACM MM 2024, pixel-wise self-distillation. Equal to its release.
    """

    def __init__(self, temperature: float = 4.0) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, student: Tensor, teacher: Tensor, size: list[int] | None = None) -> Tensor:
        soft_teacher = self._soften(teacher.detach(), size)  # (B, C, *S)
        soft_student = self._soften(student.flatten(0, 1), size).unflatten(0, student.shape[:2])  # (B, M, C, *S)
        return self.temperature**2 * _Divergence.apply(soft_student, soft_teacher)

    def _soften(self, logits: Tensor, size: list[int] | None) -> Tensor:
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        probabilities = (logits / self.temperature).softmax(dim=1)
        return probabilities if size is None else upsample(probabilities, size)


class PixelDistillationTerm(StudentTerm):
    """Each student follows the fused prediction voxel by voxel, at every level: ``(B, M)``, see ``PixelDistillation``.

    ``KL(student, fused) + sum_l 2^-l KL(up(student_l), up(auxiliary_l))``, 0 where there is no student.

    Args:
        weight: of the term, dimensionless.
        temperature: of the probabilities, dimensionless; larger is softer.
    """

    multiplied_by = (COEFFICIENT, MODALITY_WEIGHT)

    def __init__(self, weight: float = 0.5, temperature: float = 4.0) -> None:
        super().__init__(weight)
        self.pixel = PixelDistillation(temperature)

    def forward(self, output: MultiModalOutput, label: Tensor) -> Tensor:
        students, fused, size = given(output.students), given(output.fused), list(label.shape[2:])

        def compare(mine: slice, sample: slice) -> Tensor:
            total = self.pixel(students.logits[mine].unsqueeze(0), fused[sample])  # (1, n)
            for level, (logits, teacher) in enumerate(zip(students.auxiliary, output.auxiliary, strict=True), start=1):
                total = total + 0.5**level * self.pixel(logits[mine].unsqueeze(0), teacher[sample], size)
            return total

        return compare_students(output, compare)[0]


class _Divergence(Function):
    """Mean over classes and voxels of ``t (ln t - ln s)``, clamped; keeps nothing but the two."""

    @staticmethod
    def forward(ctx, student: Tensor, teacher: Tensor) -> Tensor:
        ctx.save_for_backward(student, teacher)
        s, t = (each.clamp(MIN_PROBABILITY, 1) for each in (student, teacher.unsqueeze(1)))
        return (t * (t.log() - s.log())).flatten(2).mean(dim=2)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        student, teacher = ctx.saved_tensors
        learns = (student >= MIN_PROBABILITY) & (student <= 1)
        scale = gradient.view(list(gradient.shape) + [1] * (student.dim() - 2)) / student.shape[2:].numel()
        t = teacher.unsqueeze(1).clamp(MIN_PROBABILITY, 1)
        return torch.where(learns, -scale * t / student, 0), None
