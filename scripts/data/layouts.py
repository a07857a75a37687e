# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How the files of a folder become the entries of a datalist, by the naming of public collections or by patterns."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from .case import Case
from .case_error import CaseError
from .datalist import check_case_names
from .missing_rate import parse_pairs

CUSTOM, SYNONYMS = "custom", "synonyms"  # layouts that are not in the file
BIDS = re.compile(r"(?P<case>sub-[^_]+(?:_ses-[^_]+)?)(?P<entities>(?:_[a-zA-Z]+-[^_]+)*)_(?P<suffix>[^_-]+)")
logger = logging.getLogger(__name__)


@dataclass
class _Found:
    """Files of one case under one layout, as paths below the root; no image where only a label was found."""

    images: dict[str, list[str]] = field(default_factory=dict)  # by modality
    labels: list[str] = field(default_factory=list)
    channels: Sequence[str | None] | None = None  # modalities of a stacked image, which is the only one then

    def paths(self) -> list[str]:
        return [path for paths in (*self.images.values(), self.labels) for path in paths]

    def num_files(self) -> int:
        return len(self.paths())


@lru_cache
def read_layout_file() -> dict:
    """Read ``layouts.yaml``: the known layouts, the default order of modalities, how names carry time points."""
    return yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))


def find_cases(
    folder: str | os.PathLike,
    layout: str = "auto",
    modalities: Sequence[str] | None = None,
    patterns: str | Mapping[str, str] | None = None,
    label_pattern: str | None = None,
    label_convention: str | None = None,
    failures: list[CaseError] | None = None,
    files: Sequence[str] | None = None,
) -> list[Case]:
    """Find the cases of a folder: patients in sub-folders at any depth, one patient's own folder, or all files flat.

    A case has whatever files exist. Hidden files and folders are passed over. Files are listed, never opened.

    Args:
        folder: where to look.
        layout: a name in ``layouts.yaml``; ``custom`` (needs ``patterns``); or ``auto``: the patterns, if given,
            then in the folders where they match nothing, case by case, the layout that explains most of its files.
            Where synonyms of modalities explain more than any layout does, they decide.
        modalities: names to look for, in the order wanted, each a synonym of itself; all that the layout knows by
            default.
        patterns: file name of each modality, e.g. ``"flair=Flair_*.nii.gz,t1ce=T1c_*.nii.gz"`` or a mapping; without
            ``{case}`` each sub-folder is a case, with it (``"flair={case}_0000,..."``) the file name says which.
        label_pattern: file name of the label, in the same way; takes the place of the layout's own.
        label_convention: takes the place of the layout's own; needed with ``label_pattern``. Where ``patterns`` are
            given it belongs to the cases that they match.
        failures: if given, collects the cases whose files are ambiguous instead of raising the first.
        files: paths below the folder, with ``/``, to choose from; all that are there by default.

    Returns:
        Cases sorted by name, with absolute paths, the ``layout`` of each and images that are ``unused``; a channel of
        no use is ``None``.

    Raises:
        ValueError: if nothing is found, or the arguments contradict each other.
        CaseError: if two files match one modality, or the label, of a case, or two cases have one name.
    """
    root = Path(os.path.abspath(folder))
    if not root.is_dir():
        raise ValueError(f"`{folder}` is not a folder; expected one that holds the images of one or more patients.")
    files = _list_files(root) if files is None else list(files)
    cases, wrong, left = [], [], files
    groups = _layouts_to_try(layout, patterns, label_pattern, label_convention, modalities)
    for group in groups:
        found = {name: _match(name, spec, root, left) for name, spec in group.items()}
        chosen = {case: (name, found[name][case]) for case, name in _choose_layouts(found).items()}
        unused = _unused(left, {case: of_case for case, (_, of_case) in chosen.items()})
        for case, (name, of_case) in sorted(chosen.items()):
            try:
                described = _described(case, name, of_case, group[name], root, modalities)
                beside = tuple(str(root / path) for path in unused.get(case, ()))
                cases += [replace(each, unused=beside) for each in described]
            except CaseError as error:
                wrong.append(error)
        left = _in_other_folders(left, found)
    if wrong and failures is None:
        raise wrong[0]
    if not cases and not wrong:
        raise ValueError(_nothing_found(root, groups, files, modalities))
    if any(map(_is_image, left)):
        folders = sorted({str(PurePosixPath(path).parent) for path in left if _is_image(path)})
        logger.warning("`%s`: no case was read from %d folders with images: %s", root, len(folders), folders[:5])
    if failures is not None:
        failures += wrong
    check_case_names(cases, f"`{root}`")
    return sorted(cases, key=lambda case: case.name)


