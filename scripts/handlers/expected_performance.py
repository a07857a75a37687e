# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Writes what an evaluation found beside the weights, for every later inference."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events

from ..evaluation.performance import PERFORMANCE_FILE, counted, measured_on, performance_of
from ..evaluation.tables import read_scores
from ..records.side_files import sha256, side_file, write_side_file
from ..utils.flags import as_flag

logger = logging.getLogger(__name__)


class PerformanceWriter:
    """Write ``performance.json`` beside the weights when an evaluation ends, from its ``per_case.csv`` and summary.

    Nothing is written, and that is said, if no case was scored or the weights changed meanwhile. Cases that failed are
    counted in the file: one unreadable patient does not undo an evaluation. Attach behind the handler that writes
    ``summary.json``.

    Args:
        output_dir: folder of the evaluation.
        model_file: path of the weights.
        data_set: as ``scripts.data.description.describe_data`` describes it.
        settings: name to value of what an inference must share for the numbers to hold, e.g. the voxel spacing.
        write_performance: whether to write it at all, also as a word.
    """

    def __init__(
        self,
        output_dir: str,
        model_file: str,
        data_set: Mapping[str, Any],
        settings: Mapping[str, Any] | None = None,
        write_performance: bool | str = True,
    ) -> None:
        self.output_dir, self.model_file = Path(output_dir), Path(model_file)
        self.data_set, self.settings = dict(data_set), dict(settings or {})
        self.write_performance = as_flag(write_performance, "write_performance")
        self.weights: str | None = None  # SHA-256 of what is evaluated

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        if self.write_performance:
            engine.add_event_handler(Events.STARTED, self._start)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._write)

    def _start(self, engine: Engine) -> None:
        self.weights = sha256(self.model_file)

    @idist.one_rank_only()
    def _write(self, engine: Engine) -> None:
        file = side_file(self.model_file, PERFORMANCE_FILE)
        summary = json.loads((self.output_dir / "summary.json").read_text(encoding="utf-8"))
        if not summary["num_cases"]:
            logger.warning("%s is not written: no case was scored", file)
            return
        if sha256(self.model_file) != self.weights:
            logger.warning("%s is not written: %s changed during the evaluation", file, self.model_file)
            return
        rows = read_scores(self.output_dir / "per_case.csv")
        content = performance_of(rows, summary, self.data_set, self.settings)
        self._say_what_is_replaced(file, content)
        try:
            write_side_file(self.model_file, PERFORMANCE_FILE, content)
        except OSError as error:  # weights may lie where nobody may write; the evaluation is whole without
            logger.warning("%s is not written: %s", file, error)
            return
        logger.info("expected performance, for every later inference with these weights, is in %s", file)

    def _say_what_is_replaced(self, file: Path, content: Mapping[str, Any]) -> None:
        """Log that a file of weights of another name, of another data set, or of more subsets is replaced."""
        try:
            earlier = json.loads(file.read_text(encoding="utf-8"))
            before, now = (
                [data[name] for name in ("name", "section")] for data in (earlier["data_set"], self.data_set)
            )
            lost = earlier["per_subset"].keys() - content["per_subset"].keys()
            name, subsets = earlier["checkpoint"], counted(len(earlier["per_subset"]), "subset")
            words = f"it was of {name}, measured on {measured_on(earlier)}, for {subsets}"
        except FileNotFoundError:
            return
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            logger.warning("%s is replaced: it could not be read", file)
            return
        if before != now or lost or name != self.model_file.name:
            subsets = counted(len(content["per_subset"]), "subset")
            new = f"{self.model_file.name}, {', section '.join(now)}, for {subsets}"
            logger.warning("%s is replaced: %s; the new one is of %s", file, words, new)
