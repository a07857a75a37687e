# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Which voxels of a case belong to the head, by its acquired images alone."""

from __future__ import annotations

import torch
from torch import Tensor


def acquired_foreground(image: Tensor) -> Tensor:
    """Mark the foreground of every acquired image; an absent one (NaN) contributes nothing.

    Use as ``select_fn`` of MONAI's ``CropForegroundd``, which takes the union over channels. MONAI's own default,
    ``image > 0``, loses dark voxels of z-scored images.

    Args:
        image: ``(M, *S)``, background exactly 0, absent modalities NaN.

    Returns:
        ``(M, *S)`` bool.
    """
    plain = image.as_subclass(Tensor)  # metadata would only slow these comparisons down
    return torch.isfinite(plain) & (plain != 0)
