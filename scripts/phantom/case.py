# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""One phantom: a head with a glioma, imaged in the modalities asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .acquisition import acquire
from .anatomy import (
    CSF,
    TISSUES,
    VESSEL,
    WHITE,
    around_ventricles,
    brain_mask,
    draw_head,
    load_atlas,
    meninges,
    tissue_fractions,
    warp,
)
from .compartments import (
    EDEMA_TISSUE,
    ENHANCING_TISSUE,
    FAINT_TISSUE,
    NECROSIS_TISSUE,
    PATHOLOGIES,
    SOLID_TISSUE,
    Compartments,
    delineate,
)
from .contrast import (
    check_modalities,
    default_modalities,
    draw_remnants,
    draw_sequence,
    draw_tissues,
    image_signal,
    read_contrasts,
)
from .fields import interpolate, random_field
from .grid import Grid, head_grid
from .tumour import draw_plan, grow_tumour
from .variety import TYPICAL, Variety, draw, get_variety

# (weight, size in mm) of the random fields that make up the texture of tissues.
TEXTURE = ((0.60, 24.0), (0.50, 12.0), (0.42, 6.0), (0.46, 3.0))
SOLID_CORE = (SOLID_TISSUE, ENHANCING_TISSUE)  # of which faint enhancement is a copy
CAP_MM = 3.5  # how far the wet lining of the ventricles reaches, a Gaussian's deviation


@dataclass(frozen=True)
class PhantomSettings:
    """What phantoms to make; with an index, it determines every voxel.

    Args:
        spacing_mm: edge of a voxel, in mm.
        grid_shape: number of voxels along each dimension; ``None`` takes the brain's bounding box and a small margin.
        modalities: names from ``contrasts.yaml``, in the order of the images.
        seed: of the whole data set. The same seed and index are the same patient at any spacing, and the same image of
            a modality whichever others are asked for.
        variety: how much patients and images differ, a name of ``variety.yaml``.

    Raises:
        ValueError: if a modality has no contrast or comes twice, the grid makes no sense, or the variety is unknown.
    """

    spacing_mm: float = 2.0
    grid_shape: tuple[int, int, int] | None = None
    modalities: tuple[str, ...] = field(default_factory=default_modalities)
    seed: int = 0
    variety: str = TYPICAL

    def __post_init__(self) -> None:
        check_modalities(self.modalities)
        get_variety(self.variety)
        head_grid(self.spacing_mm, self.grid_shape)


class Phantom(NamedTuple):
    """A patient's images.

    Attributes:
        images: ``(M, X, Y, Z)`` int16, arbitrary units, exactly 0 outside of the brain and positive inside.
        label: ``(X, Y, Z)`` uint8 internal classes: 0 background, 1 necrotic or non-enhancing core, 2 edema,
            3 enhancing tumour.
        affine: ``(4, 4)`` voxel to world, RAS+ mm; the voxels themselves run to the left, back and top, as in BraTS.
    """

    images: NDArray
    label: NDArray
    affine: NDArray


class Patient(NamedTuple):
    """A patient before imaging.

    Attributes:
        grid: where the voxels lie.
        brain: ``(X, Y, Z)`` bool, with ``N`` voxels.
        label: ``(X, Y, Z)`` uint8 internal classes.
        fractions: tissue name to its ``(N,)`` share of each voxel of the brain; the shares of a voxel sum to 1.
        water: ``(N,)`` texture, in units of each tissue's own deviation.
        tissues: tissue name to its properties.
    """

    grid: Grid
    brain: NDArray
    label: NDArray
    fractions: dict[str, NDArray]
    water: NDArray
    tissues: dict[str, dict[str, float]]


def make_phantom(settings: PhantomSettings, index: int) -> Phantom:
    """Make the phantom number ``index`` of a seed; it depends on nothing else."""
    patient, variety = make_patient(settings, index), get_variety(settings.variety)
    images = np.empty((len(settings.modalities), *patient.grid.shape), np.int16)
    for m, modality in enumerate(settings.modalities):
        rng = np.random.default_rng((settings.seed, index, crc32(modality.encode())))
        images[m] = image_patient(patient, modality, rng, variety)
    return Phantom(images, patient.label, patient.grid.affine)


def image_patient(patient: Patient, modality: str, rng: np.random.Generator, variety: Variety) -> NDArray:
    """Image a patient once: ``(X, Y, Z)`` int16, arbitrary units, 0 outside of the brain and positive inside.

    Args:
        patient: whom.
        modality: a name of ``contrasts.yaml``.
        rng: the image's own.
        variety: how much images differ.
    """
    further = rng.spawn(1)[0]
    sequence = draw_sequence(rng, modality, variety.other_sequence)
    factors = _estrange(further, patient.tissues, variety)
    signal = image_signal(patient.fractions, patient.tissues, sequence, patient.water, factors)
    return acquire(signal, patient.brain, patient.grid, rng, variety)


def draw_all_tissues(rng: np.random.Generator, variety: Variety) -> dict[str, dict[str, float]]:
    """Draw the properties of one patient's tissues, and of what skull-stripping may leave; see ``contrasts.yaml``."""
    further = rng.spawn(1)[0]
    jitter, uptake = draw(further, variety.tissue_jitter), draw(further, variety.contrast_uptake)
    tissues = draw_tissues(rng, jitter) | draw_remnants(further, jitter)
    edema_wetness, faintness = draw(further, variety.edema_wetness), draw(further, variety.faintness)
    core_wetness, protein = draw(further, variety.core_wetness), draw(further, variety.necrosis_protein)
    heterogeneity = draw(further, variety.heterogeneity)
    for name, wetness in ((EDEMA_TISSUE, edema_wetness), *((name, core_wetness) for name in SOLID_CORE)):
        tissues[name]["transverse_ms"] *= 1 + wetness
        tissues[name]["longitudinal_ms"] *= 1 + wetness / 2
    tissues[NECROSIS_TISSUE]["longitudinal_ms"] *= 1 - protein
    bright = tissues[ENHANCING_TISSUE]
    tissues[FAINT_TISSUE] = bright | {"gadolinium": bright["gadolinium"] * faintness}
    for name in PATHOLOGIES:
        tissues[name]["texture"] *= heterogeneity
    return {name: tissue | {"gadolinium": tissue["gadolinium"] * uptake} for name, tissue in tissues.items()}


