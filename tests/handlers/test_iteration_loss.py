# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
from ignite.engine import Engine
from monai.handlers import from_engine

from scripts.handlers.iteration_loss import IterationLossHandler


def test_of_an_iteration_the_loss_is_left_where_handlers_of_monai_read_it():
    weight = torch.tensor(0.25, requires_grad=True)
    engine = Engine(lambda engine, batch: {"loss": weight * batch, "pred": torch.zeros(9)})
    IterationLossHandler().attach(engine)
    engine.run([2.0, 4.0])
    assert engine.state.output == [{"loss": torch.tensor(0.25 * 4.0)}]
    loss = from_engine(["loss"], first=True)(engine.state.output)
    assert loss.item() == 1.0 and not loss.requires_grad
