# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""One image file to a checked array, with a background of exactly zero.

Everything here is decided on the full image as it lies on disk, never on a crop of it, where a patch of background
looks like an empty image.
"""

from __future__ import annotations

import gzip
import logging
import warnings
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImage, ResampleToMatch
from monai.utils import look_up_option
from torch import Tensor

from ..utils.quiet import quiet
from .background import border_value, clip_outliers, find_foreground
from .case_error import CaseError
from .formats import OF_NIBABEL, OF_SIMPLEITK, read_other_format
from .headers import read_forms

REFUSE, ALLOW = "refuse", "allow"  # what to do about grids that no scanner makes
SMALLEST_MM, LARGEST_MM = 0.1, 20.0  # edge of a voxel
NIFTI = (".nii", ".nii.gz")
HIGHEST = 1e12  # value of a voxel; squares of higher ones, summed, leave float32
FILLED = 0.99  # share of the voxels; a foreground of more has no background
# What later transforms and writers need; the rest of a header differs between files and would not collate.
KEPT_META = ("affine", "original_affine", "space", "filename_or_obj")


class ImageFile:
    """Read one file that says where its voxels lie: NIfTI, or a format that ``read_other_format`` knows.

    Called with ``(file, case, channels, doubts)``. ``channels`` is how many images the file is expected to hold: 1, or
    more for a stacked file; ``doubts`` receives sentences about its header, see ``read_forms``. Trailing dimensions of
    size one are dropped while more than three spatial ones remain, so that a single slice ``(X, Y, 1)`` is a volume as
    its neighbours are.

    Args:
        unusual_grids: ``"refuse"`` or ``"allow"`` voxels that no scanner makes, of less than 0.1 or more than 20 mm.
        dimensions: of space that an image is to have; ``None``: two or three.

    Shape:
        - output: ``(channels, *S)`` float32 ``MetaTensor`` with two or three spatial dimensions; its ``affine`` and
          ``original_affine`` are the file's (mm), its ``filename_or_obj`` is the path.

    Raises:
        CaseError: if the file is missing, cannot be read, has other dimensions, a singular affine, a header that
            contradicts itself, or voxels of an unusual size.
    """

    def __init__(self, unusual_grids: str = REFUSE, dimensions: int | None = None) -> None:
        self.dimensions = dimensions
        self.unusual_grids = look_up_option(unusual_grids, (REFUSE, ALLOW))
        with quiet(logging.WARNING, "monai.data.nvimgcodec_pydicom_plugin"), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of readers of formats that are not read here
            self._load = LoadImage(image_only=True, ensure_channel_first=True, dtype=np.float32)

    def __call__(self, file: str, case: str, channels: int = 1, doubts: list[str] | None = None) -> MetaTensor:
        if not Path(file).expanduser().exists():
            raise CaseError(case, "the file does not exist; see the paths in the datalist", str(file))
        if not str(file).lower().endswith((*NIFTI, *OF_NIBABEL, *OF_SIMPLEITK)):
            raise CaseError(
                case,
                "the file cannot be read: its format does not say how large voxels are and where they lie; expected "
                "NIfTI, NRRD, MetaImage or MGH, by the ending of its name",
                str(file),
            )
        try:
            _check_compression(file)
            loaded = read_other_format(file)
            loaded = self._load(file) if loaded is None else loaded
        except Exception as error:  # each format's library raises types of its own for a damaged file
            raise CaseError(
                case,
                f"the file cannot be read; it may be truncated, corrupt or in an unsupported format "
                f"({type(error).__name__}: {_first_line(error)})",
                str(file),
            ) from error
        image = _channels_first(loaded.as_tensor(), channels)
        if image.numel() == 0:
            raise CaseError(case, f"the file has {_described(loaded)}; expected voxels along each axis", str(file))
        if self.dimensions is not None and image.ndim - 1 != self.dimensions and image.shape[0] == channels:
            raise CaseError(
                case,
                f"the image has {image.ndim - 1} dimensions, {tuple(image.shape[1:])} voxels; expected "
                f"{self.dimensions}, as `patch_size` has. A slice of a volume is one voxel thick, not flat",
                str(file),
            )
        if image.shape[0] != channels or image.ndim not in (3, 4):
            raise CaseError(
                case,
                f"the file has {_described(loaded)}; expected {channels} image{'s' if channels > 1 else ''} of two or "
                "three dimensions (a file with several images is listed as `image` with `channels`)",
                str(file),
            )
        self._place(loaded, file, case, doubts)
        return with_meta(image, loaded)

    def _place(self, loaded: MetaTensor, file: str, case: str, doubts: list[str] | None) -> None:
        """Give an image the affine that its header has, and check that and the voxel sizes."""
        try:
            forms = read_forms(Path(file).expanduser()) if str(file).lower().endswith(NIFTI) else None
        except ValueError as error:
            raise CaseError(case, str(error), str(file)) from error
        if forms is not None:
            loaded.affine = torch.from_numpy(forms.affine.astype(np.float64))
            loaded.meta["original_affine"] = forms.affine.astype(np.float64)
            if doubts is not None:
                doubts += forms.doubts
        if not bool(torch.isfinite(loaded.affine).all()) or float(torch.linalg.det(loaded.affine)) == 0.0:
            raise CaseError(case, f"the affine cannot be inverted: {loaded.affine.tolist()}", str(file))
        if self.unusual_grids == ALLOW:
            return
        sizes = loaded.pixdim[: min(3, loaded.ndim - 1)].tolist()
        if not all(SMALLEST_MM <= size <= LARGEST_MM for size in sizes):
            raise CaseError(
                case,
                f"the voxels have {[round(size, 4) for size in sizes]} mm; expected {SMALLEST_MM:g} to {LARGEST_MM:g} "
                "mm along each axis, as scanners make them. If this is right, set `unusual_grids: allow`",
                str(file),
            )


def _check_compression(file: str) -> None:
    """Read a gzip file to its checksum, which readers stop short of: they take damaged voxels as they come."""
    if file.lower().endswith((".gz", ".mgz")):
        with gzip.open(Path(file).expanduser()) as stream:
            while stream.read(1 << 20):
                pass


def with_meta(image: Tensor, source: MetaTensor) -> MetaTensor:
    """Give ``image`` ``(C, *S)`` the part of the source's metadata that transforms and writers need."""
    meta = {key: source.meta[key] for key in KEPT_META if key in source.meta}
    meta = {"original_affine": source.affine.numpy().copy(), **meta, "spatial_shape": np.array(image.shape[1:])}
    return MetaTensor(image, meta=meta)


