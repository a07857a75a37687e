# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""When the allocator of the C library is told to keep buffers."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine

from scripts.handlers import buffers
from scripts.handlers.buffers import KeepBuffersHandler


@pytest.mark.parametrize(("device", "times"), [(torch.device("cpu"), 1), (None, 1), (torch.device("cuda", 0), 0)])
def test_buffers_are_kept_once_in_a_run_on_the_cpu_and_left_to_torch_on_a_gpu(monkeypatch, device, times):
    calls = []
    monkeypatch.setattr(buffers, "keep_freed_memory", lambda: calls.append(1))
    engine = Engine(lambda engine, batch: None)
    engine.state.device = device  # as MONAI's engines have it
    KeepBuffersHandler().attach(engine)
    engine.run([0, 1], max_epochs=2)
    assert len(calls) == times
