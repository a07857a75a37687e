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
    """

    fused: Tensor
    auxiliary: list[Tensor]
    unimodal: Tensor | None
    fused_features: Tensor
    encoded: Tensor
    available: Tensor
    students: StudentOutput | None = None
