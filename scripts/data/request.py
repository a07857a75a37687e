# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Which images a request for a patient means, in any of the forms in which datalists, servers and scripts write it."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from .case import Case
from .case_error import CaseError
from .patient import PATHS, case_name, describe_patient, read_channels

CONSUMED_KEYS = ("case", "images", "channels", "label_convention")

Source = str | os.PathLike | Sequence[str | os.PathLike]
Request = Case | Mapping[Hashable, Any] | Source


def understand(
    request: Request, modalities: Sequence[str], image_key: str = "image", label_key: str | None = "label"
) -> Case:
    """Say which case is meant. Folders are looked into, files are never opened.

    Requests (paths absolute, or relative to the current folder):

    * ``{"case": name, "images": {modality: path, ...}, "label": path, "label_convention": name}``: one file per
      acquired modality.
    * ``{"case": name, "image": path, "channels": [modality, ...], ...}``: one stacked file.
    * ``{"image": path}``, as MONAI Label has it: a stacked file with the configured modalities in their order, or
      those of ``channels``, also as ``"flair,t2"``.
    * ``{"image": folder}`` or ``{"image": [path, ...]}`` of one patient, files recognised by name; the request may have
      ``layout`` and ``patterns``, see ``scripts.data.patient.describe_patient``.
    * ``{"image": {modality: path, ...}}``; or ``{modality: path, ...}``, which goes before ``image`` beside it.
    * A path or a list of paths, as it may stand under ``image``. Or a ``Case``.

    Args:
        request: in one of these forms.
        modalities: configured names, in channel order.
        image_key: what stands for ``image`` above.
        label_key: what stands for ``label`` above; ``None`` leaves labels aside.

    Returns:
        The case; without a name of its own it is called after its first file. ``images`` and ``image`` are both empty
        where no modality was acquired. ``more`` has the other items of the request.

    Raises:
        CaseError: if the request gives no images, an unknown modality or one twice, or files that are no patient.
    """
    entry = request.to_entry() if isinstance(request, Case) else request
    data: Mapping[Any, Any] = entry if isinstance(entry, Mapping) else {image_key: entry}
    data = _described(data, modalities, image_key)
    name = _name(data, image_key)
    images, image, channels = _images(data, modalities, image_key, name)
    label = data.get(label_key) if label_key is not None else None
    used = {*CONSUMED_KEYS, image_key, label_key}
    return Case(
        name,
        images,
        image,
        channels,
        label=str(label) if label else None,
        label_convention=data.get("label_convention"),
        more={key: value for key, value in data.items() if key not in used},
    )


def _described(data: Mapping, modalities: Sequence[str], image_key: str) -> Mapping:
    """Bring a folder, a list of files, or modalities beside other keys of a request to the form of a datalist."""
    source = data.get(image_key)
    if source and not isinstance(data.get("images"), Mapping):  # a request for a batch says there which ones: all
        data = {key: value for key, value in data.items() if key != "images"}
    named = {name: data[name] for name in modalities if data.get(name) and isinstance(data[name], PATHS)}
    folder = isinstance(source, PATHS) and Path(source).expanduser().is_dir()
    if data.get("images") is not None or not (named or folder or isinstance(source, (list, tuple))):
        return data
    how = {key: data[key] for key in ("layout", "patterns", "case") if data.get(key)}
    rest = {key: value for key, value in data.items() if key not in {*how, *named, "channels", image_key}}
    entry = describe_patient(named or cast(Source, source), modalities, **how).to_entry()
    return {**rest, **{image_key if key == "image" else key: value for key, value in entry.items()}}


def _name(data: Mapping, image_key: str) -> str:
    """Take the case's name, or make one from its first file."""
    if data.get("case"):
        return str(data["case"])
    source = data.get("images") or data.get(image_key) or "unnamed"
    return case_name(str(next(filter(None, source.values()), "unnamed") if isinstance(source, Mapping) else source))


def _images(
    data: Mapping, modalities: Sequence[str], image_key: str, case: str
) -> tuple[dict[str, str], str | None, tuple[str | None, ...]]:
    """Find the file of each modality, in the configured order, or the stacked file with its channels."""
    source = data.get("images", data.get(image_key))
    if isinstance(source, Mapping):
        _check_names(source, modalities, case)
        return {name: str(source[name]) for name in modalities if source.get(name)}, None, ()
    if isinstance(source, (str, Path)):
        channels = tuple(read_channels(data.get("channels")) or modalities)
        _check_names([name for name in channels if name is not None], modalities, case, str(source))
        return {}, str(source), channels
    raise CaseError(
        case,
        f"the entry gives {type(source).__name__} for its images; expected `images` with a path per modality, or "
        f"`{image_key}` with the path of a stacked file. See the datalist",
    )


def _check_names(names: Sequence[str] | Mapping, modalities: Sequence[str], case: str, file: str | None = None) -> None:
    """Refuse modalities that are not configured, or named twice."""
    unknown = [name for name in names if name not in modalities]
    if unknown or len(set(names)) < len(names):
        raise CaseError(
            case,
            f"the entry lists the modalities {list(names)}; expected names out of {list(modalities)}, each at "
            "most once. See `modalities` in the configuration",
            file,
        )
