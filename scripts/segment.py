# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Segments one patient from whatever modalities there are, by the workflow of ``configs/inference.yaml``.

from scripts.segment import segment
result = segment({"flair": "a.nii.gz", "t1ce": "b.nii.gz"}, output="seg.nii.gz")
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser

from .bundle.configuration import BUNDLE_ROOT, ROOT, UnknownId, read
from .data.patient import describe_patient, read_channels
from .engines.case_evaluator import root_cause
from .handlers.model_loader import ModelLoader
from .preparation.keeping import check_folder, folder_beside, keep
from .records.results import check_output, on_series_of, output_files, preview_of
from .transforms.prepare import ALL
from .utils.files import json_text, replacing_all
from .utils.flags import as_flag

CONFIG_FILE = "configs/inference.yaml"
NEEDED = ("modalities", "evaluator", "dataset", "inferer", "model_file")  # ids
# Handlers of a whole run: weights are loaded once, windows are counted instead of cases, nothing is recorded, and the
# memory of the process that calls is its own business.
OF_A_RUN = ("ModelLoader", "ProgressBarHandler", "RunRecordHandler", "KeepBuffersHandler")

Source = str | PathLike | Sequence[str | PathLike] | Mapping[str, str | PathLike | None]


@dataclass
class PatientSegmentation:
    """What was found of one patient.

    Attributes:
        label_map: integer label map on the grid of the input, in the label convention of the configuration.
        report: modalities used, volumes (mL), expected performance, warnings; see ``PredictionWriter``.
        probability_maps: region to a float32 map on the same grid; empty if they were not asked for.
        on_series: modality to the label map, ``"label_map"``, and the probability maps on its own grid; empty unless
            ``output_grid`` is ``"all"``.
        kept: name to content of the files of the preparation; empty if they were not asked for.
        preview: PNG file of the result; ``None`` where none was drawn.
    """

    label_map: nib.Nifti1Image
    report: dict[str, Any]
    probability_maps: dict[str, nib.Nifti1Image] = field(default_factory=dict)
    on_series: dict[str, dict[str, nib.Nifti1Image]] = field(default_factory=dict)
    kept: dict[str, bytes] = field(default_factory=dict)
    preview: bytes | None = None

    def save(self, output: str | PathLike) -> None:
        """Write the label map to ``output``, and beside it the report and all else that was asked for."""
        files = output_files(output, self.probability_maps)
        self.report["segmentation"] = files["label_map"].name
        images = {files["label_map"]: self.label_map}
        images |= {files[region]: image for region, image in self.probability_maps.items()}
        for name, of_series in self.on_series.items():
            places = output_files(on_series_of(output, name), [role for role in of_series if role != "label_map"])
            self.report["segmentation_on"][name] = places["label_map"].name
            images |= {places[role]: image for role, image in of_series.items()}
        if self.kept:
            keep(self.kept, folder_beside(output))
        drawn = {} if self.preview is None else {preview_of(output): self.preview}
        # first the report: by it the next call knows that the others are its own
        with replacing_all([files["report"], *images, *drawn]) as (report, *temporaries):
            report.write_text(json_text(self.report), encoding="utf-8")
            for temporary, image in zip(temporaries, images.values(), strict=False):
                nib.save(image, temporary)
            for temporary, picture in zip(temporaries[len(images) :], drawn.values(), strict=True):
                temporary.write_bytes(picture)


