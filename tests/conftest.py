# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What tests of several modules share."""

from __future__ import annotations

import json
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow

from scripts.phantom.dataset import PhantomSettings, write_phantoms

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
REAL_DATA = ROOT.parent / "shared" / "data"
MODALITIES = ["flair", "t1ce", "t1", "t2"]


@pytest.fixture(scope="session")
def golden():
    """Load a file of reference numbers by name."""
    return lambda name: np.load(GOLDEN / f"{name}.npz")


@pytest.fixture(scope="session")
def modalities():
    """Names in the channel order of the reference."""
    return list(MODALITIES)


@pytest.fixture(scope="session")
def reference_state_dict():
    """Draw the parameters of the recipe that the reference numbers were made with, by name of the network."""
    return _reference_state_dict


@pytest.fixture(scope="session")
def reference_case():
    """Image ``(1, 4, 80, 80, 80)`` and label ``(1, 1, 80, 80, 80)`` of the recipe; not to be changed in place."""
    image = torch.randn(1, 4, 80, 80, 80, generator=torch.Generator().manual_seed(2024))
    axes = [(torch.arange(80) - centre) ** 2 for centre in (36, 42, 40)]
    radius = axes[0][:, None, None] + axes[1][:, None] + axes[2]
    label = torch.where(radius < 64, 1, torch.where(radius < 196, 3, torch.where(radius < 576, 2, 0)))
    return image, label[None, None]


@pytest.fixture(scope="session")
def hide():
    """Fill the modalities of an image with NaN that a mask such as ``"1010"`` or a row of flags leaves out."""

    def _hide(image, mask):
        image = image.clone()
        image[:, [str(int(flag)) == "0" for flag in mask]] = float("nan")
        return image

    return _hide


def _reference_state_dict(network: str) -> dict[str, torch.Tensor]:
    """Draw the parameters of the recipe that the reference numbers were made with."""
    state = {}
    for name, shape in json.loads((GOLDEN / f"state_dict_{network}.json").read_text())["entries"].items():
        value = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
        if len(shape) >= 2:
            value *= (value.numel() / shape[0]) ** -0.5
        else:
            value = 1 + 0.1 * value if name.endswith("weight") else 0.1 * value
        state[name] = value
    return state


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory):
    """Make a data set of 8 mm: 3 training cases, most of them incomplete, 1 for validation, 2 for testing."""
    folder = tmp_path_factory.mktemp("phantoms")
    rates = {"t1": 0.2, "t1ce": 0.4, "flair": 0.6, "t2": 0.8}
    settings = PhantomSettings(spacing_mm=8.0, modalities=tuple(MODALITIES))
    write_phantoms(folder, {"training": 3, "validation": 1, "testing": 2}, settings, rates, progress=False)
    return folder


@pytest.fixture(scope="session")
def tiny(phantoms):
    """Overrides that make every configuration quick on the phantoms."""
    return {
        "dataset_dir": str(phantoms),
        "spacing": [8.0, 8.0, 8.0],
        "patch_size": [24, 24, 24],
        "num_workers": 0,
        "network_def::width": 4,
        "device": "cpu",
    }


@pytest.fixture(scope="session")
def workflow(tiny, tmp_path_factory):
    """Make and initialize the workflow of configuration files, as `monai.bundle run` does."""
    elsewhere = tmp_path_factory.mktemp("output")  # nothing is written into the bundle itself
    places = {"output_dir": str(elsewhere), "model_file": str(elsewhere / "model.pt")}

    def _workflow(*files, run_id="run", workflow_type="train", **overrides):
        paths = [str(ROOT / "configs" / file) for file in files]  # an absolute path stays as it is
        settings = {**tiny, **places, **overrides}
        run = ConfigWorkflow(paths, logging_file=False, run_id=run_id, workflow_type=workflow_type, **settings)
        run.initialize()
        return run

    return _workflow


@pytest.fixture(scope="session")
def command_line(tiny):
    """Write the arguments of `python -m monai.bundle` that do what `workflow` does."""

    def _command_line(run_id, *files, **overrides):
        options = {"config_file": [str(ROOT / "configs" / file) for file in files], **tiny, **overrides}
        return ["run", run_id, *(f"--{name}={value}" for name, value in options.items())]

    return _command_line


@pytest.fixture(scope="session")
def train(workflow, command_line):
    """Train into a folder; return the metrics of every epoch that ended, by its number.

    ``kill`` is an event at which the run dies, behind everything else that happens there.
    """

    def _train(folder, *files, kill=None, **overrides):
        places = {"output_dir": str(folder), "model_file": str(folder / "model.pt")}
        settings = {**places, "max_epochs": 4, "val_interval": 2, "learning_rate": 0.01, **overrides}
        files = files or ("train.yaml",)
        run = workflow(*files, run_id="training", **settings)
        trainer, evaluator = map(run.parser.get_parsed_content, ("train::trainer", "validate::evaluator"))
        epochs = {}

        @trainer.on(Events.EPOCH_COMPLETED)
        def note(engine):
            validated = evaluator.state.metrics if evaluator.state.epoch == engine.state.epoch else {}
            rate = engine.optimizer.param_groups[0]["lr"]
            epochs[engine.state.epoch] = {**engine.state.metrics, **validated, "lr": rate}

        if kill is not None:
            trainer.add_event_handler(kill, _die)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["monai.bundle", *command_line("training", *files, **settings)])
            try:
                run.run()
                run.finalize()
            except Killed:
                assert kill is not None
        return epochs

    return _train


class Killed(BaseException):
    """The end of a run, which no handler of ordinary errors may hold up."""


def _die():
    raise Killed


@pytest.fixture(scope="session")
def trained(train, tmp_path_factory):
    """Train for four epochs, once for all tests: the folder and the metrics of each epoch."""
    folder = tmp_path_factory.mktemp("trained")
    return folder, train(folder)
