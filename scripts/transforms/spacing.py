# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Resampling that tolerates whatever else a case dictionary carries."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.data import MetaTensor
from monai.transforms import Spacingd

from ..data.case_error import CaseError
from ..data.reading import file_of


class CaseSpacingd(Spacingd):
    """MONAI's ``Spacingd``, which fails where a key such as ``image_path`` (MONAI Label adds it) holds no dictionary.

    Takes the arguments of ``Spacingd``; ``pixdim`` in mm. An absent modality, all NaN, stays all NaN. An axis whose
    ``pixdim`` is not positive keeps its voxels: that of the slices of a stack.

    Raises:
        CaseError: if such an axis is not the one with the longest voxels, so that it cannot be that of the slices.
    """

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            self._check_slices(d[key], str(d.get("case", "unnamed")))
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
