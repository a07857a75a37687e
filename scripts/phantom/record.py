# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What the phantoms in a folder were made from, noted beside them, so that no folder mixes two kinds."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..records.claims import as_read, read_claim, refuse_other
from ..utils.files import write_json
from .case import PhantomSettings
from .variety import TYPICAL, get_variety

HOLDS = "phantoms of other settings"
GENERATOR_VERSION = 1  # raise it when the same settings make other phantoms


def describe(settings: PhantomSettings) -> dict[str, Any]:
    """Say what determines a phantom besides its index: the generator, the settings, the ranges of their variety."""
    ranges = asdict(get_variety(settings.variety))
    return {"version": GENERATOR_VERSION, **asdict(settings), "ranges": ranges}


def claim(file: Path, record: dict[str, Any]) -> None:
    """Note a record in a folder, or compare it with the one that is there.

    An older record lacks the variety, which then was the typical one, or the variety's ranges, which then are taken to
    be the same.

    Args:
        file: of the record, in the folder that it is about.
        record: of ``describe``, and what else matters.

    Raises:
        ValueError: if the folder holds phantoms of another record, or one that cannot be read.
    """
    if not file.exists():
        write_json(file, record)
        return
    record = as_read(record)
    found = {"variety": TYPICAL, "ranges": record["ranges"], **read_claim(file)}
    if found["variety"] == record["variety"]:  # otherwise nearly all of the ranges differ, which says no more
        record, found = record | record["ranges"], found | found["ranges"]
    refuse_other(file, found, record, HOLDS, "Use another folder or delete this one.", ignored=["ranges"])
