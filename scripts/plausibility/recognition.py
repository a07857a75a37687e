# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Recognises an image's modality by how bright it is, compared with itself, at the surface, in the depth, and between.

Physics gives the order: fluid is dark in T1 and FLAIR and bright in T2; white matter is brighter than grey in T1 and
darker in T2 and FLAIR; vessels and enhancing tumours are the brightest of an image with contrast agent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .view import depth_mm

CLASSIFIER_FILE = Path(__file__).with_name("modality.json")
DEPTHS = (0.0, 5.0, 9.0, 16.0, 26.0, np.inf)  # mm, edges of the shells
PERCENTILES = (2, 10, 25, 50, 75, 90, 98)
TAILS = (0.3, 99.0, 99.5, 99.9)
# Where the ventricles lie, in halves of the foreground's box from its centre: right-left, back-front, bottom-top.
VENTRICLES = ((-0.3, 0.3), (-0.45, 0.45), (-0.1, 0.4))
FEWEST = 30  # voxels of a part, below which it is described by the whole
FARTHEST = 8.0  # spreads from the median
CORE = 4.0  # standard deviations of the training's features beyond which a feature counts as that far


def describe(values: NDArray, inside: NDArray, spacing: NDArray) -> NDArray:
    """Describe an image by numbers that no scaling and no offset of its intensities changes.

    Args:
        values: ``(X, Y, Z)``, axes to the right, front and top.
        inside: ``(X, Y, Z)`` bool foreground.
        spacing: ``(3,)`` mm.

    Returns:
        ``(F,)`` percentiles of the parts, in spreads (half the distance of the 16th and 84th percentile) from the
        median of the foreground.
    """
    brain = values[inside]
    low, middle, high = np.percentile(brain, [16, 50, 84])
    relative = np.clip((values - middle) / max((high - low) / 2, 1e-9 * max(abs(middle), 1e-9)), -FARTHEST, FARTHEST)
    depth = depth_mm(inside, spacing)
    parts = [(depth > near) & (depth <= far) for near, far in zip(DEPTHS, DEPTHS[1:], strict=False)]
    parts.append(_box(inside) & (depth > DEPTHS[2]))
    described = [np.percentile(_of(relative, part & inside, inside), PERCENTILES) for part in parts]
    described.append(np.percentile(relative[inside], TAILS))
    return np.concatenate(described).astype(np.float32)


def _box(inside: NDArray) -> NDArray:
    """Mark where the ventricles lie in an average head: ``(X, Y, Z)`` bool."""
    box = np.zeros_like(inside)
    slices = []
    for axis, (low, high) in enumerate(VENTRICLES):
        there = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
        centre, half = (there[0] + there[-1]) / 2, max((there[-1] - there[0]) / 2, 1.0)
        slices.append(slice(max(0, round(centre + low * half)), round(centre + high * half) + 1))
    box[tuple(slices)] = True
    return box


def _of(values: NDArray, part: NDArray, whole: NDArray) -> NDArray:
    return values[part] if np.count_nonzero(part) >= FEWEST else values[whole]


@lru_cache(maxsize=1)
def classifier() -> dict[str, Any]:
    """Read the classifier that ships, and the record of its training."""
    content = json.loads(CLASSIFIER_FILE.read_text(encoding="utf-8"))
    return {
        key: [np.asarray(each, np.float32) for each in value] if key in ("weights", "biases") else value
        for key, value in content.items()
    }


def known_modalities() -> tuple[str, ...]:
    """Name the modalities that the classifier knows."""
    return tuple(classifier()["modalities"])


def log_probabilities(features: NDArray, of: Mapping[str, Any] | None = None) -> dict[str, float]:
    """Give the log probability of each modality that the classifier knows.

    Args:
        features: ``(F,)`` of ``describe``.
        of: another classifier than the one that ships.
    """
    known = classifier() if of is None else of
    hidden = np.clip((features - np.asarray(known["mean"])) / np.asarray(known["deviation"]), -CORE, CORE)
    layers = list(zip(known["weights"], known["biases"], strict=True))
    for number, (weight, bias) in enumerate(layers):
        hidden = weight @ hidden + bias
        hidden = np.maximum(hidden, 0) if number + 1 < len(layers) else hidden
    hidden = hidden - hidden.max()
    hidden = hidden - np.log(np.exp(hidden).sum())
    return dict(zip(known["modalities"], hidden.tolist(), strict=True))
