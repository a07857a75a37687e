# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Quiet for a while."""

from __future__ import annotations

import logging

import pytest

from scripts.utils.quiet import quiet


@pytest.mark.parametrize("name", [None, "one"])
def test_what_is_not_to_be_shown_is_not_and_afterwards_it_is(caplog, name):
    loud, other = logging.getLogger("one.below"), logging.getLogger("two")
    with caplog.at_level(logging.INFO):
        with pytest.raises(RuntimeError), quiet(logging.WARNING, name):
            loud.warning("hidden")
            loud.error("worse")
            other.warning("of another")
            raise RuntimeError
        loud.warning("shown")
    expected = ["worse", "shown"] if name is None else ["worse", "of another", "shown"]
    assert [record.message for record in caplog.records] == expected
