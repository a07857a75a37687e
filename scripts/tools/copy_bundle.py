# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Copy the bundle into the app of MONAI Label, whose training then replaces the weights of the copy alone.

python -m scripts.tools.copy_bundle --folder ../apps/monaibundle/model/brats_mri_incomplete_segmentation
"""

from __future__ import annotations

from ..bundle.serving import copy_bundle
from .command_line import run_tool


def main(folder: str, model_file: str | None = None) -> None:
    """Copy configurations, scripts and weights.

    Args:
        folder: to be made; MONAI Label wants `segmentation` in its name.
        model_file: weights to begin with; `models/model.pt` of the bundle if not given.
    """
    try:
        print(
            f"{copy_bundle(str(folder), model_file)}: a copy of the bundle, which trains and serves its models/model.pt"
        )
    except (OSError, ValueError) as error:
        raise SystemExit(f"Nothing copied: {error}") from error


if __name__ == "__main__":
    run_tool(main)