def order_modalities(cases: Sequence[Case]) -> list[str]:
    """Choose the order of the modalities that cases list: the default of ``layouts.yaml``, else that of a layout.

    The first of them that covers every name is returned whole, with names that no case has. Where none does: the names
    of the default, then the others as they come.
    """
    names = [name for case in cases for name in case.listed]
    default, layouts = (read_layout_file()[key] for key in ("modalities", "layouts"))
    for order in (default, *(spec["images"] for spec in layouts.values())):
        if set(names) <= set(order):
            return list(order)
    return [name for name in default if name in names] + [name for name in dict.fromkeys(names) if name not in default]


def _layouts_to_try(
    layout: str,
    patterns: str | Mapping[str, str] | None,
    label_pattern: str | None,
    label_convention: str | None,
    modalities: Sequence[str] | None,
) -> list[dict[str, dict]]:
    """Groups of layouts, name to description; a later group is for the folders where an earlier one matches nothing."""
    known = read_layout_file()["layouts"]
    if label_pattern and not label_convention:
        raise ValueError(f"`label_pattern` is `{label_pattern}` but no `label_convention` says what its values mean.")
    if layout not in ("auto", CUSTOM, *known):
        raise ValueError(f"layout `{layout}` is unknown; expected auto, {CUSTOM} or one of {list(known)}.")
    if (layout == CUSTOM and not patterns) or (patterns and layout not in ("auto", CUSTOM)):
        raise ValueError(f"layout is `{layout}` and `patterns` is {patterns!r}; patterns go with `{CUSTOM}` or `auto`.")
    own: dict[str, Any] = {"label_convention": label_convention} if label_convention else {}
    own.update({"label": [label_pattern]} if label_pattern else {})
    own.update({"label_names": {}} if label_convention else {})
    groups = []
    if patterns:
        groups.append({CUSTOM: {"images": parse_pairs(patterns, "patterns"), "label": [], **own}})
        own = {}
    if layout != CUSTOM:
        names = [name for name in known if layout == name or (layout == "auto" and known[name].get("detected", True))]
        groups.append({name: {**known[name], **own} for name in names})
    if layout == "auto":
        groups[-1][SYNONYMS] = _synonyms(modalities, label_convention)
    return groups


def _synonyms(modalities: Sequence[str] | None, label_convention: str | None) -> dict[str, Any]:
    """Describe what names say by the synonyms of modalities alone; labels count where it is said what they mean."""
    table = read_layout_file()["synonyms"]
    images = {name: list(dict.fromkeys([name.lower(), *table.get(name, ())])) for name in modalities or table}
    for name in table:
        images.setdefault(name, table[name])  # so that an image of another one is not taken for this
    labels = read_layout_file()["label_synonyms"] if label_convention else []
    return {"images": images, "label": labels, "label_convention": label_convention}


def _list_files(root: Path) -> list[str]:
    """Paths of all files that are not hidden, below the root, with ``/``; a folder linked twice is read once."""
    files, seen = [], set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        subfolders[:] = [] if real in seen else sorted(name for name in subfolders if not name.startswith("."))
        names = [] if real in seen else [name for name in names if not name.startswith(".")]
        seen.add(real)
        files += [Path(folder, name).relative_to(root).as_posix() for name in names]
    return sorted(files)


def _is_image(path: str) -> bool:
    return path.lower().endswith(tuple(read_layout_file()["extensions"]))


def _compile(pattern: str) -> re.Pattern:
    """Turn a pattern (see ``layouts.yaml``) into a regular expression with the groups ``folder`` and maybe ``case``."""
    tokens = {"*": "[^/]*", "?": "[^/]", "{case}": "(?P<case>[^/]+)"}
    parts = []
    for part in re.split(r"(\{case\}|\*|\?)", pattern):
        again = part == "{case}" and tokens[part] in parts
        parts.append("(?P=case)" if again else tokens.get(part, re.escape(part)))
    endings = "|".join(re.escape(ending) for ending in read_layout_file()["extensions"])
    return re.compile(
        f"(?P<folder>(?:.*/)?){''.join(parts)}" + ("" if _is_image(pattern) else f"(?i:{endings})"), re.DOTALL
    )


def _texts(patterns: Mapping[str | None, str | list[str]]) -> list[str]:
    """All patterns of some modalities, each of which has one or several."""
    return [text for texts in patterns.values() for text in ([texts] if isinstance(texts, str) else texts)]


