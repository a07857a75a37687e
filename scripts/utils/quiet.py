# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How a command keeps to itself what libraries log, without changing the process that it runs in."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(level: int, name: str | None = None) -> Iterator[None]:
    """Show nothing of a logger up to a level, for a while.

    Args:
        level: highest level that is not shown, e.g. ``logging.INFO``.
        name: of the logger, with those below it; every logger if not given.
    """
    if name is None:
        before = logging.root.manager.disable
        logging.disable(level)
        try:
            yield
        finally:
            logging.disable(before)
        return
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level + 1)
    try:
        yield
    finally:
        logger.setLevel(before)
