# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Fits the temperatures that are carried with the weights."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import Tensor

from ..evaluation.store import CaseStore
from ..evaluation.temperature import (
    GRID,
    TEMPERATURES_FILE,
    UNCHANGED,
    Curves,
    fit_temperature,
    log_spline,
    temperature_curves,
)
from ..inferers.sliding_window import SubsetSlidingWindowInferer
from ..records.side_files import deliver_side_file, read_keep
from ..utils.files import replacing
from .brain_probabilities import BrainProbabilitiesHandler

logger = logging.getLogger(__name__)

OPTION = "keep_temperatures"


class TemperatureHandler(BrainProbabilitiesHandler):
    """Fit one temperature for each number of modalities; they join the weights if asked.

    T minimises the negative log-likelihood of the true classes under p^(1/T), normalised, over all cases and all
    subsets of that many modalities, at voxels drawn from the brain of each case. Of a case only the likelihood at fixed
    temperatures is kept, the part ``temperature.npz`` of the store, so that memory does not grow and a killed run goes
    on. A number of modalities that no case has gets no temperature.

    ``temperatures.json``, in the folder of the run, holds ``temperatures``, negative log-likelihood (nats for each
    voxel) and expected calibration error of each region ``before`` and ``after``, by number of modalities, and what
    they were fitted on.

    Args:
        inferer: shows the probabilities of each case.
        store: keeps the parts.
        regions: name of each region to the classes it unites.
        model_file: the weights that the temperatures are of.
        fitted_on: what the cases are, as it goes into the file, ready for JSON.
        num_voxels: drawn without repetition from the brain of each case, the same ones for all of its subsets.
        seed: of the draw, together with the name of the case.
        keep: whether the file also lies down beside the weights, where evaluation and inference look for it: false,
            true, or the word replace; ``deliver_side_file`` has the rule.

    Raises:
        ValueError: if ``keep`` is another word; at the end, if the weights have temperatures of more cases.
    """

    part = "temperature.npz"

    def __init__(
        self,
        inferer: SubsetSlidingWindowInferer,
        store: CaseStore,
        regions: Mapping[str, Sequence[int]],
        model_file: str,
        fitted_on: Any,
        num_voxels: int = 20000,
        seed: int = 0,
        keep: bool | str = False,
    ) -> None:
        super().__init__(inferer, store)
        self.keep = read_keep(keep, OPTION)
        self.regions = {name: list(classes) for name, classes in regions.items()}
        self.model_file, self.fitted_on = model_file, fitted_on
        self.num_voxels, self.seed = int(num_voxels), int(seed)

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        super().attach(engine)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def look(self, case: str, probabilities: Tensor, subsets: Tensor, brain: Tensor, truth: Tensor) -> None:
        """Keep what the temperatures do to one case; see the base."""
        random = np.random.default_rng([self.seed, zlib.crc32(case.encode())])
        drawn = torch.from_numpy(random.choice(len(brain), min(self.num_voxels, len(brain)), replace=False))
        shown = probabilities[..., brain[drawn].to(probabilities.device)].cpu()  # (K, C, n)
        sizes = subsets.sum(dim=1)
        content: dict[str, Any] = {}
        for size in sizes.unique().tolist():
            curves = temperature_curves(shown[sizes == size], truth[drawn], self.regions)
            content |= {f"{name}_{size}": value for name, value in curves._asdict().items()}
        with replacing(self.store.path(case, self.part)) as temporary:
            np.savez(temporary, **content)

    @idist.one_rank_only()
    def _finish(self, engine: Engine) -> None:
        sums: dict[int, Curves] = {}
        cases: dict[int, int] = {}
        for _, path in self.parts():
            with np.load(path, allow_pickle=False) as file:
                for size in sorted(int(name.removeprefix("nll_")) for name in file.files if name.startswith("nll_")):
                    found = Curves(*(file[f"{name}_{size}"] for name in Curves._fields))
                    sums[size] = Curves(*map(np.add, sums[size], found)) if size in sums else found
                    cases[size] = cases.get(size, 0) + 1
        if not sums:
            logger.error("no case could be used, so no temperature is fitted")
            return
        fitted = {size: fit_temperature(sums[size].nll) for size in sorted(sums)}
        words = ", ".join(f"{temperature:.3f} for {size}" for size, temperature in fitted.items())
        logger.info("temperatures by number of modalities: %s", words)
        report, folder = self._report(fitted, sums, cases), self.store.output_dir
        path = deliver_side_file(self.model_file, TEMPERATURES_FILE, report, folder, self.keep, amounts_of, OPTION)
        logger.info("temperatures are in %s", path)

    def _report(
        self, fitted: Mapping[int, float], sums: Mapping[int, Curves], cases: Mapping[int, int]
    ) -> dict[str, Any]:
        """Make the content of the file."""
        nll, ece = {}, {}
        for size, temperature in fitted.items():
            mean, place = sums[size].nll / sums[size].voxels, np.log(temperature)
            nll[size] = {"before": float(mean[UNCHANGED]), "after": float(log_spline(mean)(place))}
            ece[size] = {
                region: {"before": float(curve[UNCHANGED]), "after": float(np.interp(place, np.log(GRID), curve))}
                for region, curve in zip(self.regions, sums[size].ece(), strict=True)
            }
        return {
            "temperatures": fitted,
            "nll": nll,
            "ece": ece,
            "cases": {size: cases[size] for size in fitted},
            "fitted_on": self.fitted_on,
            "voxels_of_each_case": self.num_voxels,
            "seed": self.seed,
        }


def amounts_of(content: Mapping[str, Any]) -> dict[str, int]:
    """Say of how many cases temperatures are, for each number of modalities."""
    return {f"cases with {number} modalities": cases for number, cases in content["cases"].items()}
