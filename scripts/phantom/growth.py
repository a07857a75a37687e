# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Growth of a tumour through tissue by reaction and diffusion.

    du/dt = div(D grad u) + rho u (1 - u)

u is the density of cells (1 = full), D the conductivity of the tissue, rho the proliferation rate. The front moves at
2 sqrt(rho D): fast along white matter, slowly in grey matter, never through fluid (Fisher-Kolmogorov; for gliomas
Swanson et al., Cell Prolif. 2000, 33:317-329).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DIFFUSION = 0.15  # per step and face of a voxel at conductivity 1; explicit Euler is stable below 1/6
PROLIFERATION = 0.35  # per step
FRONT_SPEED = 2 * (DIFFUSION * PROLIFERATION) ** 0.5  # voxels per step at conductivity 1


def grow(conductivity: NDArray, density: NDArray, target_voxels: float, max_steps: int = 160) -> NDArray:
    """Grow until the tumour fills the target; return for how long each voxel has been tumour, as a distance.

    Args:
        conductivity: ``(X, Y, Z)`` in [0, 1].
        density: ``(X, Y, Z)`` in [0, 1], where the growth starts.
        target_voxels: number of voxels with density above one half at which growth stops.
        max_steps: at which growth stops in any case.

    Returns:
        ``(X, Y, Z)`` float32, the accumulated density in units of a voxel's edge at the speed of the front in the
        fastest tissue: large where the tumour started, about zero at its front.
    """
    faces = []
    for axis in range(3):
        low, high = _both_sides(axis)
        faces.append((axis, DIFFUSION * np.sqrt(conductivity[low] * conductivity[high]).astype(np.float32)))
    density = density.astype(np.float32)
    exposure = density.copy()
    alive = (conductivity > 0.02).astype(np.float32) * np.float32(PROLIFERATION)
    for _ in range(max_steps):
        change = alive * density * (1 - density)
        for axis, face in faces:
            low, high = _both_sides(axis)
            flux = face * (density[high] - density[low])
            change[low] += flux
            change[high] -= flux
        density += change
        exposure += density
        if np.count_nonzero(density > 0.5) >= target_voxels:
            break
    return exposure * np.float32(FRONT_SPEED)


def _both_sides(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    low = [slice(None)] * 3
    high = [slice(None)] * 3
    low[axis], high[axis] = slice(None, -1), slice(1, None)
    return tuple(low), tuple(high)
