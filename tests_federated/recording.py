# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Components that a job is given in the test, which write down what passes between sites and server."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from nvflare.apis.dxo import from_shareable
from nvflare.apis.filter import Filter
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import FLContextKey
from nvflare.app_common.abstract.model import ModelLearnableKey
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.app_event_type import AppEventType


class SentRecorder(Filter):
    """Write what a site sends as the result of a task: ``<site>_<task>_<number>.json``, with arrays beside it."""

    def __init__(self, folder):
        super().__init__()
        self.folder, self.number = Path(folder), 0

    def process(self, shareable, fl_ctx):
        result = from_shareable(shareable)
        stem = f"{fl_ctx.get_identity_name()}_{fl_ctx.get_prop(FLContextKey.TASK_NAME)}_{self.number}"
        arrays = {name: value for name, value in result.data.items() if isinstance(value, np.ndarray)}
        rest = {name: value for name, value in result.data.items() if name not in arrays}
        np.savez(self.folder / f"{stem}.npz", **arrays)
        content = {"kind": str(result.data_kind), "data": rest, "meta": result.meta}
        (self.folder / f"{stem}.json").write_text(json.dumps(content, default=str), encoding="utf-8")
        self.number += 1
        return shareable


class GlobalRecorder(FLComponent):
    """Write the global network before the first round and after each: ``global_<rounds done>.npz``."""

    def __init__(self, folder):
        super().__init__()
        self.folder, self.number = Path(folder), 0

    def handle_event(self, event_type, fl_ctx):
        if event_type in (AppEventType.INITIAL_MODEL_LOADED, AppEventType.AFTER_LEARNABLE_PERSIST):
            weights = fl_ctx.get_prop(AppConstants.GLOBAL_MODEL)[ModelLearnableKey.WEIGHTS]
            np.savez(self.folder / f"global_{self.number}.npz", **weights)
            self.number += 1
