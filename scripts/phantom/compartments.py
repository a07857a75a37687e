# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The outlines of a tumour's compartments on the fine grid."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .anatomy import CSF, WHITE
from .fields import interpolate, random_field
from .grid import Grid
from .tumour import Tumour, TumourPlan, level_of_count

EDEMA_TISSUE, NECROSIS_TISSUE, SOLID_TISSUE = "edema", "necrosis", "non_enhancing"
ENHANCING_TISSUE, FAINT_TISSUE = "enhancing", "faintly_enhancing"
PATHOLOGIES = (EDEMA_TISSUE, NECROSIS_TISSUE, SOLID_TISSUE, ENHANCING_TISSUE, FAINT_TISSUE)
BACKGROUND, NECROTIC_CORE, EDEMA, ENHANCING = 0, 1, 2, 3  # internal classes of labels
# Size of the structures (mm) of the random fields that roughen the outlines.
NOISE_MM = {
    "core_lobes": 14.0,
    "core_bumps": 6.0,
    "core_fray": 3.5,
    "edema_lobes": 15.0,
    "edema_bumps": 6.0,
    "rim_gaps": 9.0,
    "rim_bumps": 4.0,
    "islands": 7.0,
    "faint": 8.0,
}
REACHED_MM = 2.0  # closer to the front than this, growth has hardly begun
FAR_MM = 1000.0  # stands for any large distance
LARGEST_SHARE = 0.2  # of the brain that the grid shows: a small grid shows a small tumour


class Compartments(NamedTuple):
    """The tumour on the fine grid, at the voxels of the brain.

    Attributes:
        fractions: ``(5, N)`` float32 of ``PATHOLOGIES``, in [0, 1], their sum at most 1.
        label: ``(N,)`` uint8 internal classes.
        effaced: ``(N,)`` in [0, 1], how much the sulci are pressed shut.
    """

    fractions: NDArray
    label: NDArray
    effaced: NDArray


def delineate(tumour: Tumour, grid: Grid, brain: NDArray, tissue: NDArray) -> Compartments:
    """Cut the compartments out of a grown tumour on the fine grid.

    Each outline is a level of a distance (mm) that is raised or lowered by random fields and by the tissue at hand,
    chosen so that the compartment has its planned volume.

    Args:
        tumour: what has grown.
        grid: fine grid.
        brain: ``(X, Y, Z)`` bool, with ``N`` voxels.
        tissue: ``(K, N)`` fractions of the healthy tissues, after mass effect.
    """
    plan, rng = tumour.plan, np.random.default_rng([tumour.plan.seed, 1])
    noise = {name: random_field(rng, grid.axes, scale)[brain] for name, scale in NOISE_MM.items()}
    fluid = np.clip(tissue[CSF] - 0.25, 0, 1)
    softness = 0.25 + 0.25 * grid.spacing  # mm, how gradual an edge looks in a voxel
    shown_ml = np.count_nonzero(brain) * grid.voxel_ml
    whole_voxels = min(plan.whole_ml, LARGEST_SHARE * shown_ml) / grid.voxel_ml

    core = interpolate(tumour.core, tumour.axes, grid.axes)[brain]
    reached = core > REACHED_MM
    ruggedness = min(1.0, plan.core_radius_mm / 14)  # a small core would fall to pieces
    core += ruggedness * (3.2 * noise["core_lobes"] + 1.4 * noise["core_bumps"] + 0.7 * noise["core_fray"])
    depth = _above_level(core - 40 * fluid, reached, whole_voxels * plan.core_share)

    edema = interpolate(tumour.edema, tumour.axes, grid.axes)[brain]
    reached = (edema > REACHED_MM) & (depth <= 0)
    edema += 16 * (tissue[WHITE] - 0.6) + 3.0 * noise["edema_lobes"] + 1.2 * noise["edema_bumps"]
    reach = _above_level(edema - 60 * fluid, reached, whole_voxels - np.count_nonzero(depth > 0))
    reach[depth > 0] = FAR_MM
    side = plan.one_sidedness * _aside(grid, brain, depth > 0, rng.standard_normal(3))
    rim = _enhancing_share(plan, depth, side, noise, softness)
    faint = _faint_share(plan.faint, depth, rim, noise["faint"])
    fractions = _fractions(plan, depth, reach, rim, faint, noise["islands"], softness)
    label = np.where(reach > 0, EDEMA, BACKGROUND)
    label = np.where(depth > 0, np.where(rim > 0.5, ENHANCING, NECROTIC_CORE), label)
    return Compartments(fractions, label.astype(np.uint8), _soft(reach + 60 * fluid, 4.0))


