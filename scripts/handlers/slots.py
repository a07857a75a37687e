# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Lists of handlers in which a configuration can leave a place empty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def filled(slots: Sequence[Any]) -> list[Any]:
    """Leave out the empty slots of a list: an overlay sets one to null by its name instead of copying the list."""
    return [each for each in slots if each is not None]
