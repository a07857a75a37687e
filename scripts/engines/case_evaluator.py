# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How an evaluation outlives a case that fails."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, cast

import ignite.distributed as idist
from ignite.engine import Engine, Events
from monai.data import Dataset
from monai.engines import SupervisedEvaluator

from ..data.case_error import CaseError

logger = logging.getLogger(__name__)

FAILURE = "failure"  # key under which a batch carries the reason why its case could not be loaded


def root_cause(error: BaseException) -> BaseException:
    """Follow the chain of causes to its beginning, or to the first ``CaseError``, which names case and file.

    MONAI wraps what a transform raises.
    """
    while error.__cause__ is not None and not isinstance(error, CaseError):
        error = error.__cause__
    return error


def reason_of(error: BaseException) -> str:
    """Say in words what went wrong first: the message of the root cause, or its type where it has none."""
    cause = root_cause(error)
    return str(cause) or type(cause).__name__


class CaseDataset(Dataset):
    """A MONAI dataset whose item, when its case cannot be loaded, says why instead of ending the run.

    Such an item is ``{"case": name, "failure": reason}``; ``CaseEvaluator`` takes it from there.
    """

    def __getitem__(self, index: Any) -> dict[str, Any]:
        if FAILURE in self.data[index]:
            return self.data[index]
        try:
            return super().__getitem__(index)
        except Exception as error:  # whatever is wrong with one patient must not lose the others
            logger.debug("loading failed", exc_info=error)
            return {"case": str(self.data[index].get("case", index)), FAILURE: reason_of(error)}


def flattened(handlers: Sequence | None) -> list:
    """Take handlers out of the slots that hold one, several or none of them."""
    flat = []
    for each in handlers or ():
        flat += flattened(each) if isinstance(each, (list, tuple)) else [] if each is None else [each]
    return flat


class FailureGatherer:
    """Wait for all processes at the end of an evaluation, before any table is made, and gather what failed in each."""

    def attach(self, engine: Engine) -> None:
        """Attach to a ``CaseEvaluator``, in front of all that sums up."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: CaseEvaluator) -> None:
        of_processes = cast(list, idist.all_gather((engine.state.epoch_length, engine.failures)))
        numbers, failures = zip(*of_processes, strict=True)
        engine.num_cases = sum(numbers)
        engine.failures = dict(sorted(pair for each in failures for pair in each.items()))


class CaseEvaluator(SupervisedEvaluator):
    """MONAI's evaluator for batches of one case, which reports a failing case and goes on.

    Takes the arguments of ``SupervisedEvaluator``; among ``val_handlers`` may be lists of handlers and ``None``, the
    slots of a configuration. Handlers that belong to a case attach to ``IterationEvents.MODEL_COMPLETED``, so that what
    they raise counts as a failure of that case. Where several processes share the cases, each knows at the end of all
    failures, and the first one reports them.

    Attributes:
        failures: reason by name of case, of the current or last run.
        num_cases: how many cases that run had, known when it ends.
    """

    failures: dict[str, str]
    num_cases: int

    def __init__(self, *args: Any, val_handlers: Sequence | None = None, **kwargs: Any) -> None:
        kwargs["val_handlers"] = [FailureGatherer(), *flattened(val_handlers)]
        super().__init__(*args, **kwargs)

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]  # as MONAI's evaluators have it
        self.failures = {}
        if self.state.epoch_length == 0:  # nothing is left of a resumed evaluation; Ignite refuses an empty loader
            self.state.epoch, self.state.max_epochs = global_epoch, global_epoch
            for event in (Events.STARTED, Events.EPOCH_COMPLETED, Events.COMPLETED):
                self.fire_event(event)
            return
        try:
            super().run(global_epoch)
        except BaseException:  # an interrupt: Ignite would take the next run for the rest of this one, and do nothing
            self._internal_run_generator = None
            raise

    def _iteration(self, engine: SupervisedEvaluator, batchdata: dict[str, Any]) -> dict:
        case = str(batchdata["case"][0]) if "case" in batchdata else f"number {engine.state.iteration}"
        try:
            if FAILURE in batchdata:
                raise RuntimeError(batchdata[FAILURE][0])
            return super()._iteration(engine, batchdata)
        except Exception as error:
            self.failures[case] = reason_of(error)
            logger.error("%s failed: %s", case, self.failures[case])
            logger.debug("traceback", exc_info=error)
            engine.state.output = {}
            return engine.state.output

    def report_failures(self) -> None:
        """End the process with a non-zero status if any case failed, naming all of them.

        The first process does: if another one ended like that, torchrun would stop the first at its tables.
        """
        failures = getattr(self, "failures", {})  # an engine that never ran has none
        if failures and idist.get_rank() == 0:
            lines = [why if f"`{case}`" in why else f"case `{case}`: {why}" for case, why in failures.items()]
            raise SystemExit("\n  ".join([f"{len(failures)} of {self.num_cases} cases failed:", *lines]))
