# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What preparation leaves: images for the network, and the way back to the grids of the series."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import nibabel as nib
import numpy as np

from .geometry import Grid, resample

REFERENCE = "reference"  # in place of a modality's name


@dataclass(frozen=True)
class Places:
    """Where each series of a patient lies, as it was handed over.

    Attributes:
        reference: modality that the others were brought to.
        grids: of each series, by modality.
        transforms: ``(4, 4)`` each, RAS mm of the reference to RAS mm of the series.
    """

    reference: str
    grids: Mapping[str, Grid]
    transforms: Mapping[str, np.ndarray]

    def on_grid(self, probabilities: np.ndarray, source: Grid, modality: str = REFERENCE) -> np.ndarray:
        """Bring probabilities onto the grid of a series, linearly, in one step.

        Args:
            probabilities: ``(C, *S)`` of classes or regions, on ``source``.
            source: a grid in the space of the reference.
            modality: of the series, or ``"reference"``.

        Returns:
            float32 ``(C, *L)``, 0 outside of ``source``.

        Raises:
            ValueError: if there is no such series.
        """
        name = self.named(modality)
        # the way from the series' place to that in the reference
        return resample(probabilities, source, self.grids[name], np.linalg.inv(self.transforms[name]))

    def named(self, modality: str) -> str:
        """Name the series that is meant.

        Raises:
            ValueError: if there is no such series.
        """
        name = self.reference if modality == REFERENCE else modality
        if name not in self.grids:
            raise ValueError(
                f"`output_grid` is `{modality}`, which this patient does not have; expected reference, all, or one of "
                f"{list(self.grids)}"
            )
        return name

    def to_text(self) -> str:
        """Write all of it as JSON, exactly."""
        series = {
            name: {
                "shape": list(grid.shape),
                "affine": grid.affine.tolist(),
                "transform": self.transforms[name].tolist(),
            }
            for name, grid in self.grids.items()
        }
        return json.dumps({REFERENCE: self.reference, "series": series})

    @classmethod
    def from_text(cls, text: str) -> Places:
        """Read what ``to_text`` wrote."""
        content = json.loads(text)
        series = content["series"]
        grids = {name: Grid(tuple(each["shape"]), np.array(each["affine"])) for name, each in series.items()}
        return cls(content[REFERENCE], grids, {name: np.array(each["transform"]) for name, each in series.items()})


@dataclass
class Prepared:
    """A prepared patient.

    Attributes:
        images: modality to image, all on one grid in the space of the reference; background exactly 0 outside of the
            brain. The very images that were handed over where nothing was to be done.
        places: the grids of the series, and the transforms.
        record: what was done to which series, see docs/reference/files.md.
        brain_mask: on the grid of the images; ``None`` where nothing was done.
        masks: brain of each series on its own grid, where it was looked for.
        warnings: what a reader must know, in words.
    """

    images: dict[str, nib.Nifti1Image]
    places: Places
    record: dict[str, Any]
    brain_mask: nib.Nifti1Image | None = None
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether anything was done."""
        return self.brain_mask is not None

    @property
    def transforms(self) -> Mapping[str, np.ndarray]:
        """``(4, 4)`` by modality, RAS mm of the reference to RAS mm of the series."""
        return self.places.transforms

    def on_grid(self, probabilities: np.ndarray, modality: str = REFERENCE) -> np.ndarray:
        """Bring probabilities ``(C, *S)`` on the grid of the images onto that of a series, see ``Places.on_grid``."""
        return self.places.on_grid(probabilities, Grid.of(next(iter(self.images.values()))), modality)
