# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How ``python -m monai.bundle run`` begins, and ends where something is wrong: the reason stands last."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from traceback import extract_tb
from types import TracebackType

from monai.bundle.utils import ID_SEP_KEY

from ..engines.case_evaluator import reason_of, root_cause
from ..handlers.run_record import NOT_CONFIGURATION, given_options, load_files

HERE = Path(__file__).resolve().parents[1]  # this package
WITH_TRACEBACK = "BUNDLE_TRACEBACK"  # environment variable; set, all tracebacks are shown
COMMAND = ("monai", "bundle", "__main__.py")  # how the path of the program ends
OF_TRACKING = ("tracking_uri", "experiment_name", "run_name", "save_execute_config")  # ids that MONAI adds for it
IN_WORDS = (OSError, RuntimeError, ValueError)  # whose messages are sentences; of others the type is needed too


def begin() -> None:
    """Come first in ``run`` of a configuration: errors end with their reason, and unknown options are refused.

    MONAI wraps what a component raises, and Python shows the first cause first, far above the prompt: it is said last,
    and alone where this package says it. MONAI also takes any option, so that a misspelt one would change nothing. Does
    nothing in a process that is not ``python -m monai.bundle``, such as a server or a test; the exit status stays what
    it is.

    Raises:
        ValueError: if an option is no id of the configuration.
    """
    if Path(sys.argv[0]).parts[-len(COMMAND) :] == COMMAND:
        sys.excepthook = show_error
        refuse_unknown(sys.argv[1:])


def refuse_unknown(arguments: Sequence[str]) -> None:
    """Refuse options of a ``monai.bundle run`` command line that none of its configuration files knows.

    Args:
        arguments: the command line behind the program's name. Without ``--config_file`` nothing is refused.

    Raises:
        ValueError: naming the option and the ids that are spelt like it.
    """
    options = dict(given_options(arguments))
    if "config_file" not in options or "args_file" in options:
        return
    files = options.pop("config_file")
    known = load_files(files)
    for option in options:
        name = option.lstrip("+").replace("#", ID_SEP_KEY).split(ID_SEP_KEY)[0]
        if name not in (*known, *NOT_CONFIGURATION, *OF_TRACKING):
            alike = " or ".join(f"`--{each}`" for each in get_close_matches(name, known))
            raise ValueError(
                f"`--{option}` is no id of {files} and would change nothing; expected "
                f"{alike or 'one of those that scripts.tools.show_config lists'}."
            )


def show_error(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Show the reason in one line; before it the traceback as Python does, where it may help; an ``excepthook``.

    It does not where this package found the fault and says it: in an input, an option, a file.
    """
    sys.stdout.flush()  # what was logged comes before
    if not _is_said(error) or os.environ.get(WITH_TRACEBACK):
        sys.__excepthook__(kind, error, traceback)
    if isinstance(error, Exception):
        sys.stderr.write(f"\nerror: {in_one_line(error)}\n")


def _is_said(error: BaseException) -> bool:
    """Tell that the root cause is a sentence of this package."""
    cause = root_cause(error)
    frames = extract_tb(cause.__traceback__)
    return isinstance(cause, (OSError, ValueError)) and bool(frames) and Path(frames[-1].filename).is_relative_to(HERE)


def in_one_line(error: BaseException) -> str:
    """Give the message of the root cause, with its type where that is not in words."""
    cause, reason = root_cause(error), " ".join(reason_of(error).split())
    named = isinstance(cause, IN_WORDS) or reason == type(cause).__name__
    return reason if named else f"{type(cause).__name__}: {reason}"
