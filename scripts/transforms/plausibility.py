# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Examines images before they are segmented."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from ..plausibility.examine import DEPTH, EXAMINED, examine
from ..plausibility.recognition import known_modalities
from ..utils.flags import as_flag


class ExaminePlausibilityd(MapTransform):
    """Write down what the images of a case cannot be; the images stay as they are.

    ``plausibility`` becomes JSON text: ``doubts``, each with its words, number and limit, and all ``numbers``.
    ``brain_depth`` is how deep each voxel lies in the brain, in mm, on a coarse grid of its own. Images that are not
    those of brains in three dimensions, in modalities that the checks know, are passed over: neither is written.

    Args:
        keys: of the image.
        modalities: configured names, in channel order.
        enabled: false, also as a word, passes over every case.

    Shape:
        - image: ``(M, X, Y, Z)`` as loaded, absent modalities NaN, the background exactly 0
        - ``brain_depth``: ``(1, x, y, z)`` float32 ``MetaTensor``
    """

    def __init__(self, keys: KeysCollection, modalities: Sequence[str], enabled: bool | str = True) -> None:
        super().__init__(keys)
        self.modalities = tuple(modalities)
        self.enabled = as_flag(enabled, "plausibility") and set(self.modalities) <= set(known_modalities())

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        image = cast(MetaTensor, data[self.first_key(dict(data))])
        if not self.enabled or image.ndim != 4:
            return dict(data)
        found = examine(image, np.asarray(image.affine, dtype=float), self.modalities)
        depth = MetaTensor(torch.from_numpy(found.depth)[None], affine=torch.from_numpy(found.affine))
        text = json.dumps({"doubts": [doubt._asdict() for doubt in found.doubts], "numbers": found.numbers})
        return {**data, EXAMINED: text, DEPTH: depth}
