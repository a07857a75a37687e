# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What the values of a label file mean: file values to internal classes and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import yaml

# Label maps stored with a scale factor come back as 0.99999997; interpolated ones are off by far more.
INTEGER_TOLERANCE = 1e-3
HIGHEST_VALUE, HIGHEST_CLASS = 65535, 255  # of a label file, and of an internal class


@dataclass(frozen=True)
class LabelConvention:
    """One way of writing the internal classes into a label file.

    Args:
        name: how datalists name it.
        read: internal class of every value that a file may have.
        write: value that a file gets for every internal class.
        class_names: what internal classes are; those of another task have other names.
        either: values of which a file has one alone.
    """

    name: str
    read: Mapping[int, int]
    write: Mapping[int, int]
    class_names: Mapping[int, str]
    either: frozenset[int] = frozenset()

    @property
    def dtype(self) -> np.dtype:
        """Smallest unsigned type that holds every value written: uint8, or uint16 where one is above 255."""
        return np.min_scalar_type(max(self.write.values()))


@lru_cache(maxsize=1)
def _table() -> dict:
    """Read the table that lies beside this module."""
    return yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))


def convention_names(conventions: Mapping[str, Mapping] | None = None) -> list[str]:
    """Name the conventions that come with the package, then those of ``conventions`` (from configuration)."""
    return list({**_table()["conventions"], **(conventions or {})})


def get_convention(convention: str | Mapping, conventions: Mapping[str, Mapping] | None = None) -> LabelConvention:
    """Look up a convention by name, or build one from a mapping.

    Args:
        convention: a name, or a mapping. A mapping is ``{"read": {file value: class}, "write": {file value: class},
            "classes": {class: name}}``, the last two optional, or, shorter, ``{file value: class}``. Keys may be text
            (``"4"``), as JSON has them. Values may be up to 65535, classes up to 255.
        conventions: mappings of further conventions by name, from configuration; they win over the package's own.

    Raises:
        ValueError: if the name is unknown, or the mapping does not say which value to write for a class.
    """
    if isinstance(convention, Mapping):
        return _build("custom", convention)
    known = {**_table()["conventions"], **(conventions or {})}
    if convention not in known:
        raise ValueError(
            f"label convention `{convention}` is unknown; expected one of {list(known)}. "
            "Name it in the datalist (`label_convention`), or add it to `conventions` of the loader."
        )
    return _build(convention, known[convention])


def _build(name: str, mapping: Mapping) -> LabelConvention:
    """Check a mapping and turn it round for writing."""
    nested = mapping if "read" in mapping else {"read": mapping}
    try:
        read, write = ({int(v): int(c) for v, c in nested.get(k, nested["read"]).items()} for k in ("read", "write"))
        class_names = {int(label): str(text) for label, text in nested.get("classes", {0: "background"}).items()}
    except (AttributeError, TypeError, ValueError) as error:
        message = f"label convention `{name}` is {mapping}; expected {{file value: class}}, both integers, and under "
        message += "`classes`, if it is there, {class: name}."
        raise ValueError(message) from error
    for numbers, highest in ((set(read), HIGHEST_VALUE), (set(read.values()), HIGHEST_CLASS)):
        if not numbers or min(numbers) < 0 or max(numbers) > highest:
            what = "classes" if highest == HIGHEST_CLASS else "file values"
            raise ValueError(f"label convention `{name}` has the {what} {sorted(numbers)}; expected 0 to {highest}.")
    if any(read.get(value) != label for value, label in write.items()) or len(set(write.values())) < len(write):
        raise ValueError(
            f"label convention `{name}` reads {read} and writes {write}; expected one of the values read for each "
            "class. Where several values are one class, say under `write` which of them is written."
        )
    either = frozenset(int(value) for value in nested.get("either", ()))
    return LabelConvention(name, read, {label: value for value, label in write.items()}, class_names, either)


