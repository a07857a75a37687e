# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Slices of a stack on their way into a 2D network and back.

A stack stays three-dimensional on disk and in every transform; its patches are one slice thick. As MONAI's
``SliceInferer`` does, the last axis is dropped where the network is called and put back behind it.
"""

from __future__ import annotations

from torch import Tensor


def drop_slice_axis(x: Tensor, spatial_dims: int | None) -> Tensor:
    """Give patches ``(B, F, *S)`` the number of spatial axes that a network takes.

    Args:
        x: ``(B, F, X, Y, 1)`` for a 2D network of slices; anything that has ``spatial_dims`` axes stays as it is.
        spatial_dims: of the network; ``None`` stands for those of ``x``.

    Raises:
        ValueError: if patches of another number of axes are not one slice thick.
    """
    size = tuple(x.shape[2:])
    if spatial_dims is None or len(size) == spatial_dims:
        return x
    if len(size) != spatial_dims + 1 or size[-1] != 1:
        raise ValueError(
            f"a patch has {size} voxels, but the network has `spatial_dims: {spatial_dims}`; expected as many axes, or "
            "one more that is a single slice thick, the last one. See `patch_size` in the configuration."
        )
    return x.squeeze(-1)


def restore_slice_axis(y: Tensor, x: Tensor) -> Tensor:
    """Give what a network made of ``drop_slice_axis(x)`` the axes of ``x`` again."""
    return y if y.dim() == x.dim() else y.unsqueeze(-1)
