# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The healthy head of one phantom: MNI152 tissue maps, deformed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import csr_array

from .fields import random_field, separable_product
from .grid import BRAIN_BOX, MARGIN
from .variety import Variety, draw

TISSUES = ("grey", "deep_grey", "white", "csf", "vessel", "choroid")
GREY, DEEP_GREY, WHITE, CSF, VESSEL, CHOROID = range(len(TISSUES))
# Ellipsoid around thalamus and basal ganglia: centre and half axes, in mm of MNI152.
DEEP_CENTRE, DEEP_AXES = (0.0, -3.0, 4.0), (34.0, 33.0, 19.0)
# Choroid plexus of the lateral ventricles' atria (either side), in mm of MNI152.
CHOROID_CENTRE, CHOROID_RADIUS = (23.0, -41.0, 10.0), (4.5, 6.0, 7.0)
UNEVEN_MM = 22.0  # distance of the knots of the field that says where the skull was stripped better or worse
STRIPPING_LIMITS = (0.12, 0.93)  # of the blurred brain mask, about 3 mm outside of the brain and 4 mm inside
MENINGES_BELOW = 0.47  # level of the blurred brain mask at which what covers the brain begins, about its edge
# Ellipsoid around the lateral and third ventricles: centre and half axes, in mm of MNI152.
VENTRICLES = ((0.0, -9.0, 9.0), (34.0, 52.0, 28.0))


class Atlas(NamedTuple):
    """Tissue maps on a regular RAS grid.

    Attributes:
        maps: ``(K, X, Y, Z)`` float32 fractions of ``TISSUES``; they sum to the brain.
        brain: ``(X, Y, Z)`` float32 brain mask, blurred: one half at the edge, about 0.15 more for a mm further in.
        first: MNI152 coordinate of voxel (0, 0, 0), in mm.
        spacing: edge of a voxel, in mm.
    """

    maps: NDArray
    brain: NDArray
    first: NDArray
    spacing: float


class Head(NamedTuple):
    """How one head differs from the MNI152 average.

    Attributes:
        matrix: ``(3, 3)`` from the case to MNI152, about the origin.
        shift: ``(3,)`` in mm.
        seed: of the elastic deformation.
        atrophy: how much wider the spaces of cerebrospinal fluid are (dimensionless factor).
        sharpness: exponent that undoes the blur of averaging 152 brains.
        stripping: how tightly the skull was stripped, as a level of the blurred brain mask.
        deformation: factor of the elastic deformation.
        unevenness: deviation of the level of stripping over the brain.
    """

    matrix: NDArray
    shift: NDArray
    seed: int
    atrophy: float
    sharpness: float
    stripping: float
    deformation: float
    unevenness: float


def around_ventricles(coordinates: NDArray) -> NDArray:
    """Say which of the ``(3, *S)`` MNI152 coordinates (mm) lie in or near the ventricles: ``(*S)`` bool."""
    centre, radius = (np.reshape(triple, (3, *(1,) * (coordinates.ndim - 1))) for triple in VENTRICLES)
    return (((coordinates - centre) / radius) ** 2).sum(0) < 1


def _ellipsoid(axes: Sequence[NDArray], centre: Sequence[float], radius: Sequence[float]) -> NDArray:
    """Squared distance from the centre in units of the half axes."""
    x, y, z = ((axis - c) / r for axis, c, r in zip(axes, centre, radius, strict=True))
    return x[:, None, None] ** 2 + y[None, :, None] ** 2 + z[None, None, :] ** 2


def _sagittal_sinus(brain: NDArray, axes: Sequence[NDArray]) -> NDArray:
    """Large veins along the upper rim of the midline, where the brain mask ends."""
    x, y, z = axes
    slab = np.abs(x) <= 2.5
    depth = np.stack([ndimage.distance_transform_edt(plane) for plane in brain[slab] > 0.5])
    upper = (z[None, :] > np.maximum(25 - 0.9 * (y[:, None] + 105), 8)) & (y[:, None] < 60)
    sinus = np.zeros_like(brain)
    sinus[slab] = np.clip(5 - depth, 0, 1) * upper * brain[slab]
    return sinus


