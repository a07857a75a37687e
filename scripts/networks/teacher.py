# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""A trained network that teaches another one and does not change."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..modalities import acquired_modalities
from .base import IncompleteMultiModalNetwork
from .outputs import PathOutput
from .weights import load_weights


class FrozenTeacher:
    """What a network that was trained on complete cases says of an image, for the objective of another network.

    It sees every modality of a sample that has them all, and leaves out the samples that lack one, which it was not
    trained for. Always in evaluation mode and without gradients. Not a module, so that whoever holds it has neither its
    weights among their own nor a ``train()`` that reaches it.

    Args:
        network: with its weights; is changed to evaluation mode and to parameters without gradients.

    Shape:
        - image: ``(B, M, *S)``, absent modalities NaN
        - output: ``PathOutput``; rows of ``available`` are all ``True`` or, where left out, all ``False``
    """

    def __init__(self, network: IncompleteMultiModalNetwork) -> None:
        self.network = network.eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, image: Tensor) -> PathOutput:
        acquired = acquired_modalities(image)
        available = acquired & acquired.all(dim=1, keepdim=True)
        features = self.network.encode(image, available)
        alignment = self.network.alignment.compare(features, available)
        return self.network.path(features, available)._replace(alignment=alignment)


def load_teacher(
    network: IncompleteMultiModalNetwork, teacher_file: str, model_file: str | None = None
) -> FrozenTeacher:
    """Give a network the weights of a teacher and freeze it.

    Args:
        network: of the architecture and with the alignment that the teacher was trained with.
        teacher_file: flat state dict, as training writes it.
        model_file: where the student's weights are going to be written, if they are.

    Raises:
        FileNotFoundError: if the file is not there.
        ValueError: if it is of another network or of another alignment, or the student would be written over it.
    """
    if model_file is not None and Path(model_file).resolve() == Path(teacher_file).resolve():
        raise ValueError(
            f"`model_file` and `teacher_file` are both {teacher_file}; expected two files, or the student would be "
            "written over its teacher. Give configs/method_kd_student.yaml without method_kd_teacher.yaml."
        )
    if not Path(teacher_file).is_file():
        raise FileNotFoundError(
            f"no teacher at {teacher_file}; expected the weights that training with configs/method_kd_teacher.yaml "
            "writes. Train one with `python -m monai.bundle run training --config_file \"['configs/train.yaml',"
            "'configs/method_kd_teacher.yaml']\"` and the same overlays and options for network and alignment as here, "
            "or name another file with `--teacher_file`."
        )
    load_weights(network, teacher_file)
    return FrozenTeacher(network)