def _channels_first(image: Tensor, channels: int) -> Tensor:
    """Drop trailing singletons; find the channels of 2D images stacked along a last dimension."""
    while image.ndim > 4 and image.shape[-1] == 1:
        image = image[..., 0]
    if channels > 1 and image.shape[0] == 1 and image.shape[-1] == channels:
        image = image[0].movedim(-1, 0)  # (1, X, Y, channels) -> (channels, X, Y)
    return image


def _described(image: Tensor) -> str:
    """Name the shape of a file, as its user knows it."""
    return f"{image.shape[0]} channel{'s' if image.shape[0] > 1 else ''} of shape {tuple(image.shape[1:])}"


def _first_line(error: Exception) -> str:
    """Keep messages to one line."""
    return (str(error).strip().splitlines() or ["no message"])[0]


def is_blank(image: Tensor) -> bool:
    """Whether an image ``(*S)`` carries nothing: the same value everywhere, or NaN everywhere."""
    low, high = torch.aminmax(image)  # NaN if any voxel is NaN
    return bool(low == high) or bool(torch.isnan(low) and torch.isnan(image).all())


def check_image(
    image: Tensor,
    case: str,
    file: str,
    non_finite: str = "refuse",
    name: str = "the image",
    doubts: list[str] | None = None,
) -> Tensor:
    """Check the voxels of one acquired image, and clip those that no scanner measures.

    Args:
        image: ``(*S)``, the full image.
        case: for messages.
        file: for messages.
        non_finite: what to do about NaN and infinite voxels. ``"refuse"``: an error. ``"repair"``: they get the value
            of the background (0 where there is none).
        name: of the image in messages, e.g. which channel of a stacked file.
        doubts: receives sentences about what was changed, or is not as expected.

    Raises:
        CaseError: if the image is empty or constant, has voxels that are not finite, or values beyond 1e12 or all
            within 1e-12, with which float32 cannot compute a variance.
    """
    doubts = [] if doubts is None else doubts
    if is_blank(image):
        value = float(image.flatten()[0])
        raise CaseError(
            case, f"{name} is empty: every voxel is {value}. Leave it out of the datalist if it was not acquired", file
        )
    if not bool(torch.isfinite(torch.stack(torch.aminmax(image))).all()):  # both ends are finite: so is all between
        image = _finite(image, case, file, non_finite, name, doubts)
    low, high = (float(each) for each in torch.aminmax(image))
    if max(-low, high) > HIGHEST or high - low < 1 / HIGHEST:
        raise CaseError(
            case,
            f"{name} has values from {low:g} to {high:g}; expected a range of at least {1 / HIGHEST:g} below "
            f"{HIGHEST:g}, within which it can be normalised. Was it scaled by mistake?",
            file,
        )
    image, clipped = clip_outliers(image)
    if clipped:
        doubts.append(
            f"{name} of {Path(file).name}: {clipped} voxels are far brighter or darker than all others; clipped"
        )
    return image


