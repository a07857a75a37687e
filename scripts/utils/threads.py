# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How the threads of a command wait for each other, so that it shares the cores of a machine with other processes.

Between two operations the threads of OpenMP wait for the next one in a loop. Where another process wants the core, the
thread that has work stands behind one that only waits, and a training step takes several times as long
(docs/reference/performance.md has the figures). A short loop, then sleep, costs next to nothing on an idle machine.

The OpenMP library reads its settings from the environment when it is loaded, which is with torch: call this before, and
import nothing here that imports torch. `python -m monai.bundle` has torch loaded before any code of ours runs; there
the variable comes from the shell, as the Makefile does it.
"""

from __future__ import annotations

import os
import sys

SPIN = "GOMP_SPINCOUNT"  # of GNU's OpenMP, which torch has on Linux; others do not read it
TURNS = "10000"  # of the loop before a thread sleeps: some ten microseconds
OWN_CHOICE = ("OMP_WAIT_POLICY", SPIN)  # variables by which a user says how threads wait


def share_cores() -> bool:
    """Let the threads of this process, and of those it starts, sleep soon when they wait; unless the user has chosen.

    Returns:
        whether the environment was changed: not if the user has set one of ``OWN_CHOICE``, nor if torch is loaded, when
        it would be too late and this is no command of ours.
    """
    if any(name in os.environ for name in OWN_CHOICE) or "torch" in sys.modules:
        return False
    os.environ[SPIN] = TURNS
    return True
