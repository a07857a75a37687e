# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What tests of several modules share."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
REAL_DATA = ROOT.parent / "shared" / "data"
MODALITIES = ["flair", "t1ce", "t1", "t2"]


@pytest.fixture(scope="session")
def golden():
    """Load a file of reference numbers by name."""
    return lambda name: np.load(GOLDEN / f"{name}.npz")


def reference_state_dict(network: str) -> dict[str, torch.Tensor]:
    """Draw the parameters of the recipe that the reference numbers were made with."""
    state = {}
    for name, shape in json.loads((GOLDEN / f"state_dict_{network}.json").read_text())["entries"].items():
        value = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
        if len(shape) >= 2:
            value *= (value.numel() / shape[0]) ** -0.5
        else:
            value = 1 + 0.1 * value if name.endswith("weight") else 0.1 * value
        state[name] = value
    return state


def reference_case() -> tuple[torch.Tensor, torch.Tensor]:
    """Draw the image ``(1, 4, 80, 80, 80)`` and label ``(1, 1, 80, 80, 80)`` of the recipe."""
    image = torch.randn(1, 4, 80, 80, 80, generator=torch.Generator().manual_seed(2024))
    axes = [(torch.arange(80) - centre) ** 2 for centre in (36, 42, 40)]
    radius = axes[0][:, None, None] + axes[1][:, None] + axes[2]
    label = torch.where(radius < 64, 1, torch.where(radius < 196, 3, torch.where(radius < 576, 2, 0)))
    return image, label[None, None]


def hide(image: torch.Tensor, mask: str) -> torch.Tensor:
    """Fill the modalities with NaN that a mask such as ``"1010"`` leaves out."""
    image = image.clone()
    image[:, [flag == "0" for flag in mask]] = float("nan")
    return image
