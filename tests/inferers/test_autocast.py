# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The precision in which a network computes."""

from __future__ import annotations

import pytest
import torch

from scripts.inferers.autocast import reduced_precision


@pytest.mark.parametrize("precision", ["float16", "half", ""])
def test_another_precision_is_refused(precision):
    with pytest.raises(ValueError, match=rf"`precision` is `{precision}`; expected one of \['bfloat16', 'float32'\]"):
        reduced_precision(torch.device("cpu"), precision)