class Segmenter:
    """Segment patients one by one, with a network that is built and loaded once.

    Args:
        config_file: configuration files, the base first, as a list or joined by commas; looked for from the current
            folder, then from the bundle's. ``configs/inference.yaml`` if not given.
        progress: show a progress bar over the sliding windows; one for each flip of test-time flips.
        override: ids of the configuration and values, e.g. ``model_file="models/model.pt"``, ``device="cpu"``,
            ``subset="flair+t2"``, ``flips="opposite"``, ``probability_maps=True``.

    Attributes:
        modalities: configured names, in channel order.

    Raises:
        FileNotFoundError: if there are no weights, or no such configuration.
        ValueError: if an id is not known, the device cannot be used, or the weights are those of another network.
    """

    def __init__(self, config_file: str | Sequence[str] | None = None, progress: bool = False, **override: Any) -> None:
        self._folder = TemporaryDirectory(prefix="segment_")  # the writers' results, on their way into memory
        parser = read_configuration(config_file, **override)
        parser["output_dir"] = self._folder.name
        parser["handlers"] = [each for each in parser["handlers"] if not each["_target_"].endswith(OF_A_RUN)]
        parser["dataset::data"] = [{}]  # its place is taken by each patient
        parser["dataloader::num_workers"] = 0
        parser["inferer::progress"] = progress
        _check_device(_made(parser, "device"))
        self.modalities: list[str] = _made(parser, "modalities")
        self._regions, self._layout, self._patterns = (_made(parser, id) for id in ("regions", "layout", "patterns"))
        self._output_grid, self._brain_mask = (_made(parser, id) for id in ("output_grid", "brain_mask"))
        keep_prepared = _made(parser, "keep_prepared")
        self._keep_prepared = as_flag(keep_prepared, "keep_prepared")
        self._dataset, self._evaluator = (_made(parser, id) for id in ("dataset", "evaluator"))
        ModelLoader(_made(parser, "model_file"), self._evaluator.network).load()

    def __call__(
        self, source: Source, output: str | PathLike | None = None, channels: str | Sequence[str | None] | None = None
    ) -> PatientSegmentation:
        """Segment one patient.

        Args:
            source: modality to file; or a folder, a list of files, or a stacked file, see ``describe_patient``.
            output: file of the label map, ``.nii.gz`` or ``.nii``; nothing is written if not given.
            channels: modality of each channel of a stacked file, ``None`` or ``"none"`` for one of no use; the
                configured ones in their order if not given.

        Raises:
            ValueError: if the patient cannot be segmented, in words; if ``output`` is no such name, is an input, or
                exists and is not an earlier result.
        """
        case = describe_patient(source, self.modalities, self._layout, self._patterns)
        if channels is not None:
            if case.image is None:
                raise ValueError("`channels` goes with a stacked file; expected no channels for other forms.")
            case = replace(case, channels=tuple(read_channels(channels) or ()))
        if output is not None:
            names = self.modalities if self._output_grid == ALL else ()
            given = [*case.files, *([self._brain_mask] if self._brain_mask else [])]
            check_output(output, given, self._regions, names)
            if self._keep_prepared:
                check_folder(folder_beside(output))
        self._dataset.data = [case.to_entry()]
        self._clear()  # of what an interrupt may have left
        try:
            self._evaluator.run()
            if self._evaluator.failures:
                raise ValueError(*self._evaluator.failures.values())
            result = self._collect(case.name)
        finally:
            self._evaluator.state.batch = self._evaluator.state.output = None  # volumes, of no more use
            self._clear()
        if output is not None:
            result.save(output)
        return result

    def _clear(self) -> None:
        for path in Path(self._folder.name).iterdir():
            rmtree(path) if path.is_dir() else path.unlink()

    def _collect(self, case: str) -> PatientSegmentation:
        """Take what the writers have written into memory."""
        label_map = Path(self._folder.name, f"{case}.nii.gz")
        report = json.loads(output_files(label_map)["report"].read_text(encoding="utf-8"))
        report["segmentation"] = None
        images = self._images(label_map)
        others = {name: self._images(on_series_of(label_map, name)) for name in report.get("segmentation_on", ())}
        folder = folder_beside(label_map)
        kept = {file.name: file.read_bytes() for file in folder.iterdir()} if folder.exists() else {}
        drawn = preview_of(label_map)
        preview = drawn.read_bytes() if drawn.exists() else None
        return PatientSegmentation(images.pop("label_map"), report, images, others, kept, preview)

    def _images(self, label_map: Path) -> dict[str, nib.Nifti1Image]:
        """Read a label map, and the probability maps beside it."""
        files = output_files(label_map, self._regions)
        return {role: _in_memory(file) for role, file in files.items() if role != "report" and file.exists()}


def segment(
    source: Source,
    output: str | PathLike | None = None,
    channels: str | Sequence[str | None] | None = None,
    **options: Any,
) -> PatientSegmentation:
    """Segment one patient: ``Segmenter(**options)(source, output, channels)``; for several, keep a ``Segmenter``."""
    return Segmenter(**options)(source, output, channels)


def read_configuration(config_file: str | Sequence[str] | None = None, **override: Any) -> ConfigParser:
    """Read the configuration of an inference; its ``bundle_root`` is this bundle's, whatever the current folder.

    Args:
        config_file: as for ``Segmenter``.
        override: ids and values.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not the configuration of an inference, or has no such id.
    """
    try:
        return read(config_file or CONFIG_FILE, {BUNDLE_ROOT: str(ROOT), **override}, NEEDED, CONFIG_FILE)
    except UnknownId as error:
        raise ValueError(
            f"unknown option {', '.join(error.names)}; expected modalities out of {error.parser.get('modalities')}, or "
            f"ids of the configuration ({', '.join(error.files)})."
        ) from None


def _made(parser: ConfigParser, id: str) -> Any:
    """Make what an id describes; what one of its components finds wrong is raised as it is, which MONAI wraps."""
    try:
        return parser.get_parsed_content(id)
    except RuntimeError as error:
        cause = root_cause(error)
        raise cause if isinstance(cause, (OSError, ValueError)) else error  # noqa: B904


def _check_device(device: torch.device | str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device `{device}` cannot be used ({reason}); expected e.g. cpu or cuda.") from error


def _in_memory(file: Path) -> nib.Nifti1Image:
    """Read an image whole, so that its file may go."""
    image = nib.Nifti1Image.from_filename(file)
    return nib.Nifti1Image(np.asanyarray(image.dataobj).copy(), image.affine, image.header)
