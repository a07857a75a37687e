# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Compare one evaluation of every subset of modalities with a separate evaluation of each.

python -m scripts.tools.benchmark_evaluation configs/train.yaml configs/evaluate.yaml --dataset_dir <folder>
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..bundle.configuration import find_files, merge
from ..modalities import modality_subsets, subset_name
from .benchmark import hardware
from .command_line import run_tool

QUIET = ("-W", "ignore")


def evaluate(files: Sequence[str], subsets: Sequence[str], options: dict[str, Any]) -> float:
    """Run the evaluation of some subsets as a user would, in a process and a folder of its own; return seconds.

    Raises:
        SystemExit: if it fails, with the end of what it printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        fixed = {"validation_subsets": list(subsets), "output_dir": folder, "write_performance": False}
        settings = {**options, **fixed}
        arguments = [f"--{name}={str(value).replace(' ', '')}" for name, value in settings.items()]
        file_argument = str(list(files))
        command = ["-m", "monai.bundle", "run", "evaluating", "--config_file", file_argument, *arguments]
        start = time.perf_counter()
        result = subprocess.run([sys.executable, *QUIET, *command], capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
    if result.returncode:
        raise SystemExit(f"evaluating {list(subsets)} failed:\n{result.stderr[-3000:]}")
    return seconds


def main(*files: str, **options: Any) -> None:
    """Time the evaluation command on the same cases: all subsets at once, then one after the other.

    Whole commands are timed, from the start of Python to the last table: loading, networks, metrics. No side file of
    the weights is written.

    Args:
        files: configuration files in the order of the command line of `monai.bundle run`.
        options: ids and values that override the files, e.g. `--dataset_dir DIR --precision bfloat16`.
    """
    parser, _ = merge(files, options)
    files = tuple(find_files(files))
    modalities = parser.get_parsed_content("modalities")
    names = [subset_name(row, modalities) for row in modality_subsets(len(modalities)).tolist()]
    print(f"{hardware()}; {' + '.join(Path(file).name for file in files)}, {options}\n")
    print("| subsets | seconds |\n| --- | --- |")
    at_once = evaluate(files, names, options)
    print(f"| all {len(names)} at once | {at_once:.1f} |", flush=True)
    separate = []
    for name in names:
        separate.append(evaluate(files, [name], options))
        print(f"| {name} | {separate[-1]:.1f} |", flush=True)
    print(f"| all {len(names)} one by one | {sum(separate):.1f} |")
    print(f"\nall at once take {at_once / sum(separate):.2f} of the time of separate evaluations")


if __name__ == "__main__":
    run_tool(main)
