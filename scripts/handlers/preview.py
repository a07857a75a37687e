# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Draws what an inference run found, case by case."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.engines.utils import IterationEvents
from monai.transforms import ResampleToMatch
from monai.utils import convert_to_tensor
from numpy.typing import NDArray

from ..drawing.preview import write_preview
from ..modalities import acquired_in
from .cases import cases_of

AUTO, ALWAYS, NEVER = "auto", "true", "false"

logger = logging.getLogger(__name__)


class PreviewWriter:
    """Write ``<output_dir>/<case>.png``: the series, the outlines of brain and regions, volumes and warnings.

    The images are those that the network saw: registered, cut and resampled; a 2D image has no preview. Attach behind
    ``PredictionWriter``, whose report it quotes.

    Args:
        output_dir: folder of the results.
        modalities: names in channel order.
        regions: name of each region to the classes it unites, the largest first.
        preview: ``"auto"``: where series were prepared, which somebody should look at; ``"true"``: always; ``"false"``:
            never. Or a boolean.

    Raises:
        ValueError: if ``preview`` is something else.
    """

    def __init__(
        self,
        output_dir: str,
        modalities: Sequence[str],
        regions: Mapping[str, Sequence[int]],
        preview: bool | str = AUTO,
    ) -> None:
        self.output_dir, self.modalities = Path(output_dir), list(modalities)
        self.regions = {name: list(classes) for name, classes in regions.items()}
        self.preview = str(preview).lower()
        if self.preview not in (AUTO, ALWAYS, NEVER):
            raise ValueError(f"`preview` is `{preview}`; expected {AUTO}, {ALWAYS} or {NEVER}.")

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        if self.preview != NEVER:
            engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self._write)

    def _write(self, engine: Engine) -> None:
        for case in cases_of(engine):
            self.write_case(case)

    def write_case(self, case: Mapping[str, Any]) -> None:
        """Draw one case: ``image`` ``(M, *S)`` as the network saw it, ``pred`` ``(1, *L)`` classes, both placed."""
        image: MetaTensor = case["image"]
        report = json.loads((self.output_dir / f"{case['case']}.json").read_text(encoding="utf-8"))
        wanted = self.preview == ALWAYS or report.get("preparation", {}).get("done")
        if image.ndim != 4 or not wanted:
            return
        there = acquired_in(image).tolist()
        channels = convert_to_tensor(image, track_meta=False, device="cpu").numpy()
        shown = {
            name: _above_zero(channel)
            for name, channel, acquired in zip(self.modalities, channels, there, strict=True)
            if acquired
        }
        classes = ResampleToMatch(mode="nearest", padding_mode="zeros")(case["pred"].cpu().float(), image.cpu())
        affine = np.asarray(image.affine.cpu(), dtype=float)
        labels = convert_to_tensor(classes, track_meta=False)[0].numpy().astype(np.uint8)
        path = self.output_dir / f"{case['case']}.png"
        write_preview(path, shown, labels, None, affine, self.regions, report)
        logger.info("%s: %s shows it", case["case"], path)


def _above_zero(channel: NDArray) -> NDArray:
    """Shift a normalised image ``(*S)`` so that its darkest voxel lies just above the background, which is 0."""
    inside = channel != 0
    darkest = channel[inside].min() if inside.any() else 0.0
    return np.where(inside, channel - darkest + 1e-3, 0)
