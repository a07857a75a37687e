# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Phantoms as the checks get them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scripts.phantom.case import PhantomSettings, make_phantom
from scripts.plausibility.view import look_at

NAMES = PhantomSettings().modalities


@pytest.fixture(scope="session")
def phantoms():
    """One typical patient at 4 mm."""
    return [make_phantom(PhantomSettings(spacing_mm=4.0, seed=41), index) for index in range(1)]


@pytest.fixture(scope="session")
def images(phantoms):
    """The first one's images ``(4, X, Y, Z)``; a test works on a copy."""
    return torch.from_numpy(phantoms[0].images.astype(np.float32))


@pytest.fixture(scope="session")
def affine(phantoms):
    return phantoms[0].affine


@pytest.fixture(scope="session")
def view(images, affine):
    return look_at(images, affine, NAMES)