@lru_cache(maxsize=1)
def _average_brain() -> tuple[NDArray, list[NDArray]]:
    """Maps of the brain and of TISSUES at 1 mm, uint8 of 255, cropped to the brain: ((1 + K, X, Y, Z), axes in mm)."""
    from nilearn import datasets  # slow to import, needed only to make phantoms

    loaders = (datasets.load_mni152_brain_mask, datasets.load_mni152_gm_template, datasets.load_mni152_wm_template)
    images = [load(resolution=1) for load in loaders]
    origin = images[0].affine[:3, 3]
    crop, axes = [], []
    for i, (low, high) in enumerate(BRAIN_BOX):
        crop.append(slice(max(int(low - MARGIN - origin[i]), 0), int(high + MARGIN - origin[i])))
        axes.append((origin[i] + np.arange(images[0].shape[i]))[crop[i]])
    brain, grey, white = (np.asarray(image.dataobj, dtype=np.float32)[tuple(crop)] for image in images)
    fluid = np.clip(brain - grey - white, 0, 1)
    deep = np.clip(2.5 - 2 * _ellipsoid(axes, DEEP_CENTRE, DEEP_AXES), 0, 1)
    mirrored = [np.abs(axes[0]), *axes[1:]]
    choroid = fluid * 0.7 * np.clip(2 - 2 * _ellipsoid(mirrored, CHOROID_CENTRE, CHOROID_RADIUS), 0, 1)
    sinus = _sagittal_sinus(brain, axes)
    rest = brain * (1 - sinus)
    cortex, nuclei = rest * grey * (1 - deep), rest * grey * deep
    soft_brain = ndimage.gaussian_filter(brain, 2.5, truncate=3.0)
    fractions = [cortex, nuclei, rest * white, rest * (fluid - choroid), sinus, rest * choroid]  # as TISSUES
    return np.stack([np.round(255 * part).astype(np.uint8) for part in (soft_brain, *fractions)]), axes


@lru_cache(maxsize=4)
def load_atlas(spacing: float) -> Atlas:
    """Resample the MNI152 maps that nilearn carries, once per spacing.

    Args:
        spacing: edge of a voxel, in mm; below 1 mm the maps stay at their own 1 mm.
    """
    maps, axes = _average_brain()
    spacing = max(float(spacing), 1.0)
    kernels = []
    for axis in axes:
        target = np.arange(axis[0], axis[-1] + spacing / 2, spacing)
        distance = np.abs(target[:, None] - axis) / (0.35 * spacing)
        weight = np.where(distance < 4, np.exp(-0.5 * distance**2), 0)
        kernels.append(csr_array((weight / weight.sum(1, keepdims=True)).astype(np.float32)))
    resampled = np.stack([separable_product(part.astype(np.float32), kernels) for part in maps]) / np.float32(255)
    return Atlas(resampled[1:], resampled[0], np.array([axis[0] for axis in axes]), spacing)


def draw_head(rng: np.random.Generator, variety: Variety) -> Head:
    """Draw the shape of a head: size, pose, elastic deformation, atrophy."""
    further = rng.spawn(1)[0]
    pitch, roll, yaw = rng.normal(0, np.radians(variety.angle_degrees), 3)
    rotations = [
        np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]),
        np.array([[np.cos(roll), 0, np.sin(roll)], [0, 1, 0], [-np.sin(roll), 0, np.cos(roll)]]),
        np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]]),
    ]
    deviation, least, most = variety.size
    size = np.diag(np.clip(rng.normal(1.0, deviation, 3), least, most))
    shear = np.eye(3) + np.triu(rng.normal(0, variety.shear, (3, 3)), 1)
    matrix = rotations[0] @ rotations[1] @ rotations[2] @ size @ shear
    atrophy, spread = variety.atrophy
    return Head(
        matrix=matrix,
        shift=rng.normal(0, 1.5, 3),
        seed=int(rng.integers(2**63)),
        atrophy=float(np.exp(rng.normal(np.log(atrophy), spread))),
        sharpness=draw(rng, variety.sharpness),
        stripping=draw(rng, variety.stripping),
        deformation=draw(further, variety.deformation),
        unevenness=draw(further, variety.stripping_unevenness),
    )


