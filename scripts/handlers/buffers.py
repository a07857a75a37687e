# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Keeps buffers between operations when a run computes on the CPU."""

from __future__ import annotations

from ignite.engine import Engine, Events

from ..utils.memory import keep_freed_memory


class KeepBuffersHandler:
    """Set the C library's allocator to keep large buffers, once, when a run on the CPU starts.

    See ``scripts.utils.memory.keep_freed_memory``; does nothing on a GPU, whose memory torch caches by itself. For runs
    of a workflow, which have a process of their own; ``scripts.segment`` takes it off.
    """

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer or evaluator."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        device = getattr(engine.state, "device", None)
        if device is None or device.type == "cpu":
            keep_freed_memory()
