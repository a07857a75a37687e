# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Finds the rigid movement between two series of a patient, by SimpleITK."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy import ndimage

from .geometry import Grid, from_itk_transform, resample, simpleitk, to_itk

PURPOSE = "registration"
WORKING_MM = 2.0  # voxels of the copies that are registered: thick slices would not survive the levels
SHRINK, SMOOTH_MM = (4, 2, 1), (4.0, 2.0, 0.0)  # of the three levels
SAMPLING, SEED = (0.5, 0.2, 0.1), 1  # share of the voxels on each level, and of what they are drawn from
BINS = 32
RIM_MM = 6.0  # around the brain: its edge says most about its place


@dataclass(frozen=True)
class Series:
    """One image as it is registered.

    Attributes:
        array: ``(*S)``.
        grid: where it lies.
        mask: ``(*S)`` bool, the brain; ``None`` where it is not known.
    """

    array: np.ndarray
    grid: Grid
    mask: np.ndarray | None = None


@dataclass(frozen=True)
class Registration:
    """What was found.

    Attributes:
        transform: ``(4, 4)``, RAS mm of the fixed series to RAS mm of the moving one.
        before: mutual information where the headers put the series (nats).
        after: the same with ``transform``.
        seconds: that it took.
    """

    transform: np.ndarray
    before: float
    after: float
    seconds: float


def register(fixed: Series, moving: Mapping[str, Series]) -> dict[str, Registration]:
    """Find the rigid transforms that bring series onto ``fixed``, by Mattes' mutual information on three levels.

    Where both brains are known, the search begins with their centres in one place if that explains more than where the
    headers put them, and looks at the fixed brain alone: scalp, jaw and neck move on their own. Always the same result
    for the same images: samples are drawn from a fixed seed, and one thread sums them up. Several series are registered
    at a time.

    Args:
        fixed: the reference.
        moving: by name, to be brought onto it.

    Raises:
        ValueError: if SimpleITK is not installed.
    """
    sitk = simpleitk(PURPOSE)
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # sums of several threads differ in their last digits
    try:
        fixed_image, fixed_mask = _working(fixed)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = pool.map(partial(_register, fixed_image, fixed_mask), moving.values())
            return dict(zip(moving, found, strict=True))
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def _register(fixed_image: Any, fixed_mask: Any, moving: Series) -> Registration:
    sitk = simpleitk(PURPOSE)
    begin = time.monotonic()
    moving_image, moving_mask = _working(moving)
    centre = _centre(fixed_mask if fixed_mask is not None else fixed_image)
    start = sitk.Euler3DTransform()
    start.SetCenter(centre)
    method = _method(sitk, fixed_mask)
    begins = [start]
    if fixed_mask is not None and moving_mask is not None:
        shifted = sitk.Euler3DTransform(start)
        shifted.SetTranslation((np.array(_centre(moving_mask)) - centre).tolist())
        begins.append(shifted)
    values = [_value(method, fixed_image, moving_image, each) for each in begins]
    found = sitk.Euler3DTransform(begins[int(np.argmax(values))])
    method.SetInitialTransform(found, inPlace=True)
    method.Execute(fixed_image, moving_image)
    after = _value(method, fixed_image, moving_image, found)
    return Registration(from_itk_transform(found), values[0], after, time.monotonic() - begin)


def _working(series: Series) -> tuple[Any, Any]:
    """Copy a series, and the surroundings of its brain, to voxels of ``WORKING_MM``."""
    grid = series.grid.with_spacing(np.full(3, WORKING_MM))
    image = to_itk(resample(series.array, series.grid, grid), grid, PURPOSE)
    if series.mask is None:
        return image, None
    mask = resample(series.mask, series.grid, grid) >= 0.5
    near = ndimage.distance_transform_edt(~mask) * WORKING_MM <= RIM_MM
    return image, to_itk(near.astype(np.uint8), grid, PURPOSE)


def _centre(image: Any) -> list[float]:
    """Centre of mass of an ITK image (LPS mm)."""
    sitk = simpleitk(PURPOSE)
    array = sitk.GetArrayViewFromImage(image).astype(np.float32)
    index = ndimage.center_of_mass(array - array.min())
    return list(image.TransformContinuousIndexToPhysicalPoint([float(each) for each in index[::-1]]))


def _method(sitk: Any, mask: Any) -> Any:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentagePerLevel(SAMPLING, SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=0.005, numberOfIterations=200, relaxationFactor=0.6, gradientMagnitudeTolerance=1e-6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(SHRINK)
    method.SetSmoothingSigmasPerLevel(SMOOTH_MM)
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetNumberOfThreads(1)
    if mask is not None:
        method.SetMetricFixedMask(mask)
    return method


def _value(method: Any, fixed: Any, moving: Any, transform: Any) -> float:
    method.SetInitialTransform(transform)
    return -float(method.MetricEvaluate(fixed, moving))
