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
OF_THE_LOOP = {  # lines of the configuration that MONAI Label's loop needs otherwise, by id
    "model_file": f"model_file: $@bundle_root + '/{WEIGHTS}'   # written, and served: MONAI Label's loop",
    "label_convention": "label_convention: monai_label  # of labels that a viewer submits",
}


def copy_bundle(folder: str | Path, model_file: str | Path | None = None, root: Path = ROOT) -> Path:
    """Copy the bundle with weights into a folder of its own, where a training writes ``models/model.pt``.

    MONAI Label reads ``configs/train.yaml`` alone, begins with ``models/model.pt`` and serves it again afterwards. Its
    labels name no convention: they are corrected predictions.

    Args:
        folder: that does not exist yet.
        model_file: weights to begin with; ``models/model.pt`` of the bundle if not given. What lies beside them and is
            true of them goes along.
        root: of the bundle.

    Raises:
        FileExistsError: if the folder is there: its weights may be the outcome of days of correcting labels.
        FileNotFoundError: if there are no weights.
        ValueError: if a file beside the weights is of others, or the configuration lacks an id that is to be changed.
    """
    folder, weights = Path(folder), require_weights(root / WEIGHTS if model_file is None else model_file)
    if folder.exists():
        raise FileExistsError(
            f"{folder} is there already, perhaps with weights that were trained in it; expected a folder to be made. "
            "Name another one, or remove it."
        )
    text = (root / TRAINING_FILE).read_text(encoding="utf-8")
    for id_, line in OF_THE_LOOP.items():
        text, places = re.subn(rf"^{id_}: .*$", line, text, flags=re.MULTILINE)
        if places != 1:
            raise ValueError(f"`{id_}` stands {places} times at the root of {root / TRAINING_FILE}; expected it once.")
    files = {**bundle_files(root), **side_files(weights), WEIGHTS: weights}
    for name, source in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder / name)
    (folder / TRAINING_FILE).write_text(text, encoding="utf-8")
    return folder
