# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Knowledge distillation: a student that sees a part of the modalities follows a frozen teacher that sees them all."""

from __future__ import annotations

import torch
from torch import Tensor

from ..networks.outputs import MultiModalOutput
from .total import IncompleteMultiModalLoss


class KnowledgeDistillationLoss(IncompleteMultiModalLoss):
    """The objective and what a student learns from its teacher, by class probabilities and by latent features.

    With z the fused logits, h the bottleneck, s and t for student and teacher, T the temperature, per sample::

        total = IncompleteMultiModalLoss
              + soft_distillation * T^2 mean_voxels sum_classes KL( softmax(z_t / T) || softmax(z_s / T) )
              + latent_distillation * mean_{channels, voxels} (h_s - h_t)^2

    The two terms are zero for a sample of which the teacher has not seen every modality. The teacher gets no gradient.
    An anchor alignment pulls the student's features to the teacher's anchor.

    Args:
        soft_distillation: weight of the divergence, dimensionless; 0 leaves it out.
        latent_distillation: weight of the latent difference; 0 leaves it out, and so does a network without bottleneck.
        teacher_temperature: T, dimensionless; larger is softer.
        kwargs: arguments of ``IncompleteMultiModalLoss``.

    Shape:
        - output: ``MultiModalOutput`` of the student in training mode, with ``teacher``
        - label: ``(B, 1, *S)`` integers
        - returns a scalar

    Raises:
        ValueError: if the output comes without a teacher.

    Reference:
        In form KD-Net, Hu et al., MICCAI 2020. Ours: the defaults, and whom the teacher teaches.
    """

    def __init__(
        self,
        *,
        soft_distillation: float = 0.5,
        latent_distillation: float = 0.1,
        teacher_temperature: float = 4.0,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.weights |= {"soft_distillation": soft_distillation, "latent_distillation": latent_distillation}
        self.teacher_temperature = teacher_temperature

    def further_terms(self, output: MultiModalOutput, label: Tensor) -> dict[str, Tensor]:
        teacher = output.teacher
        if teacher is None:
            raise ValueError(
                "the objective distils from a teacher, but the output has none; expected `train::inferer` to be "
                "scripts.inferers.distillation.DistillationInferer, as in configs/method_kd_student.yaml."
            )
        terms: dict[str, Tensor] = {}
        if self.weights["soft_distillation"] != 0:
            terms["soft_distillation"] = self._divergence(output.fused, teacher.logits.detach())
        if self.weights["latent_distillation"] != 0 and output.bottleneck is not None:
            difference = output.bottleneck.float() - teacher.bottleneck.detach().float()
            terms["latent_distillation"] = difference.square().flatten(1).mean(dim=1)
        taught = teacher.available.all(dim=1)
        return {name: torch.where(taught, values, 0) for name, values in terms.items()}  # (B,) each

    def _divergence(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare softened probabilities, of logits ``(B, C, *S)``: ``(B,)``, in nats times T^2."""
        s, t = ((logits.float() / self.teacher_temperature).log_softmax(dim=1) for logits in (student, teacher))
        divergence = (t.exp() * (t - s)).sum(dim=1)  # (B, *S)
        return self.teacher_temperature**2 * divergence.flatten(1).mean(dim=1)
