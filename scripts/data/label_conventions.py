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
HIGHEST_VALUE = 255  # of a label file, and of an internal class


@dataclass(frozen=True)
class LabelConvention:
    """One way of writing the internal classes into a label file.

    Args:
        name: how datalists name it.
        read: internal class of every value that a file may have.
        write: value that a file gets for every internal class.
    """

    name: str
    read: Mapping[int, int]
    write: Mapping[int, int]


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
        convention: a name, or a mapping. A mapping is ``{"read": {file value: class}, "write": {file value: class}}``
            or, shorter, ``{file value: class}``. Keys may be text (``"4"``), as JSON has them.
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
    except (AttributeError, TypeError, ValueError) as error:
        message = f"label convention `{name}` is {mapping}; expected {{file value: class}}, both integers."
        raise ValueError(message) from error
    numbers = {*read, *read.values()}
    if not numbers or min(numbers) < 0 or max(numbers) > HIGHEST_VALUE:
        raise ValueError(f"label convention `{name}` has the numbers {sorted(numbers)}; expected 0 to {HIGHEST_VALUE}.")
    if any(read.get(value) != label for value, label in write.items()) or len(set(write.values())) < len(write):
        raise ValueError(
            f"label convention `{name}` reads {read} and writes {write}; expected one of the values read for each "
            "class. Where several values are one class, say under `write` which of them is written."
        )
    return LabelConvention(name, read, {label: value for value, label in write.items()})


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
    if not set((np.flatnonzero(counts) - 1).tolist()) <= set(chosen.read):
        values = {int(value) for value in np.unique(np.rint(array)).tolist()}
        raise ValueError(_misfit(values, chosen, conventions))
    table = np.zeros(HIGHEST_VALUE + 1, dtype=np.uint8)
    table[list(chosen.read)] = list(chosen.read.values())
    return table[found]


def _integers(array: np.ndarray, convention: LabelConvention) -> np.ndarray:
    """Round to int16, what lies outside 0 to 255 to -1 or 256; refuse what is not an integer."""
    rounded = np.rint(array)
    with np.errstate(invalid="ignore"):
        odd = ~(np.abs(array - rounded) <= INTEGER_TOLERANCE)  # True for NaN and infinity as well
    if odd.any():
        examples = sorted(set(array[odd][:1000].tolist()))[:5]
        raise ValueError(
            f"the label has {int(odd.sum())} values that are not integers, e.g. {examples}; convention "
            f"`{convention.name}` has {sorted(convention.read)}. Was the label map interpolated?"
        )
    return np.clip(rounded, -1, HIGHEST_VALUE + 1).astype(np.int16)


def _misfit(values: set[int], convention: LabelConvention, conventions: Mapping[str, Mapping] | None) -> str:
    """Say what was found, what was expected, and which conventions would fit."""
    names = convention_names(conventions)
    fitting = [name for name in names if values <= set(get_convention(name, conventions).read)]
    return (
        f"the label has the values {sorted(values)}, but convention `{convention.name}` has {sorted(convention.read)}; "
        f"{'conventions that would fit: ' + str(fitting) if fitting else 'no known convention fits'}. "
        "See `label_convention` in the datalist."
    )


def from_internal(
    array: np.ndarray, convention: str | Mapping, conventions: Mapping[str, Mapping] | None = None
) -> np.ndarray:
    """Map internal classes to the values that a label file of the convention has.

    Args:
        array: internal classes (integers, of any number type), any shape.
        convention: name or mapping, see :func:`get_convention`.
        conventions: further conventions by name, from configuration.

    Returns:
        uint8 array of the same shape.

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
    table = np.zeros(HIGHEST_VALUE + 1, dtype=np.uint8)
    table[list(chosen.write)] = list(chosen.write.values())
    return table[classes]


def channel_definition(convention: str | Mapping, conventions: Mapping[str, Mapping] | None = None) -> dict[str, str]:
    """Describe the values of a written label map, as ``channel_def`` of a bundle's metadata: ``{"4": "edema"}``."""
    names = _table()["classes"]
    written = {value: label for label, value in get_convention(convention, conventions).write.items()}
    return {str(value): names.get(written[value], f"class {written[value]}") for value in sorted(written)}
