# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""One phantom: a head with a glioma, imaged in the modalities asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from .acquisition import acquire
from .anatomy import CSF, TISSUES, VESSEL, WHITE, brain_mask, draw_head, load_atlas, tissue_fractions, warp
from .contrast import draw_sequence, draw_tissues, image_signal, known_modalities
from .fields import interpolate, random_field
from .grid import Grid, head_grid
from .tumour import PATHOLOGIES, Compartments, delineate, draw_plan, grow_tumour


@dataclass(frozen=True)
class PhantomSettings:
    """What phantoms to make; with an index, it determines every voxel.

    Args:
        spacing_mm: edge of a voxel, in mm.
        grid_shape: number of voxels along each dimension; ``None`` takes the brain's bounding box and a small margin.
        modalities: names from ``contrasts.yaml``, in the order of the images.
        seed: of the whole data set. The same seed and index are the same patient at any spacing and in any modality.
    """

    spacing_mm: float = 2.0
    grid_shape: tuple[int, int, int] | None = None
    modalities: tuple[str, ...] = known_modalities()[:4]
    seed: int = 0


class Phantom(NamedTuple):
    """A patient.

    Attributes:
        images: ``(M, X, Y, Z)`` int16, arbitrary units, exactly 0 outside of the brain and positive inside.
        label: ``(X, Y, Z)`` uint8 internal classes: 0 background, 1 necrotic or non-enhancing core, 2 edema, 3 enhancing.
        affine: ``(4, 4)`` voxel to world, mm.
    """

    images: NDArray
    label: NDArray
    affine: NDArray


def make_phantom(settings: PhantomSettings, index: int) -> Phantom:
    """Make the phantom number ``index`` of a seed; it depends on nothing else.

    Raises:
        ValueError: if a modality has no contrast or the grid makes no sense.
    """
    rng = np.random.default_rng((settings.seed, index))
    grid = head_grid(settings.spacing_mm, settings.grid_shape)
    head, plan, tissues = draw_head(rng), draw_plan(rng), draw_tissues(rng)
    tumour = grow_tumour(plan, head, grid)
    push = np.stack([interpolate(part, tumour.axes, grid.axes) for part in tumour.push])
    atlas = load_atlas(settings.spacing_mm)
    coordinates = warp(head, grid.axes, push)
    brain = brain_mask(head, atlas, coordinates)
    healthy = tissue_fractions(head, atlas, coordinates[:, brain])
    tumour_parts = delineate(tumour, grid, brain, healthy)
    fractions = _mix(_add_vessels(rng, healthy, grid, brain), tumour_parts)
    water = _water(rng, healthy, grid, brain)

    images = np.empty((len(settings.modalities), *grid.shape), np.int16)
    for m, modality in enumerate(settings.modalities):
        scanner = np.random.default_rng((settings.seed, index, crc32(modality.encode())))
        image = image_signal(fractions, tissues, draw_sequence(scanner, modality), water)
        images[m] = acquire(image, brain, grid, scanner)
    label = np.zeros(grid.shape, np.uint8)
    label[brain] = tumour_parts.label
    return Phantom(images, label, grid.affine)


def _mix(healthy: NDArray, tumour: Compartments) -> dict[str, NDArray]:
    """Put the tumour into the head: tissue name to (N,) fraction; the fractions of a voxel sum to 1."""
    healthy = healthy.copy()
    healthy[CSF] *= 1 - 0.7 * tumour.effaced
    healthy *= (1 - tumour.fractions.sum(0)) / healthy.sum(0)
    return dict(zip((*TISSUES, *PATHOLOGIES), (*healthy, *tumour.fractions), strict=True))


def _add_vessels(rng: np.random.Generator, healthy: NDArray, grid: Grid, brain: NDArray) -> NDArray:
    """Run vessels through the sulci: curves along which two random fields are both zero."""
    first, second = (random_field(rng, grid.axes, 8.0)[brain] for _ in range(2))
    width = 0.10 + 0.04 * grid.spacing
    share = np.exp(-(first**2 + second**2) / (2 * width**2)) * np.clip(3 * healthy[CSF], 0, 1)
    healthy = healthy * (1 - share)
    healthy[VESSEL] += share
    return healthy


def _water(rng: np.random.Generator, healthy: NDArray, grid: Grid, brain: NDArray) -> NDArray:
    """Texture of the tissues, (N,) of unit deviation, with a few wet spots in the white matter (age, not tumour)."""
    parts = [weight * random_field(rng, grid.axes, scale)[brain] for weight, scale in ((0.65, 20.0), (0.5, 7.0), (0.57, 3.2))]
    spots = np.clip(random_field(rng, grid.axes, 6.0)[brain] - rng.uniform(2.2, 3.4), 0, 0.8)
    return sum(parts) + np.float32(8) * spots * healthy[WHITE]
