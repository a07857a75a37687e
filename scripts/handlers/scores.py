# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Scores the cases of an evaluation for every subset of modalities."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import Any, cast

import ignite.distributed as idist
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.engines.utils import IterationEvents

from ..evaluation.markdown import write_summary
from ..evaluation.origin import origin_in_words, origin_of
from ..evaluation.store import SCORES, CaseStore
from ..evaluation.summary import summarise
from ..evaluation.tables import ScoreWriter
from ..inferers.sliding_window import SubsetSlidingWindowInferer
from ..metrics.scores import CaseScorer, Scores, ScoreSettings
from ..metrics.undefined import mean_of_defined, or_nan, or_none
from ..modalities import acquired_in, subset_name
from .cases import cases_of

logger = logging.getLogger(__name__)

TABLE, SUMMARIES = "per_case.csv", ("summary.json", "summary.md")


class SubsetScoreHandler:
    """Score each case, subset and region as the case completes; sum up when the run does.

    Publishes ``engine.state.metrics["mean_dice"]``, the mean over regions of the mean over subsets of the mean over
    cases, ``dice_<region>``, and for each subset the mean over regions as ``dice/<subset>``, its modalities joined by
    ``-``: no name in MLflow has a plus. The cases are those of all processes.

    With a ``store`` the scores of each case go there as the case completes, and behind the last one ``per_case.csv``
    (one row for each case, subset, region and metric), ``summary.json`` and ``summary.md`` are made of what the store
    holds, from whichever run or process; by the first process, which alone has the metrics then. Other handlers may
    add scores as the case completes: what they put into an item's output as ``further_scores``, subset to ``{(region,
    metric): value}``. A case counts, and is done, when all handlers are done with it, whatever their order; one that
    any of them fails for is in no number.

    Where no case was scored, ``mean_dice`` is NaN.

    Attach to a ``CaseEvaluator`` whose inferer is a ``SubsetSlidingWindowInferer`` and whose postprocessing brings
    ``pred`` back to the grid of the label.

    Args:
        inferer: tells which subset each channel of a prediction belongs to.
        modalities: names in channel order.
        regions: name of each region to the classes it unites.
        settings: what is measured, and by which conventions.
        store: keeps the scores of each case; without one nothing is written.
    """

    def __init__(
        self,
        inferer: SubsetSlidingWindowInferer,
        modalities: Sequence[str],
        regions: Mapping[str, Sequence[int]],
        settings: ScoreSettings,
        store: CaseStore | None = None,
    ) -> None:
        self.inferer = inferer
        self.modalities = list(modalities)
        self.regions = {name: list(classes) for name, classes in regions.items()}
        self.settings = settings
        self.store = store
        self.dice: dict[tuple[str, str], list[float]] = {}
        self.found: list[tuple[str, dict[str, Scores]]] = []  # of the case at hand: its name, its scores

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_STARTED, self._clear)
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self._score)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._keep)  # behind all that looks at a case
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _start(self, engine: Engine) -> None:
        self.dice = {}
        if self.store is not None:
            for name in (TABLE, *SUMMARIES):  # of an earlier run
                (self.store.output_dir / name).unlink(missing_ok=True)

    def _clear(self, engine: Engine) -> None:
        self.found = []

    def _score(self, engine: Engine) -> None:
        self.found = [(str(case["case"]), self.score(case)) for case in cases_of(engine)]

    def _keep(self, engine: Engine) -> None:
        """Take down what was found of a case; of one that failed there is no output."""
        for (case, scores), output in zip(self.found, cast(list, engine.state.output), strict=False):
            for subset, further in output.get("further_scores", {}).items():
                scores[subset] |= further
            if self.store is None:
                self._count(scores)
            else:
                self.store.write(case, SCORES, _to_json(scores))

    def _count(self, scores: Mapping[str, Scores]) -> None:
        for subset, of_subset in scores.items():
            for region in self.regions:
                value = of_subset.get((region, "dice"), nan)
                if isfinite(value):
                    self.dice.setdefault((region, subset), []).append(value)

    def score(self, case: Mapping[str, Any]) -> dict[str, Scores]:
        """Score one case that is segmented: name of each subset to the scores of its regions.

        Args:
            case: ``case`` its name, ``image`` ``(M, *S)``, ``label`` ``(1, *L)``, ``pred`` ``(K, *L)`` classes.

        Raises:
            ValueError: if there is no label, or it lies on another grid than the prediction.
        """
        label, prediction = case.get("label"), case["pred"]
        if label is None:
            raise ValueError(
                f"case `{case['case']}` has no label, so its prediction cannot be scored. Evaluate cases whose "
                "datalist entry has `label`, or run inference instead."
            )
        if prediction.shape[1:] != label.shape[1:]:
            raise ValueError(
                f"prediction and label of case `{case['case']}` have shapes {tuple(prediction.shape[1:])} and "
                f"{tuple(label.shape[1:])}; expected one grid. Check that `validate::postprocessing` inverts what "
                "`validate::preprocessing` did to the image."
            )
        image = case["image"]
        acquired = acquired_in(image).cpu()
        spacing = label.pixdim[: label.ndim - 1].tolist() if isinstance(label, MetaTensor) else [1.0] * (label.ndim - 1)
        scorer, scores = CaseScorer(label[0], self.regions, spacing, self.settings), {}
        for subset, labels in zip(self.inferer.subsets_for(acquired), prediction, strict=True):
            name = subset_name(subset, self.modalities)
            scores[name] = scorer.score(labels)
        return scores

    def _finish(self, engine: Engine) -> None:
        if self.store is not None:
            self._write_tables(self.store, getattr(engine, "failures", {}))
        else:
            self._join(cast(list, idist.all_gather(self.dice)))
        means = {key: mean_of_defined(values) for key, values in self.dice.items()}  # of a region and subset
        per_region = {
            region: mean_of_defined(mean for (r, _), mean in means.items() if r == region)
            for region in self.regions
            if any(r == region for r, _ in means)
        }
        engine.state.metrics.update({f"dice_{region}": value for region, value in per_region.items()})
        engine.state.metrics["mean_dice"] = or_nan(mean_of_defined(per_region.values()))
        for subset in dict.fromkeys(subset for _, subset in means):
            of_subset = [mean for (_, name), mean in means.items() if name == subset]
            engine.state.metrics[f"dice/{subset.replace('+', '-')}"] = mean_of_defined(of_subset)

    def _join(self, processes: Sequence[Mapping[tuple[str, str], list[float]]]) -> None:
        """Count what every process has counted."""
        self.dice = {}
        for key, values in (pair for dice in processes for pair in dice.items()):
            self.dice.setdefault(key, []).extend(values)

    @idist.one_rank_only()
    def _write_tables(self, store: CaseStore, failures: Mapping[str, str]) -> None:
        """Join the scores of all cases, those of an interrupted run too, into one table, and sum it up."""
        table = store.output_dir / TABLE
        with ScoreWriter(table, self.settings.policy, self.settings.surface) as writer:
            for case in store.done():
                scores = _from_json(store.read(case, SCORES))
                writer.write_case(case, scores)
                self._count(scores)
        summary = summarise(table, failures, store.unlabelled)
        if store.model_file is not None:
            origin = origin_of(store.model_file)
            summary["weights"] = {**origin, "in_words": origin_in_words(origin)}
        write_summary(summary, *(store.output_dir / name for name in SUMMARIES))
        logger.info("scores are in %s", store.output_dir)


def _to_json(scores: Mapping[str, Scores]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Nest scores as ``[subset][region][metric]``; undefined ones become ``None``."""
    nested: dict[str, dict[str, dict[str, float | None]]] = {}
    for subset, of_subset in scores.items():
        for (region, metric), value in of_subset.items():
            nested.setdefault(subset, {}).setdefault(region, {})[metric] = or_none(value)
    return nested


def _from_json(nested: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> dict[str, Scores]:
    """Undo ``_to_json``."""
    return {
        subset: {
            (region, metric): or_nan(value)
            for region, of_region in of_subset.items()
            for metric, value in of_region.items()
        }
        for subset, of_subset in nested.items()
    }
