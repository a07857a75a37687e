# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Dice and HD95 of the regions of one case."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from monai.metrics import compute_dice
from monai.metrics.utils import get_mask_edges, get_surface_distance
from monai.utils import convert_to_tensor
from torch import Tensor

from .empty_policy import empty_policy
from .regions import Regions, region_masks

Scores = dict[tuple[str, str], float]
"""``(region, metric)`` to value."""

METRICS = ("dice", "hd95")
"""What can be computed, in the order of the tables."""


def score_case(
    prediction: Tensor,
    truth: Tensor,
    regions: Regions,
    spacing_mm: Sequence[float],
    policy: str,
    surface: str = "monai",
    metrics: Sequence[str] = METRICS,
) -> Scores:
    """Score one prediction of one case: Dice and HD95 of every region.

    Args:
        prediction: ``(*S)`` predicted class labels, 2D or 3D.
        truth: ``(*S)`` true class labels.
        regions: classes of each region.
        spacing_mm: voxel size along each spatial axis; ones measure HD95 in voxels, as the published PASSION code does.
        policy: name of the empty-mask policy: ``brats``, ``passion`` or ``nan`` (see `empty_policy`).
        surface: how HD95 is made from the distances between the two surfaces:
            ``monai``: the larger of the two directed 95th percentiles (MONAI and BraTS);
            ``pooled``: the 95th percentile of both directions together (medpy and the published PASSION code), mostly
            the smaller number.
        metrics: which of ``dice`` and ``hd95`` to compute; without HD95, the slow one, no surface is looked for.

    Returns:
        ``{(region, "dice"): 0..1, (region, "hd95"): mm, ...}``, regions in their configured order.

    Raises:
        ValueError: if shapes or spacing do not fit, or a setting has an unknown name.
    """
    prediction, truth = (convert_to_tensor(x, track_meta=False, device="cpu") for x in (prediction, truth))
    if prediction.shape != truth.shape:
        raise ValueError(
            f"prediction has shape {tuple(prediction.shape)} but truth has {tuple(truth.shape)}; expected the same "
            "grid without batch and channel axes. Check that both went through the same transforms."
        )
    classes = sorted({c for members in regions.values() for c in members})
    anywhere = {"any": classes}
    box = _bounding_box(region_masks(prediction, anywhere)[0] | region_masks(truth, anywhere)[0])
    masks = (region_masks(labels[box], regions) for labels in (prediction, truth))
    return score_masks(*masks, tuple(regions), spacing_mm, policy, surface, metrics)


def score_masks(
    prediction: Tensor,
    truth: Tensor,
    names: Sequence[str],
    spacing_mm: Sequence[float],
    policy: str,
    surface: str = "monai",
    metrics: Sequence[str] = METRICS,
) -> Scores:
    """Score masks that are there already, e.g. after `remove_small_region`; the rest is as in `score_case`.

    Args:
        prediction: ``(R, *S)`` bool, predicted regions.
        truth: ``(R, *S)`` bool, true regions.
        names: ``(R,)`` names of the regions.
        spacing_mm: voxel size along each spatial axis.
        policy: name of the empty-mask policy.
        surface: ``monai`` or ``pooled``.
        metrics: which metrics to compute.
    """
    if not metrics or not set(metrics) <= set(METRICS):
        raise ValueError(f"`metrics` is {list(metrics)}; expected one or more of {list(METRICS)}.")
    if surface not in HD95_FROM_DISTANCES:
        raise ValueError(f"`surface` is `{surface}`; expected one of {list(HD95_FROM_DISTANCES)}.")
    if len(spacing_mm) != prediction.ndim - 1 or not all(step > 0 for step in spacing_mm):
        raise ValueError(
            f"`spacing_mm` is {tuple(spacing_mm)}; expected one positive voxel size in mm for each of the "
            f"{prediction.ndim - 1} spatial axes."
        )
    rule = empty_policy(policy)
    prediction, truth = (convert_to_tensor(x, track_meta=False, device="cpu") for x in (prediction, truth))
    scores: Scores = {}
    for name, p, t in zip(names, prediction, truth, strict=True):
        empty = (not p.any(), not t.any())
        for metric in metrics:
            if any(empty):
                scores[name, metric] = rule.value(metric, *empty)
            else:
                scores[name, metric] = _dice(p, t) if metric == "dice" else _hd95(p, t, spacing_mm, surface)
    return scores


def _dice(prediction: Tensor, truth: Tensor) -> float:
    """Compute MONAI's Dice of two ``(*S)`` masks; voxels of neither add nothing, and without them it is much faster."""
    either = prediction | truth
    return float(compute_dice(prediction[either][None, None], truth[either][None, None]))


def _hd95(prediction: Tensor, truth: Tensor, spacing_mm: Sequence[float], surface: str) -> float:
    """Compute the 95th percentile Hausdorff distance in mm of two ``(*S)`` masks with voxels."""
    box = _bounding_box(prediction | truth)
    return float(HD95_FROM_DISTANCES[surface](*_surface_distances(prediction[box], truth[box], spacing_mm)))


def _surface_distances(prediction: Tensor, truth: Tensor, spacing_mm: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Measure from each surface voxel of one mask to the nearest one of the other: two vectors in mm.

    Surface: mask minus its one-step erosion by face neighbours, with background beyond the array. The masks may
    therefore be cropped to their common box exactly: what is cut away is background or outside of the volume, both of
    which make a mask voxel beside it a surface voxel.
    """
    edges = get_mask_edges(prediction, truth, crop=False)
    spacing = tuple(float(step) for step in spacing_mm)
    return get_surface_distance(*edges, spacing=spacing), get_surface_distance(*edges[::-1], spacing=spacing)


def _directed_maximum(forward: Tensor, backward: Tensor) -> Tensor:
    return torch.maximum(torch.quantile(forward, 0.95), torch.quantile(backward, 0.95))


def _pooled(forward: Tensor, backward: Tensor) -> Tensor:
    return torch.quantile(torch.cat([forward, backward]), 0.95)


HD95_FROM_DISTANCES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {"monai": _directed_maximum, "pooled": _pooled}


def _bounding_box(mask: Tensor) -> tuple[slice, ...]:
    """Box around the true voxels of a ``(*S)`` mask; of length 0 along every axis if there are none."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        hits = torch.from_numpy(mask.numpy().any(axis=others)).nonzero()
        box.append(slice(int(hits[0]), int(hits[-1]) + 1) if len(hits) else slice(0, 0))
    return tuple(box)
