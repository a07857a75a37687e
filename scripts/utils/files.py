# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How files are written: whole or not at all."""

from __future__ import annotations

import errno
import glob
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it takes the place of ``path``, on failure it is removed.

    The temporary name ends like the final one (``.nii.gz``), since writers choose the format by it. Missing parent
    folders are made. What a process that was killed left of the same file is removed.

    Raises:
        OSError: naming the file and the free space, if the disk is full.
    """
    with replacing_all([path]) as (temporary,):
        yield temporary


@contextmanager
def replacing_all(paths: Sequence[str | Path]) -> Iterator[list[Path]]:
    """Do the same with several files, none of which changes before all are written.

    They take their places in the order given: put first what says of the others whose they are, so that after a kill
    between two of them the next run knows its own.
    """
    targets = [Path(path) for path in paths]
    temporaries = [path.with_name(f".{os.getpid()}.tmp.{path.name}") for path in targets]
    for path in targets:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
    try:
        yield temporaries
        for temporary in temporaries:
            temporary.stat()
        for temporary, path in zip(temporaries, targets, strict=True):
            os.replace(temporary, path)
    except OSError as error:
        if error.errno not in FULL:
            raise
        begun = [path for temporary, path in zip(temporaries, targets, strict=True) if temporary.exists()]
        path = (begun or targets)[-1]
        free = shutil.disk_usage(path.parent).free / 1e6
        raise OSError(error.errno, f"{path} cannot be written: its disk is full, {free:.1f} MB are free") from error
    finally:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Remove what processes that are no more have left of a file."""
    for stale in path.parent.glob(f".*.tmp.{glob.escape(path.name)}"):
        process = stale.name[1:].partition(".")[0]
        if process.isdigit() and not _runs(int(process)):
            stale.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    if os.name != "posix":
        return True  # where signal 0 would end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


def write_json(path: str | Path, content: Any) -> Path:
    """Write JSON (strict: no NaN), indented by two, atomically; return the path."""
    text = json_text(content)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def json_text(content: Any) -> str:
    """Write JSON as ``write_json`` does, into text.

    Raises:
        ValueError: for NaN and infinity.
    """
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
