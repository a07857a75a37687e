# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""One patient's files, as the code handles them, and as the dictionary that datalists and MONAI know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any

from .case_error import CaseError

LONGEST = 200  # bytes of a name; files have 255, and results and temporary files add to it
SHOWN = 60  # characters of a name in a message
FEW = 5  # files in a message
DOUBTS = "doubts"  # key of what is not as expected of a case: sentences, a line for each


@dataclass(frozen=True)
class Case:
    """What a datalist, a folder or a request says of one patient. No file is opened.

    The images are ``images``, one file for each modality, or ``image``, one stacked file, with ``channels``.

    Attributes:
        name: of the case; empty where nobody named it, as MONAI Label does not.
        images: modality to file; one that was not acquired is not listed.
        image: the stacked file.
        channels: modality of each channel of the stacked file, in order; ``None``: a channel that is not to be used.
        label: file of the label.
        label_convention: name or mapping, what the values of the label mean.
        phantom: number of the simulated patient that is grown in place of reading files, see ``scripts.phantom.cases``.
        layout: the naming by which the files were found; no part of a datalist.
        unused: images that lie beside those of the case and are none of its modalities by name; likewise.
        more: further items of the entry, which are kept, such as ``patient``.

    Raises:
        CaseError: if the name cannot be that of a file: results are called after it.
    """

    name: str
    images: Mapping[str, str] = field(default_factory=dict)
    image: str | None = None
    channels: tuple[str | None, ...] = ()
    label: str | None = None
    label_convention: str | Mapping | None = None
    phantom: int | None = None
    layout: str | None = None
    unused: tuple[str, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.name)

    @classmethod
    def from_entry(cls, entry: Mapping[str, Any]) -> Case:
        """Take an entry of a datalist, or of what MONAI hands on; nothing but its name is checked."""
        more = dict(entry)
        images, channels = more.pop("images", None), more.pop("channels", None)
        return cls(
            name=str(more.pop("case", None) or ""),
            images=dict(images) if isinstance(images, Mapping) else {},
            image=more.pop("image", None),
            channels=tuple(channels or ()),
            label=more.pop("label", None),
            label_convention=more.pop("label_convention", None),
            phantom=more.pop("phantom", None),
            more=more,
        )

    def to_entry(self) -> dict[str, Any]:
        """Write the case as an entry of a datalist, which MONAI's transforms take as well; no key without a value."""
        entry = {
            "case": self.name,
            "images": dict(self.images),
            "image": self.image,
            "channels": list(self.channels),
            "label": self.label,
            "label_convention": self.label_convention,
            "phantom": self.phantom,
        }
        return {key: value for key, value in entry.items() if value not in (None, "", {}, [])} | dict(self.more)

    def with_doubts(self) -> Case:
        """Copy the case with a sentence about unused images in ``more``, from where it reaches the result."""
        if not self.unused:
            return self
        names = ", ".join(PurePath(file).name for file in self.unused[:FEW])
        more = f" and {len(self.unused) - FEW} others" if len(self.unused) > FEW else ""
        doubt = f"{names}{more}: beside the images of this case, but their names do not say which they are; not used"
        return replace(self, more={**self.more, DOUBTS: doubt})

    @property
    def listed(self) -> list[str]:
        """Names of the modalities that are listed, in the order of the case."""
        return [name for name in self.images or self.channels if name is not None]

    @property
    def files(self) -> list[str]:
        """Files of the images."""
        return [*self.images.values(), *([self.image] if self.image else [])]

    def keep(self, modalities: Sequence[str]) -> Case:
        """Copy the case without the images, or without the use of the channels, of other modalities."""
        images = {name: file for name, file in self.images.items() if name in modalities}
        channels = tuple(name if name in modalities else None for name in self.channels)
        return replace(self, images=images, channels=channels)


def check_name(name: str) -> None:
    """Refuse a name that results could not be called after, or that would take them out of their folder.

    Raises:
        CaseError: naming what is wrong with it.
    """
    if name in (".", "..") or any(each in "/\\" or not each.isprintable() for each in name):
        raise CaseError(
            ascii(name)[1:-1][:SHOWN],
            "results are called after the name of a case, and this cannot be the name of a file; expected one without "
            "slashes and control characters",
        )
    size = len(name.encode("utf-8", "surrogatepass"))
    if size > LONGEST:
        raise CaseError(f"{name[:SHOWN]}…", f"its name has {size} bytes; expected at most {LONGEST}")


def as_case(case: Case | Mapping[str, Any]) -> Case:
    """Take a case as it is, or the dictionary that MONAI carries in its place."""
    return case if isinstance(case, Case) else Case.from_entry(case)
