# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Stand-in for the module of item 4: JSON files beside the weights that are good for exactly these weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .files import write_json


def write_side_file(model_file: str, name: str, content: Mapping[str, Any]) -> Path:
    """Write ``content`` and the SHA-256 of the weights to the file ``name`` beside them."""
    return write_json(Path(model_file).with_name(name), {"model_sha256": _sha256(model_file), **content})


def read_side_file(model_file: str, name: str) -> dict[str, Any] | None:
    """Read the file ``name`` beside the weights; ``None`` if there is none.

    Raises:
        ValueError: if it was made with other weights.
    """
    path = Path(model_file).with_name(name)
    if not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["model_sha256"] != _sha256(model_file):
        raise ValueError(f"{path} was made with other weights than those of {model_file}. Make it again.")
    return content


def _sha256(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
