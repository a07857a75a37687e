# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How a whole case, larger than a training patch, is segmented from the modalities it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from math import prod
from typing import Any, cast

import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.utils import convert_to_tensor
from torch import Tensor

from ..modalities import ALL, acquired_modalities, evaluable_subsets, parse_subset, unique_rows
from ..networks.base import IncompleteMultiModalNetwork
from .autocast import reduced_precision
from .slice_axis import drop_slice_axis, restore_slice_axis

NONE, OPPOSITE, EVERY = "none", "opposite", "all"  # flips
Box = tuple[tuple[int, int], ...]  # start and stop along each axis
WORDS = {NONE: NONE, OPPOSITE: OPPOSITE, EVERY: EVERY, "false": NONE, "true": EVERY}


class IncompleteSlidingWindowInferer(SlidingWindowInferer):
    """Average class probabilities over sliding windows; what a case lacks is decided once, on the whole image.

    Args:
        roi_size: window in voxels along each spatial axis.
        overlap: share of a window that the next one covers, 0 to below 1; 0.5 is the published setting.
        sw_batch_size: windows for each forward pass.
        precision: ``"float32"`` or ``"bfloat16"`` for the network; probabilities are averaged in float32.
        spatial_dims: of the network; 2 takes stacks by windows of one slice, ``roi_size`` ``(X, Y, 1)``. ``None``: as
            many as the image has.
        flips: what the probabilities are averaged over. ``"none"``: the image alone. ``"opposite"``: the image and that
            flipped along all of the network's spatial axes at once, twice as long. ``"all"``: the image and every flip
            of it, 2 to the power of the number of axes: a 3D network takes 8 times as long, a 2D one 4 times. ``False``
            and ``True`` mean none and all, also as words.
        kwargs: further arguments of MONAI's ``SlidingWindowInferer``; its default weighting is uniform, as published.

    Raises:
        ValueError: if ``flips`` is something else.

    Shape:
        - inputs: ``(B, M, *S)``, absent modalities NaN
        - output: ``(B, C, *S)`` probabilities
    """

    def __init__(
        self,
        roi_size: Sequence[int],
        overlap: float = 0.5,
        sw_batch_size: int = 1,
        precision: str = "float32",
        spatial_dims: int | None = None,
        flips: bool | str = NONE,
        **kwargs,
    ) -> None:
        super().__init__(roi_size=roi_size, overlap=overlap, sw_batch_size=sw_batch_size, **kwargs)
        self.precision, self.spatial_dims = precision, spatial_dims
        self.flips = _read_flips(flips)

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        acquired = self.acquired(inputs)

        def predict(window: Tensor) -> Tensor:
            image = drop_slice_axis(window, self.spatial_dims)
            with reduced_precision(window.device, self.precision):
                logits = network(image, acquired.expand(window.shape[0], -1))
            return restore_slice_axis(logits.float().softmax(dim=1), window)

        return self.slide(inputs, predict)

    def slide(self, inputs: Tensor, predict: Callable[[Tensor], Tensor]) -> Tensor:
        """Average over windows what ``predict`` says of each, ``(b, M, *roi)`` to ``(b, C, *roi)``; over flips if set.

        Whole images are flipped, not windows, so that a flipped image gives the flipped result exactly, however the
        windows lie.

        Raises:
            ValueError: if a probability is not finite.
        """
        result = self._over_windows(inputs, predict)
        axes = range(2, 2 + (self.spatial_dims or inputs.ndim - 2))
        numbers: Sequence[int] = {NONE: [], OPPOSITE: [len(axes)], EVERY: range(1, len(axes) + 1)}[self.flips]
        flips = [flip for number in numbers for flip in combinations(axes, number)]
        for flip in flips:
            result += self._over_windows(inputs.flip(flip), predict).flip(flip)
        if not bool(torch.isfinite(result).all()):
            raise ValueError(
                "the network's output is not finite: NaN or infinity in the class probabilities; expected numbers. Its "
                "weights are damaged or have diverged, or `precision` is too low for them."
            )
        return result / (1 + len(flips)) if flips else result

    def _over_windows(self, inputs: Tensor, predict: Callable[[Tensor], Tensor]) -> Tensor:
        return cast(Tensor, SlidingWindowInferer.__call__(self, inputs, predict))

    @staticmethod
    def acquired(inputs: Tensor) -> Tensor:
        """Tell which modalities the case has, from the whole image: ``(1, M)`` bool.

        Raises:
            ValueError: if the batch holds several cases with different modalities, or a case that has none.
        """
        plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        acquired = acquired_modalities(plain)
        if not bool((acquired == acquired[:1]).all()):
            raise ValueError(
                f"the batch mixes cases with different modalities {acquired.int().tolist()}; sliding windows need a "
                "batch size of 1 for such cases. See the data loader in the configuration."
            )
        if not bool(acquired.any()):
            raise ValueError("every channel of the image contains NaN, so no modality is there to segment from.")
        return acquired[:1]


