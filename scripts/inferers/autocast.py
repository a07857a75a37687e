# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""In which precision a network computes, on any device."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from monai.inferers import SimpleInferer
from torch import Tensor, nn

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def reduced_precision(device: torch.device, precision: str) -> AbstractContextManager:
    """Give the autocast context for a device; bfloat16 needs no loss scaling, on GPU or CPU.

    Raises:
        ValueError: for a precision other than ``"float32"`` and ``"bfloat16"``.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"`precision` is `{precision}`; expected one of {sorted(PRECISIONS)}.")
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=PRECISIONS[precision])


class AutocastInferer(SimpleInferer):
    """Run the network once on the whole input, in the asked-for precision; for training.

    MONAI's trainer knows mixed precision on CUDA only; this works on every device that torch's autocast knows.

    Args:
        precision: ``"float32"`` or ``"bfloat16"``.
        students: ask the network in training mode for what it says from each modality alone.
        unimodal: let it run its uni-modal heads, about a third of a step; without, nothing trains these.
    """

    def __init__(self, precision: str = "float32", students: bool = False, unimodal: bool = True) -> None:
        super().__init__()
        self.precision, self.students, self.unimodal = precision, students, unimodal

    def __call__(self, inputs: Tensor, network: nn.Module, *args, **kwargs):
        asked = {"students": True} if self.students else {}
        asked |= {} if self.unimodal else {"unimodal": False}
        with reduced_precision(inputs.device, self.precision):
            return network(inputs, *args, **asked, **kwargs)
