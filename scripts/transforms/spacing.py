# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Resampling that tolerates whatever else a case dictionary carries."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from math import prod
from typing import Any

from monai.data import MetaTensor
from monai.transforms import Spacingd
from monai.utils import look_up_option

from ..data.case_error import CaseError
from ..data.reading import ALLOW, REFUSE, file_of

MOST_VOXELS = 64_000_000  # of a channel


class CaseSpacingd(Spacingd):
    """MONAI's ``Spacingd``, which fails where a key such as ``image_path`` (MONAI Label adds it) holds no dictionary.

    Takes the arguments of ``Spacingd``; ``pixdim`` in mm. An absent modality, all NaN, stays all NaN. An axis whose
    ``pixdim`` is not positive keeps its voxels: that of the slices of a stack.

    Args:
        unusual_grids: ``"refuse"`` or ``"allow"`` images that would have more than 64 million voxels.

    Raises:
        CaseError: if such an axis is not the one with the longest voxels, so that it cannot be that of the slices; if
            an image would be too large.
    """

    def __init__(self, *args: Any, unusual_grids: str = REFUSE, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.unusual_grids = look_up_option(unusual_grids, (REFUSE, ALLOW))

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            case = str(d.get("case", "unnamed"))
            self._check_slices(d[key], case)
            self._check_size(d[key], case)
        prefixes = tuple(f"{key}_" for key in self.keys)
        hidden = {k: d.pop(k) for k in list(d) if str(k).startswith(prefixes) and not isinstance(d[k], dict)}
        return {**super().__call__(d, lazy), **hidden}

    def _check_slices(self, image: MetaTensor, case: str) -> None:
        """Refuse a stack ``(C, *S)`` whose slices lie along another axis."""
        lengths = image.pixdim.tolist()
        kept = [length for length, target in zip(lengths, self.spacing_transform.pixdim, strict=False) if target <= 0]
        if kept and min(kept) < max(lengths) * (1 - 1e-3):
            raise CaseError(
                case,
                f"the voxels have {[round(length, 3) for length in lengths]} mm, but `spacing` is "
                f"{self.spacing_transform.pixdim.tolist()}, which leaves the slices of a stack as they are; expected "
                "them along that axis, where voxels are longest. "
                "See `orientation` in docs/reference/configuration.md",
                file_of(image),
            )

    def _check_size(self, image: MetaTensor, case: str) -> None:
        """Refuse an image ``(C, *S)`` that would fill the memory."""
        axes = zip(image.shape[1:], image.pixdim.tolist(), self.spacing_transform.pixdim, strict=False)
        shape = [round(size * length / target) if target > 0 else size for size, length, target in axes]
        voxels = prod(shape)
        if self.unusual_grids == REFUSE and voxels > MOST_VOXELS:
            raise CaseError(
                case,
                f"the image has {tuple(image.shape[1:])} voxels of {[round(each, 3) for each in image.pixdim.tolist()]}"
                f" mm, which are {shape} at `spacing` {self.spacing_transform.pixdim.tolist()} mm; expected at most "
                f"{MOST_VOXELS / 1e6:g} million voxels, a cube of 400 mm at 1 mm. If this is right, set "
                "`unusual_grids: allow`",
                file_of(image),
            )
