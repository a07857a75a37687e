# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""``python -m incomplete_segmentation`` is ``incomplete-seg``."""

from __future__ import annotations

from .command import main

if __name__ == "__main__":
    main()
