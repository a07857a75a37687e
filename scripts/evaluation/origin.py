# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What weights were trained on, as the ``training.json`` beside them says."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..records.side_files import read_side_file, recorded_settings, require_weights, sha256, side_file
from .performance import counted, misfit

logger = logging.getLogger(__name__)

TRAINING_FILE = "training.json"
SYNTHETIC_ONLY = "trained on synthetic images only; not for clinical use"
UNKNOWN = "what these weights were trained on is not known"
NO_RECORD = f"no {TRAINING_FILE} beside the weights; {UNKNOWN}"
SHAPE = {"trained_on": {"name": str, "synthetic": bool, "section": str, "num_cases": int, "num_synthetic": int}}


def read_training(model_file: str | Path) -> dict[str, Any] | None:
    """Read the ``training.json`` of weights; ``None`` where there is none.

    Raises:
        ValueError: if it cannot be read, was made with other weights, or is not of the expected shape.
    """
    content = read_side_file(model_file, TRAINING_FILE, advice=UNKNOWN)
    problem = None if content is None else misfit(content, SHAPE) or _misfit_of_initial(content)
    if problem:
        raise ValueError(f"{side_file(model_file, TRAINING_FILE)} is damaged: {problem}; {UNKNOWN}.")
    return content


def trained_with(model_file: str | Path, otherwise: Mapping[str, Any]) -> dict[str, Any]:
    """Say with which settings weights were trained, so that inference takes the same.

    Args:
        model_file: need not exist.
        otherwise: name to value of each setting, where there is no record or it does not say.
    """
    return recorded_settings(read_training, model_file, otherwise)


def settings_of(model_file: str | Path, names: Sequence[str]) -> dict[str, Any]:
    """Say with which settings weights were trained, where nothing may be taken instead: an evaluation of them.

    Raises:
        FileNotFoundError: if there are no weights.
        ValueError: if no record says it.
    """
    found = trained_with(require_weights(model_file), dict.fromkeys(names))
    unknown = [name for name, value in found.items() if value is None]
    if unknown:
        options = ", ".join(f"`--{name}`" for name in names)
        raise ValueError(
            f"no {TRAINING_FILE} beside {model_file} says with which {' and '.join(unknown)} these weights were "
            f"trained; expected the record that training writes. Give {options} themselves."
        )
    logger.info("%s were trained with %s, and are evaluated so", model_file, found)
    return found


def origin_of(model_file: str | Path) -> dict[str, Any]:
    """Say what weights were trained on; a run is never ended by a record that is damaged or of other weights.

    Args:
        model_file: that exists.

    Returns:
        ready for JSON: ``file`` (name) and ``sha256`` of the weights; ``trained_on``, as
        `scripts.data.description.describe_training` describes it; ``initial_file``, likewise of the weights that
        training started from, or ``None``. Where nothing is known ``trained_on`` is ``None``, and ``note`` says why.
    """
    found, note = None, NO_RECORD
    try:
        found = read_training(model_file)
    except (OSError, ValueError) as error:
        note = str(error).removesuffix(".")
        logger.warning("%s", note)
    origin = {"file": Path(model_file).name, "sha256": sha256(model_file)}
    if found is None:
        return {**origin, "trained_on": None, "initial_file": None, "note": note}
    return {**origin, "trained_on": found["trained_on"], "initial_file": found.get("initial_file")}


def synthetic_only(origin: Mapping[str, Any]) -> bool:
    """Tell whether weights, and those that their training started from, are known to have seen no real image."""
    data, initial = origin.get("trained_on"), origin.get("initial_file")
    known = data is not None and 0 < data["num_cases"] == data["num_synthetic"]
    return known and (initial is None or synthetic_only(initial))


def origin_in_words(origin: Mapping[str, Any]) -> str:
    """Say in one line what `origin_of` found; trainings in a row on data of one description are said once."""
    stages: list[tuple[str, str, int]] = []  # file and words of a training, and how many in a row those words say
    for each in [origin, *ancestors(origin)]:
        words = _trained_in_words(each)
        if stages and stages[-1][1] == words:
            stages[-1] = (*stages[-1][:2], stages[-1][2] + 1)
        else:
            stages.append((each["file"], words, 1))
    repeated = {number: f", in {number} trainings, one after the other" for _, _, number in stages if number > 1}
    return "; started from ".join(f"{file}{words}{repeated.get(number, '')}" for file, words, number in stages)


def ancestors(origin: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """List the weights that a training started from, those that theirs started from, and so on."""
    found = []
    while origin.get("initial_file") is not None:
        origin = origin["initial_file"]
        found.append(origin)
    return found


def _trained_in_words(origin: Mapping[str, Any]) -> str:
    data = origin.get("trained_on")
    if data is None:
        return f": {origin['note']}"
    mixed = 0 < data["num_synthetic"] < data["num_cases"]
    cases = f"{data['name']}, section {data['section']}, {counted(data['num_cases'], 'case')}"
    cases += f", {data['num_synthetic']} of them synthetic" if mixed else ""
    return f", {SYNTHETIC_ONLY}: {cases}" if synthetic_only(origin) else f", trained on {cases}"


def _misfit_of_initial(record: Mapping[str, Any], place: str = "the file") -> str | None:
    """Say what is wrong with the weights that training started from, and with those before them."""
    initial, place = record.get("initial_file"), f"{place}::initial_file"
    if initial is None:
        return None
    unknown = isinstance(initial, dict) and initial.get("trained_on") is None
    shape = {"file": str, "sha256": str, **({"note": str} if unknown else SHAPE)}
    return misfit(initial, shape, place) or _misfit_of_initial(initial, place)
