# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The glioma of one phantom as it grows in its head.

A core grows from one or two seeds, pushes the tissue around it away, then edema spreads from the core through the
displaced white matter. Both are followed on a coarse grid as smooth functions that are distances in mm; the module
``compartments`` cuts the outlines out of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .anatomy import CSF, DEEP_GREY, GREY, TISSUES, WHITE, Head, brain_mask, load_atlas, tissue_fractions, warp
from .fields import random_field
from .grid import Grid, coarse_grid
from .growth import grow
from .variety import Variety, draw

COARSE_MM = 4.0
REACH_MM = 72.0  # half edge of the box in which a tumour is followed
# In grey, deep grey and white matter: a core grows nearly everywhere, edema follows the white matter.
CORE_CONDUCTIVITY, EDEMA_CONDUCTIVITY = (0.45, 0.55, 1.0), (0.035, 0.15, 1.0)


class TumourPlan(NamedTuple):
    """What was drawn for one tumour.

    Attributes:
        whole_ml: volume of the whole tumour, in mL.
        core_share: share of the core in that volume.
        rim_mm: mean thickness of the enhancing rim; 0 for no enhancement, infinite for no necrosis.
        islands: deviations above which a random field makes an island inside of the rim enhance.
        one_sidedness: mm by which the rim is thicker per mm from the middle of the core, in some direction.
        solid: deviations by which what does not enhance beside a rim is rather solid than necrotic.
        faint: share of the enhancing tumour that enhances faintly, in patches.
        push_mm: largest displacement of the tissue around it, in mm.
        seed: of the shape.
        second_seed: probability of a second place where it starts.
        second_seed_mm: how far from the first one, least and largest, in mm.
    """

    whole_ml: float
    core_share: float
    rim_mm: float
    islands: float
    one_sidedness: float
    solid: float
    faint: float
    push_mm: float
    seed: int
    second_seed: float
    second_seed_mm: tuple[float, float]

    @property
    def core_radius_mm(self) -> float:
        """Radius of a ball of the core's volume, in mm."""
        return float((self.whole_ml * self.core_share * 750 / np.pi) ** (1 / 3))


class Tumour(NamedTuple):
    """A tumour that has grown, on the coarse grid.

    Attributes:
        plan: what was drawn.
        axes: of the coarse grid, in mm.
        core: ``(x, y, z)`` mm, larger towards the inside of the core.
        edema: ``(x, y, z)`` mm, larger towards the core.
        push: ``(3, x, y, z)`` displacement of the tissue, in mm.
    """

    plan: TumourPlan
    axes: tuple[NDArray, NDArray, NDArray]
    core: NDArray
    edema: NDArray
    push: NDArray


def draw_plan(rng: np.random.Generator, variety: Variety) -> TumourPlan:
    """Draw a tumour: a rim around necrosis, or enhancing throughout, or not at all."""
    kind = rng.random()
    median, spread, least, largest = variety.volume_ml
    whole_ml = float(np.clip(np.exp(rng.normal(np.log(median), spread)), least, largest))
    share = float(np.clip(rng.beta(3.0, 4.5), *variety.core_share))
    mean, deviation, thinnest, thickest = variety.rim_mm
    rim_mm = float(np.clip(rng.normal(mean, deviation), thinnest, thickest))
    if kind > 1 - variety.not_enhancing:  # like a low-grade glioma: mostly core, little edema
        share, rim_mm = float(rng.uniform(0.45, 0.85)), 0.0
    elif kind > 1 - variety.not_enhancing - variety.enhancing_throughout:
        share, rim_mm = min(share, 0.35), np.inf
    seed = int(rng.integers(2**63))
    detail = np.random.default_rng([seed, 2])
    islands, faint = draw(detail, variety.islands), draw(detail, variety.faint)
    one_sidedness, solid = draw(detail, variety.one_sidedness), draw(detail, variety.solid)
    plan = TumourPlan(
        whole_ml,
        share,
        rim_mm,
        islands,
        one_sidedness,
        solid,
        faint,
        push_mm=0.0,
        seed=seed,
        second_seed=variety.second_seed,
        second_seed_mm=variety.second_seed_mm,
    )
    return plan._replace(push_mm=float(plan.core_radius_mm * draw(rng, variety.push)))


