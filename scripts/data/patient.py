# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What a user hands over as one patient, in any form, to a case."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from .case import Case
from .case_error import CaseError
from .layouts import find_cases, read_layout_file

PATHS = (str, os.PathLike)


def describe_patient(
    source: str | os.PathLike | Sequence[str | os.PathLike] | Mapping[str, str | os.PathLike | None],
    modalities: Sequence[str],
    layout: str = "auto",
    patterns: str | Mapping[str, str] | None = None,
    case: str | None = None,
) -> Case:
    """Describe one patient as a case without a label. Files are looked for, never opened.

    Args:
        source: a mapping of modality to file, where ``None`` and ``""`` stand for a modality that was not acquired; a
            folder with the files of one patient; a list of such files; or one stacked file with the configured
            modalities in their order. Files of a folder or list are recognised by name, as ``find_cases`` does, or
            where they are called after a modality (``<modality>.nii.gz``); labels among them are left aside.
        modalities: configured names, in channel order.
        layout: of the names in a folder or list, see ``scripts.data.layouts.find_cases``.
        patterns: file name of each modality in a folder or list.
        case: name of the patient; made from the names of the files by default.

    Returns:
        The case: its ``images`` in the configured order, or a stacked file with its ``channels``.

    Raises:
        CaseError: if a file does not exist, is given twice or is not recognised, a name is not that of a modality, or
            there is not exactly one patient.
    """
    if isinstance(source, Mapping):
        return _from_mapping(source, modalities, case)
    if isinstance(source, PATHS) and not os.path.isdir(os.path.expanduser(source)):
        file = _existing(source, case or case_name(source))
        return Case(case or case_name(file), image=file, channels=tuple(modalities))
    if isinstance(source, PATHS):
        return _found(os.path.expanduser(source), None, modalities, layout, patterns, case)
    if not isinstance(source, Sequence) or not source or not all(isinstance(each, PATHS) for each in source):
        raise CaseError(
            case or "unnamed",
            f"the patient is given as {source!r}; expected a file for each modality, a folder, a list of files, or a "
            "stacked file",
        )
    paths = [os.path.abspath(_existing(file, case or case_name(source[0]))) for file in source]
    return _found(os.path.commonpath(map(os.path.dirname, paths)), paths, modalities, layout, patterns, case)


def case_name(file: str | os.PathLike) -> str:
    """Make a case's name from that of its first file."""
    name = Path(file).name
    return name.removesuffix(".gz").rpartition(".")[0] or name


def read_channels(channels: str | Sequence[str | None] | None) -> list[str | None] | None:
    """Read the channels of a stacked file, also as ``"flair,none,t2"``; ``none`` is a channel that is not used."""
    if channels is None:
        return None
    names = channels.split(",") if isinstance(channels, str) else channels
    return [None if str(name).strip().lower() in ("", "none", "null") else str(name).strip() for name in names]


def _from_mapping(source: Mapping, modalities: Sequence[str], case: str | None) -> Case:
    given = {name: file for name, file in source.items() if file}
    name = case or (case_name(str(next(iter(given.values())))) if given else "unnamed")
    unknown = [each for each in source if each not in modalities]
    if unknown:
        raise CaseError(name, f"{unknown} are no modalities here; expected names out of {list(modalities)}")
    if not given:
        raise CaseError(name, f"no modality was given; expected at least one of {list(modalities)}")
    images: dict[str, str] = {}
    first: dict[str, str] = {}  # which modality a file was given for first
    for modality in (each for each in modalities if each in given):
        file = images[modality] = _existing(given[modality], name)
        other = first.setdefault(os.path.realpath(file), modality)
        if other != modality:
            reason = f"the same file is given for {other} and {modality}; expected one file for each modality"
            raise CaseError(name, reason, file)
    return Case(name, images)


def _found(
    folder: str,
    files: Sequence[str] | None,
    modalities: Sequence[str],
    layout: str,
    patterns: str | Mapping[str, str] | None,
    case: str | None,
) -> Case:
    """Describe the one patient of a folder, or of some files below it, which must all be of use."""
    below = None if files is None else [Path(file).relative_to(folder).as_posix() for file in files]
    name = case or (case_name(files[0]) if files else Path(folder).name)
    try:
        found = find_cases(folder, layout, modalities, patterns, files=below)
    except CaseError:
        raise
    except ValueError as error:
        raise CaseError(name, str(error).rstrip(".")) from error
    if len(found) > 1:
        names = [each.name for each in found]
        raise CaseError(
            name,
            f"the names of the files tell of {len(found)} patients, {names[:5]}; expected one. A folder of patients is "
            "segmented by `python -m monai.bundle run evaluating --config_file configs/inference.yaml`",
            folder,
        )
    (patient,) = found
    used = {*patient.files, patient.label}
    unused = [file for file in files or () if file not in used]
    if unused:
        raise CaseError(
            name,
            f"the name does not say which of {list(modalities)} this is, beside {patient.listed} of the "
            "others; give the file of each modality by name instead",
            unused[0],
        )
    endings = read_layout_file()["extensions"]
    named = next((patient.name.removesuffix(each) for each in endings if patient.name.endswith(each)), patient.name)
    found_as = Case(case or named, patient.images, patient.image, patient.channels, unused=patient.unused)
    return found_as.with_doubts()


def _existing(file: str | os.PathLike, case: str) -> str:
    if not isinstance(file, PATHS):
        raise CaseError(case, f"{file!r} is given as a file; expected a path")
    path = os.path.expanduser(os.fspath(file))
    if not os.path.isfile(path):
        raise CaseError(case, "there is no such file", path)
    return path
