# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Raw series of one patient in; registered images of the brain alone out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import nibabel as nib
import numpy as np
import torch

from ..data.background import find_foreground
from .bias_field import correct_bias_field
from .extraction import extract_brain
from .foreground import foreground_of, is_extracted
from .geometry import Grid, displacement, resample, rotation_degrees
from .prepared import Places, Prepared
from .registration import Registration, Series, register
from .settings import AUTO, OFF, ON, Preparation

ALIGNED_MM = 0.5  # a movement found that is smaller, on average over the brain, is none
LEAST_OVERLAP = 0.9  # Dice of the masks of two brains below which their registration is doubtful
LEAST_SEEN = 0.95  # share of a series' brain that lies in the field of view of the reference
PLAUSIBLE_MM, PLAUSIBLE_DEGREES = 50.0, 30.0  # of a movement between series
POINTS = 20000  # of the brain, over which movements are measured
IDENTITY = np.eye(4)


@dataclass
class _Patient:
    """What is known of a patient on the way."""

    arrays: dict[str, np.ndarray]
    grids: dict[str, Grid]
    extracted: dict[str, bool]
    reference: str
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    transforms: dict[str, np.ndarray] = field(default_factory=dict)
    series: dict[str, dict[str, Any]] = field(default_factory=dict)  # the record of each
    warnings: list[str] = field(default_factory=list)

    @property
    def one_grid(self) -> bool:
        return all(grid.is_turned(self.grids[self.reference]) for grid in self.grids.values())

    @property
    def prepared(self) -> bool:
        return self.one_grid and all(self.extracted.values())


def prepare(
    images: Mapping[str, nib.Nifti1Image],
    settings: Preparation | None = None,
    brain_mask: nib.Nifti1Image | None = None,
    aligned: bool = False,
) -> Prepared:
    """Bring the series of a patient into one space and cut the brain out of them, where that is needed.

    The brain of each series is found (``is_extracted``, then HD-BET), each series is registered to the reference, and
    is resampled once onto a grid over the reference's field of view. The brain is where at least half of the series
    that reach there see it. Series on one grid whose brains were extracted are returned as they are.

    Args:
        images: modality to image ``(*S)`` of three dimensions, every voxel finite.
        settings: the default ones if not given.
        brain_mask: in place of brain extraction; above 0 is brain. Drawn on the grid of one of the series, which then
            is the reference; otherwise in its space.
        aligned: the series are aligned by definition, as those of a stacked file.

    Raises:
        ValueError: if a package is missing, a brain is not found, or the mask is empty or lies elsewhere.
    """
    settings = settings or Preparation()
    begin = time.monotonic()
    patient = _look_at(images, settings, brain_mask)
    idle = patient.prepared and brain_mask is None and not settings.bias_field
    if settings.mode == OFF or (settings.mode == AUTO and idle):
        return _as_they_are(images, patient, settings)
    brain = _find_brains(patient, settings, brain_mask)
    if len(patient.grids) > 1 and not aligned and (settings.mode == ON or not patient.prepared):
        _register_all(patient, settings)
    if settings.bias_field:
        _correct_all(patient)
    grid = prepared_grid(patient.grids[patient.reference], settings.spacing)
    on_grid = {name: _moved(patient, name, mask, grid) >= 0.5 for name, mask in patient.masks.items()}
    common = _common_brain(patient, on_grid, grid)
    _compare_brains(patient, on_grid, grid)
    prepared = {name: nib.Nifti1Image(_cut(patient, name, common, on_grid, grid), grid.affine) for name in images}
    record = {
        "prepare": settings.mode,
        "done": True,
        "reference": patient.reference,
        "brain_from": brain,
        "brain_ml": round(float(common.sum()) * grid.voxel_ml, 1),
        "grid": _described(grid),
        "series": patient.series,
        "seconds": round(time.monotonic() - begin, 1),
    }
    return Prepared(
        images=prepared,
        places=Places(patient.reference, patient.grids, patient.transforms),
        record={**record, "in_words": in_words(record)},
        brain_mask=nib.Nifti1Image(common.astype(np.uint8), grid.affine),
        masks=patient.masks,
        warnings=patient.warnings,
    )


def prepared_grid(reference: Grid, spacing: Any = None) -> Grid:
    """Choose the grid of prepared images: that of the reference, in voxels of the size that the network wants.

    Args:
        reference: its grid.
        spacing: ``(3,)`` mm along the axes to the right, front and top; not above 0 keeps that of the reference.
    """
    if spacing is None:
        return reference
    wanted = np.asarray(spacing, dtype=float)[nib.orientations.io_orientation(reference.affine)[:, 0].astype(int)]
    wanted = np.where(wanted > 0, wanted, reference.spacing)
    if np.abs(wanted / reference.spacing - 1).max() <= 1e-3:
        return reference
    return reference.with_spacing(wanted)


