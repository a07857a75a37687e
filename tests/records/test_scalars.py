# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from torch.utils.tensorboard import SummaryWriter

from scripts.records.scalars import read_scalars


def test_a_resumed_epoch_counts_once_and_its_last_value_holds(tmp_path):
    for part in ([(1, 3.0), (2, 2.0)], [(2, 1.5), (3, 1.0)]):  # the second run goes on from the first epoch
        with SummaryWriter(str(tmp_path)) as writer:
            for epoch, loss in part:
                writer.add_scalar("loss", loss, epoch)
    found = read_scalars(tmp_path)
    assert dict(zip(found["epoch"], found["value"], strict=True)) == {1: 3.0, 2: 1.5, 3: 1.0}
    assert set(found["tag"]) == {"loss"}


def test_a_folder_without_events_has_no_curve(tmp_path):
    assert read_scalars(tmp_path).empty
