# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Preparation in front of the pipeline, and the way back to the series at its end."""

from __future__ import annotations

import json
import logging
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Transform

from ..data.case import Case
from ..data.case_error import CaseError
from ..data.reading import ImageFile, file_of, grid_difference, with_meta
from ..data.request import Request
from ..modalities import parse_subset
from ..preparation.geometry import Grid
from ..preparation.keeping import folder_beside, keep, kept_files
from ..preparation.prepare import prepare
from ..preparation.prepared import REFERENCE, Places, Prepared
from ..preparation.settings import OFF, Preparation
from ..utils.flags import as_flag
from .load import LoadCased

logger = logging.getLogger(__name__)

KEY = "preparation"  # of what a case carries along: text, which collates
ALL = "all"
SOURCE = "on_grid_of"  # in the metadata of a result: the file
ON = "pred_on_"  # and a modality: the prediction on the grid of a series


class PrepareCased(Transform):
    """Read one case, and prepare its series where they need it: see ``scripts.preparation.prepare``.

    The result is that of ``load``. The image lies in the space and field of view of the reference, in voxels of the
    size that the network wants, so that each series is resampled once. Beside it ``preparation`` says as JSON what was
    done, and where each series lies. Where nothing is to be done the voxels are those of ``load``.

    Args:
        load: reads the case.
        prepare: ``"off"``, ``"auto"`` or ``"on"``; also a boolean.
        brain_extraction: ``"fast"`` or ``"accurate"``.
        brain_mask: file of a mask, in place of brain extraction.
        bias_field: correct the bias field of each series. Also a word.
        reference: modality that the others are registered to.
        spacing: voxel edges that the network wants (mm).
        subset: modalities that are used, joined by ``+``, or ``"all"``; others are left out of the preparation.
        subset_key: where a request may name a subset of its own.
        kept_in: folder in which ``<case>_prepared`` is left if ``keep_prepared`` says so.
        keep_prepared: keep prepared images, masks and transforms. Also a word.

    Raises:
        CaseError: for what ``load`` or ``prepare`` raise of a case.
        ValueError: if an option is none of these.
    """

    def __init__(
        self,
        load: LoadCased,
        prepare: str | bool = "auto",
        brain_extraction: str = "fast",
        brain_mask: str | None = None,
        bias_field: bool | str = False,
        reference: str | None = None,
        spacing: Sequence[float] | None = None,
        subset: str = ALL,
        subset_key: str | None = None,
        kept_in: str | None = None,
        keep_prepared: bool | str = False,
    ) -> None:
        self.load, self.subset, self.subset_key = load, subset, subset_key
        self.settings = Preparation(prepare, brain_extraction, as_flag(bias_field, "bias_field"), reference, spacing)
        self.brain_mask, self.kept_in = brain_mask, kept_in
        self.keep_prepared = as_flag(keep_prepared, "keep_prepared")
        if self.settings.mode == OFF and (brain_mask or self.settings.bias_field or self.keep_prepared):
            raise ValueError(
                "`prepare` is off, but `brain_mask`, `bias_field` or `keep_prepared` is given; expected auto or on."
            )
        self._read = ImageFile()

    def __call__(self, data: Request) -> dict[Hashable, object]:
        case, acquired, doubts = self.load.read(data)
        used = self._used(data, acquired)
        volumes = all(image.ndim == 4 for image in acquired.values())  # (1, *S)
        if self.settings.mode == OFF or not used or not volumes:
            return self.load.assemble(case, acquired, doubts)
        prepared = self._prepared(case, used)
        if prepared.done:
            logger.info("%s: %s", case.name, "\n  ".join([*prepared.record["in_words"], *prepared.warnings]))
            used = {name: _as_tensor(image, used[name]) for name, image in prepared.images.items()}
            if self.keep_prepared and self.kept_in is not None:
                keep(kept_files(prepared), folder_beside(Path(self.kept_in, f"{case.name}.nii.gz")))
        said = {
            "record": prepared.record,
            "warnings": prepared.warnings,
            "places": prepared.places.to_text(),
            "files": {name: file_of(image) for name, image in used.items()},
        }
        return {**self.load.assemble(case, used, doubts, cut=not prepared.done), KEY: json.dumps(said)}

    def _used(self, data: Request, acquired: Mapping[str, MetaTensor]) -> dict[str, MetaTensor]:
        """Leave out the modalities that the subset does not name."""
        own = data.get(self.subset_key) if self.subset_key and isinstance(data, Mapping) else None
        modalities = self.load.modalities
        flags = parse_subset(str(own or self.subset), modalities).tolist()
        return {name: acquired[name] for name, flag in zip(modalities, flags, strict=True) if flag and name in acquired}

    def _prepared(self, case: Case, used: Mapping[str, MetaTensor]) -> Prepared:
        images = {name: _as_nifti(image) for name, image in used.items()}
        mask = _as_nifti(self._read(self.brain_mask, case.name)) if self.brain_mask else None
        try:
            return prepare(images, self.settings, mask, aligned=case.image is not None or self._resampled(used))
        except ValueError as error:
            raise CaseError(case.name, str(error).rstrip(".")) from error

    def _resampled(self, used: Mapping[str, MetaTensor]) -> bool:
        """Tell that the user says of different grids that the images on them are aligned."""
        first = next(iter(used.values()))
        return self.load.grid == "resample" and any(
            grid_difference(first, image, self.load.affine_tolerance) for image in used.values()
        )


