# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""From a datalist entry to one multi-modal image, absent modalities marked by NaN."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations
from typing import cast

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import look_up_option

from ..data.case import DOUBTS, Case
from ..data.case_error import CaseError
from ..data.label_conventions import convention_names, get_convention, to_internal
from ..data.reading import (
    REFUSE,
    ImageFile,
    check_image,
    cut_background,
    file_of,
    grid_difference,
    is_blank,
    reorient_to,
    resample_to,
    with_meta,
)
from ..data.request import Request, understand
from ..utils.flags import as_flag

PLAIN_TYPES = (str, int, float, bool)  # what collates whatever its value is

logger = logging.getLogger(__name__)


class LoadCased(MapTransform):
    """Read one case: the images that were acquired, in the configured order, and the label if there is one.

    It takes an entry of a datalist, or a request in any form that ``scripts.data.request.understand`` knows. Files that
    it does not list are never opened; a channel of a stacked file that is zero, constant or NaN throughout is absent.

    The result has ``image``, ``case`` (made from a file name if the entry has none), ``label`` if the entry has one,
    ``doubts``, and those other items of the entry that are text or numbers; nothing that depends on what was acquired,
    so that different cases collate. The background of every acquired image is exactly 0 (``find_foreground`` in
    ``scripts.data.background``). ``doubts`` is text, a line for each thing that is not as expected; each is logged too,
    the first time.

    Args:
        modalities: configured names, in channel order.
        keys: of the image and, if labels are wanted, of the label; with one key labels are not read.
        grid: what to do about images on different grids: ``"refuse"``, or ``"resample"`` to the first acquired one
            (images linearly, label nearest). Grids that differ in order and direction of their axes alone are brought
            together in either case, without interpolation.
        non_finite: what to do about NaN and infinite voxels of an acquired image: ``"refuse"``, or ``"repair"``.
        affine_tolerance: difference allowed between entries of two affines (mm).
        label_required: whether an entry without a label is an error.
        label_convention: name or mapping for entries that do not name one.
        conventions: further label conventions, ``{name: {file value: internal class}}``.
        unusual_grids: what to do about voxels that no scanner makes: ``"refuse"``, or ``"allow"``.
        fills: whether an image may fill its volume without doubt, as one of the heart does. Also a word.
        dimensions: of space that images are to have; ``None``: two or three.

    Shape:
        - ``image``: ``(M, *S)`` float32 ``MetaTensor``, all NaN where a modality is absent
        - ``label``: ``(1, *S)`` uint8 ``MetaTensor`` of internal classes

    Raises:
        CaseError: for every problem with a case's files, naming case and file; if two modalities have the same image.
        ValueError: if an option is unknown or modalities repeat.
    """

    def __init__(
        self,
        modalities: Sequence[str],
        keys: KeysCollection = ("image", "label"),
        grid: str = "refuse",
        non_finite: str = "refuse",
        affine_tolerance: float = 1e-3,
        label_required: bool = False,
        label_convention: str | Mapping | None = None,
        conventions: Mapping[str, Mapping] | None = None,
        unusual_grids: str = REFUSE,
        fills: bool | str = False,
        dimensions: int | None = None,
    ) -> None:
        super().__init__(keys)
        self.modalities = tuple(modalities)
        if not self.modalities or len(set(self.modalities)) < len(self.modalities):
            raise ValueError(f"`modalities` is {list(modalities)}; expected one or more names, each once.")
        if len(self.keys) > 2:
            raise ValueError(f"`keys` is {self.keys}; expected the image's key and at most one more, the label's.")
        self.image_key = str(self.keys[0])
        self.label_key = str(self.keys[1]) if len(self.keys) == 2 else None
        self.grid = look_up_option(grid, ("refuse", "resample"))
        self.non_finite = look_up_option(non_finite, ("refuse", "repair"))
        self.affine_tolerance = affine_tolerance
        self.label_required = label_required
        self.label_convention = label_convention
        self.conventions = conventions
        given = [each for each in (label_convention, *(conventions or {}).values()) if each]
        for convention in given:
            get_convention(convention, conventions)  # a misspelt one is found before training starts
        self.fills = as_flag(fills, "fills")
        self._read = ImageFile(unusual_grids, dimensions)
        self._said: set[str] = set()  # doubts that were logged

    def __call__(self, data: Request) -> dict[Hashable, object]:
        return self.assemble(*self.read(data))

    def read(self, data: Request) -> tuple[Case, dict[str, MetaTensor], list[str]]:
        """Read the images of a case and check them; nothing is cut off yet.

        Returns:
            The case; modality to ``(1, *S)``, in the configured order, each on its own grid; doubts, in sentences.

        Raises:
            CaseError: as when called.
        """
        case = understand(data, self.modalities, self.image_key, self.label_key)
        doubts = list(filter(None, str(case.more.get(DOUBTS, "")).splitlines()))
        acquired = self._acquired(case, doubts)
        if not acquired:
            raise CaseError(case.name, f"no modality was acquired; expected at least one of {list(self.modalities)}")
        return case, acquired, doubts

    def assemble(
        self, case: Case, acquired: Mapping[str, MetaTensor], doubts: list[str], cut: bool = True
    ) -> dict[Hashable, object]:
        """Make one image of those of a case, and read its label; see the class.

        Args:
            case: what was read.
            acquired: at least one image ``(1, *S)`` by modality.
            doubts: about it so far.
            cut: whether the backgrounds are still to be set to 0.

        Raises:
            CaseError: as when called.
        """
        if cut:
            acquired = {name: self._cut(name, image, case, doubts) for name, image in acquired.items()}
        first = next(iter(acquired.values()))
        image = torch.full((len(self.modalities), *first.shape[1:]), torch.nan)
        for name, channel in acquired.items():
            image[self.modalities.index(name)] = self._on_grid(channel, first, "bilinear", case.name).as_tensor()[0]
        _check_different(image, self.modalities, case)
        result: dict[Hashable, object] = {
            key: value for key, value in case.more.items() if isinstance(value, PLAIN_TYPES)
        }
        result |= {"case": case.name, self.image_key: with_meta(image, first), DOUBTS: "\n".join(doubts)}
        self._say(case.name, doubts)
        label = self._label(case, first)
        return result if label is None else {**result, self.label_key: label}

    def _say(self, case: str, doubts: Sequence[str]) -> None:
        """Log doubts that were not logged before: a training reads a case in every epoch."""
        for doubt in doubts:
            if f"{case}: {doubt}" not in self._said:
                self._said.add(f"{case}: {doubt}")
                logger.warning("case `%s`: %s", case, doubt)

    def _acquired(self, case: Case, doubts: list[str]) -> dict[str, MetaTensor]:
        """Read the acquired images: modality to ``(1, *S)``, in the configured order."""
        if case.image is not None:
            return self._stacked(case.image, case.channels, case.name, doubts)
        return {name: self._single(file, case.name, doubts) for name, file in case.images.items()}

    def _single(self, file: str, case: str, doubts: list[str]) -> MetaTensor:
        """Read one modality's file, ``(1, *S)``."""
        image = self._read(file, case, doubts=doubts)
        return with_meta(check_image(image.as_tensor()[0], case, file, self.non_finite, doubts=doubts)[None], image)

    def _cut(self, name: str, image: MetaTensor, case: Case, doubts: list[str]) -> MetaTensor:
        """Set the background of an image ``(1, *S)`` to 0."""
        what = "the image" if case.image is None else f"channel `{name}`"
        return with_meta(cut_background(image.as_tensor()[0], file_of(image), what, doubts, self.fills)[None], image)

    def _stacked(
        self, file: str, channels: Sequence[str | None], case: str, doubts: list[str]
    ) -> dict[str, MetaTensor]:
        """Read a stacked file, leaving out channels that carry nothing or that have no name (unused)."""
        stack = self._read(file, case, len(channels), doubts)
        acquired = {}
        for name in filter(channels.__contains__, self.modalities):
            channel = stack.as_tensor()[channels.index(name)]
            if not is_blank(channel):
                what = f"channel `{name}`"
                channel = check_image(channel, case, file, self.non_finite, what, doubts)
                acquired[name] = with_meta(channel[None], stack)
        return acquired

    def _on_grid(self, image: MetaTensor, first: MetaTensor, mode: str, case: str) -> MetaTensor:
        """Make sure that an image lies on the grid of the first one."""
        difference = grid_difference(first, image, self.affine_tolerance)
        if difference is None:
            return image
        reoriented = reorient_to(first, image, self.affine_tolerance)
        if reoriented is not None:
            return reoriented
        if self.grid == "refuse":
            raise CaseError(
                case,
                f"the files lie on different grids: {difference}. Register them, or set `grid: resample`",
                file_of(image),
            )
        resampled = resample_to(first, image, mode, case)
        if mode != "nearest" and is_blank(resampled.as_tensor()):
            raise CaseError(case, f"the image does not overlap with `{file_of(first)}`: {difference}", file_of(image))
        return resampled

    def _label(self, case: Case, first: MetaTensor) -> MetaTensor | None:
        """Read the label, ``(1, *S)`` internal classes; ``None`` if there is none or it is not wanted."""
        if case.label is None or self.label_key is None:
            if self.label_required and self.label_key is not None:
                reason = f"the entry has no `{self.label_key}`, which is required here. See the datalist"
                raise CaseError(case.name, reason)
            return None
        convention = case.label_convention or self.label_convention
        if not convention:
            reason = (
                "nothing says what the values of the label mean; expected `label_convention` in its entry of the "
                f"datalist, or as an option: one of {convention_names(self.conventions)}"
            )
            raise CaseError(case.name, reason, case.label)
        values = self._read(case.label, case.name)
        try:
            classes = to_internal(values.as_tensor().numpy(), convention, self.conventions)
        except ValueError as error:
            raise CaseError(case.name, str(error), case.label) from error
        label = self._on_grid(with_meta(torch.from_numpy(classes), values), first, "nearest", case.name)
        return cast(MetaTensor, label.to(torch.uint8))


def _check_different(image: torch.Tensor, modalities: Sequence[str], case: Case) -> None:
    """Refuse one image under two names: ``(M, *S)``, absent ones NaN."""
    for (one, first), (other, second) in combinations(zip(modalities, image, strict=True), 2):
        if torch.equal(first, second):  # NaN equals nothing
            raise CaseError(
                case.name,
                f"{one} and {other} are the same image, voxel by voxel; expected one image for each modality",
                case.images.get(other, case.image),
            )