def grow_tumour(plan: TumourPlan, head: Head, grid: Grid) -> Tumour:
    """Let a tumour grow in a head, at a place that ``grid`` shows."""
    rng = np.random.default_rng(plan.seed)
    coarse = coarse_grid(COARSE_MM)
    tissue, coordinates = _coarse_tissue(head, coarse.axes)
    seeds = _draw_seeds(rng, plan, tissue, coordinates, coarse, grid)
    reach = int(REACH_MM / COARSE_MM)
    centre = np.unravel_index(seeds[0], coarse.shape)
    window = tuple(slice(max(n - reach, 0), n + reach + 1) for n in centre)
    x, y, z = (axis[part] for axis, part in zip(coarse.axes, window, strict=True))
    axes = (x, y, z)
    tissue = tissue[(slice(None), *window)]  # (K, x, y, z)
    source = np.zeros(coarse.shape, np.float32)
    source.flat[seeds] = 1.0
    lobes = np.exp(0.85 * random_field(rng, axes, 13.0))
    strands = np.exp(0.9 * random_field(rng, axes, 8.0))

    core_voxels, whole_voxels = np.array([plan.core_share, 1.0]) * plan.whole_ml / coarse.voxel_ml
    core = grow(_conductivity(tissue, lobes, CORE_CONDUCTIVITY), source[window], 1.4 * core_voxels)
    solid = np.clip(core - level_of_count(core, core_voxels) + 0.5, 0, 1)
    push = _mass_effect(solid, plan.push_mm, np.any(tissue, axis=0))

    displaced, _ = _coarse_tissue(head, axes, push)
    conductivity = np.maximum(_conductivity(displaced, strands, EDEMA_CONDUCTIVITY), 0.5 * solid)
    edema = grow(conductivity, solid, 1.5 * whole_voxels)
    return Tumour(plan, axes, core * np.float32(COARSE_MM), edema * np.float32(COARSE_MM), push)


def level_of_count(values: NDArray, count: float) -> float:
    """Find the threshold that ``count`` of the values exceed."""
    rank = int(np.clip(values.size - round(count) - 1, 0, values.size - 1))
    return float(np.partition(values, rank, axis=None)[rank])


def _coarse_tissue(head: Head, axes: Sequence[NDArray], push: NDArray | None = None) -> tuple[NDArray, NDArray]:
    """Sample a head on a coarse grid: (K, x, y, z) fractions, zero outside of the brain, and (3, x, y, z) in MNI152."""
    atlas = load_atlas(COARSE_MM)
    coordinates = warp(head, axes, push)
    brain = brain_mask(head, atlas, coordinates, axes)
    tissue = np.zeros((len(TISSUES), *brain.shape), np.float32)
    tissue[:, brain] = tissue_fractions(head, atlas, coordinates[:, brain])
    return tissue, coordinates


def _conductivity(tissue: NDArray, variation: NDArray, by_tissue: tuple[float, float, float]) -> NDArray:
    """Mix the conductivities of grey, deep grey and white matter; fluid, veins and outside conduct nothing."""
    mixed = by_tissue[0] * tissue[GREY] + by_tissue[1] * tissue[DEEP_GREY] + by_tissue[2] * tissue[WHITE]
    return np.clip(mixed * variation * np.clip(1 - 2 * tissue[CSF], 0, 1), 0, 1).astype(np.float32)


def _draw_seeds(
    rng: np.random.Generator, plan: TumourPlan, tissue: NDArray, mni: NDArray, coarse: Grid, grid: Grid
) -> NDArray:
    """Draw one or two coarse voxels (flat indices) in cerebral white matter that the grid shows."""
    x, y, z = mni
    stem = (np.abs(x) < 15) & (z < -5) & (y < -5)
    below_tentorium = (y < -36) & (z < -16 + 0.25 * (y + 90))
    cerebral = ~(stem | below_tentorium) & (np.abs(x) > 8) & (z > -30)
    density = ndimage.uniform_filter(tissue[WHITE], 3)
    weight = np.where(cerebral & (density > 0.4), density**2 * tissue[WHITE], 0)
    shown = np.ones_like(cerebral)
    for i, axis in enumerate(grid.axes):
        margin = 0.12 * grid.spacing * len(axis)
        within = (coarse.axes[i] > axis.min() + margin) & (coarse.axes[i] < axis.max() - margin)
        shown &= within.reshape([-1 if i == j else 1 for j in range(3)])
    choices = (weight * shown, (tissue[WHITE] + tissue[DEEP_GREY]) * shown, weight)  # a small grid shows what it can
    weight = next(choice for choice in choices if choice.any())
    first = rng.choice(weight.size, p=(weight / weight.sum()).ravel())
    mesh = np.meshgrid(*coarse.axes, indexing="ij")
    distance = np.sqrt(sum((part - part.flat[first]) ** 2 for part in mesh))
    near = weight * (np.abs(distance - draw(rng, plan.second_seed_mm)) < 4)
    second, lobulated = rng.random(), rng.random() < plan.second_seed
    if not (lobulated and near.any()):
        return np.array([first])
    cumulative = np.cumsum(near)
    return np.array([first, np.searchsorted(cumulative, second * cumulative[-1], side="right")])


def _mass_effect(solid: NDArray, push_mm: float, inside: NDArray) -> NDArray:
    """Displace tissue away from the core, ``(3, x, y, z)`` mm: less with distance, not at all at the skull."""
    potential = ndimage.gaussian_filter(solid, 12.0 / COARSE_MM)
    push = -np.stack(np.gradient(potential))
    push *= 1 - np.exp(-ndimage.distance_transform_edt(inside) * COARSE_MM / 14.0)
    largest = np.sqrt((push**2).sum(0)).max()
    return (push * (push_mm / max(largest, 1e-6))).astype(np.float32)
