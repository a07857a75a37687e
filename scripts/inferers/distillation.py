# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a teacher on all that an image has beside a student that sees a part of it; for training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..networks.alignment import broadcast
from ..networks.outputs import MultiModalOutput
from ..networks.teacher import FrozenTeacher
from .autocast import AutocastInferer, reduced_precision


class DistillationInferer(AutocastInferer):
    """Run the student on the modalities it may see, and put what the teacher says of the whole image beside it.

    What the student may not see is erased from its image, so that nothing of it gets into any head.

    Args:
        teacher: sees the image as it is.
        kwargs: arguments of ``AutocastInferer``, for both networks.

    Shape:
        - inputs: ``(B, M, *S)``, absent modalities NaN
        - available: ``(B, M)`` bool, what the student may see; all that is there if not given
        - output: ``MultiModalOutput`` of the student with ``teacher``
    """

    def __init__(self, teacher: FrozenTeacher, **kwargs) -> None:
        super().__init__(**kwargs)
        self.teacher = teacher

    def __call__(
        self, inputs: Tensor, network: nn.Module, *args, available: Tensor | None = None, **kwargs
    ) -> MultiModalOutput:
        with reduced_precision(inputs.device, self.precision):
            teacher = self.teacher(inputs)
        if available is not None:
            inputs = inputs.masked_fill(~broadcast(available, inputs), torch.nan)
        return super().__call__(inputs, network, *args, **kwargs)._replace(teacher=teacher)
