# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Records with every run what is needed to make its numbers again."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

import ignite.distributed as idist
import torch
import yaml
from fire.parser import DefaultParseValue
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser

from ..data.audit import audit_section
from ..data.datalist import listed_modalities
from ..records.versions import package_versions
from ..utils.files import replacing, write_json

NOT_CONFIGURATION = ("meta_file", "logging_file", "run_id", "init_id", "final_id", "args_file", "tracking")


class RunRecordHandler:
    """Write ``run.json`` (command, seed, versions, git state, hardware) and the merged ``config.yaml`` at the start.

    ``config.yaml`` is itself a configuration: ``python -m monai.bundle run training --config_file <it>`` repeats the
    run. It is left out where the process was not started by ``monai.bundle run``. Attach to the engine that runs.

    With ``cases``, ``run.json`` also has ``data``: how many there are, and what they lack (``audit_section``) if every
    one lists its modalities, as those of a datalist do and those of MONAI Label do not.

    Args:
        output_dir: folder of the run.
        seed: of the run.
        cases: entries of the datalist that the run works on.
        modalities: names in channel order; goes with ``cases``.
    """

    def __init__(
        self, output_dir: str, seed: int, cases: Sequence[dict] | None = None, modalities: Sequence[str] = ()
    ) -> None:
        self.output_dir, self.seed = Path(output_dir), seed
        self.data = {}
        if cases is not None:
            listed = all(map(listed_modalities, cases))
            self.data = {"data": audit_section(cases, modalities) if listed else {"cases": len(cases)}}

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer or evaluator."""
        engine.add_event_handler(Events.STARTED, self)

    @idist.one_rank_only()
    def __call__(self, engine: Engine) -> None:
        write_json(self.output_dir / "run.json", {"seed": self.seed, **environment(), **self.data})
        config = merged_config(sys.argv[1:])
        if config is not None:
            with replacing(self.output_dir / "config.yaml") as temporary:
                temporary.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")


def environment() -> dict[str, Any]:
    """Describe command, date, versions, git state of the bundle and hardware."""
    bundle_root = Path(__file__).resolve().parents[2]
    return {
        "command": sys.argv,
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": package_versions(),
        "git_commit": _git(bundle_root, "rev-parse", "HEAD"),
        "git_changes": _git(bundle_root, "status", "--porcelain"),
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "processes": idist.get_world_size(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def merged_config(arguments: Sequence[str]) -> dict[str, Any] | None:
    """Merge the configuration files and overrides that a ``monai.bundle run`` command line names.

    Args:
        arguments: the command line behind the program's name.

    Returns:
        the merged configuration, or ``None`` if the command line names no ``--config_file``.
    """
    options = dict(given_options(arguments))
    files = options.pop("config_file", None)
    if files is None:
        return None
    parser = ConfigParser(load_files(files))
    for name, text in options.items():
        value = DefaultParseValue(text)
        if name not in NOT_CONFIGURATION and value is not None:  # MONAI passes over None
            parser[name] = value
    return cast(dict[str, Any], parser.config)


def load_files(files: str) -> dict[str, Any]:
    """Load the configuration files that a ``monai.bundle run`` command line names, merged as it does."""
    return ConfigParser.load_config_files(DefaultParseValue(files))


def given_options(arguments: Sequence[str]) -> list[tuple[str, str]]:
    """Read ``--name value``, ``--name=value`` and ``--name`` as fire does, which MONAI's command line is made of."""
    options = []
    for argument, following in zip(arguments, [*arguments, "--"][1:], strict=True):
        if argument.startswith("--"):
            name, equals, value = argument[2:].partition("=")
            if not equals:
                value = "True" if following.startswith("--") else following
            options.append((name.replace("-", "_"), value))
    return options


def _git(folder: Path, *arguments: str) -> str | None:
    """Ask git; ``None`` where the bundle is no checkout or git is not there."""
    try:
        result = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return result.stdout.strip() if result.returncode == 0 else None