def _look_at(images: Mapping[str, Any], settings: Preparation, brain_mask: nib.Nifti1Image | None) -> _Patient:
    arrays = {name: np.array(image.dataobj, dtype=np.float32) for name, image in images.items()}
    grids = {name: Grid.of(image) for name, image in images.items()}
    extracted = {name: is_extracted(array, grids[name]) for name, array in arrays.items()}
    arrays |= {
        name: find_foreground(torch.from_numpy(arrays[name])).image.numpy() for name in images if extracted[name]
    }
    drawn_on = [name for name in images if brain_mask is not None and grids[name].is_(Grid.of(brain_mask))]
    asked = [name for name in images if name == settings.reference]
    finest = min(images, key=lambda name: (round(grids[name].voxel_ml, 6), grids[name].spacing.max()))
    possible = [name for name in asked if not drawn_on or name in drawn_on] or drawn_on or [finest]
    patient = _Patient(arrays, grids, extracted, possible[0])
    for name, grid in grids.items():
        patient.transforms[name] = IDENTITY
        patient.series[name] = {"grid": _described(grid), "brain_extracted_before": extracted[name]}
    return patient


def _as_they_are(images: Mapping[str, nib.Nifti1Image], patient: _Patient, settings: Preparation) -> Prepared:
    why = "switched off" if settings.mode == OFF else "one grid, and the brains were extracted already"
    record = {"prepare": settings.mode, "done": False, "in_words": [f"nothing was prepared: {why}"]}
    return Prepared(dict(images), Places(next(iter(images)), patient.grids, patient.transforms), record)


def _find_brains(patient: _Patient, settings: Preparation, given: nib.Nifti1Image | None) -> str:
    """Find the brain of each series on its own grid, or take the mask that was given; say where it is from."""
    if given is not None:
        source, target = Grid.of(given), patient.grids[patient.reference]
        mask = resample(np.asarray(given.dataobj) > 0, source, target) >= 0.5
        if not mask.any():
            raise ValueError(
                "the brain mask is empty, or lies outside of the images; expected voxels above 0 on the grid of one of "
                "them"
            )
        if not source.is_(target):
            patient.warnings.append(
                f"the brain mask is on the grid of no series; it was taken to lie in the space of {patient.reference}"
            )
        patient.masks[patient.reference] = mask
        return "file"
    methods = set()
    for name, array in patient.arrays.items():
        begin = time.monotonic()
        kept = patient.extracted[name] and settings.mode == AUTO
        grid = patient.grids[name]
        mask = foreground_of(array) if kept else extract_brain(array, grid, settings.brain_extraction)
        patient.masks[name] = mask
        methods.add("extracted before" if kept else f"HD-BET, {settings.brain_extraction}")
        patient.series[name] |= {"brain_ml": round(float(mask.sum()) * grid.voxel_ml, 1)}
        patient.series[name] |= {} if kept else {"brain_extraction_seconds": round(time.monotonic() - begin, 1)}
    return " and ".join(sorted(methods))


def _register_all(patient: _Patient, settings: Preparation) -> None:
    """Register each series to the reference."""
    series = {
        name: Series(array, patient.grids[name], patient.masks.get(name)) for name, array in patient.arrays.items()
    }
    fixed = series.pop(patient.reference)
    points = _points(fixed)
    for name, found in register(fixed, series).items():
        _take(patient, settings, name, found, points)


