# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""JSON files that lie beside the weights and are true of these weights alone."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..utils.files import write_json
from .versions import package_versions

logger = logging.getLogger(__name__)

BLOCK = 2**20  # bytes read at a time
SHOWN = 12  # digits of a hash in a message


def side_file(model_file: str | Path, name: str) -> Path:
    """Name the side file, e.g. ``models/performance.json`` of ``models/model.pt``."""
    return Path(model_file).with_name(name)


def sha256(file: str | Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(file).open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def write_side_file(model_file: str | Path, name: str, content: Mapping[str, Any]) -> Path:
    """Write a side file; name and SHA-256 of the weights, date (UTC) and package versions are added.

    Args:
        model_file: the weights that the content is true of.
        name: of the side file, e.g. ``performance.json``.
        content: ready for JSON; what it says under the names that are added is replaced.

    Returns:
        The path written.
    """
    stamp = {
        "checkpoint": Path(model_file).name,
        "sha256": sha256(model_file),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": package_versions(),
    }
    return write_json(side_file(model_file, name), {**stamp, **content, **stamp})  # stamp first, and not to be replaced


def read_side_file(model_file: str | Path, name: str, advice: str = "evaluate again") -> dict[str, Any] | None:
    """Read a side file; ``None`` where there is none. ``advice`` says what to do where the file is of no use.

    Raises:
        ValueError: if it cannot be read, or was made with other weights.
    """
    file = side_file(model_file, name)
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} cannot be read as JSON: {error}; {advice}.") from error
    found = content.get("sha256") if isinstance(content, dict) else None
    if not isinstance(found, str):
        raise ValueError(f"{file} does not say which weights it was made with (`sha256`); {advice}.")
    actual = sha256(model_file)
    if found != actual:
        raise ValueError(
            f"{name} was made with other weights: sha256 {found[:SHOWN]}…; these are {actual[:SHOWN]}… "
            f"({model_file}); {advice}."
        )
    return content


def recorded_settings(
    read: Callable[[str | Path], dict[str, Any] | None],
    model_file: str | Path,
    otherwise: Mapping[str, Any],
    level: int = logging.WARNING,
) -> dict[str, Any]:
    """Take settings from a side file that keeps them as ``settings``; what is wrong with the file is logged.

    Args:
        read: reads the side file of given weights, ``None`` where there is none.
        model_file: need not exist.
        otherwise: name to value of each setting, where there is no record or it does not say.
        level: of the message about a file that cannot be used.
    """
    try:
        found = read(model_file) if Path(model_file).is_file() else None
    except (OSError, ValueError) as error:
        logger.log(level, "%s Taken instead: %s", error, dict(otherwise))
        found = None
    settings = (found or {}).get("settings") or {}
    return {name: settings.get(name, value) for name, value in otherwise.items()}
