# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the probabilities of regions that an inference run found, case by case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.engines.utils import IterationEvents
from monai.utils import convert_to_tensor

from ..data.headers import image_like
from ..evaluation.temperature import read_temperatures, scale, temperature_for
from ..metrics.calibration import region_probabilities
from ..modalities import acquired_in
from ..transforms.prepare import file_on_grid, on_series
from ..utils.files import replacing
from ..utils.flags import as_flag
from .cases import cases_of


class ProbabilityMapWriter:
    """Write one probability map for each region of each case: ``<output_dir>/<case>_<region>_probability.nii.gz``.

    The maps are float32 on the grid and affine of the input, 0 outside of the box around the head that was segmented.
    A region's probability is the sum of those of its classes. Attach to a ``CaseEvaluator`` whose postprocessing leaves
    ``probabilities`` ``(C, *S)`` on the grid of the input, a copy made before ``pred`` becomes a label map; the label
    map does not depend on anything here.

    Args:
        output_dir: folder of the results, made if need be.
        regions: name of each region to the classes it unites.
        model_file: the weights, beside which temperatures are looked for.
        enabled: false does nothing. Also a word.
        temperature_scaling: apply the temperature of the number of modalities of the case. Also a word.

    Raises:
        ValueError: if temperatures are asked for without maps; when the run starts, if there are none or those of other
            weights.
    """

    def __init__(
        self,
        output_dir: str,
        regions: Mapping[str, Sequence[int]],
        model_file: str,
        enabled: bool | str = True,
        temperature_scaling: bool | str = False,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.regions = {name: list(classes) for name, classes in regions.items()}
        self.model_file = model_file
        self.enabled = as_flag(enabled, "probability_maps")
        self.temperature_scaling = as_flag(temperature_scaling, "temperature_scaling")
        if self.temperature_scaling and not self.enabled:
            raise ValueError(
                "`temperature_scaling` is true but `probability_maps` is false; temperatures change these maps and "
                "nothing else. Set both, or none."
            )
        self.temperatures: dict[int, float] = {}

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        if self.enabled:
            engine.add_event_handler(Events.STARTED, self._start)
            engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self._write)

    def _start(self, engine: Engine) -> None:
        if self.temperature_scaling:
            self.temperatures = read_temperatures(self.model_file)

    def _write(self, engine: Engine) -> None:
        for case in cases_of(engine):
            self.write_case(case)

    def write_case(self, case: Mapping[str, Any]) -> None:
        """Write the maps of one case; ``probabilities`` ``(C, *S)`` must carry the affine of the input's grid.

        Raises:
            ValueError: if a probability is not finite, or no temperature was fitted for its number of modalities.
        """
        self._write_maps(case, case["probabilities"], str(case["case"]))
        for name, probabilities in on_series(case).items():
            self._write_maps(case, probabilities, f"{case['case']}_on_{name}")

    def _write_maps(self, case: Mapping[str, Any], classes: MetaTensor, stem: str) -> None:
        """Write the maps of probabilities ``(C, *S)``, of one grid."""
        probabilities = convert_to_tensor(classes, track_meta=False, device="cpu")
        if self.temperature_scaling:
            acquired = acquired_in(case["image"])
            probabilities = scale(probabilities, temperature_for(self.temperatures, int(acquired.sum())))
        maps = region_probabilities(probabilities, self.regions).numpy().astype(np.float32)  # (R, *S)
        if not np.isfinite(maps).all():
            raise ValueError(f"case `{case['case']}` has probabilities that are not finite. Has the training diverged?")
        affine = np.asarray(classes.affine, dtype=float)
        for number, region in enumerate(self.regions):
            with replacing(self.output_dir / f"{stem}_{region}_probability.nii.gz") as temporary:
                nib.save(image_like(maps[number], affine, file_on_grid(classes, case)), temporary)
