# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Writes what an evaluation found as later inferences quote it, beside the weights if asked."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events

from ..evaluation.performance import PERFORMANCE_FILE, amounts_of, counted, measured_on, performance_of
from ..evaluation.tables import read_scores
from ..records.side_files import (
    KEPT,
    NEVER,
    deliver_side_file,
    read_keep,
    refuse_smaller,
    require_weights,
    sha256,
    side_file,
)

logger = logging.getLogger(__name__)

OPTION = "keep_performance"


class PerformanceWriter:
    """Write ``performance.json`` when an evaluation ends, from its ``per_case.csv`` and summary.

    It goes into the folder of the evaluation, and beside the weights only if asked (``deliver_side_file`` has the
    rule): an evaluation of more cases or subsets is replaced by none of fewer. What would be refused by its number of
    cases is refused at the start. Nothing is written, and that is said, if no case was scored or the weights changed
    meanwhile. Cases that failed are counted in the file: one unreadable patient does not undo an evaluation.

    Args:
        output_dir: folder of the evaluation.
        model_file: path of the weights.
        data_set: as ``scripts.data.description.describe_data`` describes it.
        settings: name to value of what an inference must share for the numbers to hold, e.g. the voxel spacing.
        keep: whether the file joins the weights: false, true, or the word replace.

    Raises:
        ValueError: if ``keep`` is another word; when the run starts or ends, if the weights have figures of more cases
            or subsets.
    """

    def __init__(
        self,
        output_dir: str,
        model_file: str,
        data_set: Mapping[str, Any],
        settings: Mapping[str, Any] | None = None,
        keep: bool | str = False,
    ) -> None:
        self.output_dir, self.model_file = Path(output_dir), Path(model_file)
        self.data_set, self.settings = dict(data_set), dict(settings or {})
        self.keep = read_keep(keep, OPTION)
        self.weights: str | None = None  # SHA-256 of what is evaluated

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.COMPLETED, self._write)  # the tables are there

    def _start(self, engine: Engine) -> None:
        self.weights = sha256(require_weights(self.model_file))
        if self.keep == KEPT:
            cases = {"cases": self.data_set["num_cases"]}
            refuse_smaller(self.model_file, PERFORMANCE_FILE, cases, _cases_of, OPTION)

    @idist.one_rank_only()
    def _write(self, engine: Engine) -> None:
        file = side_file(self.model_file, PERFORMANCE_FILE)
        summary = json.loads((self.output_dir / "summary.json").read_text(encoding="utf-8"))
        if not summary["num_cases"]:
            logger.warning("%s is not written: no case was scored", PERFORMANCE_FILE)
            return
        if sha256(self.model_file) != self.weights:
            logger.warning("%s is not written: %s changed during the evaluation", PERFORMANCE_FILE, self.model_file)
            return
        rows = read_scores(self.output_dir / "per_case.csv")
        content = performance_of(rows, summary, self.data_set, self.settings)
        before = self._what_is_replaced(file, content) if self.keep != NEVER else None
        try:
            path = deliver_side_file(
                self.model_file, PERFORMANCE_FILE, content, self.output_dir, self.keep, amounts_of, OPTION
            )
        except OSError as error:  # weights may lie where nobody may write; the evaluation is whole without
            logger.warning("%s is not written: %s", file, error)
            return
        if before is not None:
            logger.warning("%s is replaced: %s", file, before)
        if path == file:
            logger.info("expected performance, for every later inference with these weights, is in %s", file)

    def _what_is_replaced(self, file: Path, content: Mapping[str, Any]) -> str | None:
        """Say in words which file of weights of another name, of another data set, or of more subsets is there."""
        try:
            earlier = json.loads(file.read_text(encoding="utf-8"))
            before, now = (
                [data[name] for name in ("name", "section")] for data in (earlier["data_set"], self.data_set)
            )
            lost = earlier["per_subset"].keys() - content["per_subset"].keys()
            name, subsets = earlier["checkpoint"], counted(len(earlier["per_subset"]), "subset")
            words = f"it was of {name}, measured on {measured_on(earlier)}, for {subsets}"
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return "it could not be read"
        if before == now and not lost and name == self.model_file.name:
            return None
        subsets = counted(len(content["per_subset"]), "subset")
        new = f"{self.model_file.name}, {', section '.join(now)}, for {subsets}"
        return f"{words}; the new one is of {new}"


def _cases_of(content: Mapping[str, Any]) -> dict[str, int]:
    return {"cases": amounts_of(content)["cases"]}
