# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""A handler that does nothing."""

from __future__ import annotations

from ignite.engine import Engine


class NoHandler:
    """Take the place of a handler that a configuration names, so that an overlay leaves it out without its list."""

    def attach(self, engine: Engine) -> None:
        """Attach nothing."""
