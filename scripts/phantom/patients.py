# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Patients kept on disk, so that training images each one anew instead of growing it again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..utils.files import replacing
from .case import Patient, PhantomSettings, draw_all_tissues, image_patient, make_patient
from .grid import head_grid
from .record import claim, describe
from .variety import get_variety

FULL = 255  # a share of 1, on disk
STEPS = 16  # of the texture's deviation, on disk


class PatientStore:
    """Patients of one seed, grown when first asked for and kept as ``patient_<index>.npz``.

    Several processes may ask for the same patient at the same time; files appear whole. What a patient costs:
    docs/explanation/phantoms.md.

    Args:
        folder: of the files, with ``settings.json``, which says what they depend on; ``None`` keeps nothing, and then
            patients are not rounded either.
        settings: what patients to make, in which modalities to image them. What is kept is the same for any modalities.

    Raises:
        ValueError: if the folder holds patients of other settings.
    """

    def __init__(self, folder: str | Path | None, settings: PhantomSettings) -> None:
        self.folder, self.settings = Path(folder) if folder is not None else None, settings
        self.grid, self.variety = head_grid(settings.spacing_mm, settings.grid_shape), get_variety(settings.variety)
        if self.folder is not None:
            record = describe(settings)
            del record["modalities"]
            claim(self.folder / "settings.json", record)

    def patient(self, index: int) -> Patient:
        """Grow the patient ``index``, or read it; what was read has no ``tissues``, which ``images`` draws anew."""
        if self.folder is None:
            return make_patient(self.settings, index)
        file = self.folder / f"patient_{index:05d}.npz"
        if not file.exists():
            with replacing(file) as temporary, open(temporary, "wb") as stream:  # savez would add a suffix to a name
                np.savez_compressed(stream, **_packed(make_patient(self.settings, index)))
        with np.load(file, allow_pickle=False) as content:
            return self._unpacked(content)

    def images(self, index: int, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
        """Image a patient with tissues and scanners drawn anew.

        Args:
            index: of the patient.
            rng: of all that is drawn.

        Shape:
            - images: ``(M, X, Y, Z)`` int16, 0 outside of the brain
            - label: ``(X, Y, Z)`` uint8 internal classes
        """
        patient = self.patient(index)._replace(tissues=draw_all_tissues(rng, self.variety))
        images = [image_patient(patient, name, rng, self.variety) for name in self.settings.modalities]
        return np.stack(images), patient.label

    def _unpacked(self, content: Mapping[str, NDArray]) -> Patient:
        """Undo `_packed`; shares sum to 1 again."""
        brain = np.unpackbits(content["brain"], count=int(np.prod(self.grid.shape))).astype(bool)
        brain = brain.reshape(self.grid.shape)
        label = np.zeros(self.grid.shape, np.uint8)
        label[brain] = content["label"]
        shares = content["shares"].astype(np.float32)  # (K, N)
        shares /= shares.sum(0)
        fractions = dict(zip(content["names"].tolist(), shares, strict=True))
        water = content["water"].astype(np.float32) / np.float32(STEPS)
        return Patient(self.grid, brain, label, fractions, water, {})


def _packed(patient: Patient) -> dict[str, Any]:
    """Round a patient to what fits into bytes: shares to 1/255, texture to 1/16 of its deviation up to 8."""
    shares = np.stack(list(patient.fractions.values()))
    limits = np.iinfo(np.int8)
    return {
        "brain": np.packbits(patient.brain),
        "label": patient.label[patient.brain],
        "names": np.array(list(patient.fractions)),
        "shares": np.round(FULL * shares).astype(np.uint8),
        "water": np.clip(np.round(STEPS * patient.water), limits.min, limits.max).astype(np.int8),
    }