def warp(head: Head, axes: Sequence[NDArray], push: NDArray | None = None) -> NDArray:
    """Say where in MNI152 each voxel of the case comes from.

    Shape:
        - push: ``(3, X, Y, Z)`` in mm, how far the tissue now at a voxel was displaced (mass effect)
        - output: ``(3, X, Y, Z)`` float32, in mm of MNI152
    """
    rng = np.random.default_rng(head.seed)
    mesh = np.meshgrid(*axes, indexing="ij", sparse=True)
    origin = [mesh[i] if push is None else mesh[i] - push[i] for i in range(3)]
    coordinates = np.empty((3, *(len(axis) for axis in axes)), np.float32)
    for i in range(3):
        row = head.matrix[i].astype(np.float32)
        coordinates[i] = row[0] * origin[0] + row[1] * origin[1] + row[2] * origin[2] + np.float32(head.shift[i])
        # (deviation in mm, scale in mm): lobes, gyri, the wobble of single folds
        for deviation, scale in ((1.9, 42.0), (1.5, 17.0), (0.8, 9.0)):
            coordinates[i] += np.float32(head.deformation * deviation) * random_field(rng, axes, scale)
    return coordinates


def brain_mask(head: Head, atlas: Atlas, coordinates: NDArray, axes: Sequence[NDArray]) -> NDArray:
    """Say what of the head skull-stripping left: ``(X, Y, Z)`` bool.

    Args:
        head: whose.
        atlas: with the blurred brain mask.
        coordinates: ``(3, X, Y, Z)``, where in MNI152 each voxel comes from, in mm.
        axes: of the voxels, in mm.
    """
    level: NDArray | np.float32 = np.float32(head.stripping)
    if head.unevenness:
        field = random_field(np.random.default_rng([head.seed, 1]), axes, UNEVEN_MM)
        level = np.clip(level + np.float32(head.unevenness) * field, *STRIPPING_LIMITS)
    return _sample(atlas.brain, atlas, coordinates) > level


def meninges(atlas: Atlas, coordinates: NDArray) -> NDArray:
    """Share of what covers the brain at ``(3, N)`` MNI152 coordinates (mm): ``(N,)``, 0 inside, 1 a mm further out."""
    return np.clip((MENINGES_BELOW - _sample(atlas.brain, atlas, coordinates)) / 0.15, 0, 1)


def tissue_fractions(head: Head, atlas: Atlas, coordinates: NDArray) -> NDArray:
    """Sample the tissues of a head: ``(3, *S)`` MNI152 coordinates (mm) to ``(K, *S)`` fractions that sum to 1.

    The average of 152 brains is blurred, its sulci are half filled: fractions are sharpened by an exponent, and the
    fluid's share is multiplied by the head's atrophy.
    """
    fractions = np.stack([_sample(part, atlas, coordinates) for part in atlas.maps])  # (K, *S)
    fractions[CSF] *= head.atrophy
    np.clip(fractions, 1e-4, None, out=fractions)
    fractions **= np.float32(head.sharpness)
    fractions /= fractions.sum(0)
    return fractions


def _sample(values: NDArray, atlas: Atlas, coordinates: NDArray) -> NDArray:
    first = atlas.first.reshape(3, *(1,) * (coordinates.ndim - 1))
    return ndimage.map_coordinates(values, (coordinates - first) / atlas.spacing, order=1, output=np.float32)
