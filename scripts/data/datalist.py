# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The datalist: a JSON file that names the cases of each section with the images that each of them has."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.files import write_json
from .case import Case, as_case
from .case_error import CaseError

logger = logging.getLogger(__name__)

DATALIST_FILE = "datalist.json"  # how a datalist is called where nothing else is said
SIMULATED_FILE = "phantom.json"  # the record that lies beside the datalist of images which are simulated


def read_section(datalist_file: str | os.PathLike, section: str, modalities: Sequence[str] | None = None) -> list[Case]:
    """Read and check the cases of one section. Whether the files exist is found out when they are loaded.

    An entry is ``{"case": name, "images": {"flair": path, ...}, "label": path, "label_convention": "brats2021"}``,
    where a modality that was not acquired is not listed, or, with all modalities stacked in one 4-D image,
    ``{"case": name, "image": path, "channels": ["flair", "t1", "t1ce", None], ...}``, where ``None`` is a channel that
    is not to be used. A label is optional, further keys are kept.

    Args:
        datalist_file: path of the JSON file; paths in it are relative to its own folder, or absolute.
        section: e.g. ``training``.
        modalities: names that the network is configured for; images of others are left out, with a warning.

    Returns:
        Cases in the order of the file, with absolute paths.

    Raises:
        ValueError: if the file is not a datalist, has no such section, or if its modalities and the configured ones
            are spelt differently.
        CaseError: if an entry is not understood, names an unknown modality or has none, or a case comes twice.
    """
    content = _load(datalist_file)
    sections = _sections(content)
    if section not in sections:
        raise ValueError(f"datalist `{datalist_file}` has no section `{section}`; its sections are {sections}.")
    listed = content.get("modalities", modalities)
    if listed is not None and not (isinstance(listed, (list, tuple)) and all(isinstance(name, str) for name in listed)):
        raise ValueError(f"datalist `{datalist_file}` has `modalities` {listed!r}; expected a list of names.")
    _compare_names(datalist_file, listed, modalities)
    folder = os.path.realpath(os.path.dirname(os.path.abspath(datalist_file)))
    entries = [
        _with_paths(entry, lambda path: os.path.normpath(os.path.join(folder, path)))
        for entry in _checked(content[section], listed, f"section `{section}` of `{datalist_file}`")
    ]
    return [_only(Case.from_entry(entry), modalities) for entry in entries]


def read_properties(datalist_file: str | os.PathLike) -> dict:
    """Read what a datalist says beside its sections: modalities, and how it was made.

    Raises:
        ValueError: if the file is not a datalist.
    """
    content = _load(datalist_file)
    return {name: value for name, value in content.items() if name not in _sections(content)}


def write_datalist(
    path: str | os.PathLike, sections: Mapping[str, Sequence[Case | dict]], modalities: Sequence[str], **extra: object
) -> None:
    """Write a datalist in one go, a reader never sees half of it; paths become relative to its folder.

    Args:
        path: of the JSON file; its folder is made if need be.
        sections: name to cases or entries (see :func:`read_section`), with absolute paths or paths from the current
            directory.
        modalities: the names in use, in the order wanted.
        extra: further content of the file, e.g. how it was made.

    Raises:
        ValueError: if ``extra`` and ``sections`` share a name.
        CaseError: if an entry is not understood, names an unknown modality or has none, or a case comes twice.
    """
    path = Path(path)
    clash = sorted({"modalities", *extra} & set(sections))
    if clash:
        raise ValueError(f"datalist `{path}` would have {clash} both as a section and as a property.")
    folder = os.path.realpath(path.parent)
    content: dict[str, Any] = {"modalities": list(modalities), **extra}
    for name, entries in sections.items():
        written = [entry.to_entry() if isinstance(entry, Case) else entry for entry in entries]
        checked = _checked(written, modalities, f"section `{name}`")
        content[name] = [_with_paths(entry, lambda file: _relative(file, folder)) for entry in checked]
    write_json(path, content)


def availability(cases: Sequence[Case | Mapping], modalities: Sequence[str]) -> np.ndarray:
    """Say which case lists which modality: ``(N, M)`` bool. Nothing is read, so a stacked channel of zeros counts."""
    rows = [[name in listed for name in modalities] for listed in map(listed_modalities, cases)]
    return np.array(rows, dtype=bool).reshape(len(cases), len(modalities))


def check_case_names(cases: Sequence[Case], where: str) -> None:
    """Refuse two cases of one name.

    Raises:
        CaseError: naming an image of each.
    """
    first: dict[str, Case] = {}
    for case in cases:
        other = first.setdefault(case.name, case)
        if other is not case:
            images = [next(iter(each.files), None) for each in (other, case)]
            raise CaseError(case.name, f"comes twice in {where}, expected every name once: {images}")


def listed_modalities(case: Case | Mapping) -> list[str]:
    """Names of the modalities that a case, or the dictionary that MONAI carries in its place, lists, in its order."""
    return as_case(case).listed


