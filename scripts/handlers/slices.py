# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Keeps one slice of each case of an evaluation, for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.engines.utils import IterationEvents
from monai.transforms import Orientation, SpatialResample
from monai.transforms.utils import create_translate

from ..drawing.planes import box_around, largest_slice, white_level
from ..evaluation.store import CaseStore
from ..inferers.sliding_window import SubsetSlidingWindowInferer
from ..modalities import acquired_in, subset_name
from ..utils.files import replacing
from ..utils.flags import as_flag
from .cases import cases_of

SLICES = "slices.npz"  # the part of a case


class SliceKeeper:
    """Keep of each case the axial slice with the most labelled voxels: images, truth and all predictions.

    The part ``slices.npz`` lies on the grid of the label with the axes of radiologists (LPS), cropped to what is there:

    * ``images`` ``(A, X, Y)`` uint8 of the ``modalities`` ``(A,)`` that were acquired, black at the darkest voxel of
      the volume and white at ``white_level``;
    * ``truth`` ``(X, Y)`` and ``predictions`` ``(K, X, Y)`` uint8 classes, one for each of the ``subsets`` ``(K,)``;
    * ``spacing_mm`` ``(2,)``; ``number`` of the slice, from 0 at the foot, and ``num_slices``.

    Compressed, that is about 70 KB for a brain at 1 mm. A case without a label is passed over.

    Images come back from the grid of the network, so they are as sharp as the network saw them. Attach to a
    ``CaseEvaluator`` whose postprocessing brings ``pred`` back to the grid of the label, before what completes a case.

    Args:
        store: where the parts go.
        inferer: tells which subset each channel of a prediction belongs to.
        modalities: names in channel order.
        orientation: of the network's images; ``None`` stands for stacks, which keep the axes of their files.
        keep: whether to keep anything, also given as a word.
    """

    def __init__(
        self,
        store: CaseStore,
        inferer: SubsetSlidingWindowInferer,
        modalities: Sequence[str],
        orientation: str | None = "RAS",
        keep: bool | str = True,
    ) -> None:
        self.store, self.inferer, self.modalities = store, inferer, list(modalities)
        self.turn = None if orientation is None else Orientation("LPS", labels=None)
        self.keep = as_flag(keep, "keep_slices")

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        if self.keep:
            engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self._keep)

    def _keep(self, engine: Engine) -> None:
        for case in cases_of(engine):
            if case.get("label") is not None:
                with replacing(self.store.path(str(case["case"]), SLICES)) as temporary:
                    np.savez_compressed(temporary, **self.slice_of(case))

    def slice_of(self, case: Mapping[str, Any]) -> dict[str, Any]:
        """Cut the slice out of a case: ``image`` ``(M, *S)``, ``label`` ``(1, *L)``, ``pred`` ``(K, *L)`` classes."""
        image, prediction = case["image"], case["pred"]
        acquired = acquired_in(image).cpu()
        label = self._turned(case["label"])
        volumes = (self._turned(each)[0].cpu().numpy() for each in (label, prediction.amax(dim=0, keepdim=True)))
        number = largest_slice(volumes)
        shift = cast(torch.Tensor, create_translate(3, (0, 0, number), backend="torch"))
        place = label.affine @ shift.to(label.affine)
        truth = label[0, ..., number].cpu().numpy()
        cut = SpatialResample(padding_mode="zeros", dtype=np.float32)
        planes = [
            cut(each, place, (*truth.shape, 1), mode)[..., 0].cpu().numpy()
            for each, mode in ((_grey_levels(image[acquired]), "bilinear"), (prediction, "nearest"))
        ]
        images, predictions = (plane.round().astype(np.uint8) for plane in planes)
        box = (slice(None), *box_around([*images, truth]))
        names = [name for name, there in zip(self.modalities, acquired.tolist(), strict=True) if there]
        subsets = [subset_name(subset, self.modalities) for subset in self.inferer.subsets_for(acquired)]
        return {
            "images": images[box],
            "modalities": np.array(names),
            "truth": truth[box[1:]].astype(np.uint8),
            "predictions": predictions[box],
            "subsets": np.array(subsets),
            "spacing_mm": label.pixdim[:2].numpy(),
            "number": np.array(number),
            "num_slices": np.array(label.shape[3]),
        }

    def _turned(self, volume: MetaTensor) -> MetaTensor:
        return volume if self.turn is None or volume is None else cast(MetaTensor, self.turn(volume))


def _grey_levels(image: MetaTensor) -> MetaTensor:
    """Scale each channel ``(A, *S)``, normalised with a background of 0, from its darkest voxel to white: 0 to 255.

    The background stays black, although a normalised image has voxels below 0.
    """
    levels = []
    for channel in image.as_tensor().cpu().numpy():
        head = channel != 0
        black = channel[head].min(initial=0)
        shifted = np.where(head, channel - black, 0)
        white = white_level(shifted) if shifted.any() else 1.0
        levels.append(torch.from_numpy((255 * shifted / white).clip(0, 255).astype(np.float32)))
    return MetaTensor(torch.stack(levels), affine=image.affine)