def _above_level(score: NDArray, reached: NDArray, count: float) -> NDArray:
    """Subtract the level that `count` of the voxels that growth has reached exceed; the others are far below."""
    values = score[reached]
    if count <= 0 or not values.size:
        return np.full_like(score, -FAR_MM)
    level = level_of_count(values, min(count, 0.95 * values.size))
    return np.where(reached, score - level, -FAR_MM)


def _soft(distance: NDArray, width: float) -> NDArray:
    """Go from 0 to 1 where a distance (mm) changes sign."""
    return 1 / (1 + np.exp(-np.clip(distance / width, -30, 30)))


def _aside(grid: Grid, brain: NDArray, core: NDArray, direction: NDArray) -> NDArray:
    """How far (mm) each voxel of the brain lies from the middle of the core along a direction: ``(N,)``."""
    unit = direction / np.linalg.norm(direction)
    along = sum(axis[voxels] * part for axis, voxels, part in zip(grid.axes, np.nonzero(brain), unit, strict=True))
    return along - along[core].mean() if core.any() else np.zeros_like(along)


def _enhancing_share(
    plan: TumourPlan, depth: NDArray, side: NDArray, noise: dict[str, NDArray], softness: float
) -> NDArray:
    """Share of the core that enhances: a rim of uneven thickness with gaps and some islands, all of it, or nothing.

    ``side`` (mm) is added to the rim's thickness, which leaves one side of the core without a rim if it is large.
    """
    if plan.rim_mm == 0:
        return np.zeros_like(depth)
    if np.isinf(plan.rim_mm):
        return _soft(1.9 - noise["rim_gaps"] - 0.4 * noise["rim_bumps"], 0.25)
    thickness = plan.rim_mm * (1 + 0.6 * noise["rim_gaps"] + 0.7 * noise["rim_bumps"]) + side
    islands = _soft(3 * (noise["islands"] + 0.5 * noise["rim_bumps"] - plan.islands), softness)
    return np.maximum(_soft(thickness - depth, softness), islands)


def _faint_share(share: float, depth: NDArray, rim: NDArray, patches: NDArray) -> NDArray:
    """Share of the enhancement that is faint: patches that take up ``share`` of the enhancing tumour."""
    enhancing = patches[(depth > 0) & (rim > 0.5)]
    if share == 0 or not enhancing.size:
        return np.zeros_like(depth)
    return _soft(patches - level_of_count(enhancing, share * enhancing.size), 0.3)


def _fractions(
    plan: TumourPlan, depth: NDArray, reach: NDArray, rim: NDArray, faint: NDArray, islands: NDArray, softness: float
) -> NDArray:
    """Fill voxels with PATHOLOGIES: (5, N); edema is dense near the core, a core that does not enhance is solid."""
    core = _soft(depth, softness)
    edema = _soft(reach, 1.2 + softness) * (0.72 + 0.28 * _soft(reach - 8, 3.0)) * (1 - core)
    cystic = _soft(3 * (islands - plan.solid) + 4.0 if plan.rim_mm else 3 * islands - 4.5, 0.7)
    rest, bright = core * (1 - rim), core * rim * (1 - faint)
    return np.stack([edema, rest * cystic, rest * (1 - cystic), bright, core * rim * faint]).astype(np.float32)