def make_patient(settings: PhantomSettings, index: int) -> Patient:
    """Make the head and the tumour of the phantom number ``index``."""
    rng, variety = np.random.default_rng((settings.seed, index)), get_variety(settings.variety)
    further = rng.spawn(1)[0]
    grid, atlas = head_grid(settings.spacing_mm, settings.grid_shape), load_atlas(settings.spacing_mm)
    head, plan, tissues = draw_head(rng, variety), draw_plan(rng, variety), draw_all_tissues(rng, variety)
    tumour = grow_tumour(plan, head, grid)
    push = np.stack([interpolate(part, tumour.axes, grid.axes) for part in tumour.push])
    coordinates = warp(head, grid.axes, push)  # (3, X, Y, Z)
    brain = brain_mask(head, atlas, coordinates, grid.axes)
    coordinates = coordinates[:, brain]  # (3, N)
    healthy = tissue_fractions(head, atlas, coordinates)
    compartments = delineate(tumour, grid, brain, healthy)
    around = around_ventricles(coordinates)
    healthy = _add_vessels(rng, healthy, grid, brain, ~around, draw(further, variety.vessel_width))
    label = np.zeros(grid.shape, np.uint8)
    label[brain] = compartments.label
    water = _water(rng, healthy, grid, brain, variety)
    water += _ventricle_caps(further, healthy, grid, brain, around, variety)
    fractions = _cover(_mix(healthy, compartments), meninges(atlas, coordinates), compartments)
    return Patient(grid, brain, label, fractions, water, tissues)


def _estrange(
    rng: np.random.Generator, tissues: dict[str, dict[str, float]], variety: Variety
) -> dict[str, float] | None:
    """Draw by which factors an image's contrast leaves physics behind; mostly not at all."""
    if rng.random() >= variety.estranged:
        return None
    deviation = draw(rng, variety.estrangement)
    return {name: float(np.exp(deviation * rng.standard_normal())) for name in tissues}


def _add_vessels(
    rng: np.random.Generator, healthy: NDArray, grid: Grid, brain: NDArray, where: NDArray, factor: float
) -> NDArray:
    """Run vessels through the sulci: curves along which two random fields are both zero."""
    first, second = (random_field(rng, grid.axes, 8.0)[brain] for _ in range(2))
    width = factor * (0.10 + 0.04 * grid.spacing)
    share = np.exp(-(first**2 + second**2) / (2 * width**2)) * np.clip(3 * healthy[CSF], 0, 1) * where
    share *= (0.14 / width) ** 2 if width > 0.2 else 1.0  # thinner than a voxel
    healthy = healthy * (1 - share)
    healthy[VESSEL] += share
    return healthy


def _mix(healthy: NDArray, tumour: Compartments) -> dict[str, NDArray]:
    """Put the tumour into the head; near it the sulci are pressed shut."""
    healthy = healthy.copy()
    healthy[CSF] *= 1 - 0.7 * tumour.effaced
    healthy *= np.maximum(1 - tumour.fractions.sum(0), 0) / healthy.sum(0)
    return dict(zip((*TISSUES, *PATHOLOGIES), (*healthy, *tumour.fractions), strict=True))


def _cover(fractions: dict[str, NDArray], share: NDArray, tumour: Compartments) -> dict[str, NDArray]:
    """Put what covers the brain where skull-stripping left it, but not over the tumour."""
    if not share.any():
        return fractions
    share = (share * (1 - tumour.fractions.sum(0))).astype(np.float32)
    remnants = list(read_contrasts()["remnants"])
    rest = {name: fraction * (1 - share) for name, fraction in fractions.items()}
    return rest | {name: share / len(remnants) for name in remnants}


def _water(rng: np.random.Generator, healthy: NDArray, grid: Grid, brain: NDArray, variety: Variety) -> NDArray:
    """Texture of the tissues, with a few wet spots in the white matter that come with age, not with the tumour."""
    texture = sum(weight * random_field(rng, grid.axes, size)[brain] for weight, size in TEXTURE)
    spots = np.clip(random_field(rng, grid.axes, 6.0)[brain] - draw(rng, variety.wet_spots), 0, 0.8)
    return (texture + 8 * spots * healthy[WHITE]).astype(np.float32)


def _ventricle_caps(
    rng: np.random.Generator, healthy: NDArray, grid: Grid, brain: NDArray, around: NDArray, variety: Variety
) -> NDArray:
    """Wet white matter that lines the ventricles, in units of its texture's deviation: ``(N,)``."""
    strength = draw(rng, variety.ventricle_caps)
    if not strength:
        return np.zeros(np.count_nonzero(brain), np.float32)
    fluid = np.zeros(grid.shape, np.float32)
    fluid[brain] = healthy[CSF] * around
    near = ndimage.gaussian_filter(fluid, CAP_MM / grid.spacing, truncate=3.0)[brain]
    uneven = 1 + 0.7 * random_field(rng, grid.axes, 14.0)[brain]
    # at a strength of 1 up to 8 deviations, as a wet spot has
    return (16 * strength * np.clip(near * uneven, 0, 0.5) * healthy[WHITE]).astype(np.float32)
