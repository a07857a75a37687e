# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How bright a tissue is in a modality: the signal equation of a spin echo with or without inversion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray

CONTRASTS_FILE = Path(__file__).with_name("contrasts.yaml")
JITTERED = ("density", "longitudinal_ms", "transverse_ms", "gadolinium")


class PulseSequence(NamedTuple):
    """A pulse sequence as it was run once: times in ms, ``inversion_ms`` is ``None`` without inversion."""

    repetition_ms: float
    echo_ms: float
    inversion_ms: float | None
    contrast_agent: bool


@lru_cache(maxsize=1)
def read_contrasts() -> dict[str, Any]:
    """Read the tables of tissues and modalities (the comments in ``contrasts.yaml`` say what they hold)."""
    return yaml.safe_load(CONTRASTS_FILE.read_text(encoding="utf-8"))


def known_modalities() -> tuple[str, ...]:
    """Name the modalities that phantoms can be imaged in."""
    return tuple(read_contrasts()["modalities"])


def default_modalities() -> tuple[str, ...]:
    """Name the modalities that phantoms are imaged in unless others are asked for."""
    return tuple(read_contrasts()["default_modalities"])


def check_modalities(modalities: Iterable[str]) -> None:
    """Refuse modalities that cannot be imaged.

    Raises:
        ValueError: if a modality is not in ``contrasts.yaml``, comes twice, or there is none.
    """
    names, known = list(modalities), known_modalities()
    unknown = [name for name in names if name not in known]
    if unknown or not names or len(set(names)) < len(names):
        raise ValueError(
            f"`modalities` of phantoms are {names}, where {unknown} have no contrast; expected different names out of "
            f"{list(known)}. See {CONTRASTS_FILE}."
        )


def draw_tissues(rng: np.random.Generator, jitter: float = 1.0) -> dict[str, dict[str, float]]:
    """Draw one case's tissues around the tabulated values; the same draw serves all its modalities.

    Args:
        rng: the case's.
        jitter: factor of each tissue's tabulated deviation.
    """
    return {name: _draw_tissue(rng, tabulated, jitter) for name, tabulated in read_contrasts()["tissues"].items()}


def draw_remnants(rng: np.random.Generator, jitter: float = 1.0) -> dict[str, dict[str, float]]:
    """Draw what skull-stripping may leave behind, as ``draw_tissues`` does."""
    return {name: _draw_tissue(rng, tabulated, jitter) for name, tabulated in read_contrasts()["remnants"].items()}


def _draw_tissue(rng: np.random.Generator, tabulated: dict[str, float], jitter: float) -> dict[str, float]:
    deviation = jitter * tabulated["jitter"]
    factors = np.exp(deviation * np.clip(rng.standard_normal(len(JITTERED)), -2, 2))
    # the density varies less than relaxation, the uptake of contrast agent more
    factors = factors ** np.array([0.3, 1.0, 1.0, 3.0])
    drawn = {key: float(tabulated[key] * factor) for key, factor in zip(JITTERED, factors, strict=True)}
    return tabulated | drawn


def draw_sequence(rng: np.random.Generator, modality: str, other: float = 0.0) -> PulseSequence:
    """Draw the times of one image of a modality.

    Args:
        rng: the image's.
        modality: a name of ``contrasts.yaml``.
        other: probability of one of the modality's ``others``, if it has any.
    """
    entry = read_contrasts()["modalities"][modality]
    if other and rng.random() < other and entry.get("others"):
        entry = entry | entry["others"][rng.integers(len(entry["others"]))]
    inversion = entry["inversion_ms"]
    return PulseSequence(
        repetition_ms=rng.uniform(*entry["repetition_ms"]),
        echo_ms=rng.uniform(*entry["echo_ms"]),
        inversion_ms=None if inversion is None else rng.uniform(*inversion),
        contrast_agent=bool(entry["contrast_agent"]),
    )


def signal(tissue: Mapping[str, float], sequence: PulseSequence, water: float = 0.0) -> float:
    """Compute the signal of a tissue (no unit).

    Args:
        tissue: density, relaxation times in ms, gadolinium in mmol/L.
        sequence: what it is imaged with.
        water: relative excess of water: longer relaxation times, more protons, more diluted contrast agent.
    """
    rate = 1 / (tissue["longitudinal_ms"] * (1 + water))
    if sequence.contrast_agent:
        rate += read_contrasts()["relaxivity"] * tissue["gadolinium"] * max(1 - 2 * water, 0.0) / 1000
    recovered = 1 - np.exp(-sequence.repetition_ms * rate)
    if sequence.inversion_ms is not None:
        recovered = abs(1 - 2 * np.exp(-sequence.inversion_ms * rate) + np.exp(-sequence.repetition_ms * rate))
    decay = np.exp(-sequence.echo_ms / (tissue["transverse_ms"] * (1 + water)))
    return float(tissue["density"] * (1 + 0.3 * water) * recovered * decay)


def image_signal(
    fractions: Mapping[str, NDArray],
    tissues: Mapping[str, Mapping[str, float]],
    sequence: PulseSequence,
    water: NDArray,
    factors: Mapping[str, float] | None = None,
) -> NDArray:
    """Add up the signals of the tissues in each voxel.

    The signal's dependence on water is linear around its mean, with the slope of the equation itself: the texture
    of a tissue is the same structure in every modality, with the sign and strength that physics gives it.

    Args:
        fractions: tissue name to ``(N,)`` fraction of the voxel.
        tissues: tissue name to its properties.
        sequence: what they are imaged with.
        water: ``(N,)`` of unit deviation, in units of each tissue's own ``texture``.
        factors: by which the signal of a tissue departs from the equation; 1 where not named.
    """
    total = np.zeros_like(water)
    for name, fraction in fractions.items():
        factor = (factors or {}).get(name, 1.0)
        wet, dry = (factor * signal(tissues[name], sequence, sign * tissues[name]["texture"]) for sign in (1, -1))
        total += fraction * np.float32((wet + dry) / 2)
        total += fraction * water * np.float32((wet - dry) / 2)
    return np.maximum(total, 0)
