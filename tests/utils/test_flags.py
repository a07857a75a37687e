# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from scripts.utils.flags import as_flag, is_off


@pytest.mark.parametrize(("value", "flag"), [(True, True), (False, False), ("true", True), ("False", False)])
def test_booleans_and_their_words_are_read(value, flag):
    assert as_flag(value, "resume") is flag
    assert is_off(value, "resume") is not flag


@pytest.mark.parametrize("value", ["", "yes", 1, None])
def test_anything_else_is_refused_by_the_name_of_the_option(value):
    with pytest.raises(ValueError, match=f"`compiled` is `{value}`; expected true or false"):
        as_flag(value, "compiled")
