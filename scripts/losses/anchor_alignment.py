# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How far the features of each modality are from their anchor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..networks.outputs import ALIGNMENT, MOMENTS, PLUS, POOLED, RELEASED, AlignmentOutput, MultiModalOutput
from .term import Term, given

VARIANCE_EPSILON = 1e-8  # added to a variance of features
MOMENTS_FLOOR = 0.01  # of the pooled variance, added to each in `moments`


class AnchorAlignmentLoss(nn.Module):
    """How far each modality's features are from the anchor, by the measure of the alignment, averaged over its levels.

    With z_m the features of modality m, P the anchor, and mu, sigma^2 the mean and variance over the voxels of a
    channel; each is averaged over the channels::

        released        1/2 mean_voxels (z_m - P)^2
        pooled          mean_voxels (z_m - P)^2 / (V + e)
        moments         1/2 [ (sigma_m^2 + (mu_m - mu_P)^2) / sigma_P^2 - 1 - ln(sigma_m^2 / sigma_P^2) ]
        pooled+moments  the sum of the two

    V is the variance over the voxels of all available modalities of the sample together, and e = 1e-8. In ``moments``
    each variance has 0.01 V + e added, so that a channel that is constant in one modality gives no spike; the standard
    normal of the anchor ``normal`` has mu_P = 0 and sigma_P = 1 as they are. Gradient flows through every part, but
    into an anchor that comes detached.

    ``released`` is the Kullback-Leibler divergence of Gaussians of variance one, and is lowered by shrinking the
    features as well as by aligning them. ``pooled`` does not change when all features are scaled or shifted together,
    and rises when what they have in common disappears. ``moments`` is the divergence of Gaussians with the moments
    found; it compares the modalities as wholes, and pairs their voxels only through an anchor that mixes them, whose
    variance is small where they are not paired.

    Shape:
        - alignment: ``AlignmentOutput``, ``(B, M, F_l, *S_l)`` and ``(B, F_l, *S_l)`` for each aligned level
        - anchors: ``(B, F_l, *S_l)`` for each aligned level, in place of those of ``alignment``
        - available: ``(B, M)`` bool, the modalities of V, in place of those of ``alignment``
        - output: ``(B, M)``, in nats for each feature (``pooled``: a share of the variance); finite, but without a
          meaning where not available

    Reference:
        MedMAP, arXiv 2408.09465. Its released snippet sums the mean squared errors of four modalities and divides by 8;
        for four available modalities the mean of ``released`` is the same. The other measures are ours.
    """

    def forward(
        self, alignment: AlignmentOutput, anchors: Sequence[Tensor] | None = None, available: Tensor | None = None
    ) -> Tensor:
        available = alignment.available if available is None else available
        measures = [MEASURES[name] for name in alignment.measure.split(PLUS)]
        pairs = zip(alignment.features, alignment.anchors if anchors is None else anchors, strict=True)
        levels = [_Level.of(z, p, available, alignment.at_origin) for z, p in pairs]
        return torch.stack([measure(level) for measure in measures for level in levels]).sum(dim=0) / len(levels)


class _Level(NamedTuple):
    """Features ``(B, M, F, N)`` and anchor ``(B, 1, F, N)`` of one level, at least float32."""

    features: Tensor
    anchor: Tensor
    available: Tensor
    at_origin: bool

    @classmethod
    def of(cls, z: Tensor, p: Tensor, available: Tensor, at_origin: bool) -> _Level:
        dtype = torch.promote_types(z.dtype, torch.float32)
        return cls(z.flatten(3).to(dtype), p.unsqueeze(1).flatten(3).to(dtype), available, at_origin)

    def squared_distance(self) -> Tensor:
        """Of each channel, averaged over the voxels: ``(B, M, F)``."""
        return (self.features - self.anchor).square().mean(dim=3)

    def pooled_variance(self) -> Tensor:
        """Of each channel, over the voxels of the available modalities together: ``(B, 1, F)``."""
        here = self.available[:, :, None, None]
        number = (self.available.sum(dim=1) * self.features.shape[3]).clamp(min=1).view(-1, 1, 1, 1)
        mean = torch.where(here, self.features, 0).sum(dim=(1, 3), keepdim=True) / number
        return (torch.where(here, (self.features - mean).square(), 0).sum(dim=(1, 3), keepdim=True) / number).squeeze(3)


def _released(level: _Level) -> Tensor:
    return 0.5 * level.squared_distance().mean(dim=2)


def _pooled(level: _Level) -> Tensor:
    return (level.squared_distance() / (level.pooled_variance() + VARIANCE_EPSILON)).mean(dim=2)


def _moments(level: _Level) -> Tensor:
    floor = MOMENTS_FLOOR * level.pooled_variance() + VARIANCE_EPSILON

    def of(features: Tensor) -> tuple[Tensor, Tensor]:
        variance, mean = torch.var_mean(features, dim=3, correction=0)
        return mean, variance + floor

    mean, variance = of(level.features)
    wanted_mean, wanted_variance = (0.0, torch.ones_like(variance)) if level.at_origin else of(level.anchor)
    ratio = variance / wanted_variance
    return 0.5 * (ratio + (mean - wanted_mean).square() / wanted_variance - 1 - ratio.log()).mean(dim=2)


MEASURES: dict[str, Callable[[_Level], Tensor]] = {RELEASED: _released, POOLED: _pooled, MOMENTS: _moments}


class AnchorAlignmentTerm(Term):
    """Pull the features of each modality to their anchor: ``(B, M)``, see ``AnchorAlignmentLoss``.

    Where a teacher has an anchor it takes the place of the network's own. ``None`` from a network without alignment.
    """

    paths = (ALIGNMENT,)
    averaged = True

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__(weight)
        self.distance = AnchorAlignmentLoss()

    def forward(self, output: MultiModalOutput, label: Tensor) -> Tensor | None:
        own, teacher = output.alignment, _of_teacher(output)
        if own is None:
            return None
        if teacher is None:
            return self.distance(own)
        led = teacher.available.any(dim=1)  # (B,), samples that have an anchor of the teacher
        pairs = zip(teacher.anchors, own.anchors, strict=True)
        anchors = [torch.where(led.view([-1] + [1] * (p.dim() - 1)), p, q) for p, q in pairs]
        return self.distance(own, anchors, self.applies(output))

    def applies(self, output: MultiModalOutput) -> Tensor:
        own, teacher = given(output.alignment), _of_teacher(output)
        if teacher is None:
            return own.available
        return torch.where(teacher.available.any(dim=1, keepdim=True), output.acquired, own.available)


def _of_teacher(output: MultiModalOutput) -> AlignmentOutput | None:
    return None if output.teacher is None else output.teacher.alignment
