# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The one reader of configurations: files found and merged, values set, ids that nobody knows refused.

parser = read("configs/train.yaml,configs/network_unet.yaml", {"spacing": [2.0, 2.0, 2.0]})

``python -m monai.bundle`` merges by itself; what is read here is the same, see ``tests/bundle/test_configuration.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser, ReferenceResolver, update_kwargs
from monai.bundle.utils import ID_SEP_KEY, MERGE_KEY, merge_kv
from monai.utils import ensure_tuple

from ..utils.flags import as_list

ROOT = Path(__file__).resolve().parents[2]  # of the bundle
EXAMPLE = "configs/train.yaml"
COMMAND_LINE = "command line"
BUNDLE_ROOT = "bundle_root"  # id of the folder that relative places start from
CLASS = "_target_"
NAME = "scripts"  # of this package in configurations
PACKAGE = __name__.removesuffix(".bundle.configuration")  # and as it was imported, see incomplete_segmentation


class UnknownId(ValueError):
    """An id was set that the configuration does not have.

    Attributes:
        names: of the ids.
        files: of the configuration.
        parser: the configuration without them.
    """

    def __init__(self, names: Sequence[str], files: Sequence[str], parser: ConfigParser) -> None:
        super().__init__(f"unknown option {', '.join(names)}; expected ids of the configuration ({', '.join(files)}).")
        self.names, self.files, self.parser = names, files, parser


def find_files(files: str | Sequence[str]) -> list[str]:
    """Look for configuration files from the current folder, then from the bundle's.

    Args:
        files: as a list, as lists in a list, or joined by commas.

    Raises:
        FileNotFoundError: naming the one that is in neither.
        ValueError: if no file is named.
    """
    groups = files if isinstance(files, (list, tuple)) else [files]
    names = [name for each in groups for name in as_list(_listed(each))]
    if not names:
        raise ValueError("no file was given; expected configuration files, the base first, e.g. configs/train.yaml.")
    return [_find(name) for name in names]


def read(
    files: str | Sequence[str],
    override: Mapping[str, Any] | None = None,
    needs: Sequence[str] = (),
    example: str = EXAMPLE,
) -> ConfigParser:
    """Read a configuration to be run here: merged, values set, classes as this package is called.

    Files of the bundle that are read from another folder get the bundle's as ``bundle_root``, if it is not set.

    Args:
        files: as for ``find_files``, the base first; a later one wins.
        override: ids to values, ``None`` among them.
        needs: ids that the configuration must have.
        example: a file that has them.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if files cannot be merged, an id that is needed is not there, or one is set that is not known.
    """
    found = find_files(files)
    parser, _ = merge(found, {})
    missing = [id for id in needs if id not in parser]
    if missing:
        raise ValueError(f"{found} have no {missing}; expected {example}, then overlays if need be.")
    override = override or {}
    ids = {name: ReferenceResolver.normalize_id(name).rpartition(ID_SEP_KEY) for name in override}
    unknown = [name for name, (above, _, _) in ids.items() if name not in parser and (not above or above not in parser)]
    if unknown:
        raise UnknownId(unknown, found, parser)
    parser.update(dict(override))
    if PACKAGE != NAME:
        parser.set(_renamed(parser.config))
    return parser


def parser_of(config: Mapping[str, Any]) -> ConfigParser:
    """Make a parser of a configuration that was read already, which stays as it is."""
    return ConfigParser(deepcopy(dict(config)) if PACKAGE == NAME else _renamed(config))


