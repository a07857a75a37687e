# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How a run was made, for a report: its record, its knobs, what its data lack."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..evaluation.origin import ancestors
from ..records.side_files import SHOWN
from .inputs import Evaluation, Run, Training, is_plain

PROGRAM = "__main__.py"  # what a module run by ``python -m`` is called


class Pattern(NamedTuple):
    """Cases that have the same modalities: whether each is there, how many cases, their share in words."""

    subset: str
    available: tuple[bool, ...]
    cases: int
    share: str


class Audit(NamedTuple):
    """What the cases of a run lack: number of cases, labels, ``(modality, cases, missing rate)``, patterns."""

    cases: int
    labels: str
    modalities: list[tuple[str, int, str]]
    patterns: list[Pattern]


class Provenance(NamedTuple):
    """How a run was made; each part may be empty.

    Attributes:
        title: what the run did.
        facts: name and text.
        knobs: id and value of what the configuration sets at its root.
        audit: of its cases.
        config: the whole configuration.
    """

    title: str
    facts: list[tuple[str, str]]
    knobs: list[tuple[str, str]]
    audit: Audit | None
    config: str


def provenance(title: str, run: Run, known: Mapping[str, Any] | None = None) -> Provenance:
    """Describe a run; ids whose value is that of ``known``, a configuration said before, are not said again."""
    data = run.record.get("data")
    knobs = [pair for pair in _knobs(run.config) if pair not in _knobs(known or {})]
    return Provenance(title, _facts(run), knobs, _audit(data) if data else None, run.config_text)


def relation(training: Training, evaluation: Evaluation) -> str:
    """Say in words whether a training made the weights that were evaluated.

    Raises:
        ValueError: if it is known to have made others, from which training did not even start.
    """
    evaluated = evaluation.weights.get("sha256")
    chain = [evaluated, *(each["sha256"] for each in ancestors(evaluation.weights))]
    made = training.elsewhere if not training.weights and training.elsewhere in chain else training.weights
    if not (evaluated and made):
        lacking = f"{training.run.folder} names those that it made" if evaluated else "the evaluation names them"
        return f"Whether this training made the weights that were evaluated is not recorded: nothing in {lacking}."
    if made not in chain:
        raise ValueError(
            f"the training in {training.run.folder} made the weights {made[:SHOWN]}…, but those evaluated in "
            f"{evaluation.run.folder} are {evaluated[:SHOWN]}… (SHA-256); its curves would be of another network. Name "
            "the `output_dir` of the training that made them, or leave `--training` out."
        )
    back = chain.index(made)
    if not back:
        return f"The training that made the weights that were evaluated (SHA-256 {evaluated[:SHOWN]}…)."
    return (
        f"Not the last training of the weights that were evaluated: it made those that they started from, {back} "
        f"training{'s' if back > 1 else ''} earlier (SHA-256 {made[:SHOWN]}…, evaluated {evaluated[:SHOWN]}…)."
    )


def target_name(component: Any) -> str:
    """Name the class of a component of a configuration; empty if it is none."""
    return component["_target_"].rpartition(".")[2] if isinstance(component, dict) and "_target_" in component else ""


def _facts(run: Run) -> list[tuple[str, str]]:
    record = run.record
    facts = [("folder", str(run.folder))]
    if record.get("command"):
        facts.append(("command", _command_line(record["command"])))
    facts += [(name, str(record[name])) for name in ("seed", "started") if record.get(name) is not None]
    if record.get("git_commit"):
        changes = (record.get("git_changes") or "").splitlines()
        state = f", with {len(changes)} changed files" if changes else ", nothing changed"
        facts.append(("git commit", record["git_commit"] + state))
    versions = {"python": record.get("python"), **record.get("versions", {})}
    if any(versions.values()):
        facts.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    hardware = [record.get("processor"), record.get("gpu"), f"{record.get('threads')} threads"]
    if record.get("processor"):
        facts.append(("hardware", ", ".join(filter(None, hardware))))
    return facts


def _command_line(arguments: list[str]) -> str:
    program, *rest = arguments
    start = [program]
    if program.endswith(f"/{PROGRAM}"):
        parts = program.removesuffix(f"/{PROGRAM}").split("/site-packages/")[-1].split("/")
        start = ["python", "-m", ".".join(parts)]
    return " ".join(map(_quoted, [*start, *rest]))


def _quoted(word: str) -> str:
    """Quote a word for the shell; in double quotes where it has single ones, as in our own documents."""
    return f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word)


def _knobs(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """List the ids at the root that are values, and components with their own values; no reference, no expression."""
    knobs = []
    for name, value in config.items():
        if target_name(value)[:1].islower():  # what functions make is said where it belongs
            continue
        if target_name(value):
            inner = {key: each for key, each in value.items() if key != "_target_" and is_plain(each)}
            text = ", ".join(f"{key} {_text(each)}" for key, each in inner.items())
            knobs.append((name, target_name(value) + (f": {text}" if text else "")))
        elif is_plain(value):
            knobs.append((name, _text(value)))
        elif isinstance(value, dict) and value and all(is_plain(each) for each in value.values()):
            knobs.append((name, ", ".join(f"{key} {_text(each)}" for key, each in value.items())))
    return knobs


def _text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    words = {True: "true", False: "false", None: "null", "": "''"}
    return words[value] if isinstance(value, (bool, type(None))) or value == "" else str(value)


def _audit(data: Mapping[str, Any]) -> Audit:
    names = list(data["modalities"])
    patterns = []
    for row in data["patterns"]:
        there = row["subset"].split("+")
        patterns.append(Pattern(row["subset"], tuple(n in there for n in names), row["cases"], _percent(row["share"])))
    modalities = [(name, row["cases"], _percent(row["missing_rate"])) for name, row in data["modalities"].items()]
    labels = ", ".join(f"{number} {convention}" for convention, number in data["labels"].items())
    return Audit(data["cases"], labels, modalities, patterns)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"
