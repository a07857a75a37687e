# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Make the checks of MONAI's model zoo on the bundle that this file belongs to; run in its folder.

python -m scripts.tools.verify_bundle
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from ..bundle.verification import verify_bundle
from ..utils.quiet import quiet
from .command_line import run_tool

ROOT = Path(__file__).resolve().parents[2]
MODES = ("min", "full")


def main(mode: str = "full", model_info: str | None = None) -> None:
    """Print one line for each check; end with status 1 if one failed.

    Args:
        mode: `min` looks at files and metadata, `full` also runs and exports the network.
        model_info: the zoo's `model_info.json`, to see that the version is a new one.
    """
    if mode not in MODES:
        raise SystemExit(f"`mode` is `{mode}`; expected {' or '.join(MODES)}.")
    failed = 0
    for check, reason in verify_bundle(ROOT, mode == "full", None if model_info is None else Path(str(model_info))):
        print(f"passed  {check}" if reason is None else f"FAILED  {check}: {reason}", flush=True)
        failed += reason is not None
    if failed:
        raise SystemExit(f"{failed} checks failed in {ROOT}")


def run(arguments: Sequence[str] | None = None, program: str | None = None) -> None:
    """Read the command line; what MONAI logs of every argument is not shown."""
    with quiet(logging.INFO):
        run_tool(main, arguments, program)


if __name__ == "__main__":
    run()
