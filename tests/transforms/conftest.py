# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Small cases on disk, and the way from an entry to a preprocessed case."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import Compose, CropForegroundd, NormalizeIntensityd, Orientationd

from scripts.transforms.foreground import acquired_foreground
from scripts.transforms.load import LoadCased

MODALITIES = ("flair", "t1ce", "t1", "t2")
LPS = np.array([[-1.0, 0, 0, 3], [0, -1, 0, 239], [0, 0, 1, -7], [0, 0, 0, 1]])
SHAPE = (16, 14, 12)
# Where each modality has a head: the last one is larger, so that it decides the crop wherever it was acquired.
HEADS = {"flair": (5, 11), "t1ce": (4, 11), "t1": (5, 10), "t2": (2, 12)}


@pytest.fixture(scope="session")
def modalities():
    return MODALITIES


@pytest.fixture
def load(modalities):
    """The loader as it is by default."""
    return LoadCased(modalities)


@pytest.fixture
def write(tmp_path):
    """Write an array as NIfTI and return its path."""

    def _write(array, name, affine=LPS):
        nib.save(nib.Nifti1Image(np.asarray(array, dtype=np.float32), affine), tmp_path / name)
        return str(tmp_path / name)

    return _write


@pytest.fixture(scope="session")
def volumes():
    """Skull-stripped volumes of the four modalities: a head of positive values, zero around it."""
    random = np.random.default_rng(0)
    result = {}
    for name, (start, stop) in HEADS.items():
        result[name] = np.zeros(SHAPE, dtype=np.float32)
        size = stop - start
        result[name][start:stop, start:stop, start : stop - 1] = random.uniform(50, 900, (size, size, size - 1))
    return result


@pytest.fixture
def entry(write, volumes):
    """A complete case of four files and a label in the convention of 2021."""
    label = np.zeros(SHAPE)
    label[6:10, 6:10, 6:9] = 2
    label[7:9, 7:9, 7:8] = 4
    label[8, 8, 7] = 1
    return {
        "case": "case_a",
        "images": {name: write(volume, f"case_a_{name}.nii.gz") for name, volume in volumes.items()},
        "label": write(label, "case_a_seg.nii.gz"),
        "label_convention": "brats2021",
    }


@pytest.fixture
def listing():
    """Make an entry that lists only some of another entry's images."""

    def _listing(entry, *names):
        return {**entry, "images": {name: entry["images"][name] for name in names}}

    return _listing


@pytest.fixture
def preprocessing():
    """The deterministic transforms of every workflow."""
    keys = ("image", "label")
    return Compose(
        [
            LoadCased(MODALITIES, label_required=True),
            Orientationd(keys, "RAS", labels=None),
            CropForegroundd(keys, source_key="image", select_fn=acquired_foreground),
            NormalizeIntensityd("image", nonzero=True, channel_wise=True),
        ]
    )


@pytest.fixture(scope="session")
def real_data():
    """Folder of the real cases, which are not part of the repository."""
    folder = Path(__file__).parents[2].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real cases are not here ({folder}); they are not part of the repository")
    return folder
