# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Copies the bundle for MONAI Label, which trains and serves one file, ``models/model.pt``."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from ..records.side_files import require_weights
from .packaging import WEIGHTS, bundle_files, side_files
from .place import ROOT

TRAINING_FILE = "configs/train.yaml"
WRITTEN = re.compile(r"^model_file: .*$", re.MULTILINE)  # what a training writes
SERVED = f"model_file: $@bundle_root + '/{WEIGHTS}'   # written, and served: MONAI Label's loop"


def copy_bundle(folder: str | Path, model_file: str | Path | None = None, root: Path = ROOT) -> Path:
    """Copy the bundle with weights into a folder of its own, where a training writes ``models/model.pt``.

    MONAI Label reads ``configs/train.yaml`` alone, begins with ``models/model.pt`` and serves it again afterwards.

    Args:
        folder: that does not exist yet.
        model_file: weights to begin with; ``models/model.pt`` of the bundle if not given. What lies beside them and is
            true of them goes along.
        root: of the bundle.

    Raises:
        FileExistsError: if the folder is there: its weights may be the outcome of days of correcting labels.
        FileNotFoundError: if there are no weights.
        ValueError: if a file beside the weights is of others, or the configuration does not say what training writes.
    """
    folder, weights = Path(folder), require_weights(root / WEIGHTS if model_file is None else model_file)
    if folder.exists():
        raise FileExistsError(
            f"{folder} is there already, perhaps with weights that were trained in it; expected a folder to be made. "
            "Name another one, or remove it."
        )
    text, places = WRITTEN.subn(SERVED, (root / TRAINING_FILE).read_text(encoding="utf-8"))
    if places != 1:
        raise ValueError(f"`model_file` stands {places} times at the root of {root / TRAINING_FILE}; expected it once.")
    files = {**bundle_files(root), **side_files(weights), WEIGHTS: weights}
    for name, source in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder / name)
    (folder / TRAINING_FILE).write_text(text, encoding="utf-8")
    return folder
