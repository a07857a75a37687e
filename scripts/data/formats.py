# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Image formats beside NIfTI: MGH by nibabel; NRRD and MetaImage by SimpleITK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor

from ..utils.optional import require

OF_NIBABEL = (".mgz", ".mgh")
OF_SIMPLEITK = (".nrrd", ".nhdr", ".mha", ".mhd")
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_other_format(file: str) -> MetaTensor | None:
    """Read an image in one of these formats; ``None`` of a file in another one.

    Args:
        file: its path; the ending says the format.

    Returns:
        float32 ``(C, *S)`` as MONAI's ``LoadImage`` would, with its affine (RAS mm) and ``filename_or_obj``.

    Raises:
        ValueError: if the format needs SimpleITK, which is not installed.
    """
    path = str(Path(file).expanduser())
    ending = path.lower()
    if ending.endswith(OF_NIBABEL):
        image: Any = nib.load(path)
        values, affine = np.asarray(image.dataobj, dtype=np.float32), image.affine
    elif ending.endswith(OF_SIMPLEITK):
        sitk = require("SimpleITK", "reading NRRD and MetaImage", "install it by `make setup-prepare`, or write NIfTI")
        image = sitk.ReadImage(path)
        values, affine = sitk.GetArrayFromImage(image).astype(np.float32), itk_affine(image)
        several = image.GetNumberOfComponentsPerPixel() > 1  # components come last, in front of them z, y, x
        values = values.transpose(*reversed(range(image.GetDimension())), *([values.ndim - 1] if several else []))
    else:
        return None
    # further axes than those of space are channels, as those of a NIfTI file
    channels = np.moveaxis(values, -1, 0) if values.ndim > 3 else values[None]
    meta = {"filename_or_obj": str(file), "space": "RAS", "original_affine": affine}
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(channels)), affine=torch.as_tensor(affine), meta=meta)


def itk_affine(image: Any) -> np.ndarray:
    """Affine of an image of ITK: ``(4, 4)``, index to RAS mm, from its origin, spacing and direction in LPS mm."""
    dimensions = min(image.GetDimension(), 3)
    direction = np.eye(3)
    given = np.array(image.GetDirection()).reshape(image.GetDimension(), image.GetDimension())
    direction[:dimensions, :dimensions] = given[:dimensions, :dimensions]
    spacing, origin = np.ones(3), np.zeros(3)
    spacing[:dimensions], origin[:dimensions] = image.GetSpacing()[:dimensions], image.GetOrigin()[:dimensions]
    return LPS_TO_RAS @ nib.affines.from_matvec(direction @ np.diag(spacing), origin)
