# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Where the voxels of a NIfTI file lie: its two forms, which may be absent, broken, or tell different things.

The NIfTI-1 standard has the voxel sizes in ``pixdim``, a rotation as a quaternion (``qform``, with sizes from
``pixdim``), and an affine (``sform``). A form counts where its code is above 0.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

SIZE_TOLERANCE = 0.01  # share by which voxel sizes of affine and pixdim may differ
PLACE_TOLERANCE = 0.1  # mm by which the two forms may place a corner of the image differently
ALIGNED = 2  # code of a form: aligned with other images, without saying to which space


class Forms(NamedTuple):
    """The usable forms of a file.

    Attributes:
        affine: ``(4, 4)``, mm, what holds: sform before qform, and nibabel's default where there is neither.
        sform: affine, or ``None`` where its code is 0 or it cannot be used.
        qform: likewise.
        codes: of sform and qform.
        doubts: sentences about what is not as expected.
    """

    affine: NDArray
    sform: NDArray | None
    qform: NDArray | None
    codes: tuple[int, int]
    doubts: tuple[str, ...]


def read_forms(file: str | Path) -> Forms | None:
    """Read the forms of a NIfTI file; ``None`` for a file of another format.

    Raises:
        ValueError: if no form can be used though there should be one, or the voxel sizes of the form are not those of
            ``pixdim``: one of both is wrong, and with it every volume.
    """
    image = nib.load(file)
    if not isinstance(image, nib.Nifti1Pair):  # which Nifti1Image, and Nifti2's, are
        return None
    header, name = image.header, Path(file).name
    codes = int(header["sform_code"]), int(header["qform_code"])
    said = {"sform": header.get_sform() if codes[0] > 0 else None, "qform": _qform(header) if codes[1] > 0 else None}
    usable = {what: form for what, form in said.items() if form is not None and _is_affine(form)}
    broken = [what for what, code in zip(said, codes, strict=True) if code > 0 and what not in usable]
    doubts = []
    if broken and not usable:
        shown = ", ".join(f"{what} {_shown(form)}" for what, form in said.items())
        raise ValueError(
            f"the header says in no usable way where the voxels lie: {shown}, pixdim {_sizes(header)} mm; expected one "
            "affine that is finite and can be inverted. Convert the original images again"
        )
    if broken:
        doubts.append(f"{name}: its {broken[0]} cannot be used; {next(iter(usable))} says where it lies")
    if not usable:
        doubts.append(f"{name}: its header has neither sform nor qform; sides and place are guessed from the file")
    if len(usable) == 2:
        distance = _largest_distance(usable["sform"], usable["qform"], image.shape)
        if distance > PLACE_TOLERANCE:
            doubts.append(
                f"{name}: sform and qform place it differently, by up to {distance:.1f} mm; sform is followed, other "
                "programs may follow qform"
            )
    affine: NDArray = next(iter(usable.values()), image.affine)
    _check_sizes(affine, header, next(iter(usable), "affine"))
    return Forms(affine, usable.get("sform"), usable.get("qform"), codes, tuple(doubts))


def image_like(values: NDArray[Any], affine: NDArray, reference: str | Path | None) -> nib.Nifti1Image:
    """Make an image that has both forms and codes of the file on whose grid it lies, so that all readers agree.

    Where the reference is not there, is no NIfTI file, or has another grid, both forms are the affine, with the code of
    an aligned image.

    Args:
        values: ``(*S)``.
        affine: ``(4, 4)``, mm.
        reference: the file.
    """
    image = nib.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    forms = read_forms(reference) if reference is not None and _is_nifti(Path(reference)) else None
    if forms is None or not np.allclose(forms.affine, affine, atol=1e-3):
        image.set_qform(affine, ALIGNED)
        image.set_sform(affine, ALIGNED)
        return image
    for form, code, put in zip(
        (forms.qform, forms.sform), forms.codes[::-1], (image.set_qform, image.set_sform), strict=True
    ):
        put(affine if form is None else form, 0 if form is None else code)
    return image


def _qform(header: nib.Nifti1Header) -> NDArray | None:
    try:
        return header.get_qform()
    except (HeaderDataError, ValueError, np.linalg.LinAlgError):  # no rotation
        return None


def _is_nifti(file: Path) -> bool:
    return file.is_file() and file.name.lower().endswith((".nii", ".nii.gz"))


def _is_affine(form: NDArray) -> bool:
    return bool(np.isfinite(form).all()) and abs(float(np.linalg.det(form))) > 0


def _sizes(header: nib.Nifti1Header) -> list[float]:
    return [round(float(size), 4) for size in header["pixdim"][1 : 1 + _dimensions(header)]]


def _dimensions(header: nib.Nifti1Header) -> int:
    return min(int(header["dim"][0]), 3)


def _check_sizes(affine: NDArray, header: nib.Nifti1Header, name: str) -> None:
    axes = slice(0, _dimensions(header))
    found, stated = nib.affines.voxel_sizes(affine)[axes], np.asarray(_sizes(header))
    if not np.allclose(found, stated, rtol=SIZE_TOLERANCE, atol=0):
        raise ValueError(
            f"the header contradicts itself: by its {name} the voxels have {found.round(4).tolist()} mm, by pixdim "
            f"{stated.tolist()} mm; expected the same, since all volumes depend on it. Convert the original images "
            "again, or correct the one that is wrong"
        )


def _largest_distance(one: NDArray, other: NDArray, shape: tuple[int, ...]) -> float:
    """Find how far apart two affines place a corner of an image, in mm."""
    corners = np.array(list(product(*((0, size - 1) for size in (*shape, 1, 1, 1)[:3]))))
    return float(np.linalg.norm(nib.affines.apply_affine(one - other, corners), axis=1).max())


def _shown(form: NDArray | None) -> str:
    return "absent or no rotation" if form is None else f"{form[:3].round(3).tolist()}"
