# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What tests of several modules share."""

from __future__ import annotations

import json
import logging
import sys
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow

from scripts.evaluation.tables import read_scores
from scripts.phantom.dataset import PhantomSettings, write_phantoms
from scripts.tools.make_datalist import MakeDatalist
from tests.toys import write_toys

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
REAL_DATA = ROOT.parent / "shared" / "data"
MODALITIES = ["flair", "t1ce", "t1", "t2"]
# Signal of background, left and right blood pool, normal myocardium, edema, scar; by ending of the file
HEART_SIGNALS = {"C0": [250, 900, 900, 350, 400, 400], "DE": [150, 500, 500, 80, 130, 900]}
HEART_SIGNALS["T2"] = [250, 120, 120, 350, 900, 750]
HEART_VALUES = np.array([0, 500, 600, 200, 1220, 2221])


@pytest.fixture(autouse=True)
def logs_as_before():
    """Take back what a workflow that sets up its log in this process does to the root of all loggers."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    for handler in root.handlers[:]:
        if handler not in handlers and type(handler) is logging.StreamHandler:
            root.removeHandler(handler)


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
def write_hearts():
    """Write toy stacks as MyoPS2020 has them: see ``_write_hearts``."""
    return _write_hearts


def oblique_affine(voxel):
    """Turn the axes of a stack, voxels in mm, away from the body's: slices lie closest to front to back."""
    about_x, about_z = np.deg2rad([55, 35])
    tilt = np.array([[1, 0, 0], [0, np.cos(about_x), -np.sin(about_x)], [0, np.sin(about_x), np.cos(about_x)]])
    turn = np.array([[np.cos(about_z), -np.sin(about_z), 0], [np.sin(about_z), np.cos(about_z), 0], [0, 0, 1]])
    return nib.affines.from_matvec(turn @ tilt @ np.diag(voxel), [30, -60, 90])


def _heart_classes(shape, random):
    """Draw the classes of one stack: two blood pools, a ring of myocardium, in it a sector of edema around scar."""
    centre, inner, start = random.uniform(46, 52, 2), random.uniform(9, 12), random.uniform(-np.pi, np.pi)
    axes = np.meshgrid(*(np.arange(length) for length in shape[:2]), indexing="ij")
    x, y = (axis - middle for axis, middle in zip(axes, centre, strict=True))
    radius, angle = np.hypot(x, y), (np.arctan2(y, x) - start) % (2 * np.pi)
    classes = np.zeros(shape, dtype=np.uint8)
    for level in range(shape[2]):
        size = inner * (1 - 0.25 * level / shape[2])  # towards the apex
        ring = (radius >= size) & (radius < size + 7)
        classes[..., level][(np.hypot(x + 20, y) < size + 6) & (radius >= size + 7)] = 2
        classes[..., level][radius < size] = 1
        classes[..., level][ring] = 3
        if level != shape[2] - 1:  # the last slice is healthy
            classes[..., level][ring & (angle < 1.8)] = 4
            classes[..., level][ring & (angle < 1.2) & (radius < size + 5)] = 5
    return classes


def _write_hearts(folder, number, missing=None, seed=0):
    """Write ``number`` cases into ``train25`` and labels into ``train25_myops_gd``.

    ``missing`` says which endings a case, by its number, does not have.
    """
    random = np.random.default_rng(seed)
    for name in ("train25", "train25_myops_gd"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for case in range(number):
        shape = (96, 96 + 4 * (case % 2), 2 + case % 3)
        affine = oblique_affine([1.25, 1.25, 12.0])
        classes = _heart_classes(shape, random)
        for ending, signals in HEART_SIGNALS.items():
            if ending not in (missing or {}).get(case, ()):
                image = np.array(signals)[classes] * random.uniform(0.8, 1.25) + random.normal(0, 40, shape)
                image = nib.Nifti1Image(np.abs(image).astype(np.int16), affine)
                nib.save(image, folder / "train25" / f"myops_training_{101 + case}_{ending}.nii.gz")
        label = nib.Nifti1Image(HEART_VALUES[classes].astype([np.uint16, np.int16][case % 2]), affine)
        nib.save(label, folder / "train25_myops_gd" / f"myops_training_{101 + case}_gd.nii.gz")
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
def hearts(write_hearts, tmp_path_factory):
    """Make a data set of toy stacks: 4 training cases at the missing rates 357, 1 for validation, 1 for testing.

    Returns what makes ``dataset_myops2020.yaml`` quick on it.
    """
    folder = write_hearts(tmp_path_factory.mktemp("hearts"), 6)
    rates = "bssfp=0.3,lge=0.5,t2=0.7"
    MakeDatalist(folder, folder / "datalist.json", split=(4, 1, 1), missing_rates=rates).write()
    return {"dataset_dir": str(folder), "spacing": [2.0, 2.0, -1], "patch_size": [48, 48, 1]}


@pytest.fixture(scope="session")
def data_of(hearts, tmp_path_factory):
    """Give what makes the overlay of a data set quick: settings, on toy cases of its modalities, classes and layout."""
    made = {"dataset_myops2020.yaml": hearts}

    def _data_of(overlay):
        if overlay not in made:
            made[overlay] = write_toys(tmp_path_factory.mktemp("toys"), ROOT / "configs" / overlay)
        return made[overlay]

    return _data_of


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


@pytest.fixture(scope="session")
def use(workflow, phantoms):
    """Evaluate a model on the test cases and segment a patient from FLAIR alone, by the documented files.

    Returns the table of scores, and the report of the patient's label map.
    """

    def _use(model_file, folder, *overlays, **settings):
        settings = {"model_file": str(model_file), **settings}
        evaluation = {**settings, "output_dir": str(folder / "evaluation")}
        inference = {**settings, "output_dir": str(folder / "inference"), "dataset_dir": str(phantoms / "phantom_0004")}
        for run in (
            workflow("train.yaml", "evaluate.yaml", *overlays, run_id="evaluating", **evaluation),
            workflow(
                "inference.yaml", *overlays, run_id="evaluating", workflow_type="infer", **inference, subset="flair"
            ),
        ):
            run.run()
            run.finalize()
        report = json.loads((folder / "inference" / "phantom_0004.json").read_text())
        source, result = phantoms / "phantom_0004" / "phantom_0004_flair.nii.gz", folder / "inference"
        assert nib.load(result / "phantom_0004.nii.gz").shape == nib.load(source).shape
        return read_scores(folder / "evaluation" / "per_case.csv"), report

    return _use


@pytest.fixture
def text_log(caplog):
    """Catch what MONAI's handlers log as text, whose logger does not hand it on once it has been set up."""
    logger = logging.getLogger("monai.handlers.StatsHandler")
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.INFO):
        yield caplog
    logger.removeHandler(caplog.handler)
