# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Every epoch draws what its number says, whatever was drawn before."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader, Dataset
from monai.transforms import Compose, RandomizableTransform

from scripts.handlers.determinism import EpochSeedHandler


class Draw(RandomizableTransform):
    """Notes one number of each of the sources that transforms may use."""

    def __call__(self, data):
        drawn = (self.R.rand(), np.random.rand(), random.random(), torch.rand(()).item())  # noqa: NPY002
        return torch.tensor([float(data), *drawn], dtype=torch.float64)


def engine_over(num_workers=0, **kwargs):
    """Make an engine that notes its batches by epoch; the data loader shuffles."""
    dataset = Dataset([0, 1, 2, 3], Compose([Draw()]))
    loader = DataLoader(dataset, batch_size=1, shuffle=True, num_workers=num_workers, **kwargs)
    batches = {}
    engine = Engine(lambda engine, batch: batches.setdefault(engine.state.epoch, []).append(batch[0].tolist()))
    engine.data_loader = loader
    return engine, batches


def drawn(seed, last_epoch, first_epoch=1, num_workers=0, disturbance=0):
    """Run some epochs after ``disturbance`` draws that belong to something else; return the batches of each epoch."""
    engine, batches = engine_over(num_workers)
    EpochSeedHandler(seed).attach(engine)
    for _ in range(disturbance):
        _ = torch.rand(3), np.random.rand(3), random.random(), engine.data_loader.dataset[0]  # noqa: NPY002
    if first_epoch > 1:
        state = {"epoch": first_epoch - 1, "max_epochs": last_epoch, "epoch_length": 4}
        engine.add_event_handler(Events.STARTED, lambda: engine.load_state_dict(state))  # as resuming does
    engine.run(engine.data_loader, max_epochs=last_epoch)
    return batches


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_epoch_draws_the_same_whatever_came_before(num_workers):
    whole = drawn(7, 3, num_workers=num_workers)
    part = drawn(7, 3, first_epoch=3, num_workers=num_workers, disturbance=5)
    assert list(part) == [3]
    assert part[3] == whole[3]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_epochs_and_seeds_differ_from_each_other(num_workers):
    first, other = drawn(7, 2, num_workers=num_workers), drawn(99, 1, num_workers=num_workers)
    assert len(first[1]) == len(first[2]) == 4
    columns = zip(*first[1], *first[2], *other[1], strict=True)
    for name, values in zip(("order", "transform", "numpy", "random", "torch"), columns, strict=True):
        if name == "order":
            assert sorted(values[:4]) == sorted(values[4:8]) == [0, 1, 2, 3]
        else:
            assert len(set(values)) == 12, f"{name} repeats itself"


def test_the_order_of_cases_changes_from_epoch_to_epoch():
    orders = {tuple(row[0] for row in rows) for rows in drawn(7, 6).values()}
    assert len(orders) > 1


def test_a_loader_that_keeps_its_workers_is_refused():
    engine, _ = engine_over(num_workers=1, persistent_workers=True)
    with pytest.raises(ValueError, match="`persistent_workers` set.*a resumed run would differ.*`train::dataloader`"):
        EpochSeedHandler(0).attach(engine)
