# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The folder of the bundle as a package: this one where it is installed, in a checkout the root of the repository."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve().parent
ROOT = _HERE if (_HERE / "scripts").is_dir() else _HERE.parents[1]
__path__ = [str(ROOT)]
