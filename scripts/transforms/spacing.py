# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Resampling that tolerates whatever else a case dictionary carries."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.transforms import Spacingd


class CaseSpacingd(Spacingd):
    """MONAI's ``Spacingd``, which fails where a key such as ``image_path`` (MONAI Label adds it) holds no dictionary.

    Takes the arguments of ``Spacingd``; ``pixdim`` in mm. An absent modality, all NaN, stays all NaN.
    """

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        d = dict(data)
        prefixes = tuple(f"{key}_" for key in self.keys)
        hidden = {k: d.pop(k) for k in list(d) if str(k).startswith(prefixes) and not isinstance(d[k], dict)}
        return {**super().__call__(d, lazy), **hidden}
