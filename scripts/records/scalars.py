# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The curves that a training wrote for TensorBoard."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def read_scalars(folder: Path) -> pd.DataFrame:
    """Read every scalar of a TensorBoard folder: ``tag``, ``epoch`` and ``value``; a resumed epoch counts once."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    rows = [(tag, each.step, each.value) for tag in events.Tags()["scalars"] for each in events.Scalars(tag)]
    return pd.DataFrame(rows, columns=["tag", "epoch", "value"]).drop_duplicates(["tag", "epoch"], keep="last")
