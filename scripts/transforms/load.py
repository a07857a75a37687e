# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""From a datalist entry to one multi-modal image, absent modalities marked by NaN."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import cast

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import look_up_option

from ..data.case import Case
from ..data.case_error import CaseError
from ..data.label_conventions import get_convention, to_internal
from ..data.reading import ImageFile, clean_image, file_of, grid_difference, is_blank, resample_to, with_meta
from ..data.request import Request, understand

PLAIN_TYPES = (str, int, float, bool)  # what collates whatever its value is


class LoadCased(MapTransform):
    """Read one case: the images that were acquired, in the configured order, and the label if there is one.

    It takes an entry of a datalist, or a request in any form that ``scripts.data.request.understand`` knows. Files that
    it does not list are never opened; a channel of a stacked file that is zero, constant or NaN throughout is absent.

    The result has ``image``, ``case`` (made from a file name if the entry has none), ``label`` if the entry has one,
    and those other items of the entry that are text or numbers; nothing that depends on what was acquired, so that
    different cases collate. The background of every acquired image is exactly 0 (``zero_background`` in
    ``scripts.data.reading``).

    Args:
        modalities: configured names, in channel order.
        keys: of the image and, if labels are wanted, of the label; with one key labels are not read.
        grid: what to do about images on different grids: ``"refuse"``, or ``"resample"`` to the first acquired one
            (images linearly, label nearest).
        non_finite: what to do about NaN and infinite voxels of an acquired image: ``"refuse"``, or ``"repair"``.
        affine_tolerance: difference allowed between entries of two affines (mm).
        label_required: whether an entry without a label is an error.
        label_convention: name or mapping for entries that do not name one.
        conventions: further label conventions, ``{name: {file value: internal class}}``.

    Shape:
        - ``image``: ``(M, *S)`` float32 ``MetaTensor``, all NaN where a modality is absent
        - ``label``: ``(1, *S)`` uint8 ``MetaTensor`` of internal classes

    Raises:
        CaseError: for every problem with a case's files, naming case and file.
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
        self._read = ImageFile()

    def __call__(self, data: Request) -> dict[Hashable, object]:
        case = understand(data, self.modalities, self.image_key, self.label_key)
        acquired = self._acquired(case)
        if not acquired:
            raise CaseError(case.name, f"no modality was acquired; expected at least one of {list(self.modalities)}")
        first = next(iter(acquired.values()))
        image = torch.full((len(self.modalities), *first.shape[1:]), torch.nan)
        for name, channel in acquired.items():
            image[self.modalities.index(name)] = self._on_grid(channel, first, "bilinear", case.name).as_tensor()[0]
        result: dict[Hashable, object] = {
            key: value for key, value in case.more.items() if isinstance(value, PLAIN_TYPES)
        }
        result |= {"case": case.name, self.image_key: with_meta(image, first)}
        label = self._label(case, first)
        return result if label is None else {**result, self.label_key: label}

    def _acquired(self, case: Case) -> dict[str, MetaTensor]:
        """Read the acquired images: modality to ``(1, *S)``, in the configured order."""
        if case.image is not None:
            return self._stacked(case.image, case.channels, case.name)
        return {name: self._single(file, case.name) for name, file in case.images.items()}

    def _single(self, file: str, case: str) -> MetaTensor:
        """Read one modality's file, ``(1, *S)``."""
        image = self._read(file, case)
        return with_meta(clean_image(image.as_tensor()[0], case, file, self.non_finite)[None], image)

    def _stacked(self, file: str, channels: Sequence[str | None], case: str) -> dict[str, MetaTensor]:
        """Read a stacked file, leaving out channels that carry nothing or that have no name (unused)."""
        stack = self._read(file, case, channels=len(channels))
        acquired = {}
        for name in filter(channels.__contains__, self.modalities):
            channel = stack.as_tensor()[channels.index(name)]
            if not is_blank(channel):
                channel = clean_image(channel, case, file, self.non_finite, f"channel `{name}`")
                acquired[name] = with_meta(channel[None], stack)
        return acquired

    def _on_grid(self, image: MetaTensor, first: MetaTensor, mode: str, case: str) -> MetaTensor:
        """Make sure that an image lies on the grid of the first one."""
        difference = grid_difference(first, image, self.affine_tolerance)
        if difference is None:
            return image
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
            reason = "the entry names no `label_convention`, and the loader has none to fall back on"
            raise CaseError(case.name, reason, case.label)
        values = self._read(case.label, case.name)
        try:
            classes = to_internal(values.as_tensor().numpy(), convention, self.conventions)
        except ValueError as error:
            raise CaseError(case.name, str(error), case.label) from error
        label = self._on_grid(with_meta(torch.from_numpy(classes), values), first, "nearest", case.name)
        return cast(MetaTensor, label.to(torch.uint8))
