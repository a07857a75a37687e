# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Semantic-wise self-distillation: voxels relate to prototypes of the classes as they do with all modalities."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..networks.outputs import MultiModalOutput
from .state import GATE, MODALITY_WEIGHT
from .students import StudentTerm, compare_students
from .term import Measured, given

PROTOTYPE_EPSILON = 1e-5  # voxels, added to the size of a class
MIN_NORM = 1e-5  # of a feature vector
NONE, ZERO = "none", "zero"  # distance of a modality that is compared with nothing


class PrototypeTerms(NamedTuple):
    """Loss and distance between similarity maps, ``(B, M)`` each, unreduced; the distance has no gradient."""

    loss: Tensor
    distance: Tensor


class PrototypeDistillation(nn.Module):
    """Compare how the voxels of M students and of a teacher relate to the prototypes of the classes, unreduced.

    With features f_v of a voxel, y the one-hot label, for student and teacher alike::

        prototype_c  = sum_v y_cv f_v / (sum_v y_cv + 1e-5)
        similarity_cv = cos(f_v, prototype_c)
        loss     = mean_cv (similarity_student - similarity_teacher)^2
        distance = mean_cv |similarity_student - similarity_teacher|

    over all voxels and the classes that the sample has; 0 for a sample that has none. The teacher gets no gradient, the
    prototypes of the students do.

    Args:
        num_classes: C.

    Shape:
        - student: ``(B, M, F, *S)``; teacher: ``(B, F, *S)``
        - label: ``(B, 1, *S)`` integers in 0..C-1
        - output: ``PrototypeTerms`` of ``(B, M)``, between 0 and 4, and 0 and 2

    Reference:
        Shi et al., PASSION, ACM MM 2024, semantic-wise self-distillation and distance. Differs from its release: a
        class that a sample lacks is left out for this sample, there for the whole batch.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes

    def forward(self, student: Tensor, teacher: Tensor, label: Tensor) -> PrototypeTerms:
        dtype = torch.promote_types(student.dtype, torch.float32)
        one_hot = F.one_hot(label.flatten(1).long(), self.num_classes).movedim(2, 1).to(dtype)  # (B, C, N)
        present = one_hot.any(dim=2)  # (B, C)
        students = similarity(student.flatten(3).to(dtype), one_hot)  # (B, M, C, N)
        with torch.no_grad():
            teachers = similarity(teacher.flatten(2).to(dtype).unsqueeze(1), one_hot)  # (B, 1, C, N)
        difference = students - teachers
        count = present.sum(dim=1, keepdim=True).clamp(min=1)  # (B, 1)

        def average(values: Tensor) -> Tensor:
            return torch.where(present.unsqueeze(1), values.mean(dim=3), 0).sum(dim=2) / count

        return PrototypeTerms(average(difference.square()), average(difference.detach().abs()))


class SemanticDistillationTerm(StudentTerm):
    """The voxels of each student relate to prototypes of the classes as those of the fused path do: ``(B, M)``.

    Measures on the way how far each student is from the fused path, which is what preference is relative to. See
    ``PrototypeDistillation``.

    Args:
        weight: see ``Term``.
        distance_alone: of a modality that is shown alone, and so compared with nothing. ``"none"``: it has no distance.
            ``"zero"``, as in the release: 0, so that a modality counts as the better the more often it is alone.

    Raises:
        ValueError: if ``distance_alone`` is another word.
    """

    multiplied_by = (GATE, MODALITY_WEIGHT)
    measures = True

    def __init__(self, weight: float = 0.1, distance_alone: str = NONE) -> None:
        super().__init__(weight)
        if distance_alone not in (NONE, ZERO):
            raise ValueError(
                f"`distance_alone` is `{distance_alone}`; expected `{NONE}` or `{ZERO}`. See "
                "configs/method_passion.yaml."
            )
        self.distance_alone = distance_alone

    def forward(self, output: MultiModalOutput, label: Tensor) -> Measured:
        students, teacher = given(output.students), given(output.fused_features)
        prototype = PrototypeDistillation(num_classes=given(output.fused).shape[1])

        def compare(mine: slice, sample: slice) -> Tensor:
            features = students.features[mine].unsqueeze(0)  # (1, n, F, *S)
            return torch.cat(prototype(features, teacher[sample], label[sample]))

        found = compare_students(output, compare)
        distance = found[-1]  # 0 where nothing was compared
        return Measured(
            found[0], distance if self.distance_alone == ZERO else torch.where(students.available, distance, torch.nan)
        )


def similarity(features: Tensor, one_hot: Tensor) -> Tensor:
    """Cosine between the features of every voxel and the prototype of every class.

    Args:
        features: ``(B, M, F, N)``.
        one_hot: ``(B, C, N)``.

    Returns:
        ``(B, M, C, N)``; both norms are at least 1e-5.
    """
    size = one_hot.sum(dim=2)[:, None, :, None] + PROTOTYPE_EPSILON  # (B, 1, C, 1)
    prototypes = torch.matmul(one_hot.unsqueeze(1), features.transpose(2, 3)) / size  # (B, M, C, F)
    prototypes = F.normalize(prototypes, dim=3, eps=MIN_NORM)
    return torch.matmul(prototypes, F.normalize(features, dim=2, eps=MIN_NORM))
