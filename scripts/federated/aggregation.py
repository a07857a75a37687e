# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Averages what sites have learnt, each weight over the sites that could learn it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.datalist import availability

CASES, BY_MODALITY = "cases", "cases_by_modality"  # keys of what a site tells about itself


def count_cases(cases: Sequence[dict], modalities: Sequence[str]) -> dict[str, Any]:
    """Count the cases of a site, and those that list each modality: all that the average needs to know of its data."""
    counts = availability(cases, modalities).sum(axis=0).tolist()
    return {CASES: len(cases), BY_MODALITY: dict(zip(modalities, counts, strict=True))}


class ModalityAverage:
    """Average the updates of sites, weight by weight.

    With n_s the training cases of site s, n_sm those that have modality m, and u_s the site's update::

        average = sum_s n_sm u_s / sum_s n_sm      of what modality m alone trains
        average = sum_s n_s u_s / sum_s n_s        of everything else

    A site without a modality has no say in what belongs to it, wherever its own steps may have moved it (weight decay
    moves the columns of a shared tensor, say). What no site has in a round stays as it is: its average update is zero.

    Args:
        owners: of each name, as ``find_owners`` gives them: positions among the modalities, or -1 for everyone's.
        modalities: names in channel order.

    Reference:
        McMahan et al., Communication-efficient learning of deep networks from decentralized data, AISTATS 2017
        (FedAvg), which this is where every site has every modality in every case.
    """

    def __init__(self, owners: Mapping[str, NDArray[np.int8]], modalities: Sequence[str]) -> None:
        self.owners, self.modalities = owners, list(modalities)
        self.clear()

    def clear(self) -> None:
        """Forget all updates."""
        self.sums: dict[str, NDArray[np.float64]] = {}
        self.weights: dict[str, NDArray[np.float64]] = {}
        self.dtypes: dict[str, np.dtype] = {}

    def add(self, update: Mapping[str, NDArray], counts: Mapping[str, Any], site: str) -> None:
        """Take in the update of one site.

        Args:
            update: by name, differences from the weights that all sites started with.
            counts: what ``count_cases`` says at the site.
            site: its name, for messages.

        Raises:
            ValueError: if the names or shapes are not the network's, or the counts not of its modalities; nothing of
                the site is taken then.
        """
        shares = self._shares(counts, site)
        self._check(update, site)
        for name, value in update.items():
            weight = shares[self.owners[name]]  # () or of the tensor's shape; -1 is the last one
            self.sums[name] = self.sums.get(name, 0.0) + weight * value.astype(np.float64)
            self.weights[name] = self.weights.get(name, 0.0) + weight
            self.dtypes[name] = value.dtype

    def result(self) -> dict[str, NDArray]:
        """Give the average update by name, in the type that the sites sent; and forget the updates."""
        averages = {}
        for name, total in self.sums.items():
            weight = np.broadcast_to(self.weights[name], total.shape)
            mean = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
            averages[name] = mean.astype(self.dtypes[name])
        self.clear()
        return averages

    def _shares(self, counts: Mapping[str, Any], site: str) -> NDArray[np.float64]:
        """Give ``(M + 1,)``: the cases of each modality, and last all cases."""
        found, total = counts.get(BY_MODALITY, {}), counts.get(CASES, 0)
        if list(found) != self.modalities:
            raise ValueError(
                f"site `{site}` counts cases of the modalities {list(found)}; expected {self.modalities}, in this "
                "order. The configuration of the job must be the same at all sites and on the server, see `modalities`."
            )
        shares = np.array([*found.values(), total], dtype=np.float64)
        if total < 1 or not ((shares >= 0) & (shares <= total)).all():
            raise ValueError(
                f"site `{site}` has {total} cases, {found} by modality; expected at least one, and not more "
                "of a modality than in all."
            )
        return shares

    def _check(self, update: Mapping[str, NDArray], site: str) -> None:
        differing = sorted(set(self.owners) ^ set(update))
        if differing:
            raise ValueError(
                f"site `{site}` sent {len(update)} tensors for a network of {len(self.owners)}, differing in "
                f"{differing[:3]}; expected the network that the server has. Check the overlays of the job."
            )
        for name, value in update.items():
            owner, before = self.owners[name], self.sums.get(name)
            expected = owner.shape or (value.shape if before is None else before.shape)
            if value.shape != expected:
                raise ValueError(f"site `{site}` sent `{name}` of shape {value.shape}; expected {expected}.")
            if not np.isfinite(value).all():
                raise ValueError(f"site `{site}` sent `{name}` with values that are not finite; expected finite ones.")
