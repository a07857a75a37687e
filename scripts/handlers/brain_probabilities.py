# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Shows a handler the class probabilities of the brain of each labelled case."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import cast

import torch
from ignite.engine import Engine
from monai.data import MetaTensor, decollate_batch
from monai.transforms import ResampleToMatch
from monai.utils import CommonKeys, convert_to_tensor
from torch import Tensor

from ..evaluation.store import CaseStore
from ..inferers.sliding_window import SubsetSlidingWindowInferer
from ..transforms.foreground import acquired_foreground


def brain_voxels(image: MetaTensor, label: MetaTensor) -> tuple[Tensor, Tensor]:
    """Find the voxels of the brain and their true classes, on the grid of the image.

    The brain is what the preprocessing crops to: wherever an acquired image is not background. The label is brought to
    that grid by nearest neighbours, which is an exact crop unless the image was resampled.

    Args:
        image: ``(M, *S)`` as the network sees it.
        label: ``(1, *L)`` classes on a grid of its own.

    Returns:
        indices ``(N,)`` into the flattened grid, and classes ``(N,)`` uint8, both on the CPU.
    """
    brain = acquired_foreground(image).any(dim=0).flatten().nonzero().flatten().cpu()
    moved = ResampleToMatch(mode="nearest", padding_mode="zeros")(label.cpu(), image.cpu())
    return brain, convert_to_tensor(moved, track_meta=False).flatten()[brain].to(torch.uint8)


class BrainProbabilitiesHandler:
    """Base of handlers that write a part for each case of what its probabilities in the brain say.

    Attach to a ``CaseEvaluator`` with the same inferer. Probabilities are seen on the grid of the network, before
    classes are made of them; what is raised here is a failure of the case.

    Args:
        inferer: shows the probabilities of each case.
        store: keeps the parts.
    """

    part: str  # what the files in the store end with

    def __init__(self, inferer: SubsetSlidingWindowInferer, store: CaseStore) -> None:
        self.inferer, self.store = inferer, store

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        self.inferer.probability_observers.append(partial(self._observe, engine))

    def look(self, case: str, probabilities: Tensor, subsets: Tensor, brain: Tensor, truth: Tensor) -> None:
        """Take what is needed of one case.

        Args:
            case: its name.
            probabilities: ``(K, C, V)`` of the classes, V voxels of the flattened grid.
            subsets: ``(K, M)`` bool, what was available each time.
            brain: ``(N,)`` indices of voxels.
            truth: ``(N,)`` uint8, their true classes.
        """
        raise NotImplementedError

    def parts(self) -> Iterator[tuple[str, Path]]:
        """List the cases that are done and their files."""
        for case in self.store.done():
            path = self.store.path(case, self.part)
            if path.is_file():
                yield case, path

    def _observe(self, engine: Engine, probabilities: Tensor, subsets: Tensor) -> None:
        batch, output = cast(dict, engine.state.batch), cast(dict, engine.state.output)
        (case,), label = batch["case"], output[CommonKeys.LABEL]
        if label is None:
            raise ValueError(
                f"case `{case}` has no label, so its prediction cannot be scored and its probabilities cannot be "
                "compared with anything. Evaluate cases whose datalist entry has `label`, or run inference instead."
            )
        image, label = (decollate_batch(each)[0] for each in (output[CommonKeys.IMAGE], label))
        brain, truth = brain_voxels(image, label)
        self.look(str(case), probabilities.flatten(2), subsets.cpu(), brain, truth)