def _match(name: str, spec: dict, root: Path, files: list[str]) -> dict[str, _Found]:
    """Sort the files by case as one layout names them."""
    if name == SYNONYMS:
        return _match_synonyms(spec, root, files)
    roles = {**spec["images"], None: spec["label"]}
    pairs = [(role, text) for role in roles for text in _texts({role: roles[role]})]
    if len({"{case}" in text for _, text in pairs}) > 1:
        raise ValueError(f"patterns of layout `{name}` are {pairs}; expected {{case}} in all of them or in none.")
    compiled = [(role, _compile(text)) for role, text in pairs]
    cases: dict[str, _Found] = {}
    for path in filter(_is_image, files):
        for role, match in ((role, expression.fullmatch(path)) for role, expression in compiled):
            if match:
                found = cases.setdefault(match.groupdict().get("case") or match["folder"].rstrip("/"), _Found())
                (found.labels if role is None else found.images.setdefault(role, [])).append(path)
    if "channels" in spec:
        return _with_channels(cases, spec, root, files)
    return cases if "{case}" in pairs[0][1] else _named_by_folder(cases, root)


def _match_synonyms(spec: dict, root: Path, files: list[str]) -> dict[str, _Found]:
    """Sort the files by case as the synonyms in their names say."""
    roles = {word.lower(): role for role, words in spec["images"].items() for word in words}
    roles |= dict.fromkeys(spec["label"], None)
    words = "|".join(re.escape(word) for word in sorted(roles, key=len, reverse=True))
    ending = re.compile(f"(?:(?P<case>.+?)[ _.-])?(?P<word>{words})", re.DOTALL | re.IGNORECASE)
    found: dict[tuple[str, str], _Found] = {}
    for path in filter(_is_image, files):
        folder, name = str(PurePosixPath(path).parent), _stem(PurePosixPath(path).name)
        bids = BIDS.fullmatch(name)
        match = ending.fullmatch(name)
        if bids:
            case, role = bids["case"], roles.get(bids["suffix"].lower())
            role = "t1ce" if role == "t1" and "_ce-" in (bids["entities"] or "").lower() else role
        elif match:
            case, role = match["case"] or "", roles[match["word"].lower()]
        if (bids and bids["suffix"].lower() in roles) or match:
            files_of = found.setdefault((folder, case), _Found())
            (files_of.labels if role is None else files_of.images.setdefault(role, [])).append(path)
    return _joined(found, root)


def _joined(found: dict[tuple[str, str], _Found], root: Path) -> dict[str, _Found]:
    """Name cases: by the beginning of the file names; by the folder where there is none, or another patient has it."""
    cases: dict[str, _Found] = {}
    for case in {case for _, case in found}:
        folders = {folder: each for (folder, name), each in found.items() if name == case}
        roles = [role for each in folders.values() for role in (*each.images, *(["label"] if each.labels else []))]
        if case and len(set(roles)) == len(roles):  # e.g. labels in a folder of their own
            whole = cases.setdefault(case, _Found())
            for each in folders.values():
                whole.images |= each.images
                whole.labels += each.labels
        else:
            cases |= _named_by_folder({"" if folder == "." else folder: each for folder, each in folders.items()}, root)
    return cases


def _stem(name: str) -> str:
    """Take the ending of an image off a file's name."""
    endings = sorted(read_layout_file()["extensions"], key=len, reverse=True)
    return next((name[: -len(ending)] for ending in endings if name.lower().endswith(ending)), name)


def _named_by_folder(cases: dict[str, _Found], root: Path) -> dict[str, _Found]:
    """Name cases by their folder; by its whole path below the root where two folders have the same name."""
    names = {key: PurePosixPath(key).name or root.name for key in cases}
    if len(set(names.values())) < len(names):
        names = {key: key.replace("/", "_") or root.name for key in cases}
    return {names[key]: found for key, found in cases.items()}


def _with_channels(cases: dict[str, _Found], spec: dict, root: Path, files: list[str]) -> dict[str, _Found]:
    """Add what the description beside stacked images says of their channels; drop cases that have no description."""
    if any(case.endswith("_0000") for case in cases):
        return {}  # the folders are named alike by nnU-Net, which keeps one file per channel
    described: dict[str, _Found] = {}
    channels: dict[str, list[str]] = {}
    known = set(files)
    for case, found in cases.items():
        for path in (path for paths in found.images.values() for path in paths):
            file = str(PurePosixPath(path).parents[1] / spec["description"])
            if file in known:
                channels[file] = channels.get(file) or _read_channels(root / file, spec)
                described[case] = _Found(found.images, found.labels, channels[file])
    return described


