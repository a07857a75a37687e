# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What a network in training mode hands to the losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

# The paths that a training pass can run, by the names under which terms of an objective ask for them.
FUSED = "fused"  # the decoder, from what is available, with its intermediate heads
UNIMODAL = "unimodal"  # the shared uni-modal decoder, from each acquired modality
STUDENTS = "students"  # the fused decoder, from each acquired modality alone
NARROWED = "narrowed"  # the fused decoder, from a part of what is available
TEACHER = "teacher"  # another network, from the whole image
ALIGNMENT = "alignment"  # features and the anchor that they are pulled to
ENCODED = "encoded"  # the deepest features of each modality's encoder
PATHS = (FUSED, UNIMODAL, STUDENTS, NARROWED, TEACHER, ALIGNMENT, ENCODED)
DEFAULT_PATHS = (FUSED, UNIMODAL, ALIGNMENT)  # of a network in training mode that is asked for nothing in particular

# How far features are from their anchor, see ``scripts.losses.anchor_alignment``; PLUS joins several to a sum.
RELEASED, POOLED, MOMENTS, PLUS = "released", "pooled", "moments", "+"
ALIGNMENT_MEASURES = (RELEASED, POOLED, MOMENTS, f"{POOLED}{PLUS}{MOMENTS}")


class StudentOutput(NamedTuple):
    """What the fused decoder says from single modalities: one row for each of the n pairs ``available``.

    Shape:
        - available: ``(B, M)`` bool, the modalities that were fused alone
        - logits: ``(n, C, *S)``
        - auxiliary: logits ``(n, C, *S_l)`` of the intermediate heads, finest first; empty if n is 0
        - features: ``(n, F, *S)`` last decoder features
    """

    available: Tensor
    logits: Tensor
    auxiliary: list[Tensor]
    features: Tensor


class AlignmentOutput(NamedTuple):
    """Features that are pulled to an anchor, one entry for each aligned level.

    Shape:
        - features: ``(B, M, F_l, *S_l)``
        - anchors: ``(B, F_l, *S_l)``, made from the acquired modalities
        - available: ``(B, M)`` bool, the acquired modalities of samples that have an anchor

    Attributes:
        measure: of the distance, one of ``ALIGNMENT_MEASURES``.
        at_origin: the anchor stands for a standard normal distribution.
    """

    features: list[Tensor]
    anchors: list[Tensor]
    available: Tensor
    measure: str = RELEASED
    at_origin: bool = False


class PathOutput(NamedTuple):
    """What a network says under another availability than that of ``fused``, or what another network says.

    Shape:
        - available: ``(B, M)`` bool, of this path; a row without any means that the sample has no such path
        - logits: ``(B, C, *S)``
        - bottleneck: ``(B, F, *S_L)``, see ``MultiModalOutput``
        - alignment: of what another network saw; ``None`` without alignment
    """

    available: Tensor
    logits: Tensor
    bottleneck: Tensor | None
    alignment: AlignmentOutput | None = None


class MultiModalOutput(NamedTuple):
    """Everything that an objective may ask of one training pass; a path that was not asked for is ``None``.

    Two masks ``(B, M)`` say which modalities there are, here and everywhere: ``acquired``, those of the image, and
    ``available``, those that a path may see, of which it never has more. A decoder gets ``available`` of the A
    modalities alone that some sample of the batch has, ``(B, A)``.

    Shape:
        - acquired: ``(B, M)`` bool
        - available: ``(B, M)`` bool, of ``fused``; every other path says its own
        - fused: ``(B, C, *S)`` logits of the decoder that sees the available modalities
        - auxiliary: logits ``(B, C, *S_l)`` of its intermediate heads, finest first; empty if it has none
        - fused_features: ``(B, F, *S)`` last decoder features, right before the fused logits
        - bottleneck: ``(B, F, *S_L)``, the mean of what is fused at the deepest level; ``None`` from a network without
          encoders
        - unimodal: ``(B, M, C, *S)`` probabilities of the shared uni-modal decoder; zero where not acquired; ``None``
          from a network that has no such decoder
        - students: of each acquired modality alone, except where that is what ``fused`` saw anyway
        - narrowed: under a narrower availability
        - teacher: of another network on the same images
        - alignment: what an anchor alignment pulls, of the acquired modalities; ``None`` from a network without one
        - encoded: ``(B, M, F_L, *S_L)`` deepest features of each modality; zero where not acquired; ``None`` from a
          network without encoders
    """

    acquired: Tensor
    available: Tensor
    fused: Tensor | None = None
    auxiliary: Sequence[Tensor] = ()
    fused_features: Tensor | None = None
    bottleneck: Tensor | None = None
    unimodal: Tensor | None = None
    students: StudentOutput | None = None
    narrowed: PathOutput | None = None
    teacher: PathOutput | None = None
    alignment: AlignmentOutput | None = None
    encoded: Tensor | None = None
