# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""A MONAI Label server that serves a small copy of this bundle, and what the bundle itself finds on the same files."""

from __future__ import annotations

import shutil
import subprocess

import nibabel as nib
import pytest
import torch

from scripts.bundle.serving import copy_bundle
from scripts.phantom.dataset import PhantomSettings, write_phantoms
from tests_label.serving import (
    BIN,
    MODALITIES,
    NAME,
    SMALL,
    SMALL_TRAINING,
    Server,
    files_of,
    run_bundle,
    set_knobs,
    stack,
    with_bin,
)


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory):
    """Make six cases of 8 mm: the folder with their datalist."""
    folder = tmp_path_factory.mktemp("phantoms")
    settings = PhantomSettings(spacing_mm=8.0, modalities=tuple(MODALITIES))
    write_phantoms(folder, {"training": 2, "validation": 1, "testing": 3}, settings, progress=False)
    return folder


@pytest.fixture(scope="session")
def app(phantoms, tmp_path_factory):
    """Copy the sample app that comes with MONAI Label, and into it this bundle, with weights of a short training."""
    folder = tmp_path_factory.mktemp("apps")
    copy = [str(BIN / "monailabel"), "apps", "--download", "--name", "monaibundle", "--output", str(folder)]
    subprocess.run(copy, check=True, env=with_bin(), capture_output=True)
    bundle = folder / "monaibundle" / "model" / NAME
    copy_bundle(bundle)
    set_knobs(bundle / "configs" / "inference.yaml", SMALL)
    # with a data set of its own the bundle makes no phantoms where the whole configuration is resolved
    set_knobs(bundle / "configs" / "train.yaml", SMALL | SMALL_TRAINING | {"dataset_dir": f"'{phantoms}'"})
    run_bundle(bundle, "train.yaml", "training", max_epochs=4, learning_rate=0.01, val_interval=4)
    return folder / "monaibundle"


@pytest.fixture(scope="session")
def bundle(app):
    """Folder of the bundle that is served."""
    return app / "model" / NAME


@pytest.fixture
def segmented(bundle, tmp_path):
    """Segment an entry of a datalist by the bundle's own `evaluating`, with its weights of now: the label map."""

    def _segmented(entry, **overrides):
        data = {"dataset::data": [{"case": "expected", **entry}]}
        run_bundle(bundle, "inference.yaml", "evaluating", output_dir=str(tmp_path), **data, **overrides)
        return nib.load(tmp_path / "expected.nii.gz")

    return _segmented


@pytest.fixture(scope="session")
def studies(phantoms, tmp_path_factory):
    """Make a data store of three patients: a stacked file, and folders with two and with four files."""
    folder = tmp_path_factory.mktemp("studies")
    stack(files_of(phantoms, "phantom_0003").values(), folder / "case3.nii.gz")
    for name, case, modalities in (("case4", "phantom_0004", ["flair", "t2"]), ("case5", "phantom_0005", MODALITIES)):
        (folder / f"{name}.mri").mkdir()
        for file in files_of(phantoms, case, modalities).values():
            shutil.copy(file, folder / f"{name}.mri")
    return folder


@pytest.fixture(scope="session")
def server(app, studies, tmp_path_factory):
    """Start a server on a free port of this machine; it is ended with all its children, whatever happens."""
    server = Server(app, studies, tmp_path_factory.mktemp("server"))
    try:
        server.wait_until(server.answers)
        yield server
    finally:
        server.stop()


@pytest.fixture
def weights(bundle):
    """Read the weights that are served now."""
    return lambda: torch.load(bundle / "models" / "model.pt", weights_only=True)
