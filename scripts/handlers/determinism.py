# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Makes every epoch's random numbers a function of the seed and the epoch alone."""

from __future__ import annotations

import ignite.distributed as idist
from ignite.engine import Events
from monai.data import DataLoader
from monai.data.utils import set_rnd
from monai.engines.workflow import Workflow
from monai.utils import set_determinism

FURTHER = 1_000_000  # from one process to the next, more than any run has epochs


class EpochSeedHandler:
    """Reseed everything random when an epoch starts, so that a resumed run draws what an uninterrupted one would.

    Shuffling, worker processes and transforms all follow from ``seed + epoch``. Each of several processes draws numbers
    of its own. Attach to the trainer, before handlers that draw random numbers. Workers must not persist over epochs.

    Args:
        seed: of the run, the same when it is resumed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def attach(self, engine: Workflow) -> None:
        """Attach to a trainer.

        Raises:
            ValueError: if the data loader keeps its workers, whose random state cannot be reached.
        """
        if getattr(engine.data_loader, "persistent_workers", False):
            raise ValueError(
                "the data loader has `persistent_workers` set; their random state outlives an epoch, so a resumed run "
                "would differ. Expected false; see `train::dataloader` in the configuration."
            )
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Workflow) -> None:
        seed = self.seed + engine.state.epoch + idist.get_rank() * FURTHER
        set_determinism(seed)
        loader = engine.data_loader
        if isinstance(loader, DataLoader) and loader.num_workers == 0:
            set_rnd(loader.dataset, seed)  # with workers, each is seeded by torch's generator when it starts
