# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Scores the cases of an evaluation for every subset of modalities."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.engines.utils import IterationEvents

from ..evaluation.store import SCORES, CaseStore
from ..inferers.sliding_window import SubsetSlidingWindowInferer
from ..metrics.scores import Scores, score_case
from ..metrics.tables import ScoreWriter, summarise, write_summary
from ..modalities import subset_name
from ..networks.base import acquired_modalities

logger = logging.getLogger(__name__)


class SubsetScoreHandler:
    """Score each case, subset and region as the case completes; sum up when the run does.

    Publishes ``engine.state.metrics["mean_dice"]``, the mean over regions of the mean over subsets of the mean over
    cases, and ``dice_<region>``. With ``output_dir`` it also writes ``per_case.csv`` (one row for each case, subset,
    region and metric, as they come), ``summary.json`` and ``summary.md``.

    Attach to a ``CaseEvaluator`` whose inferer is a ``SubsetSlidingWindowInferer`` and whose postprocessing brings
    ``pred`` back to the grid of the label.

    Args:
        inferer: tells which subset each channel of a prediction belongs to.
        modalities: names in channel order.
        regions: name of each region to the classes it unites.
        empty_policy: what an empty mask scores: ``"brats"``, ``"passion"`` or ``"nan"``.
        surface: how HD95 is made of surface distances: ``"monai"`` or ``"pooled"``.
        metrics: which of ``"dice"`` and ``"hd95"`` to compute; HD95 is the slow one.
        output_dir: folder of the tables; ``None`` writes none.
    """

    def __init__(
        self,
        inferer: SubsetSlidingWindowInferer,
        modalities: Sequence[str],
        regions: Mapping[str, Sequence[int]],
        empty_policy: str = "brats",
        surface: str = "monai",
        metrics: Sequence[str] = ("dice", "hd95"),
        output_dir: str | None = None,
        store: CaseStore | None = None,
    ) -> None:
        self.inferer, self.store = inferer, store
        self.modalities = list(modalities)
        self.regions = {name: list(classes) for name, classes in regions.items()}
        self.settings = {"policy": empty_policy, "surface": surface, "metrics": tuple(metrics)}
        self.output_dir = None if output_dir is None else Path(output_dir)
        self.writer: ScoreWriter | None = None
        self.dice: dict[tuple[str, str], list[float]] = {}

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self._score)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _start(self, engine: Engine) -> None:
        self.dice = {}
        if self.store is not None:
            self.store.begin()
        if self.output_dir is not None:
            self.output_dir.mkdir(parents=True, exist_ok=True)
            path = self.output_dir / "per_case.csv"
            self.writer = ScoreWriter(path, self.settings["policy"], self.settings["surface"])

    def _score(self, engine: Engine) -> None:
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            scores = self.score({**item, **output})
            for subset, of_regions in output.get("ece", {}).items():
                scores[subset].update({(region, "ece"): value for region, value in of_regions.items()})
            if self.store is not None:
                self.store.write(str(item["case"]), SCORES, {})
            if self.writer is not None:
                self.writer.write_case(str(item["case"]), scores)
            for subset, of_subset in scores.items():
                for (region, metric), value in of_subset.items():
                    if metric == "dice" and not isnan(value):
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
        acquired = acquired_modalities(torch.as_tensor(image)[None])[0].cpu()
        spacing = label.pixdim[: label.ndim - 1].tolist() if isinstance(label, MetaTensor) else [1.0] * (label.ndim - 1)
        scores = {}
        for subset, labels in zip(self.inferer.subsets_for(acquired), prediction, strict=True):
            name = subset_name(subset, self.modalities)
            scores[name] = score_case(labels, label[0], self.regions, spacing, **self.settings)
        return scores

    def _finish(self, engine: Engine) -> None:
        means = {key: fmean(defined) for key, defined in self.dice.items() if defined}  # of a region and subset
        per_region = {
            region: fmean(mean for (r, _), mean in means.items() if r == region)
            for region in self.regions
            if any(r == region for r, _ in means)
        }
        engine.state.metrics.update({f"dice_{region}": value for region, value in per_region.items()})
        engine.state.metrics["mean_dice"] = fmean(per_region.values()) if per_region else 0.0
        if self.writer is not None:
            self.writer.close()
            summary = summarise(self.writer.path, getattr(engine, "failures", {}))
            write_summary(summary, self.output_dir / "summary.json", self.output_dir / "summary.md")
            logger.info("scores are in %s", self.output_dir)
