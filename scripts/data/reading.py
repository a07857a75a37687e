# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""One image file to a checked array, with a background of exactly zero.

Everything here is decided on the full image as it lies on disk, never on a crop of it: in a crop a patch of background
looks like an empty image, and its corners lie inside the head.
"""

from __future__ import annotations

import gzip
import logging
from pathlib import Path
from typing import cast

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImage, ResampleToMatch
from torch import Tensor

from .case_error import CaseError

logger = logging.getLogger(__name__)

# Share of the image's range within which a voxel has the background's value: absorbs the rounding of resampled images.
BACKGROUND_TOLERANCE = 1e-6
# What later transforms and writers need; the rest of a header differs between files and would not collate.
KEPT_META = ("affine", "original_affine", "space", "filename_or_obj")


class ImageFile:
    """Read one file in any format that MONAI's ``LoadImage`` knows.

    Called with ``(file, case, channels)``. ``channels`` is how many images the file is expected to hold: 1, or more
    for a stacked file. Trailing dimensions of size one are dropped while more than three spatial ones remain, so that a
    single slice ``(X, Y, 1)`` is a volume as its neighbours are.

    Shape:
        - output: ``(channels, *S)`` float32 ``MetaTensor`` with two or three spatial dimensions; its ``affine`` and
          ``original_affine`` are the file's (mm), its ``filename_or_obj`` is the path.

    Raises:
        CaseError: if the file is missing, cannot be read, has other dimensions, or a singular affine.
    """

    def __init__(self) -> None:
        self._load = LoadImage(image_only=True, ensure_channel_first=True, dtype=np.float32)

    def __call__(self, file: str, case: str, channels: int = 1) -> MetaTensor:
        if not Path(file).expanduser().exists():
            raise CaseError(case, "the file does not exist; see the paths in the datalist", str(file))
        try:
            _check_compression(file)
            loaded = self._load(file)
        except Exception as error:  # each format's library raises types of its own for a damaged file
            raise CaseError(
                case,
                f"the file cannot be read; it may be truncated, corrupt or in an unsupported format "
                f"({type(error).__name__}: {_first_line(error)})",
                str(file),
            ) from error
        image = _channels_first(loaded.as_tensor(), channels)
        if image.shape[0] != channels or image.ndim not in (3, 4):
            raise CaseError(
                case,
                f"the file has {_described(loaded)}; expected {channels} image{'s' if channels > 1 else ''} of two or "
                "three dimensions (a file with several images is listed as `image` with `channels`)",
                str(file),
            )
        if not bool(torch.isfinite(loaded.affine).all()) or float(torch.linalg.det(loaded.affine)) == 0.0:
            raise CaseError(case, f"the affine cannot be inverted: {loaded.affine.tolist()}", str(file))
        return with_meta(image, loaded)


def _check_compression(file: str) -> None:
    """Read a gzip file to its checksum, which readers stop short of: they take damaged voxels as they come."""
    if file.endswith(".gz"):
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


def background_value(image: Tensor, tolerance: float = 0.0) -> float | None:
    """Value that the image's corner voxels share, ``None`` if they disagree (the head is not cut out).

    Args:
        image: ``(*S)``; corners that are not finite are left out.
        tolerance: by how much corners may differ and still agree.
    """
    corners = image
    for axis, size in enumerate(image.shape):
        corners = corners.index_select(axis, torch.tensor([0, size - 1]))
    corners = corners[torch.isfinite(corners)]
    if not corners.numel() or float(corners.max() - corners.min()) > tolerance:
        return None
    return float(corners.flatten()[0])


def zero_background(image: Tensor) -> Tensor:
    """Set the background to exactly 0 and keep every other voxel.

    The background is the value that all corner voxels share (to 1e-6 of the image's range): 0 in most skull-stripped
    data, about -3.5 in images that were z-scored before. If it is not 0, voxels of the head that happen to be exactly
    0 would look like background, so they are moved by the smallest step that float32 resolves over the image's range
    (1.2e-7 of it). If the corners disagree, nothing is changed.

    Args:
        image: ``(*S)`` float, every voxel finite; the full image, never a crop.
    """
    low, high = torch.aminmax(image)
    span = float(high - low)
    tolerance = BACKGROUND_TOLERANCE * span
    value = background_value(image, tolerance)
    if value is None:
        return image
    background = (image - value).abs_() <= tolerance
    if value != 0.0:
        image = image.masked_fill(image == 0.0, torch.finfo(torch.float32).eps * span)
    return image.masked_fill(background, 0.0)


def clean_image(image: Tensor, case: str, file: str, non_finite: str = "refuse", name: str = "the image") -> Tensor:
    """Check the voxels of one acquired image and set its background to 0.

    Args:
        image: ``(*S)``, the full image.
        case: for messages.
        file: for messages.
        non_finite: what to do about NaN and infinite voxels. ``"refuse"``: an error. ``"repair"``: they get the value
            of the background (0 where there is none) and a warning is logged.
        name: of the image in messages, e.g. which channel of a stacked file.

    Raises:
        CaseError: if the image is empty or constant, or has voxels that are not finite.
    """
    if is_blank(image):
        value = float(image.flatten()[0])
        raise CaseError(
            case, f"{name} is empty: every voxel is {value}. Leave it out of the datalist if it was not acquired", file
        )
    if bool(torch.isfinite(torch.stack(torch.aminmax(image))).all()):  # both ends are finite: so is all between them
        return zero_background(image)
    bad = ~torch.isfinite(image)
    count = int(bad.sum())
    if non_finite == "refuse":
        raise CaseError(
            case,
            f"{name} has {count} NaN or infinite voxels out of {image.numel()}; expected finite values everywhere in "
            "an acquired image (`non_finite: repair` sets them to the background)",
            file,
        )
    message = "case `%s`: %d NaN or infinite voxels of %s set to the background (file: %s)"
    logger.warning(message, case, count, name, file)
    image = image.masked_fill(bad, background_value(image) or 0.0)
    if is_blank(image):
        raise CaseError(case, f"{name} is empty but for voxels that are NaN or infinite", file)
    return zero_background(image)


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
