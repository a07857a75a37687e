# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Keeps what a preparation made: images, masks, transforms and the record, in a folder of its own."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np

from ..utils.files import replacing
from .geometry import simpleitk, to_itk_transform
from .prepared import Prepared

RECORD = "preparation.json"  # by which a folder is known as one of these


def folder_beside(label_map: str | PathLike) -> Path:
    """Name the folder beside a label map: ``<name>_prepared``."""
    path = Path(label_map)
    return path.with_name(f"{path.name.removesuffix('.gz').removesuffix('.nii')}_prepared")


def kept_files(prepared: Prepared) -> dict[str, bytes]:
    """Write the files of a preparation into memory.

    They are ``<modality>.nii.gz``, the prepared images; ``brain_mask.nii.gz`` on their grid;
    ``<modality>_brain_mask.nii.gz``, the brain on the grid of a series where it was looked for;
    ``<modality>.tfm``, the transform for ITK; and ``preparation.json``, the record with the transforms as 4 by 4
    matrices, from RAS mm of the reference to RAS mm of the series.
    """
    images = dict(prepared.images)
    if prepared.brain_mask is not None:
        images["brain_mask"] = prepared.brain_mask
    for name, mask in prepared.masks.items():
        images[f"{name}_brain_mask"] = nib.Nifti1Image(mask.astype(np.uint8), prepared.places.grids[name].affine)
    files = {f"{name}.nii.gz": gzip.compress(image.to_bytes(), mtime=0) for name, image in images.items()}
    files |= {f"{name}.tfm": _tfm(matrix) for name, matrix in prepared.transforms.items()}
    content = {
        **prepared.record,
        "warnings": prepared.warnings,
        "transforms": {name: matrix.tolist() for name, matrix in prepared.transforms.items()},
        "files": sorted([*files, RECORD]),
    }
    files[RECORD] = (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()
    return files


def check_folder(folder: str | Path) -> None:
    """Refuse a folder that holds anything, unless it is one that was kept before.

    Raises:
        ValueError: if it does.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not _listed(folder))):
        raise ValueError(
            f"{folder} exists and holds no preparation that was kept before ({RECORD}); name another output, or remove "
            "it."
        )


def keep(files: Mapping[str, bytes], folder: str | Path) -> None:
    """Write the files into a folder; what an earlier preparation left there goes, and nothing else is touched.

    Raises:
        ValueError: if the folder is no such folder, or a file of another origin has one of the names.
    """
    folder = Path(folder)
    check_folder(folder)
    earlier = _listed(folder)
    foreign = [name for name in files if name not in earlier and (folder / name).exists()]
    if foreign:
        raise ValueError(f"{folder / foreign[0]} exists and is of no earlier preparation; remove it, or its folder.")
    for name in earlier:
        if name not in files:
            (folder / name).unlink(missing_ok=True)
    for name, content in files.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)


def _listed(folder: Path) -> list[str]:
    """Names of the files of an earlier preparation in a folder; none where there was none."""
    try:
        names = json.loads((folder / RECORD).read_text(encoding="utf-8"))["files"]
        return [str(name) for name in names if Path(str(name)).name == str(name)]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _tfm(matrix: np.ndarray) -> bytes:
    """Write a transform as ITK does, in LPS mm."""
    sitk = simpleitk("keeping transforms")
    with TemporaryDirectory() as folder:
        file = Path(folder, "transform.tfm")
        sitk.WriteTransform(to_itk_transform(matrix), str(file))
        return file.read_bytes()