def to_internal(
    array: np.ndarray, convention: str | Mapping, conventions: Mapping[str, Mapping] | None = None
) -> np.ndarray:
    """Map the values of a label file to internal classes.

    Args:
        array: values of the file, any shape; floating point is accepted if every value is an integer to 1e-3.
        convention: name or mapping, see :func:`get_convention`.
        conventions: further conventions by name, from configuration.

    Returns:
        uint8 array of the same shape.

    Raises:
        ValueError: if a value is not an integer, or the convention does not have it.
    """
    chosen = get_convention(convention, conventions)
    found = _integers(array, chosen)
    counts = np.bincount(found.ravel() + 1)  # shifted by one, so that "below zero" is counted too
    there = set((np.flatnonzero(counts) - 1).tolist())
    if not there <= set(chosen.read) or len(there & chosen.either) > 1:
        values = {int(value) for value in np.unique(np.rint(array)).tolist()}
        raise ValueError(_misfit(values, chosen, conventions))
    table = np.zeros(max(chosen.read) + 1, dtype=np.uint8)
    table[list(chosen.read)] = list(chosen.read.values())
    return table[found]


def _integers(array: np.ndarray, convention: LabelConvention) -> np.ndarray:
    """Round to integers, what lies outside the convention to -1 or one too high; refuse what is not an integer."""
    rounded = np.rint(array)
    with np.errstate(invalid="ignore"):
        odd = ~(np.abs(array - rounded) <= INTEGER_TOLERANCE)  # True for NaN and infinity as well
    if odd.any():
        examples = sorted(set(array[odd][:1000].tolist()))[:5]
        raise ValueError(
            f"the label has {int(odd.sum())} values that are not integers, e.g. {examples}; convention "
            f"`{convention.name}` has {sorted(convention.read)}. Was the label map interpolated?"
        )
    above = max(convention.read) + 1
    return np.clip(rounded, -1, above).astype(np.int16 if above < np.iinfo(np.int16).max else np.int32)


def _misfit(values: set[int], convention: LabelConvention, conventions: Mapping[str, Mapping] | None) -> str:
    """Say what was found, what was expected, and which conventions would fit."""
    names = convention_names(conventions)
    fitting = [name for name in names if _fits(values, get_convention(name, conventions))]
    alone = f", of {' and '.join(map(str, sorted(convention.either)))} one alone" if convention.either else ""
    return (
        f"the label has the values {sorted(values)}, but convention `{convention.name}` has {sorted(convention.read)}"
        f"{alone}; "
        f"{'conventions that would fit: ' + str(fitting) if fitting else 'no known convention fits'}. "
        "See `label_convention` in the datalist."
    )


def _fits(values: set[int], convention: LabelConvention) -> bool:
    return values <= set(convention.read) and len(values & convention.either) < 2


def from_internal(
    array: np.ndarray, convention: str | Mapping, conventions: Mapping[str, Mapping] | None = None
) -> np.ndarray:
    """Map internal classes to the values that a label file of the convention has.

    Args:
        array: internal classes (integers, of any number type), any shape.
        convention: name or mapping, see :func:`get_convention`.
        conventions: further conventions by name, from configuration.

    Returns:
        Array of the same shape, of the smallest unsigned type that holds every value of the convention: uint8, or
        uint16 where one is above 255.

    Raises:
        ValueError: if a class is not an integer, or the convention has no value for it.
    """
    chosen = get_convention(convention, conventions)
    identity = {label: label for label in chosen.write}
    try:
        classes = to_internal(array, identity)
    except ValueError as error:
        raise ValueError(
            f"the array holds classes that label convention `{chosen.name}` cannot write; "
            f"it has {sorted(chosen.write)}. ({error})"
        ) from error
    table = np.zeros(max(chosen.write) + 1, dtype=chosen.dtype)
    table[list(chosen.write)] = list(chosen.write.values())
    return table[classes]


def channel_definition(convention: str | Mapping, conventions: Mapping[str, Mapping] | None = None) -> dict[str, str]:
    """Describe the values of a written label map, as ``channel_def`` of a bundle's metadata: ``{"4": "edema"}``."""
    chosen = get_convention(convention, conventions)
    written = sorted((value, label) for label, value in chosen.write.items())
    return {str(value): chosen.class_names.get(label, f"class {label}") for value, label in written}
