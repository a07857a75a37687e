# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How batches reach networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.data import MetaTensor
from torch import Tensor

from ..inferers.slice_axis import drop_slice_axis


def prepare_batch(
    batchdata: Mapping[str, Any],
    device: torch.device | str | None,
    non_blocking: bool = False,
    spatial_dims: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor, tuple, dict[str, Tensor]]:
    """Turn a batch into ``(image, label, args, kwargs)`` of MONAI's trainer, as plain tensors.

    ``available`` ``(B, M)`` goes to the network as an argument where a setting wrote it; elsewhere the network reads
    what is available from the NaN channels. ``spatial_dims`` are those of the network: for 2, a patch is one slice of
    a stack, whose last axis is dropped (``drop_slice_axis``).
    """
    plain = (_plain(batchdata[key]).to(device, non_blocking=non_blocking) for key in ("image", "label"))
    image, label = (drop_slice_axis(each, spatial_dims) for each in plain)
    extra = {"available": batchdata["available"].to(device)} if "available" in batchdata else {}
    return image, label, (), extra


def prepare_case(
    batchdata: Mapping[str, Any], device: torch.device | str | None, non_blocking: bool = False, **kwargs: Any
) -> tuple[Tensor, Tensor | None, tuple, dict]:
    """Turn a batch into evaluator arguments; the image keeps its metadata, and the label its own grid."""
    return batchdata["image"].to(device, non_blocking=non_blocking), batchdata.get("label"), (), {}


def _plain(x: Tensor) -> Tensor:
    return x.as_tensor() if isinstance(x, MetaTensor) else x
