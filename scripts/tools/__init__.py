# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The commands of this package, ``python -m scripts.tools.<name>``."""

from ..utils.threads import share_cores

share_cores()  # here, since a command imports torch in its first lines
