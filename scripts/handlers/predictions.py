# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Writes what an inference run found, case by case."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from ignite.engine import Engine
from monai.engines.utils import IterationEvents

from ..data.label_conventions import from_internal, to_internal
from ..files import replacing, write_json
from ..metrics.regions import volumes_ml
from ..modalities import subset_name
from ..networks.base import acquired_modalities

logger = logging.getLogger(__name__)


class PredictionWriter:
    """Write one label map and one JSON file for each case of an inference run.

    ``<output_dir>/<case>.nii.gz`` lies on the grid and affine of the input and carries the values of the asked-for
    label convention, as uint8, or uint16 where the convention goes beyond 255. ``<output_dir>/<case>.json`` says which
    modalities were used, voxels and volume (mL) of each region, and warnings. Attach to a ``CaseEvaluator`` whose
    postprocessing leaves ``pred`` as a label map ``(1, *S)`` of that convention on the grid of the input.

    Args:
        output_dir: folder of the results, made if need be.
        modalities: names in channel order.
        regions: name of each region to the classes it unites.
        label_convention: name of the convention that ``pred`` is in, e.g. ``"brats2021"``.
    """

    def __init__(
        self,
        output_dir: str,
        modalities: Sequence[str],
        regions: Mapping[str, Sequence[int]],
        label_convention: str = "brats2021",
    ) -> None:
        self.output_dir = Path(output_dir)
        self.modalities = list(modalities)
        self.regions = {name: list(classes) for name, classes in regions.items()}
        self.label_convention = label_convention

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self._write)

    def _write(self, engine: Engine) -> None:
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            self.write_case({**item, **output})

    def write_case(self, case: Mapping[str, Any]) -> None:
        """Write one case; ``pred`` ``(1, *S)`` must carry the affine of the input's grid."""
        prediction = case["pred"]
        classes = to_internal(prediction[0].cpu().numpy(), self.label_convention)
        labels = from_internal(classes, self.label_convention)
        affine = np.asarray(prediction.affine, dtype=float)
        spacing = nib.affines.voxel_sizes(affine).tolist()
        acquired = acquired_modalities(torch.as_tensor(case["image"])[None])[0]
        volumes = volumes_ml(torch.as_tensor(classes), self.regions, spacing)
        path = self.output_dir / f"{case['case']}.nii.gz"
        with replacing(path) as temporary:
            image = nib.Nifti1Image(labels, affine)
            image.header.set_xyzt_units("mm")
            nib.save(image, temporary)
        voxel_ml = float(np.prod(spacing)) / 1000
        report = {
            "case": str(case["case"]),
            "segmentation": path.name,
            "label_convention": self.label_convention,
            "modalities_used": [m for m, there in zip(self.modalities, acquired.tolist(), strict=True) if there],
            "modalities_absent": [m for m, there in zip(self.modalities, acquired.tolist(), strict=True) if not there],
            "subset": subset_name(acquired.tolist(), self.modalities),
            "volumes": {r: {"voxels": round(ml / voxel_ml), "ml": round(ml, 4)} for r, ml in volumes.items()},
            "warnings": self._warnings(volumes, acquired.tolist()),
        }
        write_json(path.with_name(f"{case['case']}.json"), report)
        logger.info("%s: %s from %s", case["case"], path, report["subset"])

    def _warnings(self, volumes: Mapping[str, float], acquired: Sequence[bool]) -> list[str]:
        warnings = [f"nothing was found for region {region}" for region, ml in volumes.items() if ml == 0]
        absent = [name for name, there in zip(self.modalities, acquired, strict=True) if not there]
        if absent:
            warnings.append(f"segmented without {', '.join(absent)}; expect lower accuracy than with every modality")
        return warnings
