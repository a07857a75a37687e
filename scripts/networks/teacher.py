# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""A trained network that teaches another one and does not change."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from .base import IncompleteMultiModalNetwork, acquired_modalities
from .outputs import PathOutput

FEW = 3  # names in a message


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
        seen = acquired & acquired.all(dim=1, keepdim=True)
        return self.network.path(self.network.encode(image, seen), seen)


def load_teacher(network: IncompleteMultiModalNetwork, teacher_file: str) -> FrozenTeacher:
    """Give a network the weights of a teacher and freeze it.

    Args:
        network: of the architecture and with the alignment that the teacher was trained with.
        teacher_file: flat state dict, as training writes it.

    Raises:
        FileNotFoundError: if the file is not there.
        ValueError: if it is of another network or of another alignment.
    """
    if not Path(teacher_file).is_file():
        raise FileNotFoundError(
            f"no teacher at {teacher_file}; expected the weights that training with configs/method_kd_teacher.yaml "
            "writes. Train one with `python -m monai.bundle run training --config_file \"['configs/train.yaml',"
            "'configs/method_kd_teacher.yaml']\"` and the same overlays and options for network and alignment as here, "
            "or name another file with `--teacher_file`."
        )
    weights = torch.load(teacher_file, map_location="cpu", weights_only=True)
    problems = _misfits(weights, network)
    if problems:
        raise ValueError(
            f"the teacher {teacher_file} is of another network or alignment: {'; '.join(problems)}. Expected the "
            "overlays and options that the teacher was trained with. See `network_def` and `alignment`."
        )
    network.load_state_dict(weights)
    return FrozenTeacher(network)


def _misfits(weights: Mapping[str, Tensor], network: IncompleteMultiModalNetwork) -> list[str]:
    """Say in words what of a state dict does not fit, nothing if it fits."""
    expected = network.state_dict()
    both = [name for name in expected if name in weights]
    shapes = {name: [list(each[name].shape) for each in (weights, expected)] for name in both}
    fixed = [f"alignment.{name}" for name, _ in network.alignment.named_buffers()]
    found = {
        "missing": [name for name in expected if name not in weights],
        "unknown": [name for name in weights if name not in expected],
        "of another shape": [f"{name} {one} for {other}" for name, (one, other) in shapes.items() if one != other],
    }
    if not any(found.values()):
        found["of another anchor"] = [name for name in fixed if not torch.equal(weights[name], expected[name].cpu())]
    return [f"{len(names)} {what}, such as {', '.join(islice(names, FEW))}" for what, names in found.items() if names]
