# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What a report is made from: the folders that evaluations and trainings leave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from ..evaluation.descriptions import plain_regions
from ..evaluation.origin import TRAINING_FILE
from ..evaluation.store import CASES_FOLDER, SETTINGS_FILE
from ..evaluation.tables import read_scores
from ..handlers.latent_features import GAP_FILE
from ..handlers.slices import SLICES
from ..records.scalars import read_scalars

PLAIN, MARKS = (str, int, float, bool, type(None)), ("$", "@", "%")  # what MONAI resolves begins with one of these
DICE_COLUMNS = {"case": str, "subset": str, "num_modalities": int, "region": str, "value": float}


class Run(NamedTuple):
    """What every run says of itself; empty where the file is not there.

    Attributes:
        folder: of the run.
        record: ``run.json``.
        config_text: ``config.yaml`` as it is.
        config: the same, read.
    """

    folder: Path
    record: dict[str, Any]
    config_text: str
    config: dict[str, Any]


class Evaluation(NamedTuple):
    """An evaluation; all but the summary may be empty.

    Attributes:
        run: how it was made.
        summary: ``summary.json``, see ``scripts.evaluation.summary.summarise``.
        dice: the Dice of ``per_case.csv``: ``case``, ``subset``, ``num_modalities``, ``region``, ``value``.
        settings: ``evaluation.json``, what the numbers depend on.
        gap: ``modality_gap.json``.
        slices: case to the file of ``SliceKeeper``.
    """

    run: Run
    summary: dict[str, Any]
    dice: pd.DataFrame
    settings: dict[str, Any]
    gap: dict[str, Any]
    slices: dict[str, Path]

    @property
    def weights(self) -> dict[str, Any]:
        """What was evaluated, as ``scripts.evaluation.origin.origin_of`` says it; its SHA-256 alone, or nothing."""
        known = self.settings.get("weights_sha256")
        return self.summary.get("weights") or ({"sha256": known} if known else {})

    @property
    def regions(self) -> list[str]:
        """Regions as configured, without those derived from them by a smallest size."""
        return plain_regions(self.summary["regions"])


class Training(NamedTuple):
    """A training.

    Attributes:
        run: how it was made.
        scalars: ``tag``, ``epoch`` and ``value`` of its curves; empty if there are none.
        weights: SHA-256 of the weights that it wrote into its folder; empty where that is not recorded.
        elsewhere: of those that lie where its configuration wrote weights, which another run may have replaced.
    """

    run: Run
    scalars: pd.DataFrame
    weights: str = ""
    elsewhere: str = ""


def read_evaluation(folder: str | Path) -> Evaluation:
    """Read what an evaluation left.

    Raises:
        FileNotFoundError: if there is no summary.
        ValueError: if a file cannot be read.
    """
    folder = Path(folder)
    if not (folder / "summary.json").is_file():
        raise FileNotFoundError(
            f"no summary.json in {folder}; expected the `output_dir` of an evaluation. The workflow `evaluating` with "
            "configs/evaluate.yaml writes it."
        )
    cases = sorted((folder / CASES_FOLDER).glob(f"*.{SLICES}"))
    return Evaluation(
        run=_read_run(folder),
        summary=_read_json(folder / "summary.json"),
        dice=_read_dice(folder / "per_case.csv"),
        settings=_read_json(folder / SETTINGS_FILE),
        gap=_read_json(folder / GAP_FILE),
        slices={file.name.removesuffix(f".{SLICES}"): file for file in cases if not file.name.startswith(".")},
    )


def read_training(folder: str | Path) -> Training:
    """Read what a training left.

    Raises:
        FileNotFoundError: if the folder has neither a record nor curves.
        ValueError: if a file cannot be read.
    """
    folder = Path(folder)
    curves = folder / "tensorboard"
    if not (curves.is_dir() or (folder / "run.json").is_file()):
        raise FileNotFoundError(
            f"neither run.json nor tensorboard/ in {folder}; expected the `output_dir` of a training."
        )
    scalars = read_scalars(curves) if curves.is_dir() else pd.DataFrame(columns=["tag", "epoch", "value"])
    run = _read_run(folder)
    model_file = run.config.get("model_file")
    elsewhere = _recorded_weights(Path(model_file).parent) if model_file and is_plain(model_file) else ""
    return Training(run, scalars, _recorded_weights(folder), elsewhere)


def _recorded_weights(folder: Path) -> str:
    return _read_json(folder / TRAINING_FILE).get("sha256") or ""


def is_plain(value: Any) -> bool:
    """Tell whether a value of a configuration, or each of a list, is one: no reference, no expression, no component."""
    values = value if isinstance(value, list) else [value]
    return all(isinstance(each, PLAIN) and not str(each).startswith(MARKS) for each in values)


def _read_dice(file: Path) -> pd.DataFrame:
    if not file.is_file():
        return pd.DataFrame(columns=list(DICE_COLUMNS)).astype({"value": float})
    rows = read_scores(file)
    return rows.loc[rows["metric"] == "dice", list(DICE_COLUMNS)].astype(DICE_COLUMNS)


def _read_run(folder: Path) -> Run:
    file = folder / "config.yaml"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    try:
        config = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{file} cannot be read as YAML: {error}.") from error
    return Run(folder, _read_json(folder / "run.json"), text, config)


def _read_json(path: Path) -> dict[str, Any]:
    """Read an object of JSON; a file that is not there is empty."""
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}.") from error
