# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Makes a small bundle of this one, starts a MONAI Label server, and talks to it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import requests
from monai.bundle import ConfigWorkflow

ROOT = Path(__file__).parents[1]
NAME = "brats_mri_incomplete_segmentation"
MODALITIES = ["flair", "t1ce", "t1", "t2"]
# what makes the copy quick: phantoms of 8 mm, small patches and a narrow network
SMALL = {"spacing": "[8.0, 8.0, 8.0]", "patch_size": "[24, 24, 24]", "num_workers": "0", "  width": "4"}
SMALL_TRAINING = {"val_interval": "1", "validation_subsets": "[all]"}
SECONDS = 240  # within which everything that is waited for has happened
BIN = Path(sys.executable).parent


def set_knobs(file, knobs):
    """Write other values behind keys of a configuration, which are given with their indentation."""
    text = file.read_text(encoding="utf-8")
    for name, value in knobs.items():
        text, count = re.subn(rf"^{name}: [^#\n]*", f"{name}: {value}  ", text, flags=re.MULTILINE)
        assert count == 1, f"`{name}` stands {count} times in {file}"
    file.write_text(text, encoding="utf-8")


def run_bundle(bundle, file, run_id, **overrides):
    """Run a workflow of the copy, as `python -m monai.bundle run` does."""
    run = ConfigWorkflow(
        str(bundle / "configs" / file),
        meta_file=str(bundle / "configs" / "metadata.json"),
        logging_file=False,
        run_id=run_id,
        workflow_type="train" if run_id == "training" else "infer",
        bundle_root=str(bundle),
        device="cpu",
        **overrides,
    )
    run.initialize()
    run.run()
    run.finalize()


def stack(files, target):
    """Write 3D files as the channels of one 4D file, with axes in another order and direction."""
    images = [nib.load(file) for file in files]
    volume = np.stack([np.asarray(image.dataobj) for image in images], axis=-1)
    image = nib.Nifti1Image(volume, images[0].affine)
    nib.save(image.as_reoriented([[0, -1], [2, -1], [1, -1]]), target)


def files_of(phantoms, case, modalities=MODALITIES):
    return {name: str(phantoms / case / f"{case}_{name}.nii.gz") for name in modalities}


def with_bin(**more):
    """Environment in which the commands of this Python come first, and which reaches no proxy."""
    return {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "NO_PROXY": "*", "no_proxy": "*", **more}


class Server:
    """A running server, and requests to it."""

    def __init__(self, app, studies, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log_file = folder / "server.log"
        command = [str(BIN / "monailabel"), "start_server", "--app", str(app), "--studies", str(studies)]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--conf", "models", NAME]
        command += ["--conf", "zoo_source", "local"]
        places = {"MONAI_LABEL_SESSION_PATH": str(folder / "sessions"), "HOME": str(folder), "TMPDIR": str(folder)}
        types = {"MONAI_LABEL_DATASTORE_FILE_EXT": '["*.nii.gz", "*.nii", "*.mri"]'}
        environment = with_bin(**places, **types, PYTHONPATH="")
        with self.log_file.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def log(self):
        return self.log_file.read_text(errors="replace")

    def __call__(self, method, path, status=200, **arguments):
        """Send a request; an answer of another status than expected fails with the end of the log."""
        answer = requests.request(method, f"http://127.0.0.1:{self.port}{path}", timeout=SECONDS, **arguments)
        assert answer.status_code == status, f"{method} {path}: {answer.text}\n{self.log()[-4000:]}"
        return answer

    def wait_until(self, happened):
        """Wait until something is true; what it was, or the end of the log where it never is."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            assert self.process.poll() is None, f"the server has ended:\n{self.log()[-4000:]}"
            if found := happened():
                return found
            time.sleep(0.2)
        raise AssertionError(f"nothing happened within {SECONDS} s; the log ends with\n{self.log()[-4000:]}")

    def answers(self):
        try:
            return self("GET", "/info/")
        except requests.ConnectionError:
            return None

    def wait_for(self, path):
        """Wait for a background task to end well."""
        self.wait_until(lambda: self("GET", path).json()["status"] not in ("SUBMITTED", "RUNNING"))
        report = self("GET", path).json()
        assert report["status"] == "DONE", f"{report}\n{self.log()[-4000:]}"

    def infer(self, source="", params=None, **arguments):
        """Ask for a label map: the image, as the client would save it."""
        form = {"params": json.dumps({"device": "cpu", **(params or {})})}
        answer = self("POST", f"/infer/{NAME}?output=image{source}", data=form, **arguments)
        ending = re.search(r'filename="[^".]*(\.[^"]+)"', answer.headers["content-disposition"]).group(1)
        file = self.log_file.with_name(f"answer{ending}")
        file.write_bytes(answer.content)
        return file

    def stop(self):
        """End the server and all that it started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for each in self.started():
                each.send_signal(number)
            _, alive = psutil.wait_procs(self.started(), timeout=20)
            if self.process.poll() is not None and not alive:
                return
        raise AssertionError(f"these processes could not be ended: {alive}")

    def started(self):
        """Processes of the session that the server leads, those too whose parent is gone."""
        found = []
        for each in psutil.process_iter():
            try:
                if os.getsid(each.pid) == self.process.pid and each.status() != psutil.STATUS_ZOMBIE:
                    found.append(each)
            except (psutil.NoSuchProcess, ProcessLookupError):
                continue
        return found
