# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How missing rates, one per modality, become a fixed availability of each case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

DEFAULT_SEED = 1037  # the seed of the published availability tables


def assign_availability(num_cases: int, missing_rates: Sequence[float], seed: int = DEFAULT_SEED) -> np.ndarray:
    """Give every case a fixed, non-empty set of modalities so that the missing rates are nearly met.

    Each pattern of modalities, in the order of :func:`availability_patterns`, gets ``max(1, floor(N * probability))``
    rows, where the probability is the product of the rates (absent) and of one minus the rates (present); rows beyond
    ``N`` are dropped, the rows are shuffled together, and the rows that no pattern reached redraw each modality by its
    own rate until they have at least one. The random stream is that of NumPy's legacy generator.

    Args:
        num_cases: number of cases ``N``, sorted by name by the caller so that the table is reproducible.
        missing_rates: ``(M,)`` share of cases without each modality, ``0 <= rate < 1``; their order is that of the
            columns and changes the table.
        seed: of the legacy generator.

    Returns:
        ``(N, M)`` bool, ``True`` where the case has the modality; every row has at least one ``True``.

    Raises:
        ValueError: if there is no case, no modality, or a rate outside ``[0, 1)``.

    Reference:
        PASSION (arXiv 2407.14796), the tables of its released code. Differs: any number of modalities, and a pattern
        of probability zero gets no row, so that a modality with rate 0 is never missing (the published rates are > 0).
    """
    rates = _checked_rates(missing_rates)
    if num_cases < 1:
        raise ValueError(f"`num_cases` is {num_cases}; missing rates need at least one case to be assigned to.")
    generator = np.random.RandomState(seed)
    generator.rand(len(rates) * num_cases)  # drawn and discarded by the published code: only advances the generator
    available = _rows_in_order(num_cases, rates)
    order = np.arange(num_cases)
    generator.shuffle(order)
    available = available[order]
    for row in np.flatnonzero(~available.any(axis=1)):
        while not available[row].any():
            available[row] = generator.uniform(size=len(rates)) > rates
    return available


def availability_patterns(num_modalities: int) -> Iterator[tuple[bool, ...]]:
    """Walk through the non-empty patterns of available modalities in the order that the published tables follow.

    Patterns are compared column by column from the left, present before absent, with one twist: where the third
    column from the right is present, the last column is compared before the last but one. So three modalities go
    111, 101, 110, 100, 011, 010, 001; each further modality puts a present, then an absent, before the whole list for
    one modality less. One or two modalities have no third column and no twist: 11, 10, 01.

    Returns:
        ``2**M - 1`` tuples of ``M`` flags, ``True`` where the modality is available.
    """
    flags = (True, False)
    if num_modalities < 3:
        yield from (pattern for pattern in product(flags, repeat=num_modalities) if any(pattern))
        return
    for *head, first, second in product(flags, repeat=num_modalities):
        pattern = (*head, second, first) if head[-1] else (*head, first, second)
        if any(pattern):
            yield pattern


def parse_missing_rates(text: str | Mapping[str, float], modalities: Sequence[str] | None = None) -> dict[str, float]:
    """Read missing rates that name their modalities, e.g. ``"t1=0.2,t1ce=0.4,flair=0.6,t2=0.8"``.

    Args:
        text: ``name=rate`` pairs joined by commas, or a mapping; the order of the names is kept.
        modalities: the configured names, if they are to be checked; one that ``text`` leaves out comes last with
            rate 0, that is, is never missing.

    Raises:
        ValueError: if a pair cannot be read, a name is unknown or comes twice, or a rate is outside ``[0, 1)``.
    """
    pairs = parse_pairs(text, "missing rates")
    rates = {}
    for name, value in pairs.items():
        try:
            rates[name] = float(value)
        except (TypeError, ValueError):
            raise ValueError(f"missing rate of `{name}` is `{value}`; expected a number from 0 to below 1.") from None
    unknown = [name for name in rates if modalities is not None and name not in modalities]
    if unknown:
        raise ValueError(f"missing rates name the modalities {unknown}; expected some of {list(modalities or [])}.")
    rates.update((name, 0.0) for name in modalities or [] if name not in rates)
    _checked_rates(list(rates.values()), list(rates))
    return rates


def parse_pairs(text: str | Mapping[str, Any], what: str) -> dict[str, Any]:
    """Read ``name=value`` pairs joined by commas, or a mapping, into a dictionary in the order written.

    Args:
        text: e.g. ``"flair=Flair_*.nii.gz,t1ce=T1c_*.nii.gz"``.
        what: how an error calls them.

    Raises:
        ValueError: if there is no pair, one has no ``=``, no name or no value, or a name comes twice.
        TypeError: if it is neither text nor a mapping.
    """
    if isinstance(text, Mapping):
        pairs = [(str(name), value) for name, value in text.items()]
    elif isinstance(text, str):
        split = [part.partition("=") for part in text.split(",") if part.strip()]
        pairs = [(name.strip(), value.strip()) for name, _, value in split]
    else:
        raise TypeError(f"{what} are {text!r}; expected `name=value` pairs joined by commas, or a mapping.")
    names = [name for name, _ in pairs]
    if not pairs or not all(name and value not in ("", None) for name, value in pairs):
        raise ValueError(f"{what} are `{text}`; expected `name=value` pairs joined by commas.")
    if len(set(names)) < len(names):
        raise ValueError(f"{what} `{text}` name {sorted({n for n in names if names.count(n) > 1})} more than once.")
    return dict(pairs)


def _checked_rates(missing_rates: Sequence[float], names: Sequence[str] | None = None) -> np.ndarray:
    rates = np.asarray(missing_rates, dtype=np.float64)
    if rates.ndim != 1 or not rates.size:
        raise ValueError(
            f"missing rates have the shape {rates.shape}; expected one rate for each of M >= 1 modalities."
        )
    wrong = ~((rates >= 0) & (rates < 1))  # so that a NaN is wrong too
    if wrong.any():
        where = int(wrong.argmax())
        name = names[where] if names else f"number {where}"
        raise ValueError(f"missing rate of modality {name} is {rates[where]}; expected 0 <= rate < 1.")
    return rates


def _rows_in_order(num_cases: int, rates: np.ndarray) -> np.ndarray:
    """Fill the rows pattern after pattern; the rows left at the end have no modality yet."""
    available = np.zeros((num_cases, len(rates)), dtype=bool)
    start = 0
    for pattern in availability_patterns(len(rates)):
        expected = float(num_cases)  # multiplied from left to right: the floor below feels the last bit
        for there, rate in zip(pattern, rates, strict=True):
            expected *= 1 - rate if there else rate
        stop = start + max(1, int(expected)) if expected > 0 else start
        available[start:stop] = pattern
        start = stop
        if start >= num_cases:
            break
    return available
