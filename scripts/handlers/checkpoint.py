# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Keeps what a run has learnt: checkpoints to resume from, and the model file to use."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.engines import Evaluator
from monai.handlers import CheckpointLoader
from torch import nn

from ..utils.files import replacing
from ..utils.flags import as_flag
from .next_commands import next_commands
from .training_record import TrainingRecord

logger = logging.getLogger(__name__)

METRIC = "mean_dice"  # of a validation; larger is better


def save_atomically(content: Any, path: Path) -> None:
    """Write with ``torch.save``, whole or not at all."""
    with replacing(path) as temporary:
        torch.save(content, temporary)


class RunCheckpointHandler:
    """Save the state of a run after every epoch, the best and the last network; resume from the newest state.

    Under ``save_dir``: ``checkpoint_epoch=<N>.pt`` (all of ``save_dict``, the newest ``num_kept`` of them) and
    ``best.pt`` (likewise, of the best validation). ``model_file`` is a flat state dict of the network alone: the best
    by validation, or the last where nothing was validated: no validation yet, or none that scored a case (NaN).

    Attach to the trainer behind the handlers that change state at the end of an epoch (learning rate, validation), and
    behind those that log it: an epoch that a resumed run does not repeat is then in the logs, whenever the run died.
    Without ``resume``, checkpoints that an earlier run left in ``save_dir`` are moved aside, never overwritten. Of
    several processes all load, and the first one saves. Checkpoints of before there was a ``record`` resume too.

    Args:
        save_dir: folder of the resumable checkpoints.
        save_dict: name to object with ``state_dict`` and ``load_state_dict``; ``model`` is the network.
        model_file: path of the flat state dict, e.g. ``runs/train/model.pt``.
        deployed: the network whose state dict that is, such as an average over training; ``None``: ``model``.
        evaluator: the validation engine whose mean Dice decides what is best; ``None`` keeps the last network.
        num_kept: how many epochs' checkpoints to keep.
        resume: continue from the newest checkpoint in ``save_dir``; also as the words true and false.
        record: writes ``training.json`` beside ``model_file``; ``None`` leaves it out.

    Raises:
        ValueError: if ``save_dict`` has no ``model``, or ``resume`` is another word.
            On start, if the run to resume was planned for another number of epochs or had longer or shorter ones.
        FileNotFoundError: on start, if there is nothing to resume from.
    """

    def __init__(
        self,
        save_dir: str,
        save_dict: Mapping[str, Any],
        model_file: str,
        deployed: nn.Module | None = None,
        evaluator: Evaluator | None = None,
        num_kept: int = 2,
        resume: bool | str = False,
        record: TrainingRecord | None = None,
    ) -> None:
        if "model" not in save_dict:
            raise ValueError(f"`save_dict` has {sorted(save_dict)}; expected `model`, the network, among them.")
        self.save_dir, self.model_file = Path(save_dir), Path(model_file)
        self.save_dict = {**save_dict, "best": self, **({} if record is None else {"record": record})}
        self.record = record
        self.deployed = save_dict["model"] if deployed is None else deployed
        self.evaluator = evaluator
        self.num_kept, self.resume = num_kept, as_flag(resume, "resume")
        self.best_value, self.best_epoch = -1.0, 0
        self.validated = False

    def state_dict(self) -> dict[str, float]:
        """Return which epoch was best, and its metric."""
        return {"best_value": self.best_value, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Restore which epoch was best."""
        self.best_value, self.best_epoch = float(state["best_value"]), int(state["best_epoch"])

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, whose own state is saved too."""
        self.save_dict["trainer"] = engine
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)
        engine.add_event_handler(Events.COMPLETED, self._say_where)
        if self.evaluator is not None:
            self.evaluator.add_event_handler(Events.COMPLETED, self._note_validation)

    def newest(self) -> Path | None:
        """Find the checkpoint of the latest epoch."""
        return max(self.save_dir.glob("checkpoint_epoch=*.pt"), key=_epoch, default=None)

    def _start(self, engine: Engine) -> None:
        if self.record is not None:
            self.record.start(self.model_file)
        newest = self.newest()
        if not self.resume:
            if newest is not None and idist.get_rank() == 0:
                logger.warning("checkpoints of an earlier run were moved to %s", self._move_aside())
            return
        if newest is None:
            raise FileNotFoundError(
                f"`resume` is set but {self.save_dir} has no checkpoint_epoch=*.pt; expected those of the run to "
                "continue. Check `output_dir`, or start without `resume`."
            )
        state = torch.load(newest, map_location="cpu", weights_only=True)
        self._check_plan(state["trainer"], engine)
        wanted = {name: each for name, each in self.save_dict.items() if name != "record" or name in state}
        CheckpointLoader(str(newest), wanted, map_location="cpu")(engine)  # type: ignore[arg-type]  # torch takes a name too
        logger.info("resumed from %s, best so far %.4f in epoch %d", newest, self.best_value, self.best_epoch)

    def _check_plan(self, planned: Mapping[str, int], engine: Engine) -> None:
        epochs, length = planned["max_epochs"], planned["epoch_length"]
        if epochs != engine.state.max_epochs:
            raise ValueError(
                f"the run in {self.save_dir} was planned for {epochs} epochs, and its learning rate decays over them; "
                f"`max_epochs` is now {engine.state.max_epochs}. Resume with {epochs}, or start anew from its weights."
            )
        if length != engine.state.epoch_length:
            raise ValueError(
                f"the run in {self.save_dir} had {length} batches in an epoch, and each process has "
                f"{engine.state.epoch_length} now; expected the same. Resume with the `batch_size`, the cases and the "
                "number of processes that it had."
            )

    def _move_aside(self) -> Path:
        number = 1
        while (aside := self.save_dir.with_name(f"{self.save_dir.name}_{number}")).exists():
            number += 1
        return self.save_dir.rename(aside)

    def _note_validation(self, evaluator: Engine) -> None:
        self.validated = True

    def _save(self, engine: Engine) -> None:
        value = self.evaluator.state.metrics.get(METRIC) if self.validated and self.evaluator is not None else None
        improved = False
        self.validated = False
        if value is not None and value > self.best_value:
            improved, self.best_value, self.best_epoch = True, float(value), engine.state.epoch
        if self.record is not None:
            self.record.note(engine, METRIC, value)
        if idist.get_rank() == 0:
            self._write(engine, improved)

    def _write(self, engine: Engine, improved: bool) -> None:
        state = {name: each.state_dict() for name, each in self.save_dict.items()}
        if improved:
            save_atomically(state, self.save_dir / "best.pt")
        if improved or self.best_epoch == 0:
            save_atomically(self.deployed.state_dict(), self.model_file)
            if self.record is not None:
                self.record.write(engine, self.model_file)
        # last: a run that dies in between repeats the epoch
        save_atomically(state, self.save_dir / f"checkpoint_epoch={engine.state.epoch}.pt")
        for old in sorted(self.save_dir.glob("checkpoint_epoch=*.pt"), key=_epoch)[: -self.num_kept]:
            old.unlink()

    @idist.one_rank_only()
    def _say_where(self, engine: Engine) -> None:
        """Log where the weights are, how they were chosen, and what to do with them."""
        if self.best_epoch:
            how = f"of epoch {self.best_epoch}, the best by validation: mean Dice {self.best_value:.4f}"
        else:
            how = f"of epoch {engine.state.epoch}, the last one: no validation has scored a case"
        logger.info("the weights are in %s, %s", self.model_file, how)
        for purpose, command in next_commands(self.model_file, sys.argv[1:]).items():
            logger.info("to %s: %s", purpose, command)


def _epoch(path: Path) -> int:
    return int(path.stem.split("=")[1])
