# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How ``python -m monai.bundle run`` ends where something is wrong: the reason stands last."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType

from ..engines.case_evaluator import reason_of, root_cause

COMMAND = ("monai", "bundle", "__main__.py")  # how the path of the program ends
IN_WORDS = (OSError, RuntimeError, ValueError)  # whose messages are sentences; of others the type is needed too


def say_reason_last() -> None:
    """Let an error that ends the process be followed by one line with its root cause.

    MONAI wraps what a component raises, and Python shows the first cause first, far above the prompt. The first entry
    of ``run`` in a configuration. Does nothing in a process that is not ``python -m monai.bundle``, such as a server or
    a test; the exit status stays what it is.
    """
    if Path(sys.argv[0]).parts[-len(COMMAND) :] == COMMAND:
        sys.excepthook = show_error


def show_error(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Show the traceback as Python does, then the reason; an ``excepthook``."""
    sys.stdout.flush()  # what was logged comes before
    sys.__excepthook__(kind, error, traceback)
    if isinstance(error, Exception):
        sys.stderr.write(f"\nerror: {in_one_line(error)}\n")


def in_one_line(error: BaseException) -> str:
    """Give the message of the root cause, with its type where that is not in words."""
    cause, reason = root_cause(error), " ".join(reason_of(error).split())
    named = isinstance(cause, IN_WORDS) or reason == type(cause).__name__
    return reason if named else f"{type(cause).__name__}: {reason}"
