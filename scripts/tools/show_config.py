# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Print a merged configuration: one id per line, with its value and the file that set it.

python -m scripts.tools.show_config configs/train.yaml configs/setting_pdt.yaml --max_epochs 5 --grep epochs
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import fire
import yaml
from monai.bundle import ConfigParser, ReferenceResolver, update_kwargs
from monai.bundle.utils import ID_SEP_KEY, MERGE_KEY, merge_kv
from monai.utils import ensure_tuple

COMMAND_LINE = "command line"


def merge(files: Sequence[str], override: Mapping[str, Any]) -> tuple[ConfigParser, list[tuple[str, str]]]:
    """Merge configuration files, then overrides, with MONAI's own functions, as ``monai.bundle run`` does.

    Args:
        files: paths, the base first; a later one wins.
        override: ids to values, as Fire reads them from the command line.

    Returns:
        The merged configuration, and who set what, in order: pairs of an id, which stands for all ids below it, and
        the name of the file, with the remark ``(new id)`` where no earlier file has the id.

    Raises:
        ValueError: if there is no file, a file has no content, or a key cannot be set.
    """
    if not files:
        raise ValueError("no file was given; expected configuration files, the base first, e.g. configs/train.yaml.")
    parts = [(Path(file).name, ConfigParser.load_config_file(file)) for file in files]
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
                problem = f"{origin} sets `{key}`, which cannot be done: {type(error).__name__}: {error}."
                raise ValueError(f"{problem} Are all ids above it in the files before? See docs/adding.md.") from error
    return parser, setters


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


def _ids_set(parser: ConfigParser, key: str, value: Any) -> list[str]:
    """Tell which ids a key of a file sets: itself, or with ``+`` the entries it adds."""
    id = key.removeprefix(MERGE_KEY)
    if id == key or id not in parser:
        return [id]
    start = len(parser[id]) if isinstance(parser[id], list) else 0
    added = value if isinstance(value, dict) else range(start, start + len(ensure_tuple(value)))
    return [f"{id}{ID_SEP_KEY}{each}" for each in added]


def _as_yaml(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf, allow_unicode=True)
    return text.removesuffix("\n...\n").strip()


def main(*files: str, grep: str = "", **override: Any) -> None:
    """Print every id of the merged configuration, its value, and the file that set it.

    Args:
        files: configuration files in the order of the command line of `monai.bundle run`, the base first.
        grep: show only lines with this text.
        override: ids and values that override the files, e.g. `--train::trainer::max_epochs 5`.
    """
    try:
        parser, setters = merge([file for each in files for file in ensure_tuple(each)], override)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f"Cannot merge: {error}") from error
    rows = [(id, _as_yaml(value), origin_of(id, setters)) for id, value in leaves(parser.config)]
    rows = [row for row in rows if any(str(grep) in cell for cell in row)]
    width, value_width = (max((len(row[column]) for row in rows), default=0) for column in (0, 1))
    for id, value, origin in rows:
        print(f"{id:<{width}}  {value:<{min(value_width, 60)}}  {origin}")


if __name__ == "__main__":
    fire.Fire(main)
