# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Reads the documents: pages, their fenced blocks, headings and commands."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "models/README.md")]
PAGES = [page for page in PAGES if page.is_file()] + sorted((ROOT / "docs").rglob("*.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
SHELL = ("bash", "console", "sh", "shell")


class Command(NamedTuple):
    """A shell command of a page, on one line.

    Attributes:
        page: its path from the root of the repository.
        text: the command without a comment.
    """

    page: str
    text: str


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """The page without fenced blocks, indented blocks and code in the line."""
    text = FENCE.sub("", text_of(page))
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^(?: {4}|\t).*$", "", text, flags=re.MULTILINE))


def fenced(page: Path, *languages: str) -> list[str]:
    return [block for language, block in FENCE.findall(text_of(page)) if language in languages]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of the headings."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", FENCE.sub("", text_of(page)), flags=re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")
        number = 0
        while (unique := f"{anchor}-{number}" if number else anchor) in found:
            number += 1
        found.add(unique)
    return found


def commands(page: Path) -> Iterator[Command]:
    """Every command of a page: all that is indented as a block, and blocks fenced as shell.

    So what is no command, such as a formula or an output, stands in a fenced block of another kind.
    """
    blocks = fenced(page, *SHELL)
    outside = re.sub(r"^- .*(?:\n  .*)*", "", FENCE.sub("\n", text_of(page)), flags=re.MULTILINE)  # lists indent text
    blocks += re.findall(r"(?:\A|\n[ \t]*\n)((?:(?: {4}|\t).*(?:\n|\Z)|[ \t]*\n(?= {4}))+)", outside)
    for block in blocks:
        for line in re.sub(r"\\\n\s*", "", textwrap.dedent(block)).splitlines():
            line = re.sub(r"(^|\s+)#(?=\s|$).*", "", line.removeprefix("$ ")).strip()
            if line:
                yield Command(name_of(page), re.sub(r"\s+", " ", line))
