# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""JSON files that are true of certain weights alone, and how they come to lie beside these.

A run writes what it found into its own output folder. A file joins the weights only when asked, and one that took
more to make is never replaced without a word: ``deliver_side_file`` has that rule for all of them.
"""

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

KEEP = NEVER, KEPT, REPLACE = "false", "true", "replace"  # what an option says of a side file's joining the weights
Amounts = Callable[[Mapping[str, Any]], Mapping[str, int]]
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


def require_weights(model_file: str | Path) -> Path:
    """Return the path of weights that are there.

    Raises:
        FileNotFoundError: if they are not.
    """
    if not Path(model_file).is_file():
        raise FileNotFoundError(
            f"no weights at {model_file}; expected the file that training writes. Run training first, or name another "
            "file with `--model_file`."
        )
    return Path(model_file)


def write_side_file(
    model_file: str | Path, name: str, content: Mapping[str, Any], folder: str | Path | None = None
) -> Path:
    """Write a side file; name and SHA-256 of the weights, date (UTC) and package versions are added.

    Args:
        model_file: the weights that the content is true of.
        name: of the side file, e.g. ``performance.json``.
        content: ready for JSON; what it says under the names that are added is replaced.
        folder: where to write it; beside the weights if not given.

    Returns:
        The path written.
    """
    file = side_file(model_file, name) if folder is None else Path(folder) / name
    stamp = {
        "checkpoint": Path(model_file).name,
        "sha256": sha256(model_file),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": package_versions(),
    }
    return write_json(file, {**stamp, **content, **stamp})  # stamp first, and not to be replaced


def read_keep(value: bool | str, option: str) -> str:
    """Read whether a side file is to join the weights: ``false``, ``true`` or ``replace``, in any case.

    Args:
        value: a boolean, or one of the words.
        option: its name, for the message.

    Raises:
        ValueError: for anything else.
    """
    word = str(value).lower()
    if word not in KEEP:
        raise ValueError(f"`{option}` is `{value}`; expected one of {', '.join(KEEP)}.")
    return word


def refuse_smaller(
    model_file: str | Path, name: str, amounts: Mapping[str, int], amounts_of: Amounts, option: str
) -> None:
    """Refuse to put a side file in the place of one that took more to make.

    A file that is damaged or of other weights may be replaced: nobody can use it.

    Args:
        model_file: the weights.
        name: of the side file.
        amounts: what the new file is made of, such as ``{"cases": 3, "subsets": 15}``.
        amounts_of: finds the same in the content of the file that is there.
        option: name of the option that ``replace`` is a value of, for the message.

    Raises:
        ValueError: with the numbers, if the file that is there is of more in any respect.
    """
    try:
        found = read_side_file(model_file, name)
        there = {} if found is None else amounts_of(found)
        more = any(number > amounts.get(what, 0) for what, number in there.items())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return
    if more:
        old, new = (", ".join(f"{number} {what}" for what, number in each.items()) for each in (there, amounts))
        raise ValueError(
            f"{side_file(model_file, name)} is of these weights and of more: {old}; the new one is of {new}. It stays. "
            f"`--{option} replace` puts the new one in its place (with `--resume true` nothing is computed again)."
        )


def deliver_side_file(
    model_file: str | Path,
    name: str,
    content: Mapping[str, Any],
    folder: str | Path,
    keep: str,
    amounts_of: Amounts,
    option: str,
) -> Path:
    """Write a side file into the folder of a run and, if asked, beside the weights: the one rule for all of them.

    Args:
        model_file: the weights that the content is true of.
        name: of the side file.
        content: as for ``write_side_file``.
        folder: of the run. Where the weights lie in it, ``false`` is as ``true``.
        keep: ``false`` leaves the weights alone; ``true`` lets the file join them unless theirs is of more; ``replace``
            always.
        amounts_of: what a content is made of, such as ``{"cases": 3, "subsets": 15}``.
        option: that ``keep`` is the value of, for messages.

    Returns:
        The last path written.

    Raises:
        ValueError: if the file beside the weights is of more; the one in the folder is written then.
        OSError: if nothing can be written beside the weights; likewise.
    """
    apart = Path(folder).resolve() != Path(model_file).resolve().parent
    if apart:
        path = write_side_file(model_file, name, content, folder)
        if keep == NEVER:
            logger.info("%s does not join the weights; `--%s true` lets it", path, option)
            return path
    if keep != REPLACE:
        refuse_smaller(model_file, name, amounts_of(content), amounts_of, option)
    return write_side_file(model_file, name, content)


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
