# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Publishes the learnt weights of an adaptive anchor as metrics of the epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ignite.engine import Engine

from ..networks.base import IncompleteMultiModalNetwork
from .epoch_publisher import EpochPublisher


class AnchorWeightsHandler(EpochPublisher):
    """Note after each epoch, as ``anchor_weight/<modality>``, the shares of the modalities in the adaptive anchor.

    The shares are those of a sample that has every modality, and sum to one. A network without an adaptive anchor adds
    nothing.

    Args:
        network: whose ``alignment`` is looked at.
        modalities: names in channel order.
    """

    def __init__(self, network: IncompleteMultiModalNetwork, modalities: Sequence[str]) -> None:
        self.network, self.modalities = network, list(modalities)

    def metrics(self, engine: Engine) -> Mapping[str, float]:
        weights = self.network.alignment.learnt_weights()
        if weights is None:
            return {}
        pairs = zip(self.modalities, weights.tolist(), strict=True)
        return {f"anchor_weight/{name}": weight for name, weight in pairs}
