# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""A head that can be imaged on any grid, from any place: brain, bone, scalp and air."""

from __future__ import annotations

from contextlib import contextmanager

import nibabel as nib
import numpy as np
import pytest

BRAIN = np.array([48.0, 58.0, 42.0])  # radii of the brain, mm; what lies around it:
BONE, SCALP = 7.0, 12.0  # mm outside of the brain
# signal of the brain, of what lies scattered in it, of bone, scalp and air
CONTRASTS = {"flair": (300, 250, 25, 420, 8), "t1ce": (600, -260, 40, 800, 12), "t1": (500, -200, 40, 750, 10)}
CONTRASTS["t2"] = (350, 420, 30, 300, 6)


def rigid(degrees=(0.0, 0.0, 0.0), shift=(0.0, 0.0, 0.0)):
    """Turn about the axes, then shift: ``(4, 4)`` RAS mm."""
    return nib.affines.from_matvec(nib.eulerangles.euler2mat(*np.deg2rad(degrees[::-1])), shift)


class Head:
    """Anatomy as a function of the place, so that its images need no resampling and the truth is exact."""

    def __init__(self, seed=0):
        random = np.random.default_rng(seed)
        self.places = random.uniform(-0.8, 0.8, (40, 3)) * BRAIN
        self.sizes = random.uniform(4.0, 11.0, 40)  # mm
        self.lesion = np.array([18.0, -12.0, 8.0]), 14.0  # centre and radius, mm

    def at(self, grid_affine, shape, movement=None):
        """Find the place in the head of each voxel: ``(*shape, 3)`` mm."""
        index = np.stack(np.meshgrid(*(np.arange(length) for length in shape), indexing="ij"), axis=-1)
        back = np.linalg.inv(np.eye(4) if movement is None else movement)
        return nib.affines.apply_affine(back @ grid_affine, index)

    def outside(self, places):
        """Distance from the brain, about, in mm; below 0 inside."""
        radius = np.linalg.norm(places / BRAIN, axis=-1)
        return (radius - 1) * BRAIN.mean()

    def brain(self, affine, shape, movement=None):
        return self.outside(self.at(affine, shape, movement)) < 0

    def lesion_in(self, affine, shape, movement=None):
        centre, radius = self.lesion
        return np.linalg.norm(self.at(affine, shape, movement) - centre, axis=-1) < radius

    def image(self, contrast, affine, shape, movement=None, extracted=False, seed=1):
        """Image the head after it moved from where it lay to ``movement @ place``."""
        tissue, scattered, bone, scalp, air = CONTRASTS[contrast]
        places = self.at(affine, shape, movement)
        distance = self.outside(places)
        signal = np.full(shape, float(tissue))
        for place, size in zip(self.places, self.sizes, strict=True):
            signal += scattered * np.exp(-0.5 * (np.linalg.norm(places - place, axis=-1) / size) ** 2)
        signal = np.where(distance < 0, signal, np.where(distance < BONE, bone, np.where(distance < SCALP, scalp, 0)))
        noise = np.random.default_rng(seed).normal(0, air, (2, *shape))
        image = np.hypot(signal + noise[0], noise[1])
        if extracted:
            image = np.where(distance < 0, image, 0)
        return nib.Nifti1Image(image.astype(np.float32), affine)


def centred(spacing, shape, axes="RAS", tilt=None):
    """Make the affine of a grid around the origin, its axes running to ``axes``."""
    ornt = nib.orientations.axcodes2ornt(axes)
    linear = np.zeros((3, 3))
    for axis, (world, sign) in enumerate(ornt):
        linear[int(world), axis] = sign * spacing[axis]
    linear = linear if tilt is None else tilt[:3, :3] @ linear
    return nib.affines.from_matvec(linear, -linear @ ((np.array(shape) - 1) / 2))


REFERENCE = centred((3.0, 3.0, 3.0), (48, 56, 44)), (48, 56, 44)
THICK = centred((2.4, 6.0, 2.4), (60, 26, 54), "LSP", rigid((6.0, 0.0, 4.0))), (60, 26, 54)  # slices along the body
MOVEMENT = rigid((4.0, -6.0, 8.0), (6.0, -9.0, 5.0))


@contextmanager
def outlined(head):
    """Let a rule that knows this head stand in for HD-BET; gives the grids and words it was asked with."""
    asked = []

    def extract(image, grid, mode):
        asked.append((grid, mode))
        return head.brain(grid.affine, grid.shape, MOVEMENT if grid.shape == THICK[1] else None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scripts.preparation.prepare.extract_brain", extract)
        yield asked
