# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Train, evaluate or calibrate: `python -m monai.bundle run`, with the bundle's configurations found from any folder.

python -m scripts.tools.run_workflow training --config_file configs/train.yaml --dataset_dir DIR --output_dir runs/a
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import monai.bundle

from ..bundle.configuration import BUNDLE_ROOT, ROOT, find_files, is_elsewhere, merge
from ..engines.case_evaluator import root_cause
from .command_line import run_tool


def main(run_id: str, config_file: str | Sequence[str], **override: Any) -> None:
    """Run a workflow that configurations describe, as `python -m monai.bundle run` does in the bundle's folder.

    From another folder, what a run writes goes to `runs/<run_id>` there if `--output_dir` is not given.

    Args:
        run_id: `training` or `evaluating`; may stand first without its name.
        config_file: files joined by commas, the base first: `configs/train.yaml` for training,
            `configs/train.yaml,configs/evaluate.yaml` for its evaluation, `configs/inference.yaml` for a folder of
            patients; overlays, e.g. `configs/method_passion.yaml`, behind the base.
        override: ids and values that override the files: `--dataset_dir DIR`, `--max_epochs 100`,
            `--network_def#width 16`, ...
    """
    files = find_files(config_file)
    merge(files, {})  # says in words what cannot be merged
    if is_elsewhere(files):
        override = {BUNDLE_ROOT: str(ROOT), "output_dir": f"runs/{run_id}", **override}
    words = [f"--{name}={value!r}" for name, value in override.items()]
    sys.argv = [sys.argv[0], "run", run_id, f"--config_file={files}", *words]  # what the run's record reads
    try:
        monai.bundle.run(run_id, config_file=files, **override)
    except Exception as error:  # MONAI wraps what a component raises, and what is wrong with a case is said last
        cause = root_cause(error)
        if isinstance(cause, (OSError, ValueError)):
            raise SystemExit(f"Cannot run `{run_id}`: {cause}") from error
        raise


if __name__ == "__main__":
    run_tool(main)
