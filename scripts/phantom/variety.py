# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How much phantoms differ from each other: the columns of ``variety.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

VARIETY_FILE = Path(__file__).with_name("variety.yaml")
TYPICAL = "typical"

Span = tuple[float, float]


@dataclass(frozen=True)
class Variety:
    """Ranges from which phantoms are drawn; the comments in ``variety.yaml`` say what each one is."""

    angle_degrees: float
    size: tuple[float, float, float]
    shear: float
    deformation: Span
    atrophy: Span
    sharpness: Span
    stripping: Span
    stripping_unevenness: Span
    volume_ml: tuple[float, float, float, float]
    core_share: Span
    rim_mm: tuple[float, float, float, float]
    not_enhancing: float
    enhancing_throughout: float
    islands: Span
    one_sidedness: Span
    solid: Span
    faint: Span
    faintness: Span
    push: Span
    second_seed: float
    second_seed_mm: Span
    tissue_jitter: Span
    edema_wetness: Span
    core_wetness: Span
    necrosis_protein: Span
    heterogeneity: Span
    wet_spots: Span
    ventricle_caps: Span
    vessel_width: Span
    other_sequence: float
    estranged: float
    estrangement: Span
    contrast_uptake: Span
    gamma: float
    thick_slices: tuple[float, float, float]
    noise: Span
    bias: Span
    point_spread_mm: Span


@lru_cache(maxsize=1)
def _table() -> dict[str, Variety]:
    table = yaml.safe_load(VARIETY_FILE.read_text(encoding="utf-8"))
    return {name: Variety(**_with_tuples(entry)) for name, entry in table.items()}


def _with_tuples(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}


def get_variety(name: str) -> Variety:
    """Look a variety up by name.

    Raises:
        ValueError: if ``variety.yaml`` has none of that name.
    """
    table = _table()
    if name not in table:
        raise ValueError(f"`variety` of phantoms is {name!r}; expected one of {list(table)}. See {VARIETY_FILE}.")
    return table[name]


def draw(rng: np.random.Generator, span: Span) -> float:
    """Draw between the two ends of a span; one number is used up even where they are the same."""
    return float(rng.uniform(*span))
