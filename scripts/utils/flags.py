# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Options as command lines hand them over."""

from __future__ import annotations

WORDS = {"true": True, "false": False}


def as_flag(value: bool | str, name: str) -> bool:
    """Read an option that may come as a word: the command line of MONAI hands over ``false`` as text, which is truthy.

    Args:
        value: a boolean, or the words true or false in any case.
        name: of the option, for the message.

    Raises:
        ValueError: for anything else.
    """
    word = str(value).lower()
    if word not in WORDS:
        raise ValueError(f"`{name}` is `{value}`; expected true or false.")
    return WORDS[word]


def is_off(value: bool | str, name: str) -> bool:
    """Tell that an option is false, for ``_disabled_`` in a configuration; the rest is as in ``as_flag``."""
    return not as_flag(value, name)


def as_list(value: object) -> list[str]:
    """Read an option of several values joined by commas: Fire reads ``a,b`` as a tuple but ``/a,/b`` as text."""
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
    return [str(part).strip() for part in parts if str(part).strip()]
