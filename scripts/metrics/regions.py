# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How reported regions come from class labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from monai.utils import convert_to_tensor
from torch import Tensor

Regions = Mapping[str, Sequence[int]]
"""Name of each region and the classes it joins, e.g. ``{"wt": [1, 2, 3], "tc": [1, 3], "et": [3]}``."""


def region_masks(label_map: Tensor, regions: Regions, dim: int = 0) -> Tensor:
    """Turn a map of class labels into one mask per region.

    Args:
        label_map: ``(*S)`` class labels, integers of any type; leading axes such as a batch are allowed.
        regions: classes of each region.
        dim: where the axis of the regions goes; 0 makes ``(R, *S)``, 1 makes ``(B, R, *S)`` of ``(B, *S)``.

    Returns:
        Boolean plain tensor with the axis ``R`` inserted, regions in the order of ``regions``.

    Raises:
        ValueError: if there is no region, or a region without a class.
    """
    if not regions or not all(len(classes) for classes in regions.values()):
        raise ValueError(f"`regions` is {dict(regions)}; expected at least one region, each with at least one class.")
    labels = convert_to_tensor(label_map, track_meta=False)
    per_class = {c: labels == c for c in sorted({c for classes in regions.values() for c in classes})}
    masks = []
    for classes in regions.values():
        mask = per_class[classes[0]].clone()
        for other in classes[1:]:
            mask |= per_class[other]
        masks.append(mask)
    return torch.stack(masks, dim=dim)


def remove_small_region(masks: Tensor, regions: Regions, region: str, threshold: int = 500) -> Tensor:
    """Empty one region of one prediction if it has fewer voxels than a threshold.

    The rule of the field for enhancing tumour: a handful of predicted voxels is taken for a false alarm. Removed voxels
    leave this region's mask only; the other regions keep them and nothing is relabelled.

    Args:
        masks: ``(R, *S)`` bool, the regions of **one** case (a batch would need one decision per case).
        regions: the regions that made ``masks``.
        region: name of the region that the rule is for.
        threshold: in voxels; a region of exactly this many is kept.

    Returns:
        ``(R, *S)`` bool, a copy.

    Raises:
        ValueError: if the region is unknown, or the masks are not those of these regions.
    """
    if region not in regions:
        raise ValueError(f"region `{region}` is not among {list(regions)}; see `regions` in the configuration.")
    if len(masks) != len(regions):
        raise ValueError(f"`masks` has {len(masks)} regions; expected {len(regions)}: {list(regions)}.")
    kept = masks.clone()
    index = list(regions).index(region)
    if int(kept[index].sum()) < threshold:
        kept[index] = False
    return kept


def volumes_ml(label_map: Tensor, regions: Regions, spacing: Sequence[float]) -> dict[str, float]:
    """Measure each region of one case in millilitres (1 mL = 1000 mm^3).

    Args:
        label_map: ``(*S)`` class labels; a 2D slice takes the slice thickness as third spacing.
        regions: classes of each region.
        spacing: three voxel sizes in mm.

    Raises:
        ValueError: if there are not three positive spacings.
    """
    if len(spacing) != 3 or not all(step > 0 for step in spacing):
        raise ValueError(f"`spacing` is {tuple(spacing)}; a volume needs three positive voxel sizes in mm.")
    voxel_ml = math.prod(float(step) for step in spacing) / 1000
    masks = region_masks(label_map, regions)
    return {name: int(mask.sum()) * voxel_ml for name, mask in zip(regions, masks, strict=True)}
