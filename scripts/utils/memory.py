# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How freed memory is kept for reuse on the CPU."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt
LARGE = 2**31 - 1  # bytes; the largest value that mallopt takes


def keep_freed_memory() -> bool:
    """Ask the C library to keep large freed buffers instead of returning them to the system.

    Networks on volumes allocate and free buffers of tens of megabytes at every operation, and mapping and clearing them
    anew costs time (figures: docs/reference/performance.md). The resident memory stays at its peak afterwards. It holds
    for the whole process, so commands and runs of a workflow call it, and no function of the library does.

    Returns:
        whether the C library (glibc, so Linux only) took the settings.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGE)) and bool(mallopt(M_TRIM_THRESHOLD, LARGE))