class ToSeriesGrid(Transform):
    """Bring probabilities onto the grid of a series, as the last step before a class is chosen.

    Args:
        output_grid: ``"reference"``, a modality, or ``"all"``: that of the reference, and beside it
            ``pred_on_<modality>`` for each series.
        key: of the probabilities, ``(C, *S)`` on the grid of the prepared image.

    Raises:
        CaseError: if the case has no such series.
    """

    def __init__(self, output_grid: str = REFERENCE, key: str = "pred") -> None:
        self.output_grid, self.key = output_grid, key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        if KEY not in data:
            return dict(data)
        said = json.loads(data[KEY])
        places = Places.from_text(said["places"])
        several = self.output_grid == ALL
        try:
            name = places.named(REFERENCE if several else self.output_grid)
        except ValueError as error:
            raise CaseError(str(data.get("case", "unnamed")), str(error)) from error
        names: dict[Hashable, str] = {self.key: name}
        names |= {f"{ON}{each}": each for each in places.grids if several}
        moved = {key: _on(places, data[self.key], each, said["files"][each]) for key, each in names.items()}
        return {**data, **moved}


def preparation_of(case: Mapping[str, Any]) -> dict[str, Any]:
    """Read what a case carries of its preparation: ``record`` and ``warnings``; empty where it was switched off."""
    return json.loads(case[KEY]) if KEY in case else {}


def on_series(case: Mapping[str, Any]) -> dict[str, MetaTensor]:
    """Find the probabilities ``(C, *S)`` that a case has on the grids of its series, by modality."""
    return {str(key).removeprefix(ON): value for key, value in case.items() if str(key).startswith(ON)}


def file_on_grid(image: MetaTensor, case: Mapping[str, Any]) -> str:
    """Path of the file on whose grid a result of a case lies."""
    return str(image.meta.get(SOURCE) or file_of(case["image"]))


def _on(places: Places, probabilities: MetaTensor, modality: str, file: str) -> MetaTensor:
    """Bring a prediction onto the grid of a series; that which lies there already stays as it is."""
    source, grid = (
        Grid(tuple(probabilities.shape[1:]), np.asarray(probabilities.affine, dtype=float)),
        places.grids[modality],
    )
    if grid.is_(source) and np.array_equal(places.transforms[modality], np.eye(4)):
        return probabilities
    moved = places.on_grid(_voxels(probabilities), source, modality)
    return MetaTensor(torch.from_numpy(moved), affine=torch.as_tensor(grid.affine), meta={SOURCE: file})


def _voxels(image: MetaTensor) -> np.ndarray:
    """Take the voxels of an image, wherever it lies in memory."""
    return image.as_tensor().detach().cpu().numpy()


def _as_nifti(image: MetaTensor) -> nib.Nifti1Image:
    return nib.Nifti1Image(_voxels(image)[0], np.asarray(image.affine, dtype=float))


def _as_tensor(image: nib.Nifti1Image, source: MetaTensor) -> MetaTensor:
    """Take a prepared image for the one it was made of: ``(1, *S)``."""
    meta = {"filename_or_obj": source.meta.get("filename_or_obj"), "space": source.meta.get("space")}
    placed = MetaTensor(torch.from_numpy(np.asarray(image.dataobj))[None], torch.as_tensor(image.affine), meta)
    return with_meta(placed.as_tensor(), placed)
