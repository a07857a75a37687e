# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The glioma of one phantom: where it is, how large, which parts it has.

A core grows from one or two seeds, pushes the tissue around it away, then edema spreads from the core through the
displaced white matter. Both are followed on a coarse grid (4 mm) as smooth functions that are distances in mm; the
outlines are cut out of them on the fine grid, with small random perturbations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .anatomy import CSF, DEEP_GREY, GREY, WHITE, Head, brain_mask, load_atlas, tissue_fractions, warp
from .fields import interpolate, random_field
from .grid import Grid, coarse_grid
from .growth import grow

COARSE_MM = 4.0
REACH_MM = 72.0  # half edge of the box in which a tumour is followed
PATHOLOGIES = ("edema", "necrosis", "non_enhancing", "enhancing")
BACKGROUND, NECROTIC_CORE, EDEMA, ENHANCING = 0, 1, 2, 3  # internal classes of labels


class TumourPlan(NamedTuple):
    """What was drawn for one tumour.

    Attributes:
        whole_ml: volume of the whole tumour, in mL.
        core_share: share of the core in that volume.
        rim_mm: mean thickness of the enhancing rim; 0 for no enhancement, infinite for no necrosis.
        push_mm: largest displacement of the tissue around it, in mm.
        seed: of the shape.
    """

    whole_ml: float
    core_share: float
    rim_mm: float
    push_mm: float
    seed: int


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


class Compartments(NamedTuple):
    """The tumour on the fine grid, at the voxels of the brain.

    Attributes:
        fractions: ``(4, N)`` float32 of ``PATHOLOGIES``, in [0, 1], their sum at most 1.
        label: ``(N,)`` uint8 internal classes.
        effaced: ``(N,)`` in [0, 1], how much the sulci are pressed shut.
    """

    fractions: NDArray
    label: NDArray
    effaced: NDArray


def draw_plan(rng: np.random.Generator) -> TumourPlan:
    """Draw a tumour: 70 % have a rim around necrosis, 12 % enhance throughout, 18 % do not enhance."""
    kind = rng.random()
    whole_ml = float(np.clip(np.exp(rng.normal(np.log(62.0), 0.65)), 6.0, 165.0))
    share, rim_mm = float(np.clip(rng.beta(3.0, 4.5), 0.12, 0.75)), float(np.clip(rng.normal(5.0, 1.5), 2.5, 9.0))
    if kind > 0.82:  # like a low-grade glioma: mostly core, little edema
        share, rim_mm = float(rng.uniform(0.45, 0.85)), 0.0
    elif kind > 0.70:
        share, rim_mm = min(share, 0.35), np.inf
    core_mm = (whole_ml * share * 750 / np.pi) ** (1 / 3)  # radius of a ball of the core's volume
    push_mm = float(core_mm * rng.uniform(0.15, 0.5))
    return TumourPlan(whole_ml, share, rim_mm, push_mm, int(rng.integers(2**63)))


def grow_tumour(plan: TumourPlan, head: Head, grid: Grid) -> Tumour:
    """Let a tumour grow in a head, at a place that ``grid`` shows."""
    rng = np.random.default_rng(plan.seed)
    coarse, atlas = coarse_grid(COARSE_MM), load_atlas(COARSE_MM)
    coordinates = warp(head, coarse.axes)
    inside = brain_mask(head, atlas, coordinates)
    tissue = tissue_fractions(head, atlas, coordinates) * inside
    seeds = _draw_seeds(rng, tissue, coordinates, coarse, grid)
    window = tuple(
        slice(max(n - int(REACH_MM / COARSE_MM), 0), n + int(REACH_MM / COARSE_MM) + 1)
        for n in np.unravel_index(seeds[0], coarse.shape)
    )
    source = np.zeros(coarse.shape, np.float32)
    source.flat[seeds] = 1.0
    source, axes = source[window], tuple(axis[part] for axis, part in zip(coarse.axes, window, strict=True))
    lobes = np.exp(0.55 * random_field(rng, axes, 13.0))
    strands = np.exp(0.7 * random_field(rng, axes, 9.0))

    core_voxels = plan.whole_ml * plan.core_share / coarse.voxel_ml
    core = grow(_conductivity(tissue[(slice(None), *window)], lobes, (0.45, 0.55, 1.0)), source, 1.4 * core_voxels)
    solid = np.clip(core - _level(core, core_voxels) + 0.5, 0, 1)
    push = _mass_effect(solid, plan.push_mm, inside[window])

    coordinates = warp(head, axes, push)
    tissue = tissue_fractions(head, atlas, coordinates) * brain_mask(head, atlas, coordinates)
    whole_voxels = plan.whole_ml / coarse.voxel_ml
    edema = grow(np.maximum(_conductivity(tissue, strands, (0.035, 0.15, 1.0)), 0.5 * solid), solid, 1.5 * whole_voxels)
    return Tumour(plan, axes, core * np.float32(COARSE_MM), edema * np.float32(COARSE_MM), push)


def _conductivity(tissue: NDArray, variation: NDArray, speed: tuple[float, float, float]) -> NDArray:
    """Mix the conductivities of grey, deep grey and white matter; fluid, veins and outside conduct nothing."""
    mixed = speed[0] * tissue[GREY] + speed[1] * tissue[DEEP_GREY] + speed[2] * tissue[WHITE]
    return np.clip(mixed * variation * np.clip(1 - 2 * tissue[CSF], 0, 1), 0, 1).astype(np.float32)


