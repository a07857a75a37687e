# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What is not defined: NaN among numbers, ``None`` where JSON keeps them; no mean counts it."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite, nan
from statistics import fmean


def or_none(value: float) -> float | None:
    """Give a number as JSON keeps it: ``None`` where it is not finite."""
    return float(value) if isfinite(value) else None


def or_nan(value: float | None) -> float:
    """Give a number that JSON kept."""
    return nan if value is None else value


def mean_of_defined(values: Iterable[float | None]) -> float | None:
    """Average what is defined; ``None`` where nothing is."""
    found = [value for value in values if value is not None and isfinite(value)]
    return fmean(found) if found else None
