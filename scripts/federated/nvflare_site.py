# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""A site of a federation: MONAI's client algorithm on this bundle, and what it tells about its cases.

Needs ``requirements-federated.txt``; named by ``federated/job``, imported by nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from monai.bundle import ConfigWorkflow
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems
from monai_nvflare.client_algo_executor import ClientAlgoExecutor
from nvflare.apis.dxo import from_shareable
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal

from .aggregation import count_cases

BUNDLE_ROOT = Path(__file__).resolve().parents[2]
COUNTS = "training_cases"  # where the counts lie in the meta data of a result


class SiteAlgo(MonaiAlgo):
    """Train and evaluate this bundle on the data of one site; its output stays in the workspace of the job.

    Optimizer, learning rate and what a method learns beside the network (preference coefficients) live here from round
    to round and are never sent.

    Args:
        files: configuration files, relative to the bundle; ``configs/federated.yaml`` among them.
        data_root: folder that holds the folder of this site's data set, of the site's name.
        num_rounds: of the federation.
        local_epochs: passes over the site's cases in each round.
        settings: overrides of the configuration, by id.

    Raises:
        ValueError: if there is no ``data_root``.
    """

    def __init__(
        self,
        files: Sequence[str],
        data_root: str | None,
        num_rounds: int,
        local_epochs: int = 1,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        if not data_root:
            raise ValueError(
                "`data_root` is empty; expected the folder that has a folder of each site's name. Set the environment "
                "variable that federated/job/app/config/config_fed_client.json names. See docs/how_to/federated.md."
            )
        super().__init__(
            str(BUNDLE_ROOT),
            local_epochs=local_epochs,
            config_train_filename=list(files),
            config_evaluate_filename=list(files),
        )
        self.data_root = Path(data_root)
        self.settings = {**(settings or {}), "num_rounds": num_rounds, "local_epochs": local_epochs}

    def initialize(self, extra: dict | None = None) -> None:
        """Make trainer and evaluator; ``extra`` is FLARE's: the name of the site, its folder in the workspace."""
        extra = extra or {}
        places = {
            "dataset_dir": str(self.data_root / extra[ExtraItems.CLIENT_NAME]),
            "output_dir": str(Path(extra[ExtraItems.APP_ROOT]) / "run"),
        }
        self.train_kwargs, self.eval_kwargs = ({**self.settings, **places} for _ in range(2))
        super().initialize(extra)

    def count_cases(self) -> dict[str, Any]:
        """Count the training cases, and those with each modality."""
        parser = cast(ConfigWorkflow, self.train_workflow).parser
        return count_cases(*map(parser.get_parsed_content, ("train::cases", "modalities")))


class SiteExecutor(ClientAlgoExecutor):
    """FLARE's executor of MONAI's client algorithm, which sends along how many training cases have which modality."""

    def train(self, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Score the global network on the site's validation cases, train it, and return what changed."""
        result = super().train(shareable, fl_ctx, abort_signal)
        if result.get_return_code(default=ReturnCode.OK) != ReturnCode.OK:
            return result
        update = from_shareable(result)
        update.set_meta_prop(COUNTS, self.client_algo.count_cases())
        return update.to_shareable()
