# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Packages that only some need, imported where they are used."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def require(module: str, purpose: str, how: str) -> ModuleType:
    """Import a module of a package that need not be installed.

    Args:
        module: its dotted name.
        purpose: what it is needed for, as the beginning of a sentence.
        how: what to do without it.

    Raises:
        ValueError: if the package is not installed, in one line.
    """
    package = module.partition(".")[0]
    try:
        import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ValueError(f"{purpose} needs the package `{package}`, which is not installed; {how}.") from error
    return import_module(module)
