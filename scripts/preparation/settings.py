# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What a user may say about the preparation of raw series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .extraction import MODES

OFF, AUTO, ON = "off", "auto", "on"
WORDS = {"false": OFF, "true": ON}  # as YAML and command lines read off and on


@dataclass(frozen=True)
class Preparation:
    """Settings of ``prepare``.

    Attributes:
        mode: ``"off"``: nothing is done; ``"auto"``: what is needed; ``"on"``: all of it, needed or not. Or a boolean.
        brain_extraction: ``"fast"``, or ``"accurate"``, which takes five times as long.
        bias_field: divide each image by its bias field first.
        reference: the modality that the others are brought to, if it is there; the finest one otherwise.
        spacing: voxel edges wanted, along the axes to the right, front and top (mm); where none or not above 0, those
            of the reference.

    Raises:
        ValueError: if a word is none of these.
    """

    mode: str | bool = AUTO
    brain_extraction: str = MODES[0]
    bias_field: bool = False
    reference: str | None = None
    spacing: Sequence[float] | None = None

    def __post_init__(self) -> None:
        word = str(self.mode).lower()
        object.__setattr__(self, "mode", WORDS.get(word, word))
        if self.mode not in (OFF, AUTO, ON):
            raise ValueError(f"`prepare` is `{self.mode}`; expected off, auto or on.")
        if self.brain_extraction not in MODES:
            raise ValueError(f"`brain_extraction` is `{self.brain_extraction}`; expected {' or '.join(MODES)}.")
