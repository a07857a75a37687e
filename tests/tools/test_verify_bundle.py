# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""A package from its tool to a patient, as a user gets it: served, downloaded, verified, loaded, used."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import download_large_files

from scripts.bundle.packaging import BUNDLE_NAME
from scripts.tools.package_bundle import main as package_bundle
from scripts.tools.verify_bundle import main as verify_bundle

LOAD = """
import sys, torch, monai.bundle
image = torch.load(sys.argv[1])
for options in ({}, {"workflow_type": "inference"}):
    network = monai.bundle.load(sys.argv[2], bundle_dir="..", device="cpu", **options).eval()
    torch.save(network(image).detach(), sys.argv[3] + options.get("workflow_type", "train") + ".pt")
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        """Say nothing."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Serve a folder; give it and its address."""
    folder = tmp_path_factory.mktemp("server")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def run(*arguments, folder):
    """Run Python in a folder, as a user does; the package's own modules are found, not those under test."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"no_proxy": "127.0.0.1", "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, arguments)]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def downloaded(server, trained, tmp_path_factory):
    """A bundle that came through the network, its weights by a second download."""
    folder, address = server
    shutil.copy(trained[0] / "model.pt", folder / "weights.pt")
    package_bundle(folder, folder / "weights.pt", training=trained[0], large_files_url=f"{address}/weights.pt")
    (package,) = folder.glob("*.zip")
    target = tmp_path_factory.mktemp("downloaded")
    options = ["--name", BUNDLE_NAME, "--url", f"{address}/{package.name}", "--bundle_dir", target]
    run("-m", "monai.bundle", "download", *options, folder=target)
    root = target / BUNDLE_NAME
    assert not (root / "models" / "model.pt").exists()
    download_large_files(bundle_path=str(root))
    assert (root / "models" / "model.pt").read_bytes() == (trained[0] / "model.pt").read_bytes()
    return root


@pytest.mark.long
def test_the_downloaded_copy_segments_as_the_original_does(downloaded, workflow, trained, phantoms, tmp_path):
    patient = phantoms / "phantom_0004"
    settings = {"dataset_dir": str(patient), "subset": "flair+t2"}
    options = [f"--{name}={value}" for name, value in {**settings, "output_dir": tmp_path / "downloaded"}.items()]
    run(
        "-m",
        "monai.bundle",
        "run",
        "evaluating",
        "--config_file",
        "configs/inference.yaml",
        *options,
        folder=downloaded,
    )
    places = {"model_file": str(trained[0] / "model.pt"), "output_dir": str(tmp_path / "original")}
    original = workflow("inference.yaml", run_id="evaluating", workflow_type="infer", **settings, **places)
    original.run()
    original.finalize()
    found, expected = (nib.load(tmp_path / name / "phantom_0004.nii.gz") for name in ("downloaded", "original"))
    np.testing.assert_array_equal(found.affine, expected.affine)
    labels = np.asanyarray(expected.dataobj)
    assert len(np.unique(labels)) > 1
    np.testing.assert_array_equal(np.asanyarray(found.dataobj), labels)


@pytest.mark.long
def test_the_downloaded_copy_passes_the_checks_of_the_zoo(downloaded):
    before = set(downloaded.rglob("*"))
    printed = run("-m", "scripts.tools.verify_bundle", folder=downloaded)
    passed = re.findall(r"^passed  (.+)$", printed, flags=re.MULTILINE)
    quick = ["large files", "files", "version", "metadata", "training record"]
    assert passed == [*quick, "network input and output", "TorchScript"]
    assert set(downloaded.rglob("*")) == before, "nothing is left in the bundle"


@pytest.mark.long
def test_monai_loads_the_network_with_its_weights(downloaded, workflow, trained, tmp_path):
    image = torch.randn(1, 4, 24, 24, 24, generator=torch.Generator().manual_seed(0))
    image[:, 1] = torch.nan
    torch.save(image, tmp_path / "image.pt")
    run("-c", LOAD, tmp_path / "image.pt", BUNDLE_NAME, f"{tmp_path}/", folder=downloaded)
    network = workflow("inference.yaml", workflow_type="infer").parser.get_parsed_content("network").eval()
    network.load_state_dict(torch.load(trained[0] / "model.pt", weights_only=True))
    with torch.no_grad():
        expected = network(image).softmax(dim=1)
    for name in ("train", "inference"):
        found = torch.load(tmp_path / f"{name}.pt").softmax(dim=1)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_check_that_fails_ends_with_an_error_status(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("scripts.tools.verify_bundle.ROOT", tmp_path)
    with pytest.raises(SystemExit, match="3 checks failed in"):
        verify_bundle("min")
    assert (
        "FAILED  files: FileNotFoundError: configs/metadata.json, LICENSE, models/model.pt not in"
        in capsys.readouterr().out
    )
    with pytest.raises(SystemExit, match="`mode` is `most`; expected min or full"):
        verify_bundle("most")


def test_what_is_packed_is_printed_with_its_hashes(trained, capsys, tmp_path):
    package_bundle(tmp_path, trained[0] / "model.pt", training=trained[0])
    (package,) = tmp_path.glob("*.zip")
    printed = capsys.readouterr().out
    assert f"{package}: " in printed and f'"{package.stem}": {{"checksum": "' in printed
    assert re.search(r"^SHA-1   [0-9a-f]{40}\nSHA-256 [0-9a-f]{64}$", printed, flags=re.MULTILINE)


def test_what_cannot_be_packed_is_said_in_words(tmp_path):
    with pytest.raises(SystemExit, match="Nothing packed: no weights at"):
        package_bundle(tmp_path, tmp_path / "nowhere.pt")
