# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``incomplete-seg``: one word for each tool of the bundle, from any folder.

Its process is its own, so ``scripts`` is here the package of the bundle, whatever lies in the current folder.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from . import __getattr__ as _attribute
from .bundle import ROOT

PROGRAM = "incomplete-seg"
STARTING = ("demo", "run_study", "benchmark", "benchmark_evaluation")  # tools that start other processes
HELP = ("--help", "-h", "help")


class Command(NamedTuple):
    """A tool under the name that a person types.

    Attributes:
        tool: module in ``scripts.tools``.
        component: what it calls: ``run`` reads the command line by itself.
        line: what it is for.
    """

    tool: str
    component: str
    line: str


COMMANDS: dict[str, dict[str, Command]] = {
    "Segment": {"segment": Command("segment", "run", "segment one patient from whatever sequences there are")},
    "Prepare data": {
        "series": Command("list_series", "main", "list the DICOM series of a folder, and which is which"),
        "datalist": Command("make_datalist", "MakeDatalist", "list the cases in a folder, with splits or folds"),
        "phantoms": Command("make_phantoms", "MakePhantoms", "make brain MRI with simulated gliomas"),
        "draw-phantoms": Command("draw_phantoms", "main", "draw some of them"),
    },
    "Train and evaluate": {
        "demo": Command("demo", "demo", "the whole road on phantoms, in minutes"),
        "run": Command("run_workflow", "main", "train, evaluate or calibrate as configurations say"),
        "study": Command("run_study", "RunStudy", "compare methods over missing rates and seeds"),
        "report": Command("make_report", "main", "one HTML file of an evaluation"),
        "compare": Command("compare_evaluations", "main", "differences between evaluations of the same cases"),
        "draw-subsets": Command("draw_subsets", "main", "draw one case, segmented from every subset"),
        "draw-features": Command("draw_features", "main", "draw the latent features that evaluations kept"),
    },
    "Look inside": {
        "show-config": Command("show_config", "main", "every value of merged configurations, and who set it"),
        "trace-case": Command("trace_case", "main", "follow one case from its files to the gradients"),
        "benchmark": Command("benchmark", "benchmark", "time and memory of a network"),
        "benchmark-evaluation": Command("benchmark_evaluation", "main", "time of all subsets at once and one by one"),
        "measure-plausibility": Command("measure_plausibility", "main", "error rates of the checks of images"),
        "train-recognition": Command("train_modality_recognition", "main", "train what recognises modalities"),
    },
    "Share weights": {
        "convert-checkpoint": Command("convert_checkpoint", "ConvertCheckpoint", "read a published implementation's"),
        "copy-bundle": Command("copy_bundle", "main", "copy the bundle for MONAI Label, which trains its copy"),
        "package": Command("package_bundle", "main", "pack the bundle with its weights into one file"),
        "verify": Command("verify_bundle", "run", "make the checks of MONAI's model zoo"),
    },
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command.

    Args:
        arguments: name of the command, then its options; those of this process if not given.

    Raises:
        SystemExit: with one line, if there is no such command or it cannot do what it was asked for.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in HELP:
        print(overview())
        return
    if given[0] == "--version":
        print(f"{PROGRAM} {_attribute('__version__')}")
        return
    name, *options = given
    command = find(name)
    enter_bundle(starts_others=command.tool in STARTING)
    if command.component == "run":
        import_module(f"scripts.tools.{command.tool}").run(options, f"{PROGRAM} {name}")
    else:
        component = getattr(import_module(f"scripts.tools.{command.tool}"), command.component)
        import_module("scripts.tools.command_line").run_tool(component, options, f"{PROGRAM} {name}")


def overview() -> str:
    """List the commands in their groups, one line each."""
    width = max(len(name) for group in COMMANDS.values() for name in group) + 2
    groups = [
        "\n".join([f"{title}:", *(f"  {name:<{width}}{command.line}" for name, command in group.items())])
        for title, group in COMMANDS.items()
    ]
    head = f"usage: {PROGRAM} COMMAND [options]\n\nBrain tumours from incomplete multi-modal MRI. Not for clinical use."
    tail = f"`{PROGRAM} COMMAND --help` says more of each; `{PROGRAM} --version`.\nThe bundle lies in {ROOT}"
    return "\n\n".join([head, *groups, tail])


def find(name: str) -> Command:
    """Find a command by its name, ``_`` for ``-`` allowed.

    Raises:
        SystemExit: if there is none, with the nearest.
    """
    known = {each: command for group in COMMANDS.values() for each, command in group.items()}
    if name.replace("_", "-") in known:
        return known[name.replace("_", "-")]
    near = get_close_matches(name, known, 1)
    meant = f"did you mean `{near[0]}`?" if near else f"expected one of {', '.join(known)}."
    raise SystemExit(f"{PROGRAM}: no command `{name}`; {meant} See {PROGRAM} --help.")


def enter_bundle(starts_others: bool = False) -> None:
    """Let ``scripts`` be the bundle's, in this process and in those that its tools start.

    Args:
        starts_others: whether the tool starts processes, by ``python -m``.

    Raises:
        SystemExit: if another ``scripts`` was imported before, or would be found first by the processes to start.
    """
    folders = [Path(path).resolve() for path in getattr(sys.modules.get("scripts"), "__path__", [])]
    if folders and ROOT / "scripts" not in folders:
        raise SystemExit(
            f"{PROGRAM}: this process has imported `scripts` from {folders[0]}; expected a process of its own."
        )
    here = Path("scripts").resolve()
    if starts_others and sys.version_info < (3, 11) and here.is_dir() and here != ROOT / "scripts":
        raise SystemExit(
            f"{PROGRAM}: this command starts processes, which would take {here} for the bundle's `scripts`; expected "
            "another current folder, or Python 3.11."
        )
    sys.path.insert(0, str(ROOT))
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(ROOT) if not before else f"{ROOT}{os.pathsep}{before}"
    os.environ["PYTHONSAFEPATH"] = "1"  # the current folder does not come first, from Python 3.11
