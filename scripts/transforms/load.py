# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""From a datalist entry to one multi-modal image, absent modalities marked by NaN."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import look_up_option

from ..data.case_error import CaseError
from ..data.label_conventions import get_convention, to_internal
from ..data.patient import PATHS, case_name, describe_patient, read_channels
from ..data.reading import ImageFile, clean_image, file_of, grid_difference, is_blank, resample_to, with_meta

CONSUMED_KEYS = ("images", "channels", "label_convention")
PLAIN_TYPES = (str, int, float, bool)  # what collates whatever its value is


class LoadCased(MapTransform):
    """Read one case: the images that were acquired, in the configured order, and the label if there is one.

    Entries it takes (paths absolute, or relative to the current folder):

    * ``{"case": name, "images": {modality: path, ...}, "label": path, "label_convention": name}``: one file per
      acquired modality. Files that the entry does not list are never opened.
    * ``{"case": name, "image": path, "channels": [modality, ...], ...}``: one stacked file; a channel that is zero,
      constant or NaN throughout is absent.
    * ``{"image": path}``, as MONAI Label has it: a stacked file with the configured modalities in their order, or
      those of ``channels``, also as ``"flair,t2"``.
    * ``{"image": folder}`` or ``{"image": [path, ...]}`` of one patient, files recognised by name; the entry may have
      ``layout`` and ``patterns``, see ``scripts.data.patient.describe_patient``.
    * ``{"image": {modality: path, ...}}``; or ``{modality: path, ...}``, which goes before ``image`` in the same entry.
    * A path or a list of paths, as it may stand under ``image``.

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
        self.image_key = self.keys[0]
        self.label_key = self.keys[1] if len(self.keys) == 2 else None
        self.grid = look_up_option(grid, ("refuse", "resample"))
        self.non_finite = look_up_option(non_finite, ("refuse", "repair"))
        self.affine_tolerance = affine_tolerance
        self.label_required = label_required
        self.label_convention = label_convention
        self.conventions = conventions
        for convention in filter(None, (label_convention, *(conventions or {}).values())):
            get_convention(convention, conventions)  # a misspelt one is found before training starts
        self._read = ImageFile()

    def __call__(self, data: Mapping[Hashable, object] | str | os.PathLike | list) -> dict[Hashable, object]:
        data = self._described(data if isinstance(data, Mapping) else {self.image_key: data})
        case = self._case_name(data)
        acquired = self._images(data, case)
        if not acquired:
            raise CaseError(case, f"no modality was acquired; expected at least one of {list(self.modalities)}")
        first = next(iter(acquired.values()))
        image = torch.full((len(self.modalities), *first.shape[1:]), torch.nan)
        for name, channel in acquired.items():
            image[self.modalities.index(name)] = self._on_grid(channel, first, "bilinear", case).as_tensor()[0]
        used = {*CONSUMED_KEYS, *self.keys}
        result = {key: value for key, value in data.items() if key not in used and isinstance(value, PLAIN_TYPES)}
        result |= {"case": case, self.image_key: with_meta(image, first)}
        label = self._label(data, first, case)
        return result if label is None else {**result, self.label_key: label}

    def _described(self, data: Mapping) -> Mapping:
        """Bring a folder, a list of files, or modalities beside other keys of a request to the form of a datalist."""
        source = data.get(self.image_key)
        if source and not isinstance(data.get("images"), Mapping):  # a request for a batch says there which ones: all
            data = {key: value for key, value in data.items() if key != "images"}
        named = {name: data[name] for name in self.modalities if data.get(name) and isinstance(data[name], PATHS)}
        folder = isinstance(source, PATHS) and Path(source).expanduser().is_dir()
        if data.get("images") is not None or not (named or folder or isinstance(source, (list, tuple))):
            return data
        how = {key: data[key] for key in ("layout", "patterns", "case") if data.get(key)}
        rest = {key: value for key, value in data.items() if key not in {*how, *named, "channels", self.image_key}}
        entry = describe_patient(named or source, self.modalities, **how)
        return {**rest, **{self.image_key if key == "image" else key: value for key, value in entry.items()}}

    def _case_name(self, data: Mapping) -> str:
        """Take the case's name, or make one from its first file."""
        if data.get("case"):
            return str(data["case"])
        source = data.get("images") or data.get(self.image_key) or "unnamed"
        return case_name(str(next(filter(None, source.values()), "unnamed") if isinstance(source, Mapping) else source))

    def _images(self, data: Mapping, case: str) -> dict[str, MetaTensor]:
        """Read the acquired images: modality to ``(1, *S)``, in the configured order."""
        source = data.get("images", data.get(self.image_key))
        if isinstance(source, Mapping):
            self._check_names(source, case)
            files = {name: str(source[name]) for name in self.modalities if source.get(name)}
            return {name: self._single(file, case) for name, file in files.items()}
        if isinstance(source, (str, Path)):
            return self._stacked(str(source), read_channels(data.get("channels")) or self.modalities, case)
        raise CaseError(
            case,
            f"the entry gives {type(source).__name__} for its images; expected `images` with a path per modality, or "
            f"`{self.image_key}` with the path of a stacked file. See the datalist",
        )

    def _check_names(self, names: Sequence[str] | Mapping, case: str, file: str | None = None) -> None:
        """Refuse modalities that are not configured, or named twice."""
        unknown = [name for name in names if name not in self.modalities]
        if unknown or len(set(names)) < len(names):
            raise CaseError(
                case,
                f"the entry lists the modalities {list(names)}; expected names out of {list(self.modalities)}, each at "
                "most once. See `modalities` in the configuration",
                file,
            )

    def _single(self, file: str, case: str) -> MetaTensor:
        """Read one modality's file, ``(1, *S)``."""
        image = self._read(file, case)
        return with_meta(clean_image(image.as_tensor()[0], case, file, self.non_finite)[None], image)

    def _stacked(self, file: str, channels: Sequence[str], case: str) -> dict[str, MetaTensor]:
        """Read a stacked file, leaving out channels that carry nothing or that the entry names ``None`` (unused)."""
        self._check_names([name for name in channels if name is not None], case, file)
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

    def _label(self, data: Mapping, first: MetaTensor, case: str) -> MetaTensor | None:
        """Read the label, ``(1, *S)`` internal classes; ``None`` if there is none or it is not wanted."""
        file = data.get(self.label_key) if self.label_key is not None else None
        if not file:
            if self.label_required and self.label_key is not None:
                raise CaseError(case, f"the entry has no `{self.label_key}`, which is required here. See the datalist")
            return None
        convention = data.get("label_convention") or self.label_convention
        if not convention:
            reason = "the entry names no `label_convention`, and the loader has none to fall back on"
            raise CaseError(case, reason, str(file))
        values = self._read(str(file), case)
        try:
            classes = to_internal(values.as_tensor().numpy(), convention, self.conventions)
        except ValueError as error:
            raise CaseError(case, str(error), str(file)) from error
        return self._on_grid(with_meta(torch.from_numpy(classes), values), first, "nearest", case).to(torch.uint8)
