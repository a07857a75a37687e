# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What an evaluation found, kept case by case, so that a killed one goes on where it stopped."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events

from ..records.claims import claim
from ..records.side_files import sha256
from ..utils.files import write_json
from ..utils.flags import as_flag

logger = logging.getLogger(__name__)

SETTINGS_FILE = "evaluation.json"
CASES_FOLDER = "cases"
SCORES = "scores.json"  # the part whose presence says that a case is done


class CaseStore:
    """Keep the results of each case in files of their own under ``<output_dir>/cases``.

    Handlers write parts, ``cases/<case>.<part>``; a case is done when its ``scores.json`` is there, which is written
    when all handlers are done with it. What every number depends on stands in ``evaluation.json``; results of other
    settings are never mixed. So memory does not grow with the number of cases, and a killed evaluation goes on with
    those that are not done.

    Attach to the evaluator before the handlers that use it, and let its dataset take ``remaining()``. Several processes
    may share the cases and the folder: the first one prepares it while the others wait.

    Args:
        output_dir: folder of the evaluation.
        cases: entries of the datalist, in the order of the tables.
        settings: what the numbers depend on, ready for JSON, e.g. the empty-mask policy; flags also as words.
        model_file: the weights, whose SHA-256 joins the settings when the run starts.
        resume: keep the cases that are done; otherwise they are removed when the evaluation begins. Also a word.

    Raises:
        ValueError: when the run starts, if it resumes an evaluation of other settings.
        RuntimeError: when the run ends, if several machines do not share ``output_dir``.
    """

    def __init__(
        self,
        output_dir: str,
        cases: Sequence[Mapping],
        settings: Mapping[str, Any],
        model_file: str | None = None,
        resume: bool | str = False,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.cases = [str(case["case"]) for case in cases if "label" in case]
        self.unlabelled = [str(case["case"]) for case in cases if "label" not in case]
        self.settings = {name: _as_read(value) for name, value in settings.items()}
        self.model_file = model_file
        self.resume = as_flag(resume, "resume")
        self._entries = cases

    def remaining(self) -> list[Mapping]:
        """List the entries that this run has to score: those with a label that are not done.

        Raises:
            ValueError: if no case has a label.
        """
        if not self.cases:
            raise ValueError(
                f"none of the {len(self.unlabelled)} cases has a label; expected at least one to evaluate. See `label` "
                "in the datalist and `evaluated_section`, or run inference instead."
            )
        return [entry for entry in self._entries if "label" in entry and not self._kept(str(entry["case"]))]

    def done(self) -> list[str]:
        """List the cases that are scored, in the order of the datalist."""
        return [case for case in self.cases if self.path(case, SCORES).is_file()]

    def path(self, case: str, part: str) -> Path:
        """Name the file of a part, e.g. ``slices.npz``, of a case."""
        return self.output_dir / CASES_FOLDER / f"{case}.{part}"

    def write(self, case: str, part: str, content: Any) -> None:
        """Write a part as JSON, whole or not at all."""
        write_json(self.path(case, part), content)

    def read(self, case: str, part: str) -> Any:
        """Read a part that was written as JSON."""
        return json.loads(self.path(case, part).read_text(encoding="utf-8"))

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self._begin)
        if idist.get_world_size() > 1:
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._check_shared)

    def _check_shared(self, engine: Any) -> None:
        """Refuse to go on if what another process has scored is not to be seen here."""
        seen = {*self.done(), *engine.failures}
        lost = [case for case in self.cases if case not in seen]
        if lost:
            raise RuntimeError(
                f"{len(lost)} cases, such as `{lost[0]}`, were scored by another process but are not in "
                f"{self.output_dir / CASES_FOLDER}; expected one `output_dir` for all machines. If it is one and its "
                "file system was slow, the same command with `--resume true` makes the tables."
            )

    def _kept(self, case: str) -> bool:
        return self.resume and self.path(case, SCORES).is_file()

    def _begin(self, engine: Engine) -> None:
        idist.barrier()  # until every process has looked at what is done
        self._prepare()

    @idist.one_rank_only(with_barrier=True)
    def _prepare(self) -> None:
        """Remove what is there, or with ``resume`` check that it was made with the same settings."""
        file = self.output_dir / SETTINGS_FILE
        if self.model_file is not None:
            self.settings["weights_sha256"] = sha256(self.model_file)
        if not self.resume:
            shutil.rmtree(self.output_dir / CASES_FOLDER, ignore_errors=True)
            file.unlink(missing_ok=True)
        going_on = file.is_file()
        claim(
            file,
            self.settings,
            holds="an evaluation of other settings",
            advice="Resume with the same settings, or name another `output_dir`.",
        )
        if going_on:
            logger.info("resuming: %d of %d cases are done", len(self.done()), len(self.cases))
        if self.unlabelled:
            logger.warning("%d cases have no label and are left out: %s", len(self.unlabelled), self.unlabelled)


def _as_read(value: Any) -> Any:
    """Turn a setting into what JSON gives back, and a flag that came as a word into one."""
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return as_flag(value, "setting")
    return json.loads(json.dumps(value))
