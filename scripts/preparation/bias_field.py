# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Takes slow changes of brightness out of an image, by N4.

Tustison et al., N4ITK: improved N3 bias correction, IEEE Transactions on Medical Imaging 2010.
"""

from __future__ import annotations

import numpy as np

from .geometry import Grid, simpleitk, to_itk

PURPOSE = "the correction of the bias field"
WORKING_MM = 5.0  # voxels at which the field, which is smooth, is estimated
ITERATIONS = (50, 50, 50)  # of each level


def correct_bias_field(image: np.ndarray, grid: Grid, mask: np.ndarray) -> np.ndarray:
    """Divide an image by its bias field, estimated inside of the brain.

    Args:
        image: ``(*S)``.
        grid: where it lies.
        mask: ``(*S)`` bool, the brain.

    Returns:
        ``(*S)`` float32.

    Raises:
        ValueError: if SimpleITK is not installed.
    """
    sitk = simpleitk(PURPOSE)
    lowest = float(image[mask].min())
    whole = to_itk((image - min(lowest, 0.0) + 1.0).astype(np.float32), grid, PURPOSE)  # N4 takes logarithms
    factors = [max(1, int(round(WORKING_MM / length))) for length in grid.spacing]
    small = sitk.Shrink(whole, factors)
    small_mask = sitk.Shrink(to_itk(mask.astype(np.uint8), grid, PURPOSE), factors)
    filter_ = sitk.N4BiasFieldCorrectionImageFilter()
    filter_.SetMaximumNumberOfIterations(list(ITERATIONS))
    filter_.SetNumberOfThreads(1)
    filter_.Execute(small, small_mask)
    field = sitk.GetArrayFromImage(filter_.GetLogBiasFieldAsImage(whole)).transpose(2, 1, 0)
    return (image / np.exp(field)).astype(np.float32)