def _level(values: NDArray, count: float) -> float:
    """Threshold that ``count`` of the values exceed."""
    rank = int(np.clip(values.size - round(count), 0, values.size - 1))
    return float(np.partition(values, rank, axis=None)[rank])


def _draw_seeds(rng: np.random.Generator, tissue: NDArray, mni: NDArray, coarse: Grid, grid: Grid) -> NDArray:
    """Draw one or two neighbouring coarse voxels (flat indices) in cerebral white matter that the grid shows."""
    x, y, z = mni
    stem = (np.abs(x) < 15) & (z < -5) & (y < -5)
    below_tentorium = (y < -36) & (z < -16 + 0.25 * (y + 90))
    weight = np.clip(ndimage.uniform_filter(tissue[WHITE], 3), 0, None) ** 2 * tissue[WHITE] * ~(stem | below_tentorium)
    weight *= (np.abs(x) > 8) * (z > -30)
    for i, axis in enumerate(grid.axes):
        margin = 0.12 * grid.spacing * len(axis)
        shown = (coarse.axes[i] > axis.min() + margin) & (coarse.axes[i] < axis.max() - margin)
        if shown.any():
            weight = weight * shown.reshape([-1 if i == j else 1 for j in range(3)])
    if not weight.any():
        weight = np.ones_like(weight)
    first = rng.choice(weight.size, p=(weight / weight.sum()).ravel())
    mesh = np.meshgrid(*coarse.axes, indexing="ij")
    distance = np.sqrt(sum((part - part.flat[first]) ** 2 for part in mesh))
    near = weight * (np.abs(distance - rng.uniform(8, 18)) < 4)
    second, lobulated = rng.random(), rng.random() < 0.45
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


def delineate(tumour: Tumour, grid: Grid, brain: NDArray, tissue: NDArray) -> Compartments:
    """Cut the compartments out of a grown tumour on the fine grid.

    Args:
        tumour: what has grown.
        grid: fine grid.
        brain: ``(X, Y, Z)`` bool, with ``N`` voxels.
        tissue: ``(K, N)`` fractions of the healthy tissues, after mass effect.
    """
    plan, rng = tumour.plan, np.random.default_rng([tumour.plan.seed, 1])
    scales = (14.0, 6.0, 3.5, 15.0, 6.0, 9.0, 4.0, 7.0)  # mm
    noise = [random_field(rng, grid.axes, scale)[brain] for scale in scales]
    core, edema = (interpolate(part, tumour.axes, grid.axes)[brain] for part in (tumour.core, tumour.edema))
    fluid = np.clip(tissue[CSF] - 0.25, 0, 1)
    partial = 0.25 + 0.25 * grid.spacing  # mm, how soft an edge looks

    limit = 0.2 / plan.whole_ml * np.count_nonzero(brain) * grid.voxel_ml  # a small grid shows a small tumour
    whole_voxels = plan.whole_ml * min(1.0, limit) / grid.voxel_ml
    core = core + 2.6 * noise[0] + 1.4 * noise[1] + 0.5 * noise[2] - 40 * fluid
    core -= _level(core, whole_voxels * plan.core_share)
    edema = edema + 13 * (tissue[WHITE] - 0.6) + 1.6 * noise[3] + 0.8 * noise[4]
    whole = np.where(core > 0, np.inf, edema - 60 * fluid)
    level = _level(whole, whole_voxels)
    whole = edema - 60 * fluid - level

    in_core = _soft(core, partial)
    in_edema = _soft(whole, 1.2 + partial) * (0.72 + 0.28 * _soft(whole - 8, 3.0)) * (1 - in_core)
    rim = _enhancing_share(plan.rim_mm, core, noise[5:8], partial)
    cystic = _soft(3 * noise[7] + (4.0 if plan.rim_mm else -4.5), 0.7)
    fractions = np.stack([in_edema, in_core * (1 - rim) * cystic, in_core * (1 - rim) * (1 - cystic), in_core * rim])
    label = np.where(whole > 0, EDEMA, BACKGROUND)
    label = np.where(core > 0, np.where(rim > 0.5, ENHANCING, NECROTIC_CORE), label)
    return Compartments(fractions.astype(np.float32), label.astype(np.uint8), _soft(edema - level, 4.0))


def _soft(distance: NDArray, width: float) -> NDArray:
    """Go from 0 to 1 where a distance (mm) changes sign."""
    return 1 / (1 + np.exp(-np.clip(distance / width, -30, 30)))


def _enhancing_share(rim_mm: float, depth: NDArray, noise: list[NDArray], partial: float) -> NDArray:
    """Share of the core that enhances: a rim of uneven thickness with gaps and some islands, all of it, or nothing."""
    if rim_mm == 0:
        return np.zeros_like(depth)
    if np.isinf(rim_mm):
        return _soft(1.9 - noise[0] - 0.4 * noise[1], 0.25)
    thickness = rim_mm * (1 + 0.55 * noise[0] + 0.5 * noise[1])
    islands = _soft(3 * (noise[2] + 0.5 * noise[1] - 1.7), partial)
    return np.maximum(_soft(thickness - depth, partial), islands)
