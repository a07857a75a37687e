# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Grids and rigid transforms in millimetres, in the axes of NIfTI (RAS) and in those of ITK (LPS)."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import SpatialResample
from monai.utils import convert_to_numpy
from torch import Tensor

from ..utils.optional import require

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # between RAS and LPS, either way
SAME_MM = 1e-3  # difference between entries of two affines that is none


def simpleitk(purpose: str) -> ModuleType:
    """Import SimpleITK.

    Raises:
        ValueError: if it is not installed, in one line.
    """
    return require("SimpleITK", purpose, "install it by `make setup-prepare`, or give what needs no preparation")


@dataclass(frozen=True)
class Grid:
    """Where the voxels of an image lie.

    Attributes:
        shape: voxels along each axis.
        affine: ``(4, 4)``, index to RAS mm.
    """

    shape: tuple[int, ...]
    affine: np.ndarray

    @classmethod
    def of(cls, image: nib.spatialimages.SpatialImage) -> Grid:
        """Take the grid of an image ``(*S)``."""
        return cls(tuple(int(length) for length in image.shape[:3]), np.asarray(image.affine, dtype=float))

    @property
    def spacing(self) -> np.ndarray:
        """Edges of a voxel, ``(3,)`` mm."""
        return nib.affines.voxel_sizes(self.affine)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return float(np.prod(self.spacing)) / 1000

    def is_(self, other: Grid) -> bool:
        """Tell whether two grids are the same."""
        return self.shape == other.shape and bool(np.abs(self.affine - other.affine).max() <= SAME_MM)

    def is_turned(self, other: Grid) -> bool:
        """Tell whether two grids are the same but for the order and direction of their axes."""
        return self._canonical().is_(other._canonical())

    def _canonical(self) -> Grid:
        """Order the axes: to the right, front and top."""
        orientation = nib.orientations.io_orientation(self.affine)
        affine = self.affine @ nib.orientations.inv_ornt_aff(orientation, self.shape)
        return Grid(tuple(self.shape[int(axis)] for axis in np.argsort(orientation[:, 0])), affine)

    def with_spacing(self, spacing: np.ndarray) -> Grid:
        """Cover the same box, its corner in the same place, by voxels ``spacing`` (``(3,)`` mm along the axes)."""
        ratio = self.spacing / spacing
        shape = np.maximum(np.ceil(np.array(self.shape) * ratio - 1e-3), 1).astype(int)
        step = self.affine[:3, :3] / ratio
        corner = self.affine[:3, 3] - self.affine[:3, :3] @ np.full(3, 0.5)
        return Grid(tuple(shape.tolist()), nib.affines.from_matvec(step, corner + step @ np.full(3, 0.5)))

    def points(self, mask: np.ndarray) -> np.ndarray:
        """Give the places of the voxels of a mask: ``(N, 3)`` RAS mm."""
        return nib.affines.apply_affine(self.affine, np.argwhere(mask))


def resample(
    image: np.ndarray | Tensor,
    source: Grid,
    target: Grid,
    transform: np.ndarray | None = None,
    mode: str | int = "bilinear",
) -> np.ndarray:
    """Bring an image onto another grid; outside of its own grid it becomes 0. The same grid returns the same values.

    Args:
        image: ``(*S)`` or ``(C, *S)`` on ``source``.
        source: its grid.
        target: grid wanted.
        transform: ``(4, 4)``, RAS mm of ``target``'s space to RAS mm of ``source``'s; the identity by default.
        mode: as MONAI's ``SpatialResample`` has it: ``"bilinear"``, ``"nearest"``, or the order of a spline.

    Returns:
        float32 of the shape of ``target``, with channels if there were any.
    """
    values = torch.as_tensor(np.asarray(image, dtype=np.float32))
    single = values.ndim == 3
    moved = np.eye(4) if transform is None else transform
    if source.is_(target) and np.array_equal(moved, np.eye(4)):
        return values.numpy()
    placed = MetaTensor(values[None] if single else values, affine=np.linalg.inv(moved) @ source.affine)
    result = SpatialResample(mode=mode, padding_mode="zeros")(
        placed, dst_affine=torch.as_tensor(target.affine), spatial_size=target.shape
    )
    array = convert_to_numpy(result).astype(np.float32, copy=False)
    return array[0] if single else array


def displacement(transform: np.ndarray, points: np.ndarray) -> float:
    """Say by how much a transform moves points ``(N, 3)``, on average (mm)."""
    return float(np.linalg.norm(nib.affines.apply_affine(transform, points) - points, axis=1).mean())


def rotation_degrees(transform: np.ndarray) -> float:
    """Angle by which a rigid transform turns, about whatever axis."""
    return float(np.degrees(np.arccos(np.clip((np.trace(transform[:3, :3]) - 1) / 2, -1.0, 1.0))))


def to_itk(array: np.ndarray, grid: Grid, purpose: str = "the preparation") -> Any:
    """Make an ITK image of an array ``(*S)``."""
    sitk = simpleitk(purpose)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    affine = FLIP @ grid.affine
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetSpacing(grid.spacing.tolist())
    image.SetDirection((affine[:3, :3] / grid.spacing).flatten().tolist())
    return image


def from_itk_transform(transform: Any) -> np.ndarray:
    """Matrix ``(4, 4)`` in RAS mm of a rigid or affine transform of ITK, which is in LPS mm."""
    columns = [transform.TransformPoint(point) for point in ((0.0, 0.0, 0.0), *np.eye(3).tolist())]
    offset = np.array(columns[0])
    linear = np.array(columns[1:]).T - offset[:, None]
    return FLIP @ nib.affines.from_matvec(linear, offset) @ FLIP


def to_itk_transform(matrix: np.ndarray) -> Any:
    """Make ITK's transform (LPS mm) of a matrix ``(4, 4)`` in RAS mm."""
    sitk = simpleitk("writing transforms")
    lps = FLIP @ matrix @ FLIP
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(lps[:3, :3].flatten().tolist())
    transform.SetTranslation(lps[:3, 3].tolist())
    return transform
