# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""A doubt: one thing that is not as it can be."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

LIMITS_FILE = Path(__file__).with_name("limits.yaml")


class Doubt(NamedTuple):
    """What images or a result cannot be.

    Attributes:
        name: of the check, as in the JSON report.
        message: a sentence for the reader of the result, with the number and the limit.
        value: the number found; its unit is in ``message``.
        limit: the one that it exceeds, or falls below.
    """

    name: str
    message: str
    value: float
    limit: float


@lru_cache(maxsize=1)
def limits() -> dict[str, Any]:
    """Read the limits; the comments in ``limits.yaml`` say where each one is from."""
    return yaml.safe_load(LIMITS_FILE.read_text(encoding="utf-8"))
