# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Scores as tidy rows of one CSV file: written case by case, read, checked and laid out."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import TracebackType

import pandas as pd

from ..metrics.empty_policy import empty_policy
from ..metrics.scores import HD95_FROM_DISTANCES, Scores

COLUMNS = ("case", "subset", "num_modalities", "region", "metric", "value", "empty_policy", "surface")
TEXT_COLUMNS = ("case", "subset", "region", "metric", "empty_policy", "surface")
CONVENTIONS = ("empty_policy", "surface")  # columns with one value in the whole file


class ScoreWriter(AbstractContextManager):
    """Append the scores of one case after the other to a CSV file, each case on disk before the next begins.

    One row per case, subset, region and metric. The file is plain CSV without comment lines, which pandas and Excel
    both open as it is; the empty-mask policy and the HD95 convention are columns rather than a file beside it, so no
    number can be parted from them by copying, filtering or joining files. Undefined values are written ``nan``.

    Args:
        path: the file to begin (an older one is replaced); its folder must exist.
        policy: name of the empty-mask policy the scores were made with.
        surface: name of the HD95 convention, see `ScoreSettings`.

    Raises:
        ValueError: if a setting has an unknown name.
    """

    def __init__(self, path: str | Path, policy: str, surface: str = "monai") -> None:
        if surface not in HD95_FROM_DISTANCES:
            raise ValueError(f"`surface` is `{surface}`; expected one of {list(HD95_FROM_DISTANCES)}.")
        self.settings = (empty_policy(policy).name, surface)
        self.path = Path(path)
        self._file = self.path.open("w", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file)
        self._rows.writerow(COLUMNS)
        self._file.flush()

    def write_case(self, case: str, scores: Mapping[str, Scores]) -> None:
        """Append a finished case.

        Args:
            case: name of the case.
            scores: subset (modalities joined by ``+``) to the scores of `CaseScorer`.
        """
        self._rows.writerows(
            (case, subset, num_modalities(subset), region, metric, float(value), *self.settings)
            for subset, of_subset in scores.items()
            for (region, metric), value in of_subset.items()
        )
        self._file.flush()

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        self._file.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_scores(path: str | Path) -> pd.DataFrame:
    """Read a file of `ScoreWriter`; names stay text (``007`` keeps its zeros, a case may be called ``NA``).

    Text columns are categories, so that a row takes about 16 bytes however long its names are; group them with
    ``observed=True``.
    """
    types = {**dict.fromkeys(TEXT_COLUMNS, "category"), "num_modalities": "int8"}
    return pd.read_csv(path, dtype=types, keep_default_na=False, na_values={"value": ["nan", "NaN", ""]})


def check_rows(rows: pd.DataFrame) -> None:
    """Refuse rows whose averages would mean nothing."""
    missing = [column for column in COLUMNS if column not in rows]
    if missing:
        raise ValueError(
            f"the per-case scores lack the columns {missing}; expected {list(COLUMNS)}, as `ScoreWriter` writes."
        )
    for column in CONVENTIONS:
        found = rows[column].unique().tolist()
        if len(found) > 1:
            raise ValueError(f"the per-case scores mix values of `{column}`: {found}; averages need exactly one.")
    key = ["case", "subset", "region", "metric"]
    twice = rows[rows.duplicated(key)]
    if len(twice):
        raise ValueError(
            f"{len(twice)} scores are there more than once, the first is {dict(twice.iloc[0][key])}; "
            "expected one row per case, subset, region and metric. Were two evaluations joined?"
        )


def case_by_subset(rows: pd.DataFrame, column: str = "value") -> pd.DataFrame:
    """Lay out rows of one region and metric as a row for each case and a column for each subset, NaN where none is."""
    names = rows.astype({"case": str, "subset": str})  # as categories they would bring those of other rows along
    return names.pivot(index="case", columns="subset", values=column)


def modalities_in_order(subsets: Iterable[str]) -> list[str]:
    """Recover the configured order of the modalities from the subsets' names, each of which keeps it.

    Two modalities that never occur together are ordered by first appearance.
    """
    before: dict[str, list[str]] = {}
    for subset in subsets:
        names = subset.split("+")
        for i, name in enumerate(names):
            before.setdefault(name, []).extend(names[:i])
    try:
        return list(TopologicalSorter(before).static_order())
    except CycleError as error:
        raise ValueError(f"subsets order their modalities in different ways: {error.args[1]}; expected one.") from error


def subsets_in_order(subsets: Iterable[str], modalities: Sequence[str] | None = None) -> list[str]:
    """Sort subsets as `modality_subsets` enumerates them: smallest first, then by the place of their modalities.

    Args:
        subsets: names, modalities joined by ``+``.
        modalities: in their order; by default it is recovered from the subsets' names.
    """
    names = list(subsets)
    modalities = modalities_in_order(names) if modalities is None else modalities
    places = {subset: [modalities.index(name) for name in subset.split("+")] for subset in names}
    return sorted(places, key=lambda subset: (len(places[subset]), places[subset]))


def num_modalities(subset: str) -> int:
    """Count the modalities of a subset's name."""
    return len(subset.split("+"))