def simulate_missing(
    cases: Sequence[Case], available: np.ndarray, modalities: Sequence[str]
) -> tuple[list[Case], list[str]]:
    """Take modalities away from cases; what a case did not have stays missing.

    Args:
        cases: of one section, in the order of the rows of ``available``.
        available: ``(N, M)`` bool, ``True`` where the case may keep the modality.
        modalities: ``(M,)`` names of the columns; a modality that is not among them is kept.

    Returns:
        The new cases, and the names of those that would be left with nothing: these keep all that they have.
    """
    result, untouched = [], []
    for case, row in zip(cases, available, strict=True):
        removed = {name for name, there in zip(modalities, row, strict=True) if not there}
        kept = [name for name in case.listed if name not in removed]
        if not kept:
            untouched.append(case.name)
        result.append(case.keep(kept) if kept else case)
    return result, untouched


def _load(datalist_file: str | os.PathLike) -> dict:
    try:
        content = json.loads(Path(datalist_file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(
            f"datalist `{datalist_file}` does not exist; "
            "`python -m scripts.tools.make_datalist` writes one from a folder."
        ) from None
    except ValueError as error:
        raise ValueError(f"datalist `{datalist_file}` cannot be read as JSON: {error}.") from error
    kind = type(content).__name__
    if kind != "dict":
        raise ValueError(f"datalist `{datalist_file}` holds a {kind}; expected an object of sections by name.")
    return content


def _sections(content: dict) -> list[str]:
    return [name for name, value in content.items() if isinstance(value, list) and name != "modalities"]


def _compare_names(file: str | os.PathLike, listed: Sequence[str] | None, modalities: Sequence[str] | None) -> None:
    if listed is None or modalities is None:
        return
    unused = [name for name in listed if name not in modalities]
    if unused and not set(modalities) <= set(listed):
        raise ValueError(
            f"datalist `{file}` names the modalities {list(listed)} but the configuration {list(modalities)}; "
            "expected the same names. See `modalities` in both."
        )
    if unused:
        logger.warning("datalist `%s`: modalities %s are not configured and not read", file, unused)


def _checked(entries: Sequence[dict], modalities: Sequence[str] | None, where: str) -> list[dict]:
    """Check every entry of a section, and that no case comes twice."""
    for number, entry in enumerate(entries):
        case = entry.get("case") if isinstance(entry, dict) else None
        if not isinstance(case, str) or not case:
            raise ValueError(f"entry {number} of {where} has no `case`: {entry!r}.")
        _check_entry(case, entry, modalities, where)
    check_case_names([Case.from_entry(entry) for entry in entries], where)
    return list(entries)


def _check_entry(case: str, entry: dict, modalities: Sequence[str] | None, where: str) -> None:
    images, channels = entry.get("images"), entry.get("channels")
    if isinstance(images, dict) == isinstance(channels, list) or ("image" in entry) != isinstance(channels, list):
        raise CaseError(
            case,
            f"the entry in {where} has the keys {list(entry)}; "
            "expected either `images` by modality, or one `image` and its `channels`",
        )
    names = Case.from_entry(entry).listed
    unknown = [name for name in names if modalities is not None and name not in modalities]
    if modalities is not None and unknown:
        raise CaseError(case, f"{where} lists the unknown modalities {unknown}; expected any of {list(modalities)}")
    if not names:
        raise CaseError(case, f"{where} lists no modality; expected at least one image")
    if len(set(names)) < len(names):
        raise CaseError(case, f"{where} lists the channels {channels}; expected every modality once")
    paths = [*(images or {}).values(), *(entry[key] for key in ("image", "label") if key in entry)]
    wrong = [path for path in paths if not isinstance(path, str) or not path]
    if wrong:
        raise CaseError(case, f"{where} has {wrong[0]!r} in place of a path; expected no entry for what is absent")
    if "label" in entry and not isinstance(entry.get("label_convention"), (str, dict)):
        raise CaseError(
            case, f"{where} has a label but no `label_convention` that says what its values mean", entry["label"]
        )


def _only(case: Case, modalities: Sequence[str] | None) -> Case:
    """Leave out the images of modalities that are not configured."""
    if modalities is None:
        return case
    result = case.keep(modalities)
    if not result.listed:
        raise CaseError(case.name, f"has {case.listed} but none of the configured modalities {list(modalities)}")
    return result


def _with_paths(entry: dict, change: Callable[[str], str]) -> dict:
    """Copy an entry with another way to write its paths."""
    result = {**entry, **{key: change(entry[key]) for key in ("image", "label") if key in entry}}
    if "images" in entry:
        result["images"] = {name: change(path) for name, path in entry["images"].items()}
    return result


def _relative(file: str, folder: str) -> str:
    """Path from a folder; links to folders are followed so that ``..`` means the same to every reader."""
    parent, name = os.path.split(os.path.abspath(file))
    return Path(os.path.relpath(os.path.join(os.path.realpath(parent), name), folder)).as_posix()
