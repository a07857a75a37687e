# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Writes what an inference run found, case by case."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from monai.utils import convert_to_tensor
from numpy.typing import NDArray

from ..data.case import DOUBTS, Case, as_case
from ..data.headers import image_like
from ..data.label_conventions import from_internal, get_convention
from ..evaluation.expectation import ExpectedPerformance
from ..evaluation.origin import SYNTHETIC_ONLY, origin_in_words, origin_of, synthetic_only
from ..metrics.diameters import diameters
from ..metrics.regions import volumes_ml
from ..modalities import acquired_in, subset_name
from ..plausibility.examine import DEPTH, EXAMINED
from ..plausibility.tumour import doubts_of_tumour, measure_tumour
from ..records.results import check_output, on_series_of, output_files
from ..transforms.prepare import file_on_grid, on_series, preparation_of
from ..utils.files import json_text, replacing_all
from .cases import cases_of

logger = logging.getLogger(__name__)


class PredictionWriter:
    """Write one label map and one JSON file for each case of an inference run.

    ``<output_dir>/<case>.nii.gz`` lies on the grid of the input (of which series, says ``output_grid``; for ``all``
    there is ``<case>_on_<modality>.nii.gz`` of each besides), with both forms of its header, and carries the values of
    the asked-for label convention, as uint8, or uint16 where it goes beyond 255. ``<output_dir>/<case>.json`` says
    which modalities were used, voxels and volume (mL) of each region, what to expect of them, what the weights were
    trained on, how the images were prepared, what images and result cannot be, and warnings. Attach to a
    ``CaseEvaluator`` whose postprocessing leaves ``pred`` as internal classes ``(1, *S)`` on the grid of the result,
    behind what loads the weights.

    Args:
        output_dir: folder of the results, made if need be.
        modalities: names in channel order.
        regions: name of each region to the classes it unites.
        label_convention: name of the convention that label maps are written in, e.g. ``"brats2023"``.
        expected: says what to expect of a subset of modalities; ``None`` for reports without it.
        model_file: the weights; ``None`` for reports without what they were trained on.
        cases: entries of the run. None of its results is written over an input, or over what is no earlier result.
        on_series: modalities on whose grids label maps may be written.

    Raises:
        ValueError: if the label convention is unknown, or a result would be written over another file; of a case, if
            the convention cannot write a class that occurs.
    """

    def __init__(
        self,
        output_dir: str,
        modalities: Sequence[str],
        regions: Mapping[str, Sequence[int]],
        label_convention: str = "brats2023",
        expected: ExpectedPerformance | None = None,
        model_file: str | None = None,
        cases: Sequence[Mapping[str, Any]] = (),
        on_series: Sequence[str] = (),
    ) -> None:
        self.output_dir = Path(output_dir)
        self.modalities = list(modalities)
        self.regions = {name: list(classes) for name, classes in regions.items()}
        get_convention(label_convention)  # a misspelt one is found before anything is segmented
        self.label_convention = label_convention
        self.expected = expected
        self.model_file = model_file
        self.weights: dict[str, Any] | None = None  # see `origin_of`
        _check_outputs(self.output_dir, [as_case(each) for each in cases], regions, on_series)

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        if self.expected is not None:
            engine.add_event_handler(Events.STARTED, self.expected.load)
        if self.model_file is not None:
            engine.add_event_handler(Events.STARTED, self.load_origin)
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self._write)

    def load_origin(self) -> None:
        """Read again what the weights were trained on, as a run does when it starts."""
        if self.model_file is not None:
            self.weights = origin_of(self.model_file)
            logger.info("weights: %s", origin_in_words(self.weights))

    def _write(self, engine: Engine) -> None:
        for case in cases_of(engine):
            self.write_case(case)

    def write_case(self, case: Mapping[str, Any]) -> None:
        """Write one case; ``pred`` ``(1, *S)``, classes, must carry the affine of the input's grid."""
        prediction, prepared = case["pred"], preparation_of(case)
        path = self.output_dir / f"{case['case']}.nii.gz"
        others = {name: on_series_of(path, name) for name in on_series(case)}
        images = {path: self._labels(prediction[0], prediction, case)}
        for name, probabilities in on_series(case).items():
            images[others[name]] = self._labels(probabilities.argmax(dim=0), probabilities, case)
        spacing = nib.affines.voxel_sizes(np.asarray(prediction.affine, dtype=float))
        volumes = self._volumes(prediction[0].cpu(), spacing.tolist())
        acquired = acquired_in(case["image"]).tolist()
        expected = None if self.expected is None else self.expected.of(acquired)
        absent = [name for name, there in zip(self.modalities, acquired, strict=True) if not there]
        plausibility = self._plausibility(case, np.asarray(prediction.affine, dtype=float))
        doubts = str(case.get(DOUBTS, "")).splitlines()
        doubts += [doubt["message"] for doubt in plausibility.get("doubts", ())]
        of_weights = [SYNTHETIC_ONLY] if self.weights and synthetic_only(self.weights) else []
        report = {
            "case": str(case["case"]),
            "segmentation": path.name,
            **({"segmentation_on": {name: file.name for name, file in others.items()}} if others else {}),
            "label_convention": self.label_convention,
            "modalities_used": [name for name in self.modalities if name not in absent],
            "modalities_absent": absent,
            "subset": subset_name(acquired, self.modalities),
            "volumes": volumes,
            **({"diameters": self._diameters(prediction)} if prediction.ndim == 4 else {}),
            "expected_performance": expected,
            **({"expected_performance_note": self.expected.reason} if self.expected and not expected else {}),
            **({"weights": self.weights} if self.weights else {}),
            **({"preparation": prepared["record"]} if prepared else {}),
            **({"plausibility": plausibility} if plausibility else {}),
            "warnings": [*(*of_weights, *doubts, *prepared.get("warnings", ())), *_warnings(volumes, absent, expected)],
        }
        # first the report: by it the next run knows that the others are its own
        with replacing_all([output_files(path)["report"], *images]) as (written, *temporaries):
            written.write_text(json_text(report), encoding="utf-8")
            for temporary, image in zip(temporaries, images.values(), strict=True):
                nib.save(image, temporary)
        lines = [*(f"warning: {warning}" for warning in [*of_weights, *doubts]), *(expected or {}).get("in_words", ())]
        logger.info("%s: %s from %s%s", case["case"], path, report["subset"], "".join(f"\n  {line}" for line in lines))

    def _labels(self, classes: torch.Tensor, placed: Any, case: Mapping[str, Any]) -> nib.Nifti1Image:
        """Make a label map of internal classes ``(*S)``, on the grid of ``placed``."""
        labels = from_internal(classes.cpu().numpy(), self.label_convention)
        return image_like(labels, np.asarray(placed.affine, dtype=float), file_on_grid(placed, case))

    def _volumes(self, classes: torch.Tensor, spacing: Sequence[float]) -> dict[str, dict[str, float]]:
        """Measure each region in voxels and mL."""
        voxel_ml = float(np.prod(spacing)) / 1000
        volumes = volumes_ml(convert_to_tensor(classes, track_meta=False), self.regions, spacing)
        return {region: {"voxels": round(ml / voxel_ml), "ml": round(ml, 4)} for region, ml in volumes.items()}

    def _diameters(self, prediction: Any) -> dict[str, dict[str, Any] | None]:
        """Measure the largest lesion of each region, of classes ``(1, *S)``."""
        classes = convert_to_tensor(prediction[0], track_meta=False, device="cpu").numpy()
        affine = np.asarray(prediction.affine, dtype=float)
        found = {name: diameters(np.isin(classes, values), affine) for name, values in self.regions.items()}
        return {
            name: None
            if each is None
            else {
                "longest_mm": round(each.longest_mm, 1),
                "perpendicular_mm": round(each.perpendicular_mm, 1),
                "product_mm2": round(each.product_mm2, 1),
                "slice": each.slice,
            }
            for name, each in found.items()
        }

    def _plausibility(self, case: Mapping[str, Any], affine: NDArray) -> dict[str, Any]:
        """Add what was found as tumour to what was found of the images; empty if they were not examined."""
        if EXAMINED not in case:
            return {}
        found = json.loads(case[EXAMINED])
        depth = case[DEPTH]
        tumour = (case["pred"][0] > 0).cpu().numpy()
        found["numbers"]["tumour"] = measure_tumour(tumour, affine, depth[0].numpy(), np.asarray(depth.affine))
        found["doubts"] += [doubt._asdict() for doubt in doubts_of_tumour(found["numbers"]["tumour"])]
        return found


def _check_outputs(folder: Path, cases: Sequence[Case], regions: Mapping[str, Any], on_series: Sequence[str]) -> None:
    """Refuse results that would be written over an input of any case, or over what is no earlier result."""
    inputs = [file for case in cases for file in case.files]
    for case in cases:
        if case.name and case.files:  # those that cannot be read have none
            check_output(folder / f"{case.name}.nii.gz", inputs, regions, on_series)


def _warnings(volumes: Mapping[str, Any], absent: Sequence[str], expected: Mapping[str, Any] | None) -> list[str]:
    """List what a reader of one case must know; absent modalities in general where nothing particular is known."""
    warnings = [f"nothing was found for region {region}" for region, volume in volumes.items() if not volume["voxels"]]
    known = expected is not None and any(expected["dice"].values())
    if absent and not known:
        warnings.append(f"segmented without {', '.join(absent)}; expect lower accuracy than with every modality")
    return warnings + (expected["warnings"] if expected else [])
