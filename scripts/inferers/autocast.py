# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""In which precision a network computes, on any device."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

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
