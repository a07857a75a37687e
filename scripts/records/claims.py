# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What determines the content of a folder, noted in it or compared with what is noted: two kinds are never mixed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..utils.files import write_json

ABSENT = "not said"


def as_read(record: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a record into what JSON gives back: tuples become lists."""
    return json.loads(json.dumps(record))


def claim(file: Path, record: Mapping[str, Any], holds: str, advice: str) -> None:
    """Note a record in a folder, or compare it with the one that is there and refuse another.

    Args:
        file: of the record, in the folder that it is about.
        record: what determines the content of the folder, ready for JSON.
        holds: what a folder of another record holds, e.g. ``runs of another plan``.
        advice: what to do then, a sentence.

    Raises:
        ValueError: if the folder has another record, or one that cannot be read.
    """
    if not file.exists():
        write_json(file, record)
        return
    refuse_other(file, read_claim(file), record, holds, advice)


def read_claim(file: Path) -> dict[str, Any]:
    """Read the record of a folder.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} cannot be read as JSON: {error}. Use another folder, or delete this one.") from error
    if not isinstance(found, dict):
        raise ValueError(f"{file} holds {type(found).__name__}; expected names and values. Use another folder.")
    return found


def refuse_other(
    file: Path,
    found: Mapping[str, Any],
    record: Mapping[str, Any],
    holds: str,
    advice: str,
    ignored: Iterable[str] = (),
) -> None:
    """Refuse a record that is not the one found in ``file``; arguments as for ``claim``.

    Args:
        found: what ``file`` says, where an older file lacks something with what is taken for it.
        ignored: names that are not compared.

    Raises:
        ValueError: if the two differ.
    """
    record, ignored = as_read(record), set(ignored)
    differing = [name for name in {**record, **found} if name not in ignored and record.get(name) != found.get(name)]
    if differing:
        name = differing[0]
        raise ValueError(
            f"`{file.parent}` holds {holds}: `{name}` is {found.get(name, ABSENT)}, asked for is "
            f"{record.get(name, ABSENT)} (differing: {differing}). {advice} See {file}."
        )
