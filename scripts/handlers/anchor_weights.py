# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Publishes the learnt weights of an adaptive anchor as metrics of the epoch."""

from __future__ import annotations

from collections.abc import Sequence

from ignite.engine import Engine, Events

from ..networks.base import IncompleteMultiModalNetwork


class AnchorWeightsHandler:
    """Note after each epoch, as ``anchor_weight/<modality>``, the shares of the modalities in the adaptive anchor.

    The shares are those of a sample that has every modality, and sum to one. A network without an adaptive anchor adds
    nothing. Attach behind ``LossTermsHandler``, which begins the metrics of an epoch anew, and in front of the handlers
    that log.

    Args:
        network: whose ``alignment`` is looked at.
        modalities: names in channel order.
    """

    def __init__(self, network: IncompleteMultiModalNetwork, modalities: Sequence[str]) -> None:
        self.network, self.modalities = network, list(modalities)

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        weights = self.network.alignment.learnt_weights()
        if weights is not None:
            pairs = zip(self.modalities, weights.tolist(), strict=True)
            engine.state.metrics.update({f"anchor_weight/{name}": weight for name, weight in pairs})
