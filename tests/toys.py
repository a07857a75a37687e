# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Toy cases for the overlay of any data set, made of what the overlay and its layout say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import yaml

from scripts.data.label_conventions import get_convention
from scripts.data.layouts import read_layout_file
from scripts.tools.make_datalist import MakeDatalist

BASE = Path(__file__).parents[1] / "configs" / "train.yaml"
LENGTH, SLICES, THICK = 26, 4, 12.0  # voxels along an axis; of a stack along its last; mm of its slices


def write_toys(folder: Path, overlay: Path) -> dict[str, Any]:
    """Write 6 cases, named by the layout of these modalities and labels, and a datalist: 4 to train, most incomplete.

    Args:
        folder: of the cases.
        overlay: ``configs/dataset_<x>.yaml``.

    Returns:
        what makes the overlay quick on them: ``dataset_dir``, ``spacing`` and ``patch_size``.

    Raises:
        ValueError: if there is no such layout.
    """
    read = (yaml.safe_load(file.read_text(encoding="utf-8")) for file in (BASE, overlay))
    settings = dict(next(read), **next(read))
    names, convention = settings["modalities"], get_convention(settings["label_convention"])
    fitting = [
        layout
        for layout in read_layout_file()["layouts"].values()
        if set(layout["images"]) == set(names) and layout["label_convention"] == settings["label_convention"]
    ]
    if not fitting:
        raise ValueError(
            f"{overlay.name} has the modalities {names} and the label convention `{settings['label_convention']}`; "
            "expected a layout of both in scripts/data/layouts.yaml. See docs/how_to/adding.md."
        )
    stack = settings["spacing"][-1] == -1
    shape = (LENGTH, LENGTH, SLICES if stack else LENGTH)
    affine = np.diag([*(length if length > 0 else THICK for length in settings["spacing"]), 1.0])
    random = np.random.default_rng(0)
    for case in range(6):
        classes = _classes(shape, settings["num_classes"])
        values = np.array([convention.write[each] for each in range(settings["num_classes"])])[classes]
        inside = np.linalg.norm(_from_middle(shape), axis=-1) < 1
        for pattern in fitting[0]["images"].values():
            signal = random.uniform(200, 900, settings["num_classes"])[classes] + random.normal(0, 20, shape)
            image = np.where(inside, np.abs(signal) + 1, 0).astype(np.int16)
            nib.save(nib.Nifti1Image(image, affine), folder / f"{pattern.format(case=f'toy_{case}')}.nii.gz")
        label = nib.Nifti1Image(values.astype(np.uint16), affine)
        nib.save(label, folder / f"{fitting[0]['label'][0].format(case=f'toy_{case}')}.nii.gz")
    rates = ",".join(f"{name}=0.4" for name in names)
    MakeDatalist(folder, folder / "datalist.json", split=(4, 1, 1), missing_rates=rates).write()
    patch = [18, 18, 1 if stack else 18]
    return {"dataset_dir": str(folder), "spacing": settings["spacing"], "patch_size": patch}


def _from_middle(shape: tuple[int, ...]) -> np.ndarray:
    """Give each voxel's place, ``(*shape, 3)``: 0 in the middle, 1 near the faces."""
    axes = [np.linspace(-1.1, 1.1, length) for length in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def _classes(shape: tuple[int, ...], number: int) -> np.ndarray:
    """Nest the classes like shells, class 0 outside."""
    distance = np.linalg.norm(_from_middle(shape)[..., :2], axis=-1)
    return np.clip(np.ceil((0.7 - distance) / 0.7 * (number - 1)), 0, number - 1).astype(int)


def save_as_is(values, header, file):
    """Write a ``.nii`` file with this header, which nibabel would mend before it writes it."""
    header = header.copy()
    header.set_data_shape(values.shape)
    header.set_data_dtype(values.dtype)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    Path(file).write_bytes(header.binaryblock + bytes(4) + values.tobytes(order="F"))
    return str(file)