def _read_channels(file: Path, spec: dict) -> list[str]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        names = [content["modality"][key] for key in sorted(content["modality"], key=int)]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"`{file}` does not state its channels under `modality` as expected ({error!r}).") from error
    unknown = [name for name in names if name.lower() not in spec["channels"]]
    if unknown:
        raise ValueError(f"`{file}` names the channels {unknown}; expected any of {list(spec['channels'])}.")
    labels = content.get("labels", {})
    if any(word not in str(labels.get(value, word)).lower() for value, word in spec["label_names"].items()):
        raise ValueError(
            f"`{file}` says that the labels are {labels}; expected {spec['label_names']}. "
            "If they follow another convention, name it as `label_convention`."
        )
    return [spec["channels"][name.lower()] for name in names]


def _choose_layouts(found: dict[str, dict[str, _Found]]) -> dict[str, str]:
    """Give each case that has an image the layout that explains most of its files, then most files of the folder."""
    total = {name: sum(case.num_files() for case in cases.values()) for name, cases in found.items()}
    total[SYNONYMS] = -1  # which decide only where they explain more
    chosen: dict[str, str] = {}
    for name in sorted(found, key=total.__getitem__, reverse=True):
        for case, files in found[name].items():
            if files.images and (case not in chosen or files.num_files() > found[chosen[case]][case].num_files()):
                chosen[case] = name
    taken: set[str] = set()  # a file belongs to one case: of two layouts that name its case differently, the larger
    for case in sorted(chosen, key=lambda case: -found[chosen[case]][case].num_files()):
        paths = found[chosen[case]][case].paths()
        if taken.intersection(paths):
            del chosen[case]
        taken.update(paths)
    return chosen


def _described(
    case: str, layout: str, found: _Found, spec: dict, root: Path, modalities: Sequence[str] | None
) -> list[Case]:
    """Describe one case; nothing if it has no modality that was asked for."""
    for role, paths in [*found.images.items(), ("label", found.labels)]:
        if len(paths) > 1:
            raise CaseError(case, f"{len(paths)} files match `{role}`, expected one: {paths}", str(root / paths[0]))
    files = {name: str(root / paths[0]) for name, paths in found.images.items()}
    if found.channels is not None:
        channels = tuple(name if modalities is None or name in modalities else None for name in found.channels)
        result = Case(case, image=next(iter(files.values())), channels=channels, layout=layout)
    else:
        names = [name for name in modalities or spec["images"] if name in files]
        result = Case(case, {name: files[name] for name in names}, layout=layout)
    if not result.listed:
        logger.warning("case `%s` has none of the modalities %s and is left out", case, modalities)
        return []
    if found.labels:
        result = replace(result, label=str(root / found.labels[0]), label_convention=spec["label_convention"])
    return [result]


def _in_other_folders(files: list[str], found: dict[str, dict[str, _Found]]) -> list[str]:
    """Files of the folders from which no image was read: a misspelt name must not lose a patient silently."""
    cases = [case for cases in found.values() for case in cases.values() if case.images]
    paths = [path for case in cases for path in case.paths()]
    read = {PurePosixPath(path).parent for path in paths}
    return [path for path in files if PurePosixPath(path).parent not in read]


def _unused(files: list[str], chosen: dict[str, _Found]) -> dict[str, list[str]]:
    """Find by case the images in its folders that no name explains; of a folder of several, those called after it."""
    taken = {path for found in chosen.values() for path in found.paths()}
    cases: dict[PurePosixPath, set[str]] = {}  # by folder
    for case, found in chosen.items():
        for path in found.paths():
            cases.setdefault(PurePosixPath(path).parent, set()).add(case)
    unused: dict[str, list[str]] = {}
    for path in files:
        name, here = PurePosixPath(path).name, cases.get(PurePosixPath(path).parent, set())
        if not _is_image(path) or path in taken or not here:
            continue
        owners = here if len(here) == 1 else {each for each in here if re.match(f"{re.escape(each)}[ _.-]", name)}
        if not owners:
            logger.warning("`%s` is not used: its name says neither which image it is, nor of which case", path)
        for case in sorted(owners, key=len)[-1:]:
            unused.setdefault(case, []).append(path)
    return unused


def _nothing_found(root: Path, groups: list[dict], files: list[str], modalities: Sequence[str] | None) -> str:
    seen = [path for path in files if _is_image(path)]
    tried = [f"{name} ({', '.join(_texts(spec['images']))})" for group in groups for name, spec in group.items()]
    asked = f" with any of {list(modalities)}" if modalities else ""
    return (
        f"no case{asked} found in `{root}`: {len(seen)} image files seen among {len(files)} files"
        f"{', such as ' + ', '.join(seen[:5]) if seen else ''}. Layouts tried: {'; '.join(tried)}. "
        "Name the files of each modality with `patterns` (see scripts/data/layouts.yaml)."
    )
