# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Which modalities of a case the network may see."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, Randomizable
from torch import Tensor

from ..data.case_error import CaseError
from ..modalities import acquired_in, modality_subsets, parse_subset, subset_name

RANDOM = "random"  # in place of a subset's name: another one each time


def draw_subset(acquired: Tensor, random_state: np.random.RandomState) -> Tensor:
    """Draw one of the ``2**k - 1`` non-empty subsets of the ``k`` acquired modalities, each as likely as the others.

    Args:
        acquired: ``(M,)`` bool with at least one ``True``.
        random_state: source of the one number that is drawn.

    Returns:
        ``(M,)`` bool.
    """
    subsets = modality_subsets(int(acquired.sum()))
    available = torch.zeros_like(acquired)
    available[acquired] = subsets[random_state.randint(len(subsets))]
    return available


def erase_others(image: Tensor, available: Tensor) -> Tensor:
    """Copy an image ``(M, *S)`` with NaN in the channels that ``available`` ``(M,)`` does not have."""
    result = image.clone()
    result[~available] = torch.nan
    return result


class AvailableModalitiesd(MapTransform):
    """Write down which modalities a case has; what the settings without any randomness (``idt``) use.

    Args:
        image_key: of the image, ``(M, *S)`` with NaN in absent channels.
        available_key: of the result, ``(M,)`` bool.
    """

    def __init__(self, image_key: str = "image", available_key: str = "available") -> None:
        super().__init__(image_key)
        self.image_key, self.available_key = image_key, available_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        return {**data, self.available_key: self._acquired(data)}

    def _acquired(self, data: Mapping[Hashable, Any]) -> Tensor:
        """Find the acquired modalities, ``(M,)`` bool; at least one."""
        acquired = acquired_in(data[self.image_key])
        if not bool(acquired.any()):
            raise CaseError(str(data.get("case", "unnamed")), "no modality is available; expected at least one")
        return acquired


class RandShowModalitiesd(Randomizable, AvailableModalitiesd):
    """Show the network a random subset of the acquired modalities, leaving the image complete (``pdt``).

    One of the non-empty subsets is drawn, all equally likely, and written to ``available``: the fused prediction uses
    only these, while heads that see one modality at a time can still learn from every acquired one.

    Args:
        image_key: of the image, ``(M, *S)`` with NaN in absent channels; not changed.
        available_key: of the result, ``(M,)`` bool.

    Raises:
        CaseError: if the case has no modality.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        return {**data, self.available_key: draw_subset(self._acquired(data), self.R)}


class ShowModalitiesd(RandShowModalitiesd):
    """Show the network the named modalities, or random ones, leaving the image complete.

    Args:
        subset: names joined by ``+``, or ``"all"``; named modalities that a case does not have are passed over.
            ``"random"``: a random subset each time, see ``RandShowModalitiesd``.
        modalities: configured names, in channel order.
        image_key: of the image, ``(M, *S)`` with NaN in absent channels; not changed.
        available_key: of the modalities shown, ``(M,)`` bool.

    Raises:
        CaseError: if a case has none of the named modalities.
        ValueError: if the subset names a modality that is not configured.
    """

    def __init__(
        self, subset: str, modalities: Sequence[str], image_key: str = "image", available_key: str = "available"
    ) -> None:
        super().__init__(image_key, available_key)
        self.named = None if subset == RANDOM else KeepModalitiesd(subset, modalities, image_key)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        if self.named is None:
            return super().__call__(data)
        return {**data, self.available_key: self.named.available(data)}


class RandDropModalitiesd(Randomizable, AvailableModalitiesd):
    """Keep a random subset of the acquired modalities and erase the others (``idt_drop``).

    One of the non-empty subsets is drawn, all equally likely; the other channels become NaN, as if never acquired.

    Args:
        image_key: of the image, ``(M, *S)`` with NaN in absent channels.
        available_key: of the modalities that are left, ``(M,)`` bool.

    Raises:
        CaseError: if the case has no modality.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        available = draw_subset(self._acquired(data), self.R)
        image = erase_others(data[self.image_key], available)
        return {**data, self.image_key: image, self.available_key: available}


class KeepModalitiesd(AvailableModalitiesd):
    """Keep the named modalities and erase the others: what a chosen subset would have looked like.

    Args:
        subset: names joined by ``+``, or ``"all"``; named modalities that a case does not have are passed over.
        modalities: configured names, in channel order.
        image_key: of the image, ``(M, *S)`` with NaN in absent channels.
        available_key: of the modalities that are left, ``(M,)`` bool.
        subset_key: where a case, such as a request to MONAI Label, may name a subset of its own.

    Raises:
        CaseError: if a case has none of the named modalities.
        ValueError: if the subset names a modality that is not configured.
    """

    def __init__(
        self,
        subset: str,
        modalities: Sequence[str],
        image_key: str = "image",
        available_key: str = "available",
        subset_key: str | None = None,
    ) -> None:
        super().__init__(image_key, available_key)
        self.modalities, self.subset_key = tuple(modalities), subset_key
        self.subset = parse_subset(subset, self.modalities)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        available = self.available(data)
        image = erase_others(data[self.image_key], available)
        return {**data, self.image_key: image, self.available_key: available}

    def available(self, data: Mapping[Hashable, Any]) -> Tensor:
        """Find which of the named modalities are acquired: ``(M,)`` bool, at least one."""
        own = data.get(self.subset_key) if self.subset_key else None
        subset = parse_subset(str(own), self.modalities) if own else self.subset  # (M,)
        acquired = self._acquired(data)
        available = acquired & subset
        if not bool(available.any()):
            raise CaseError(
                str(data.get("case", "unnamed")),
                f"subset `{subset_name(subset.tolist(), self.modalities)}` was asked for, but the case has only "
                f"`{subset_name(acquired.tolist(), self.modalities)}`",
            )
        return available
