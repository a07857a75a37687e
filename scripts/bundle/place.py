# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Where the bundle lies, for configurations that may be run from any folder."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def bundle_root() -> str:
    """Name the folder that holds ``configs`` and ``scripts``; ``.`` from within it, so that records hold elsewhere too.

    MONAI makes ``scripts`` importable from where the first configuration file lies before it runs anything.
    """
    return "." if Path.cwd() == ROOT else str(ROOT)