def _read_flips(flips: bool | str) -> str:
    word = str(flips).lower()
    if word not in WORDS:
        raise ValueError(f"`flips` is `{flips}`; expected {NONE}, {OPPOSITE} or {EVERY}.")
    return WORDS[word]


class SubsetSlidingWindowInferer(IncompleteSlidingWindowInferer):
    """Segment a case from several subsets of its modalities, encoding every window only once.

    Each subset sees the image cropped to the foreground of its own modalities, as an inference from these alone does;
    outside of it all probabilities are 0. Subsets with the same foreground, all those of aligned and skull-stripped
    images, share their windows.

    Args:
        roi_size: window in voxels along each spatial axis.
        modalities: names in channel order.
        subsets: names such as ``"flair+t2"``, or ``"all"`` for everything that the case has; ``None`` means every
            non-empty subset. Those that name a modality the case lacks are left out for that case.
        kwargs: arguments of ``IncompleteSlidingWindowInferer``.

    Attributes:
        observers: called with what ``network.encode`` made of each batch of windows: the levels
            ``(b, M, F_l, *S_l)``, finest first and in ``precision``, and what is acquired, ``(1, M)`` bool. Empty at
            first.
        probability_observers: called once for each case of the batch with its probabilities ``(K, C, *S)`` float32,
            averaged over windows, and the subsets ``(K, M)`` bool they come from. Empty at first.

    Shape:
        - inputs: ``(B, M, *S)``, absent modalities NaN
        - output: ``(B, K, C, *S)`` float32 probabilities from each of the K subsets of ``subsets_for(acquired)``
    """

    def __init__(
        self, roi_size: Sequence[int], modalities: Sequence[str], subsets: Sequence[str] | None = None, **kwargs
    ) -> None:
        super().__init__(roi_size, **kwargs)
        if isinstance(subsets, str):
            raise ValueError(
                f"`subsets` is the text `{subsets}`; expected a list of names, e.g. \"['all','{modalities[0]}']\"."
            )
        self.modalities = list(modalities)
        self.observers: list[Callable[[list[Tensor], Tensor], None]] = []
        self.probability_observers: list[Callable[[Tensor, Tensor], None]] = []
        self.subsets = None
        if subsets is not None:
            self.subsets = [None if name == ALL else parse_subset(name, modalities) for name in subsets]

    def subsets_for(self, acquired: Tensor) -> Tensor:
        """List the subsets that a case with ``acquired`` ``(M,)`` modalities is segmented from: ``(K, M)`` bool."""
        if self.subsets is None:
            return evaluable_subsets(acquired)
        subsets = torch.stack([acquired if subset is None else subset for subset in self.subsets])
        return unique_rows(evaluable_subsets(acquired, subsets))

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        of_subsets = cast(IncompleteMultiModalNetwork, network)
        acquired = self.acquired(inputs)
        subsets = self.subsets_for(acquired[0].cpu()).to(acquired.device)
        boxes = foreground_boxes(inputs, subsets)
        parts = {box: [k for k, each in enumerate(boxes) if each == box] for box in dict.fromkeys(boxes)}
        whole = tuple((0, length) for length in inputs.shape[2:])
        largest = max(parts, key=lambda box: prod(stop - start for start, stop in box))
        found = []
        for box, members in parts.items():
            cropped = inputs if box == whole else inputs[(slice(None), slice(None), *_slices(box))]
            observers = self.observers if box == largest else []  # which see a case once
            found.append(self._in_windows(cropped, of_subsets, subsets[members], acquired, observers))
        probabilities = found[0] if list(parts) == [whole] else _placed(found, parts, inputs.shape[2:])
        for observe in self.probability_observers:
            for case in convert_to_tensor(probabilities, track_meta=False):
                observe(case, subsets)
        return probabilities

    def _in_windows(
        self,
        inputs: Tensor,
        of_subsets: IncompleteMultiModalNetwork,
        subsets: Tensor,
        acquired: Tensor,
        observers: Sequence[Callable[[list[Tensor], Tensor], None]],
    ) -> Tensor:
        """Segment ``(B, M, *S)`` from each of ``subsets`` ``(K, M)``, all in the same windows: ``(B, K, C, *S)``."""
        available = acquired if observers else subsets.any(dim=0, keepdim=True)  # what no subset has may be spared

        def predict(window: Tensor) -> Tensor:
            image = drop_slice_axis(window, self.spatial_dims)
            with reduced_precision(window.device, self.precision):
                features = of_subsets.encode(image, available.expand(window.shape[0], -1))
                for observe in observers:
                    observe(features, acquired)
                logits = [self._fuse(of_subsets, features, subset) for subset in subsets]
            probabilities = torch.cat([each.float().softmax(dim=1) for each in logits], dim=1)
            return restore_slice_axis(probabilities, window)  # (b, K * C, *roi)

        return self.slide(inputs, predict).unflatten(1, [len(subsets), -1])

    @staticmethod
    def _fuse(network: IncompleteMultiModalNetwork, features: list[Tensor], subset: Tensor) -> Tensor:
        available = subset.expand(features[0].shape[0], -1)
        return network.fuse(network.align(features, available), available)


