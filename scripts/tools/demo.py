# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Show the whole road on phantoms: make data, train, evaluate every subset, report, segment an incomplete patient.

python -m scripts.tools.demo --folder demo
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.utils import set_determinism

from ..bundle.configuration import find_files, read
from ..data.audit import audit_datalist, format_audit
from ..data.datalist import read_section
from ..evaluation.descriptions import small_region_rule
from ..phantom.dataset import PhantomSettings, write_phantoms
from ..utils.files import replacing
from .command_line import run_tool

BASE = ["configs/train.yaml", "configs/demo.yaml"]
EVALUATE = [*BASE, "configs/evaluate.yaml"]
MISSING_RATES = (0.2, 0.5)  # of the first and the last modality in training; the others lie between


def demo(folder: str = "demo", training: int = 40, testing: int = 4, seed: int = 0, epochs: int | None = None) -> None:
    """Run the demonstration from the bundle's root folder.

    Args:
        folder: where everything goes.
        training: number of training cases; some lack modalities.
        testing: number of complete test cases.
        seed: of phantoms and training.
        epochs: passes over the training cases; by default what configs/demo.yaml says.
    """
    start = time.time()
    root = Path(folder)
    knobs = read(BASE)
    modalities = knobs["modalities"]
    _say(1, "phantoms: simulated gliomas in deformed MNI152 anatomy; training cases lack modalities")
    rates = dict(zip(modalities, np.linspace(*MISSING_RATES, len(modalities)).round(2).tolist(), strict=True))
    settings = PhantomSettings(spacing_mm=float(knobs["spacing"][0]), modalities=tuple(modalities), seed=seed)
    counts = {"training": training, "validation": 1, "testing": testing}
    datalist = write_phantoms(root / "phantoms", counts, settings, rates)
    sections = {name: read_section(datalist, name, modalities) for name in counts}
    print(format_audit(audit_datalist(sections, modalities)), flush=True)

    common = {"dataset_dir": root / "phantoms", "model_file": root / "model.pt", "seed": seed}
    _say(2, "training")
    shutil.rmtree(root / "train", ignore_errors=True)
    more = {} if epochs is None else {"max_epochs": epochs}
    _bundle("training", BASE, {**common, **more, "output_dir": root / "train"})

    _say(3, "evaluation of every subset of modalities, encoding each window once")
    _bundle("evaluating", EVALUATE, {**common, "output_dir": root / "evaluation"})

    _say(4, "the same test cases with an untrained network, for comparison")
    _save_untrained(root / "untrained.pt", seed)
    less = {"metrics": "['dice']", "calibration": False}  # surfaces of scattered voxels take long and say little
    places = {"model_file": root / "untrained.pt", "output_dir": root / "untrained", "write_performance": False}
    _bundle("evaluating", EVALUATE, {**common, **places, **less})

    _say(5, "a report of training and evaluation, compared with the untrained network")
    runs = {"evaluation": root / "evaluation", "training": root / "train", "compare": root / "untrained"}
    _python(["-m", "scripts.tools.make_report", *(f"--{name}={folder}" for name, folder in runs.items())])

    _say(6, "inference for a patient who has two of the sequences")
    patient = _incomplete_patient(datalist, root / "patients", modalities)
    same = {key: knobs[key] for key in ("spacing", "patch_size", "num_workers")}
    paths = {"dataset_dir": root / "patients", "model_file": root / "model.pt", "output_dir": root / "segmentation"}
    _bundle("evaluating", ["configs/inference.yaml"], {**same, **paths})
    _close(root, patient, time.time() - start)


def _say(step: int, text: str) -> None:
    print(f"\n=== {step}/6 {text}", flush=True)


def _bundle(run_id: str, files: list[str], options: Mapping[str, Any]) -> None:
    """Run a workflow as a user would."""
    found = find_files(files)
    file_argument = found[0] if len(found) == 1 else str(found).replace("', '", "','")
    arguments = ["-m", "monai.bundle", "run", run_id, "--config_file", file_argument]
    for name, value in options.items():
        arguments += [f"--{name}", str(value).replace(" ", "")]
    _python(arguments)


def _python(arguments: list[str]) -> None:
    """Run a command in a process of its own; its output is shown as it comes."""
    print("$ python " + " ".join(arguments), flush=True)
    quiet = ["-W", "ignore::UserWarning", "-W", "ignore::FutureWarning"]  # notices of MONAI about its own command line
    result = subprocess.run([sys.executable, *quiet, *arguments], check=False)
    if result.returncode:
        raise SystemExit(f"step failed with status {result.returncode}; its output above says why.")


def _save_untrained(path: Path, seed: int) -> None:
    set_determinism(seed)
    parser = read(BASE)
    with replacing(path) as temporary:
        torch.save(parser.get_parsed_content("network_def").state_dict(), temporary)


def _incomplete_patient(datalist: Path, folder: Path, modalities: list[str]) -> str:
    """Copy the first and last modality of the first test case to a folder of its own."""
    case = read_section(datalist, "testing", modalities)[0]
    target = folder / case["case"]
    shutil.rmtree(folder, ignore_errors=True)
    target.mkdir(parents=True)
    for name in (modalities[0], modalities[-1]):
        shutil.copy(case["images"][name], target)
    return case["case"]


def _close(root: Path, patient: str, seconds: float) -> None:
    """Print what was reached, against the untrained network, and where everything is."""
    trained, untrained = (
        json.loads((root / name / "summary.json").read_text(encoding="utf-8")) for name in ("evaluation", "untrained")
    )
    report = json.loads((root / "segmentation" / f"{patient}.json").read_text(encoding="utf-8"))
    head, dice, *_ = (root / "evaluation" / "summary.md").read_text(encoding="utf-8").split("\n## ")
    print(f"\n{head}\n## {dice}")
    for region in (region for region in trained["regions"] if small_region_rule(region) is None):
        figures = [summary["overall"][region]["dice"]["mean"] for summary in (trained, untrained)]
        print(f"mean Dice {region.upper()} over all subsets: {figures[0]:.3f}; untrained network: {figures[1]:.3f}")
    print(f"patient {patient}, from {report['subset']}: volumes {report['volumes']}")
    print("\n".join(f"  {line}" for line in report["expected_performance"]["in_words"]))
    print("A few minutes of training on a handful of simulated cases: this shows that the road works, not how good the")
    print("network can be. Nothing here was learned from real patients; not for clinical use.")
    places = {
        "phantoms and their datalist": root / "phantoms" / "datalist.json",
        "network weights": root / "model.pt",
        "curves (tensorboard --logdir)": root / "train" / "tensorboard",
        "scores per case": root / "evaluation" / "per_case.csv",
        "scores summed up": root / "evaluation" / "summary.md",
        "report (open in a browser)": root / "evaluation" / "report.html",
        "segmentation of the patient": root / "segmentation" / report["segmentation"],
    }
    print("\n".join(f"  {what:32s}{where}" for what, where in places.items()))
    print(f"done in {seconds / 60:.1f} minutes")


if __name__ == "__main__":
    run_tool(demo)
