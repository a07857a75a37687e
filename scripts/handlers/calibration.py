# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Measures how well the probabilities of an evaluation are calibrated."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, cast

import ignite.distributed as idist
import numpy as np
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from numpy.typing import NDArray
from torch import Tensor

from ..evaluation.store import CaseStore
from ..evaluation.temperature import read_temperatures, scale, temperature_for
from ..inferers.sliding_window import SubsetSlidingWindowInferer
from ..metrics.calibration import COUNT, NUM_BINS, expected_calibration_error, reliability_bins
from ..metrics.scores import Scores
from ..metrics.undefined import or_none
from ..modalities import subset_name
from ..utils.files import write_json
from ..utils.flags import as_flag
from .brain_probabilities import BrainProbabilitiesHandler

logger = logging.getLogger(__name__)

CALIBRATION_FILE = "calibration.json"
METRIC = "ece"  # as the tables call it


class CalibrationHandler(BrainProbabilitiesHandler):
    """Measure the expected calibration error of each case, subset and region, and of all cases together.

    It is that of the region's probability over the voxels of the brain, on the network's grid (see
    ``scripts.metrics.calibration``). For each case the bins become the part ``calibration.json`` of the store, and the
    errors ``further_scores`` of the item's output, for the handler of scores. At the end the bins of all cases that are
    done are added: ``calibration.json`` in the folder of the evaluation.

    Args:
        inferer: shows the probabilities of each case.
        store: keeps the bins of each case.
        modalities: names in channel order.
        regions: name of each region to the classes it unites.
        model_file: the weights, beside which temperatures are looked for.
        enabled: false does nothing. Also a word.
        temperature_scaling: apply the temperature of the number of modalities first. Also a word.

    Raises:
        ValueError: if temperatures are asked for without calibration; when the run starts, if there are none or those
            of other weights.
    """

    part = CALIBRATION_FILE

    def __init__(
        self,
        inferer: SubsetSlidingWindowInferer,
        store: CaseStore,
        modalities: Sequence[str],
        regions: Mapping[str, Sequence[int]],
        model_file: str,
        enabled: bool | str = True,
        temperature_scaling: bool | str = False,
    ) -> None:
        super().__init__(inferer, store)
        self.modalities = list(modalities)
        self.regions = {name: list(classes) for name, classes in regions.items()}
        self.model_file = model_file
        self.enabled = as_flag(enabled, "calibration")
        self.temperature_scaling = as_flag(temperature_scaling, "temperature_scaling")
        if self.temperature_scaling and not self.enabled:
            raise ValueError(
                "`temperature_scaling` is true but `calibration` is false; temperatures change the calibration error "
                "and no other number. Set both, or none."
            )
        self.temperatures: dict[int, float] = {}
        self.errors: dict[str, Scores] = {}  # of the case at hand

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        if self.enabled:
            super().attach(engine)
            engine.add_event_handler(Events.STARTED, self._start)
            engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self._hand_over)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _start(self, engine: Engine) -> None:
        self.temperatures = read_temperatures(self.model_file) if self.temperature_scaling else {}

    def look(self, case: str, probabilities: Tensor, subsets: Tensor, brain: Tensor, truth: Tensor) -> None:
        """Sort the voxels of one case into bins; see the base."""
        found, voxels = {}, brain.to(probabilities.device)
        for classes, subset in zip(probabilities, subsets, strict=True):
            shown = classes[:, voxels].cpu()  # (C, N)
            if self.temperature_scaling:
                shown = scale(shown, temperature_for(self.temperatures, int(subset.sum())))
            bins = reliability_bins(shown, truth, self.regions)
            found[subset_name(subset, self.modalities)] = dict(zip(self.regions, bins, strict=True))
        self.errors = {
            subset: {(region, METRIC): expected_calibration_error(bins) for region, bins in of_subset.items()}
            for subset, of_subset in found.items()
        }
        lists = {subset: {region: bins.tolist() for region, bins in each.items()} for subset, each in found.items()}
        self.store.write(case, self.part, lists)

    def _hand_over(self, engine: Engine) -> None:
        (output,) = cast(list, engine.state.output)
        output["further_scores"] = self.errors

    @idist.one_rank_only()
    def _finish(self, engine: Engine) -> None:
        per_subset: dict[str, dict[str, NDArray]] = {}
        per_number: dict[str, dict[str, NDArray]] = {}
        num_cases = 0
        for case, _ in self.parts():
            num_cases += 1
            for subset, of_subset in self.store.read(case, self.part).items():
                for sums, key in ((per_subset, subset), (per_number, str(subset.count("+") + 1))):
                    into = sums.setdefault(key, {region: np.zeros((3, NUM_BINS)) for region in of_subset})
                    for region, bins in of_subset.items():
                        into[region] += bins
        report = {
            "num_cases": num_cases,
            "voxels": "of the brain (where an acquired image is not background), on the network's grid",
            "num_bins": NUM_BINS,
            "temperatures": self.temperatures or None,
            "per_subset": _tables(per_subset),
            "per_num_modalities": _tables(dict(sorted(per_number.items()))),
        }
        path = write_json(self.store.output_dir / CALIBRATION_FILE, report)
        logger.info("calibration is in %s", path)


def _tables(sums: Mapping[str, Mapping[str, NDArray]]) -> dict[str, dict[str, dict[str, Any]]]:
    return {key: {region: reliability_table(bins) for region, bins in each.items()} for key, each in sums.items()}


def reliability_table(bins: NDArray) -> dict[str, Any]:
    """Make bins ``(3, 15)`` of one region ready for JSON: ECE, and count, mean probability and observed share by bin.

    The last two are ``None`` in bins without voxels.
    """
    means = np.divide(bins[1:], bins[COUNT], out=np.full_like(bins[1:], np.nan), where=bins[COUNT] > 0)
    probability, observed = (list(map(or_none, row)) for row in means.tolist())
    return {
        "ece": expected_calibration_error(bins),
        "count": bins[COUNT].astype(int).tolist(),
        "mean_probability": probability,
        "observed": observed,
    }