def cut_background(
    image: Tensor, file: str, name: str = "the image", doubts: list[str] | None = None, fills: bool = False
) -> Tensor:
    """Set the background of an image that was checked to 0, see ``find_foreground``.

    Args:
        image: ``(*S)``, the full image.
        file: for messages.
        name: of the image in messages.
        doubts: receives sentences about what is not as expected.
        fills: whether an image may fill its volume without doubt, as one of the heart does.
    """
    doubts = [] if doubts is None else doubts
    of_file = f"{name} of {Path(file).name}"
    image, share, noisy = find_foreground(image)
    if noisy:
        doubts.append(f"{of_file}: its background is noise instead of one value; {1 - share:.0%} of it set to 0")
    if share >= FILLED and not fills:
        doubts.append(
            f"{of_file} has no background: {share:.0%} of its voxels count as brain. Expected an image without skull, "
            "with one value around the brain"
        )
    return image


def _finite(image: Tensor, case: str, file: str, non_finite: str, name: str, doubts: list[str]) -> Tensor:
    """Refuse voxels that are not finite, or give them the value of the background."""
    bad = ~torch.isfinite(image)
    count = int(bad.sum())
    if non_finite == "refuse":
        raise CaseError(
            case,
            f"{name} has {count} NaN or infinite voxels out of {image.numel()}; expected finite values everywhere in "
            "an acquired image (`non_finite: repair` sets them to the background)",
            file,
        )
    doubts.append(f"{name} of {Path(file).name}: {count} NaN or infinite voxels set to the background")
    image = image.masked_fill(bad, border_value(image) or 0.0)
    if is_blank(image):
        raise CaseError(case, f"{name} is empty but for voxels that are NaN or infinite", file)
    return image


def grid_difference(first: MetaTensor, other: MetaTensor, tolerance: float) -> str | None:
    """Say how the voxel grids of two images ``(C, *S)`` differ; ``None`` if they agree.

    Args:
        first: image to compare with.
        other: image to compare.
        tolerance: largest difference allowed between any two entries of the affines (mm).
    """
    shapes = tuple(first.shape[1:]), tuple(other.shape[1:])
    distance = float((first.affine - other.affine).abs().max())
    if shapes[0] == shapes[1] and distance <= tolerance:
        return None
    return (
        f"`{file_of(first)}` has shape {shapes[0]} and `{file_of(other)}` has shape {shapes[1]}, "
        f"their affines differ by up to {distance:.6g} (allowed: {tolerance:g})"
    )


def reorient_to(first: MetaTensor, other: MetaTensor, tolerance: float) -> MetaTensor | None:
    """Flip and permute the axes of ``other`` ``(C, *S)`` so that its grid is that of ``first``; every voxel is kept.

    Args:
        first: image whose grid is wanted.
        other: image to reorient, of the same number of dimensions.
        tolerance: largest difference allowed between any two entries of the affines (mm).

    Returns:
        The image, or ``None`` if the grids differ by more than the order and direction of axes.
    """
    if first.ndim != 4 or other.ndim != 4:
        return None
    between = np.linalg.inv(first.affine.numpy()) @ other.affine.numpy()
    orientation = nib.orientations.io_orientation(between)
    if np.isnan(orientation).any():
        return None
    volume = np.moveaxis(other.as_tensor().numpy(), 0, -1)
    turned = np.moveaxis(nib.orientations.apply_orientation(volume, orientation), -1, 0)
    affine = other.affine.numpy() @ nib.orientations.inv_ornt_aff(orientation, volume.shape[:3])
    result = MetaTensor(torch.from_numpy(np.ascontiguousarray(turned)), affine=torch.from_numpy(affine))
    if grid_difference(first, result, tolerance) is not None:
        return None
    reoriented = with_meta(result.as_tensor(), first)
    reoriented.meta["filename_or_obj"] = file_of(other)
    return reoriented


def resample_to(first: MetaTensor, other: MetaTensor, mode: str, case: str) -> MetaTensor:
    """Bring ``other`` ``(C, *S)`` onto the grid of ``first`` ``(C, *S)``; outside of its own grid it becomes 0.

    Args:
        first: image whose grid is wanted.
        other: image to resample; its background is 0 already.
        mode: ``"bilinear"`` for images, ``"nearest"`` for labels.
        case: for messages.

    Raises:
        CaseError: if one image is 2D and the other 3D.
    """
    if first.ndim != other.ndim:
        raise CaseError(case, f"cannot resample: {grid_difference(first, other, 0.0)}", file_of(other))
    moved = cast(MetaTensor, ResampleToMatch(mode=mode, padding_mode="zeros")(other, first))
    resampled = with_meta(moved.as_tensor(), first)
    resampled.meta["filename_or_obj"] = file_of(other)
    return resampled


def file_of(image: MetaTensor) -> str:
    """Path of the file that an image was read from."""
    return str(image.meta.get("filename_or_obj", "unknown file"))
