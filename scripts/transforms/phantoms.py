# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Phantoms made while a network trains, each time with other contrasts and other scanners."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Randomizable, Transform

from ..data.case import as_case
from ..data.case_error import CaseError
from ..phantom.case import PhantomSettings
from ..phantom.patients import PatientStore


class RandImagePhantomd(Randomizable, Transform):
    """Image a phantom anew: properties of its tissues, pulse sequences, slices, noise and bias field are drawn again.

    The patient itself, head and tumour, is grown when it is first asked for and kept on disk. Takes the place of
    ``LoadCased`` in training, for entries of ``phantom_entries``.

    Args:
        modalities: names in channel order, out of ``scripts/phantom/contrasts.yaml``.
        cache_dir: where patients are kept, see ``PatientStore``; ``None`` grows them each time.
        spacing_mm: edge of a voxel, in mm.
        seed: of the patients.
        variety: how much phantoms differ, a name of ``scripts/phantom/variety.yaml``.

    Shape:
        - ``image``: ``(M, X, Y, Z)`` float32 ``MetaTensor``, 0 outside of the brain
        - ``label``: ``(1, X, Y, Z)`` uint8 ``MetaTensor`` of internal classes

    Raises:
        ValueError: if a modality or the variety is unknown, or ``cache_dir`` holds patients of other settings.
        CaseError: if an entry is not of a phantom.
    """

    def __init__(
        self,
        modalities: Sequence[str],
        cache_dir: str | None = None,
        spacing_mm: float = 2.0,
        seed: int = 0,
        variety: str = "randomized",
    ) -> None:
        settings = PhantomSettings(float(spacing_mm), None, tuple(modalities), int(seed), variety)
        self.store = PatientStore(cache_dir, settings)

    def __call__(self, data: Mapping[Any, Any]) -> dict[Hashable, object]:
        case = as_case(data)
        if case.phantom is None:
            reason = "this is no phantom that can be imaged anew; expected an entry of `phantom_entries`"
            raise CaseError(case.name or "unnamed", f"{reason}. See `train::cases` and `train::load`")
        rng = np.random.default_rng(self.R.randint(np.iinfo(np.int64).max, dtype=np.int64))
        images, label = self.store.images(int(case.phantom), rng)
        affine = torch.as_tensor(self.store.grid.affine)
        return {
            "case": case.name,
            "image": MetaTensor(torch.as_tensor(images, dtype=torch.float32), affine=affine),
            "label": MetaTensor(torch.as_tensor(label)[None], affine=affine),
        }