def _points(series: Series) -> np.ndarray:
    """Places in the brain, or in the head where the brain is not known: ``(N, 3)`` RAS mm."""
    inside = series.array > series.array.mean() if series.mask is None else series.mask
    points = series.grid.points(inside)
    return points[:: max(1, len(points) // POINTS)]


def _take(patient: _Patient, settings: Preparation, name: str, found: Registration, points: np.ndarray) -> None:
    """Decide what a registration is worth, and note it."""
    moved = displacement(found.transform, points)
    turned, shift = rotation_degrees(found.transform), displacement(found.transform, points.mean(axis=0)[None])
    better = found.after > found.before
    applied = better and (moved >= ALIGNED_MM or settings.mode == ON)
    if applied:
        patient.transforms[name] = found.transform
    patient.series[name] |= {
        "registered": applied,
        "moved_mm": round(moved, 2),
        "shift_mm": round(shift, 2),
        "rotation_degrees": round(turned, 2),
        "mutual_information_before": round(found.before, 4),
        "mutual_information_after": round(found.after, 4),
        "registration_seconds": round(found.seconds, 1),
    }
    if not better and moved >= ALIGNED_MM:
        patient.warnings.append(
            f"{name} could not be registered to {patient.reference}: mutual information went from {found.before:.3f} "
            f"to {found.after:.3f}; it was left where its header puts it"
        )
    elif shift > PLAUSIBLE_MM or turned > PLAUSIBLE_DEGREES:
        patient.warnings.append(
            f"{name} was moved by {shift:.0f} mm and turned by {turned:.0f} degrees onto {patient.reference}; expected "
            f"less than {PLAUSIBLE_MM:.0f} mm and {PLAUSIBLE_DEGREES:.0f} degrees between series. Look at the result"
        )


def _correct_all(patient: _Patient) -> None:
    """Divide each series by its bias field, in its own brain."""
    reference = patient.reference
    for name, array in patient.arrays.items():
        begin = time.monotonic()
        mask = patient.masks.get(name)
        if mask is None:
            back = np.linalg.inv(patient.transforms[name])
            mask = resample(patient.masks[reference], patient.grids[reference], patient.grids[name], back) >= 0.5
        patient.arrays[name] = correct_bias_field(array, patient.grids[name], mask)
        patient.series[name]["bias_field_seconds"] = round(time.monotonic() - begin, 1)


def _moved(patient: _Patient, name: str, array: np.ndarray, grid: Grid) -> np.ndarray:
    return resample(array, patient.grids[name], grid, patient.transforms[name])


def _common_brain(patient: _Patient, masks: Mapping[str, np.ndarray], grid: Grid) -> np.ndarray:
    """Take as brain what at least half of the series say that reach there: ``(*S)`` bool."""
    votes = np.zeros(grid.shape, dtype=np.int16)
    for name, mask in masks.items():
        votes += np.where(_seen(patient, name, grid), 2 * mask.astype(np.int16) - 1, 0).astype(np.int16)
    some = np.logical_or.reduce(list(masks.values()))
    return some & (votes >= 0)


def _seen(patient: _Patient, name: str, grid: Grid) -> np.ndarray:
    """Mark what lies in the field of view of a series: ``(*S)`` bool."""
    return _moved(patient, name, np.ones(patient.grids[name].shape, dtype=np.float32), grid) > 0.5


def _compare_brains(patient: _Patient, masks: Mapping[str, np.ndarray], grid: Grid) -> None:
    """Note how well the brain of each series covers that of the reference, and warn where it does not."""
    for name in masks:
        if name == patient.reference or patient.reference not in masks:
            continue
        seen = _seen(patient, name, grid)
        both = float((masks[name] & masks[patient.reference] & seen).sum())
        overlap = 2 * both / max(float(masks[name].sum() + (masks[patient.reference] & seen).sum()), 1.0)
        patient.series[name]["mask_overlap"] = round(overlap, 3)
        inside = (
            float(masks[name].sum()) * grid.voxel_ml / (float(patient.masks[name].sum()) * patient.grids[name].voxel_ml)
        )
        if overlap < LEAST_OVERLAP:
            patient.warnings.append(
                f"{name} may not lie on {patient.reference}: their brains overlap with a Dice of {overlap:.2f} after "
                f"registration; expected at least {LEAST_OVERLAP:g}. Look at the result, or register them yourself"
            )
        if inside < LEAST_SEEN:
            patient.warnings.append(
                f"{100 * (1 - inside):.0f} % of the brain in {name} lies outside of the field of view of "
                f"{patient.reference}, and was not segmented"
            )


def _cut(patient: _Patient, name: str, common: np.ndarray, masks: Mapping[str, np.ndarray], grid: Grid) -> np.ndarray:
    """Bring a series onto the grid and set all but the brain to exactly 0: ``(*S)`` float32."""
    array = patient.arrays[name]
    moved = np.clip(_moved(patient, name, array, grid), array.min(), array.max())
    seen = _seen(patient, name, grid)
    brain = common if not patient.extracted[name] else masks.get(name, common)
    span = float(array.max() - array.min())
    moved = np.where(moved == 0, np.finfo(np.float32).eps * span, moved)  # 0 is what lies outside
    return np.where(brain & seen, moved, 0).astype(np.float32)


def _described(grid: Grid) -> dict[str, Any]:
    return {"shape": list(grid.shape), "spacing_mm": [round(float(each), 4) for each in grid.spacing]}


def in_words(record: Mapping[str, Any]) -> list[str]:
    """Say what was done, a line for each series."""
    lines = [
        f"prepared in the space of {record['reference']}; brain {record['brain_ml']:.0f} mL ({record['brain_from']})"
    ]
    for name, series in record["series"].items():
        if "registered" not in series:
            continue
        how = "registered" if series["registered"] else "aligned already"
        overlap = f", overlap of the brains {series['mask_overlap']:.2f}" if "mask_overlap" in series else ""
        lines.append(
            f"{name}: {how}, {series['moved_mm']:.1f} mm and {series['rotation_degrees']:.1f} degrees from where its "
            f"header puts it{overlap}"
        )
    return lines
