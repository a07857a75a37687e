# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The server of a federation: the first network, the average of what sites send, and the files it leaves.

Needs ``requirements-federated.txt``; named by ``federated/job``, imported by nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai_nvflare.monai_bundle_persistor import MonaiBundlePersistor
from numpy.typing import NDArray
from nvflare.apis.dxo import from_shareable
from nvflare.apis.fl_constant import ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.aggregators.intime_accumulate_model_aggregator import InTimeAccumulateWeightedAggregator
from nvflare.app_common.aggregators.weighted_aggregation_helper import WeightedAggregationHelper
from nvflare.app_common.app_event_type import AppEventType
from nvflare.app_opt.pt.model_persistence_format_manager import PTModelPersistenceFormatManager

from ..bundle.configuration import read
from ..handlers.checkpoint import save_atomically
from .aggregation import ModalityAverage
from .nvflare_site import BUNDLE_ROOT, COUNTS
from .ownership import find_owners


class NetworkPersistor(MonaiBundlePersistor):
    """Make the first global network of the bundle's configuration, and write global networks as flat state dicts.

    Args:
        files: configuration files, relative to the bundle; those of the sites.
        settings: overrides of the configuration, by id; those of the sites.
        start_from: flat state dict to start from, a path on the server; drawn by the configuration's ``seed`` if none.
    """

    def __init__(
        self, files: Sequence[str], settings: Mapping[str, Any] | None = None, start_from: str | None = None
    ) -> None:
        super().__init__(str(BUNDLE_ROOT), network_def_key="network")
        self.files, self.settings = [str(BUNDLE_ROOT / file) for file in files], dict(settings or {})
        self.source_ckpt_file_full_name = start_from
        self.load_weights_only = True  # nothing in a file is executed

    def _parse_config(self, fl_ctx: FLContext) -> None:
        self.train_parser = read(self.files, {**self.settings, "device": "cpu"})
        torch.manual_seed(self.train_parser["seed"])

    def save_model_file(self, save_path: str) -> None:
        """Write the global network, so that ``model_file`` of any configuration can name the file."""
        weights = self.persistence_manager.to_persistence_dict()[PTModelPersistenceFormatManager.PERSISTENCE_KEY_MODEL]
        save_atomically(weights, Path(save_path))


class ModalityAggregationHelper(WeightedAggregationHelper):
    """FLARE's place for the arithmetic of an aggregator, with ``ModalityAverage`` in it."""

    def __init__(self, average: ModalityAverage) -> None:
        super().__init__()
        self.average = average
        self.counts: dict[str, Any] = {}  # of each site, since what calls `add` hands over one weight for all

    def add(self, data: Mapping[str, NDArray], weight: float, contributor_name: str, contribution_round: int) -> None:
        """Take in the update of a site; its weight is that of its cases."""
        with self.lock:
            self.average.add(data, self.counts.get(contributor_name) or {}, contributor_name)
            self.history.append({"contributor_name": contributor_name, "round": contribution_round, "weight": weight})

    def get_result(self) -> dict[str, NDArray]:
        """Give the average update, and begin anew."""
        with self.lock:
            self.reset_stats()
            return self.average.result()


class ModalityAggregator(InTimeAccumulateWeightedAggregator):
    """FLARE's weighted average of updates, but of what belongs to a modality only over the sites that have it.

    What is no update of this round, or comes twice, is refused as there. A site that does not fit the others (another
    network, other modalities, numbers that are not finite) ends the job, with the reason.

    Args:
        persistor_id: of the ``NetworkPersistor``, whose network tells what belongs to which modality.
    """

    def __init__(self, persistor_id: str = "persistor") -> None:
        super().__init__()
        self.persistor_id = persistor_id
        self.helper: ModalityAggregationHelper | None = None

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Find out what belongs to which modality, as soon as there is a network."""
        super().handle_event(event_type, fl_ctx)
        if event_type == AppEventType.INITIAL_MODEL_LOADED:
            persistor = fl_ctx.get_engine().get_component(self.persistor_id)
            spatial_dims, modalities = map(persistor.train_parser.get_parsed_content, ("spatial_dims", "modalities"))
            self.helper = ModalityAggregationHelper(
                ModalityAverage(find_owners(persistor.model, spatial_dims), modalities)
            )
            for aggregator in self.dxo_aggregators.values():
                aggregator.aggregation_helper = self.helper

    def accept(self, shareable: Shareable, fl_ctx: FLContext) -> bool:
        """Take in what a site sent; ``False`` if it is refused."""
        try:
            if self.helper is None:
                raise ValueError("the aggregator has no network to tell modalities apart by; see the log above.")
            site = shareable.get_peer_prop(key=ReservedKey.IDENTITY_NAME, default="?")
            self.helper.counts[site] = from_shareable(shareable).get_meta_prop(COUNTS)
            return super().accept(shareable, fl_ctx)
        except ValueError as error:
            self.system_panic(str(error), fl_ctx)
            return False
