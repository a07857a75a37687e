# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Compare two or more evaluations of the same cases: paired differences with intervals and tests, and monotonicity.

python -m scripts.tools.compare_evaluations baseline=runs/a/evaluate other=runs/b/evaluate --output comparison.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os.path import commonprefix
from pathlib import Path

import pandas as pd

from ..evaluation.comparison import Evaluation, common_cases, compare, read_evaluation
from ..evaluation.comparison_markdown import comparison_markdown
from ..evaluation.monotonicity import monotonicity
from ..metrics.statistics import NUM_RESAMPLES
from ..utils.files import replacing
from ..utils.flags import as_list
from .command_line import run_tool


def name_runs(evaluations: Sequence[str]) -> dict[str, Path]:
    """Give each run a name: that of ``name=path``, or the part of its path in which it differs from the others.

    Raises:
        ValueError: if two would have the same name.
    """
    pairs = [each.split("=", 1) if "=" in each and not Path(each).exists() else ["", each] for each in evaluations]
    unnamed = [Path(path).parts for name, path in pairs if not name]
    start = len(commonprefix(unnamed)) if len(unnamed) > 1 else 0
    end = len(commonprefix([parts[:start:-1] for parts in unnamed])) if len(unnamed) > 1 else 0
    runs: dict[str, Path] = {}
    for name, path in pairs:
        parts = Path(path).parts
        name = name or "/".join(parts[start : len(parts) - end]) or path
        if name in runs:
            raise ValueError(f"two runs are called `{name}`; expected a name of its own for each, as in name=path.")
        runs[name] = Path(path)
    return runs


def monotonicity_of_runs(evaluations: Mapping[str, Evaluation], metric: str, tolerance: float) -> pd.DataFrame:
    """Measure the monotonicity of each run over the cases that all of them have."""
    cases = common_cases(evaluations)
    tables = []
    for run, each in evaluations.items():
        rows = each.rows[each.rows["case"].isin(cases)]
        tables.append(monotonicity(rows, metric, tolerance).assign(run=run))
    return pd.concat(tables, ignore_index=True)


def main(
    *evaluations: str,
    metric: str = "dice",
    output: str | None = None,
    table: str | None = None,
    tolerance: float = 0.0,
    num_resamples: int = NUM_RESAMPLES,
) -> None:
    """Print the comparison of evaluations as Markdown.

    Args:
        evaluations: folders of evaluations or their per_case.csv, the baseline first; `name=folder` gives a name.
        metric: what to compare, e.g. `dice`; several joined by commas.
        output: Markdown file to write, too.
        table: CSV file for the differences, one row for each run, metric, subset or average, and region.
        tolerance: for the monotonicity: changes for the worse up to this size do not count.
        num_resamples: of the bootstrap.
    """
    try:
        found = {name: read_evaluation(path) for name, path in name_runs(list(map(str, evaluations))).items()}
        metrics = as_list(metric)
        differences = {each: compare(found, each, num_resamples) for each in metrics}
        rates = {each: monotonicity_of_runs(found, each, tolerance) for each in metrics}
        text = comparison_markdown(found, differences, rates, num_resamples, tolerance)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f"Cannot compare: {error}") from error
    print(text)
    if output:
        with replacing(output) as temporary:
            temporary.write_text(text, encoding="utf-8")
    if table:
        with replacing(table) as temporary:
            pd.concat(differences.values()).to_csv(temporary, index=False)


if __name__ == "__main__":
    run_tool(main)
