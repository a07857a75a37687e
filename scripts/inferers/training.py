# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a network in training on the paths that an objective asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor

from ..modalities import acquired_modalities, modality_subsets
from ..networks.alignment import broadcast
from ..networks.outputs import NARROWED, TEACHER, MultiModalOutput
from ..networks.teacher import FrozenTeacher
from .autocast import reduced_precision


def draw_strict_subset(available: Tensor) -> Tensor:
    """Draw one of the ``2**k - 2`` non-empty strict subsets of k modalities, each as likely as the others.

    Args:
        available: ``(M,)`` bool, on the CPU.

    Returns:
        ``(M,)`` bool; nothing if k < 2. Draws from torch's generator of the CPU.
    """
    subset = torch.zeros_like(available)
    positions = available.nonzero().squeeze(1)  # (k,)
    if len(positions) > 1:
        strict = modality_subsets(len(positions))[:-1]  # the last one has all
        subset[positions] = strict[torch.randint(len(strict), ())]
    return subset


class TrainingInferer(Inferer):
    """Run a network once on the whole input, on the paths asked for, in the asked-for precision.

    MONAI's trainer knows mixed precision on CUDA only; this works on every device that torch's autocast knows. The
    narrowed path is shown a random non-empty strict subset of what each sample shows; a sample that shows a single
    modality has none. The teacher sees the image as it is; with one, what the network may not see is erased from its
    image, so that nothing of it gets into any head. A network in evaluation mode is asked for nothing.

    Args:
        paths: names of ``scripts.networks.outputs``, such as an objective's ``paths``.
        precision: ``"float32"`` or ``"bfloat16"``, of every network.
        teacher: runs the path of that name.

    Shape:
        - inputs: ``(B, M, *S)``, absent modalities NaN
        - available: ``(B, M)`` bool, what the network may see; all that is there if not given
        - output: ``MultiModalOutput``

    Raises:
        ValueError: if a teacher is asked for and there is none.
    """

    def __init__(self, paths: Sequence[str], precision: str = "float32", teacher: FrozenTeacher | None = None) -> None:
        super().__init__()
        self.paths, self.precision, self.teacher = list(paths), precision, teacher
        if TEACHER in self.paths and teacher is None:
            raise ValueError(
                "the objective has terms that read what a `teacher` says, and there is none; expected one. See "
                "configs/method_kd_student.yaml."
            )

    def __call__(
        self, inputs: Tensor, network: Callable[..., Any], *args: Any, available: Tensor | None = None, **kwargs: Any
    ) -> MultiModalOutput | Tensor:
        training, teacher_output = getattr(network, "training", False), None
        if TEACHER in self.paths and self.teacher is not None and training:
            with reduced_precision(inputs.device, self.precision):
                teacher_output = self.teacher(inputs)
            if available is not None:
                inputs = inputs.masked_fill(~broadcast(available, inputs), torch.nan)
                available = None
        if available is not None:
            kwargs["available"] = available
        if training:
            kwargs |= {"paths": self.paths} | self._narrowed(inputs, available)
        with reduced_precision(inputs.device, self.precision):
            output = network(inputs, *args, **kwargs)
        return output if teacher_output is None else output._replace(teacher=teacher_output)

    def _narrowed(self, inputs: Tensor, available: Tensor | None) -> dict[str, Tensor]:
        """Draw what the narrowed path is shown, where it is asked for and any sample has one."""
        if NARROWED not in self.paths:
            return {}
        acquired = acquired_modalities(inputs).cpu()
        available = acquired if available is None else acquired & available.cpu()
        available = torch.stack([draw_strict_subset(row) for row in available])  # (B, M)
        return {"narrowed_available": available} if available.any() else {}
