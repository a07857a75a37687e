# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Print a merged configuration: one id per line, with its value and the file that set it.

python -m scripts.tools.show_config configs/train.yaml configs/setting_pdt.yaml --max_epochs 5 --grep epochs
"""

from __future__ import annotations

import math
from typing import Any

import yaml

from ..bundle.configuration import leaves, merge, origin_of
from .command_line import run_tool


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
        parser, setters = merge(files, override)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f"Cannot merge: {error}") from error
    rows = [(id, _as_yaml(value), origin_of(id, setters)) for id, value in leaves(parser.config)]
    rows = [row for row in rows if any(str(grep) in cell for cell in row)]
    width, value_width = (max((len(row[column]) for row in rows), default=0) for column in (0, 1))
    for id, value, origin in rows:
        print(f"{id:<{width}}  {value:<{min(value_width, 60)}}  {origin}")


if __name__ == "__main__":
    run_tool(main)
