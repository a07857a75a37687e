# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The cases of an iteration, as handlers look at them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from ignite.engine import Engine


def cases_of(engine: Engine) -> Iterator[dict[str, Any]]:
    """Go through the cases of a batch that was taken apart: what was loaded of each, and over it what became of it."""
    batch, output = cast(list, engine.state.batch), cast(list, engine.state.output)
    for item, found in zip(batch, output, strict=True):
        yield {**item, **found}
