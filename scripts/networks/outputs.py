# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What a network in training mode hands to the losses."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class StudentOutput(NamedTuple):
    """What the fused decoder says from single modalities: one row for each of the n pairs of ``taught``, in its order.

    Shape:
        - taught: ``(B, M)`` bool, the modalities that were fused alone
        - logits: ``(n, C, *S)``
        - auxiliary: logits ``(n, C, *S_l)`` of the intermediate heads, finest first; empty if n is 0
        - features: ``(n, F, *S)`` last decoder features
    """

    taught: Tensor
    logits: Tensor
    auxiliary: list[Tensor]
    features: Tensor


class AlignmentOutput(NamedTuple):
    """Features that are pulled to an anchor, one entry for each aligned level.

    Shape:
        - features: ``(B, M, F_l, *S_l)``
        - anchors: ``(B, F_l, *S_l)``, made from the acquired modalities
        - aligned: ``(B, M)`` bool, the modalities that are there, of samples that have an anchor
    """

    features: list[Tensor]
    anchors: list[Tensor]
    aligned: Tensor


class PathOutput(NamedTuple):
    """What a network says under another availability than that of ``fused``, or what another network says.

    Shape:
        - available: ``(B, M)`` bool, what this path saw; a row without any means that the sample has no such path
        - logits: ``(B, C, *S)``
        - bottleneck: ``(B, F, *S_L)``, see ``MultiModalOutput``
        - alignment: of what another network saw; ``None`` without alignment
    """

    available: Tensor
    logits: Tensor
    bottleneck: Tensor | None
    alignment: AlignmentOutput | None = None


class MultiModalOutput(NamedTuple):
    """Everything that an objective may ask of one training pass.

    Shape:
        - fused: ``(B, C, *S)`` logits of the decoder that sees the available modalities
        - auxiliary: logits ``(B, C, *S_l)`` of the intermediate heads, finest first
        - unimodal: ``(B, M, C, *S)`` probabilities of the shared uni-modal decoder; zero where not ``encoded``;
          ``None`` from a network that has no such decoder
        - fused_features: ``(B, F, *S)`` last decoder features, right before the fused logits
        - encoded: ``(B, M)`` bool, modalities whose encoder ran, that is those acquired
        - available: ``(B, M)`` bool, modalities that were fused; never more than ``encoded``
        - students: ``StudentOutput`` of each encoded modality alone, except where that is what ``fused`` saw anyway;
          ``None`` if not asked for
        - bottleneck: ``(B, F, *S_L)``, the mean of what is fused at the deepest level; ``None`` from a network without
          encoders
        - alignment: what an anchor alignment pulls, of the encoded modalities; ``None`` without one
        - narrowed: ``PathOutput`` under a narrower availability; ``None`` if not asked for
        - teacher: ``PathOutput`` of a teacher network on the same images, where a method has one
    """

    fused: Tensor
    auxiliary: list[Tensor]
    unimodal: Tensor | None
    fused_features: Tensor
    encoded: Tensor
    available: Tensor
    students: StudentOutput | None = None
    bottleneck: Tensor | None = None
    alignment: AlignmentOutput | None = None
    narrowed: PathOutput | None = None
    teacher: PathOutput | None = None