def merge(files: str | Sequence[str], override: Mapping[str, Any]) -> tuple[ConfigParser, list[tuple[str, str]]]:
    """Merge configuration files, then overrides, with MONAI's own functions, as ``monai.bundle run`` does.

    Args:
        files: as for ``find_files``, the base first; a later one wins.
        override: ids to values, as Fire reads them from the command line.

    Returns:
        The merged configuration, and who set what, in order: pairs of an id, which stands for all ids below it, and
        the name of the file, with the remark ``(new id)`` where no earlier file has the id.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if there is no file, a file has no content, or a key cannot be set.
    """
    found = find_files(files)
    parts = [(Path(file).name, _load(file)) for file in found]
    if is_elsewhere(found) and any(BUNDLE_ROOT in (part or ()) for _, part in parts):
        parts.append(("the bundle's folder", {BUNDLE_ROOT: str(ROOT)}))
    parts.append((COMMAND_LINE, update_kwargs(None, **override)))
    parser, setters = ConfigParser({}), []
    for origin, part in parts:
        if not isinstance(part, dict):
            raise ValueError(f"{origin} holds {part!r}; expected ids with values. MONAI cannot merge such a file.")
        for key, value in part.items():
            new = " (new id)" if origin != parts[0][0] and key.removeprefix(MERGE_KEY) not in parser else ""
            setters += [(ReferenceResolver.normalize_id(id), origin + new) for id in _ids_set(parser, key, value)]
            try:
                merge_kv(parser, key, value)
            except (KeyError, IndexError, ValueError) as error:
                problem = f"{origin} sets `{key}`, which cannot be merged: {type(error).__name__}: {error}."
                rules = "See docs/reference/configuration.md."
                raise ValueError(f"{problem} Are all ids above it in the files before? {rules}") from error
    return parser, setters


def _load(file: str) -> Any:
    try:
        return ConfigParser.load_config_file(file)
    except (yaml.YAMLError, ValueError) as error:  # which show the place on lines of their own
        raise ValueError(
            f"{file} cannot be read as a configuration: {' '.join(str(error).split())}. Expected plain YAML or JSON: "
            "names, numbers, lists and mappings, no tags."
        ) from None


def origin_of(id: str, setters: Sequence[tuple[str, str]]) -> str:
    """Name who set an id last, or a part of it."""
    path = id + ID_SEP_KEY
    covers = [origin for key, origin in setters if path.startswith(f"{key}{ID_SEP_KEY}") or key.startswith(path)]
    return covers[-1] if covers else ""


def leaves(config: Any, id: str = "") -> Iterator[tuple[str, Any]]:
    """Walk through the ids that hold no further ids; a list of plain values is one of them."""
    nested = isinstance(config, dict) or any(isinstance(each, (dict, list)) for each in ensure_tuple(config))
    if not config or not nested:
        yield id, config
        return
    for _, below, value in ReferenceResolver.iter_subconfigs(id, config):
        yield from leaves(value, below)


def _listed(files: Any) -> Any:
    """Read ``['a','b']`` written as text, the form that ``--config_file`` of MONAI takes."""
    text = files.strip() if isinstance(files, str) else ""
    if text.startswith("[") and text.endswith("]"):
        return [part.strip().strip("'\"") for part in text[1:-1].split(",")]
    return files


def _find(name: str) -> str:
    if Path(name).is_file():
        return name
    if (ROOT / name).is_file():
        return str(ROOT / name)
    raise FileNotFoundError(f"no configuration `{name}`, neither here nor in {ROOT}; expected e.g. configs/train.yaml.")


def is_elsewhere(files: Iterable[str]) -> bool:
    """Tell that the base is the bundle's own, and that the current folder is not the bundle's."""
    base = Path(next(iter(files))).resolve()
    return Path.cwd() != ROOT and base.is_relative_to(ROOT / "configs")


def _ids_set(parser: ConfigParser, key: str, value: Any) -> list[str]:
    """Tell which ids a key of a file sets: itself, or with ``+`` the entries it adds."""
    id = key.removeprefix(MERGE_KEY)
    if id == key or id not in parser:
        return [id]
    start = len(parser[id]) if isinstance(parser[id], list) else 0
    added = value if isinstance(value, dict) else range(start, start + len(ensure_tuple(value)))
    return [f"{id}{ID_SEP_KEY}{each}" for each in added]


def _renamed(config: Any) -> Any:
    """Call the classes of this package as it was imported, where that is not ``scripts``."""
    if isinstance(config, Mapping):
        return {key: _as_imported(value) if key == CLASS else _renamed(value) for key, value in config.items()}
    if isinstance(config, list):
        return [_renamed(each) for each in config]
    return config


def _as_imported(target: Any) -> Any:
    inside = isinstance(target, str) and target.startswith(f"{NAME}.")
    return f"{PACKAGE}{target.removeprefix(NAME)}" if inside else target