def foreground_boxes(image: Tensor, subsets: Tensor) -> list[Box]:
    """Bound the foreground of each subset's modalities: where one is neither 0 nor NaN.

    Args:
        image: ``(B, M, *S)``.
        subsets: ``(K, M)`` bool.

    Returns:
        K boxes; the whole image for a subset without foreground.
    """
    plain = image.as_tensor() if isinstance(image, MetaTensor) else image
    inside = ((plain != 0) & plain.isfinite()).any(dim=0)  # (M, *S)
    axes = range(1, inside.ndim)
    profiles = [inside.any(dim=[other for other in axes if other != axis]) for axis in axes]  # (M, S_i) each
    return [tuple(_extent((subset[:, None] & profile).any(dim=0)) for profile in profiles) for subset in subsets]


def _slices(box: Box) -> tuple[slice, ...]:
    return tuple(slice(start, stop) for start, stop in box)


def _extent(profile: Tensor) -> tuple[int, int]:
    places = profile.nonzero()
    return (int(places[0]), int(places[-1]) + 1) if places.numel() else (0, len(profile))


def _placed(found: Sequence[Tensor], parts: Mapping[Box, Sequence[int]], size: Sequence[int]) -> Tensor:
    """Put what was found in boxes, ``(B, k, C, *box)`` each, into the whole, ``(B, K, C, *S)``."""
    number = sum(map(len, parts.values()))
    whole = found[0].new_zeros([found[0].shape[0], number, found[0].shape[2], *size])
    for part, (box, members) in zip(found, parts.items(), strict=True):
        for place, k in enumerate(members):
            whole[:, k][(slice(None), slice(None), *_slices(box))] = part[:, place]
    return whole
