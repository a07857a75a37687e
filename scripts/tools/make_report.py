# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Write the report of an evaluation, and of the training before it, as one HTML file.

python -m scripts.tools.make_report --evaluation runs/evaluate --training runs/train
"""

from __future__ import annotations

from pathlib import Path

from ..evaluation.comparison import compare as compare_runs
from ..evaluation.comparison import read_evaluation as read_rows
from ..evaluation.monotonicity import monotonicity
from ..report.inputs import read_evaluation, read_training
from ..report.page import build
from ..utils.files import replacing
from .command_line import run_tool

REPORT_FILE = "report.html"


def main(evaluation: str, training: str | None = None, compare: str | None = None, output: str | None = None) -> None:
    """Write a report that needs nothing beside itself: no network, no script, no other file.

    Args:
        evaluation: output folder of the workflow `evaluating`.
        training: output folder of the workflow `training` that made the network.
        compare: output folder of another evaluation of the same cases, the baseline of the differences.
        output: the file; `report.html` in the folder of the evaluation if not given.
    """
    path = Path(str(evaluation)) / REPORT_FILE if output is None else Path(str(output))
    try:
        found = read_evaluation(str(evaluation))
        rows = read_rows(str(evaluation))
        rates, differences = monotonicity(rows.rows), None
        if compare is not None:
            differences = compare_runs({"the other run": read_rows(str(compare)), "this run": rows})
        text = build(found, None if training is None else read_training(str(training)), rates, differences)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f"Cannot report: {error}") from error
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"report of {found.summary['num_cases']} cases, {len(text) / 1e6:.1f} MB: {path}")


if __name__ == "__main__":
    run_tool(main)
