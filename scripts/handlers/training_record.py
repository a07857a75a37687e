# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Writes beside the weights what they were trained on, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from ignite.engine import Engine

from ..data.description import describe_training
from ..evaluation.origin import TRAINING_FILE, origin_of
from ..metrics.undefined import or_none
from ..records.side_files import write_side_file
from .run_record import environment

LOSS = "loss_total"  # of an epoch, as `LossTermsHandler` publishes it
HARDWARE = ("processor", "threads", "gpu", "processes")


class TrainingRecord:
    """Keep the record of a training, and write it as ``training.json`` beside the weights.

    Not attached by itself: `RunCheckpointHandler`, which is given it, starts it, lets it note every epoch, writes it
    whenever it writes the weights, and keeps its state among what is saved, so that hours and curves go on where a run
    is resumed. It speaks of the weights that it lies beside: epoch, hours and curves are those up to them.

    Args:
        cases: entries that the network is trained on.
        seed: of the run.
        dataset_dir: folder of the data set, as for ``read_cases``; so are the next two.
        datalist_file: datalist inside ``dataset_dir``, or an absolute path.
        phantom_dir: where phantoms are made if ``dataset_dir`` is empty.
        initial_file: weights that training starts from; ``None``: random ones. MONAI Label, whose cases have no name,
            starts from the file that it is going to write, if there is one.
        settings: name to value of what an inference has to share, e.g. the voxel spacing.
    """

    def __init__(
        self,
        cases: Sequence[Mapping[str, Any]],
        seed: int,
        dataset_dir: str = "",
        datalist_file: str = "datalist.json",
        phantom_dir: str | None = None,
        initial_file: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.cases, self.seed, self.initial_file = cases, seed, initial_file
        self.settings = dict(settings or {})
        self.places = {"dataset_dir": dataset_dir, "datalist_file": datalist_file, "phantom_dir": phantom_dir}
        self.run: dict[str, Any] = {}  # what does not change while it goes on
        self.initial: dict[str, Any] | None = None  # of the weights that training started from
        self.earlier, self.began = 0.0, perf_counter()  # seconds that earlier parts of the run took; start of this one
        self.validation: list[dict[str, Any]] = []
        self.loss: list[dict[str, Any]] = []

    def start(self, model_file: Path) -> None:
        """Take down what holds from the start; in front of ``load_state_dict`` and of anything that is written."""
        found = environment()
        changes = found["git_changes"]
        self.run = {
            "trained_on": describe_training(self.cases, **self.places),
            "settings": self.settings,
            "seed": self.seed,
            "git_commit": found["git_commit"],
            "git_changes": None if changes is None else bool(changes),
            "hardware": {name: found[name] for name in HARDWARE},
        }
        of_label = model_file.is_file() and not any("case" in case for case in self.cases)
        initial_file = self.initial_file or (model_file if of_label else None)
        self.initial = origin_of(initial_file) if initial_file else None
        self.began = perf_counter()

    def note(self, engine: Engine, metric: str, value: float | None) -> None:
        """Note an epoch that ended: its mean loss, and what its validation gave, ``None`` where there was none."""
        epoch = engine.state.epoch
        if LOSS in engine.state.metrics:
            self.loss.append({"epoch": epoch, LOSS: or_none(engine.state.metrics[LOSS])})
        if value is not None:
            self.validation.append({"epoch": epoch, metric: or_none(value)})

    def write(self, engine: Engine, model_file: Path) -> None:
        """Write the record beside weights that lie there already."""
        content = {
            **self.run,
            "initial_file": self.initial,
            "epoch": engine.state.epoch,
            "max_epochs": engine.state.max_epochs,
            "steps": engine.state.iteration,
            "hours": round(self._seconds() / 3600, 4),
            "validation": self.validation,
            "loss": self.loss,
        }
        write_side_file(model_file, TRAINING_FILE, content)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run goes on with."""
        kept = {"initial": self.initial, "validation": self.validation, "loss": self.loss}
        return {"seconds": self._seconds(), **kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the record of an earlier part of the run."""
        self.earlier, self.initial = state["seconds"], state["initial"]
        self.validation, self.loss = list(state["validation"]), list(state["loss"])

    def _seconds(self) -> float:
        return self.earlier + perf_counter() - self.began
