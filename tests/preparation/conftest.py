# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The head that tests of the preparation share."""

from __future__ import annotations

import pytest

from tests.heads import MOVEMENT, REFERENCE, THICK, Head, outlined


@pytest.fixture(scope="session")
def head():
    return Head()


@pytest.fixture(scope="session")
def raw(head):
    """Two series of one head, who moved between them, on grids of their own."""
    return {"t1ce": head.image("t1ce", *REFERENCE), "flair": head.image("flair", *THICK, MOVEMENT)}


@pytest.fixture
def outline(head):
    """Let a rule that knows this head stand in for HD-BET; returns the grids and words it was asked with."""
    with outlined(head) as asked:
        yield asked
