# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Which series of a patient is which modality, by what their headers say, with the reason in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import yaml

from ..data.missing_rate import parse_pairs

AGENT = {"t1": "t1ce"}  # contrast to what it is called after a contrast agent; others keep their name
NO_AGENT = "no contrast agent in names and header"
NOT_GIVEN = ("", "no", "none", "n", "0", "null", "na", "n a", "without", "keine", "nein", "no contrast", "non contrast")
NOBODY = "none"  # in place of a series, where the user wants none for a modality
PROTON = "proton density"
ALIKE = 0.1  # relative difference up to which two slices are as thick, or two pixels as large
HOW = '--series "t1ce=7" by number or description, or "t1ce=none"'


@dataclass(frozen=True)
class Series:
    """What the headers of a series say, and what it was taken for.

    Nothing here names the patient. A value that the headers do not have is ``None`` or empty. Times are in ms, lengths
    in mm.

    Attributes:
        number: of the series; an echo of several is a series of its own.
        description: what radiographers called it, with all that names the patient taken away.
        protocol: what the scanner's protocol calls it, likewise.
        sequence: the vendor's name of the pulse sequence.
        scanning: scanning sequence: SE, GR, IR, EP.
        image_type: what was done to the image.
        kind: of the images: MR, CT, SEG, ...
        body_part: that was examined.
        repetition, echo, inversion: times.
        agent: contrast agent.
        b_value: of diffusion, in s/mm^2.
        three_dimensional: whether the acquisition was, where that is said.
        thickness: distance between slices.
        pixel: edge of a pixel.
        plane: axial, coronal or sagittal.
        coverage: from the first slice to the last.
        num_images: number of slices.
        echo_number: which of the echoes of its series, where there are several.
        study: number of the study within the folder, from 1.
        order: number in the order of acquisition, from 0.
        problem: why it is no volume of even slices, if it is none.
        candidate: modality that the headers speak for.
        modality: that it is taken for; ``None`` where it is left out.
        reason: of that, in words.
        undecided: it could be ``candidate`` as well as another series could, and nothing tells which to take.
    """

    number: int | None = None
    description: str = ""
    protocol: str = ""
    sequence: str = ""
    scanning: tuple[str, ...] = ()
    image_type: tuple[str, ...] = ()
    kind: str = "MR"
    body_part: str = ""
    repetition: float | None = None
    echo: float | None = None
    inversion: float | None = None
    agent: str = ""
    b_value: float | None = None
    three_dimensional: bool | None = None
    thickness: float | None = None
    pixel: float | None = None
    plane: str | None = None
    coverage: float | None = None
    num_images: int = 0
    echo_number: int | None = None
    study: int = 1
    order: int = 0
    problem: str | None = None
    candidate: str | None = None
    modality: str | None = None
    reason: str = ""
    undecided: bool = False

    @property
    def name(self) -> str:
        """Number of the series, and of its echo where there are several: ``"7"`` or ``"7.2"``."""
        number = "?" if self.number is None else f"{self.number}"
        return number if self.echo_number is None else f"{number}.{self.echo_number}"

    @property
    def times(self) -> str:
        """Times in words, those that there are."""
        named = (("TR", self.repetition), ("TE", self.echo), ("TI", self.inversion))
        words = [f"{name} {value:.4g}" for name, value in named if value]
        return f"{', '.join(words)} ms" if words else "no times"


@lru_cache(maxsize=1)
def _table() -> dict:
    return yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))


@lru_cache
def _pattern(words: str) -> re.Pattern[str]:
    """Compile ``words`` as ``sequences.yaml`` has them."""
    return re.compile(rf"(?<!\S)(?:{words.replace(' | ', '|')})(?!\S)")


def decide(
    series: Sequence[Series], modalities: Sequence[str], chosen: str | Mapping[str, str | int] | None = None
) -> list[Series]:
    """Say of each series which modality it is taken for, and why; at most one for each modality.

    Where several could be one modality, the first of these decides: an original before a derived image, 3D before 2D,
    the thinner slices, the smaller pixels, axial before other planes; of a series that was repeated, the last (but not
    where it might have been repeated after a contrast agent).

    Args:
        series: of one patient.
        modalities: names that are wanted, e.g. flair, t1ce, t1, t2.
        chosen: what the user says: modality to number or description of a series, or to ``none``; as a mapping or as
            ``"t1ce=7,t1=none"``. It wins over the headers.

    Returns:
        the same series in the same order, with ``candidate``, ``modality`` and ``reason``.

    Raises:
        ValueError: if what the user names is not there, or fits several series.
    """
    decided = [recognise(each, modalities) for each in series]
    named = _named(decided, modalities, parse_pairs(chosen, "series") if chosen else {})
    by_user = [index for index in named.values() if index is not None]
    for modality, index in named.items():
        if index is not None:
            decided[index] = _by_user(decided[index], modality)
    for modality in modalities:
        rivals = [i for i, each in enumerate(decided) if each.candidate == modality and i not in by_user]
        if modality in named:
            kept = named[modality]
            why = "none is wanted" if kept is None else f"series {decided[kept].name} is taken, as the user says"
            _leave_out(decided, rivals, f"{modality}, but {why}")
        elif rivals:
            _take_best(decided, rivals, modality)
            _doubt_agent(decided, rivals)
    return decided


def taken(decided: Sequence[Series]) -> dict[str, Series]:
    """Give the series that is taken for each modality.

    Args:
        decided: by ``decide``.

    Raises:
        ValueError: if nothing tells which of several to take, none is taken at all, or they are of several studies.
    """
    found = {each.modality: each for each in decided if each.modality is not None}
    undecided = [each for each in decided if each.undecided]
    if undecided:
        rows = "; ".join(f"{each.candidate}: series {each.name} `{each.description}`" for each in undecided)
        raise ValueError(f"nothing in the headers tells which series to take ({rows}); say it: {HOW}.")
    if not found:
        rows = "; ".join(f"series {each.name} `{each.description}`: {each.reason}" for each in decided)
        raise ValueError(f"none of the {len(decided)} series is recognised ({rows}); say which is which: {HOW}.")
    studies = sorted({each.study for each in found.values()})
    if len(studies) > 1:
        rows = ", ".join(f"{modality}: series {each.name} of study {each.study}" for modality, each in found.items())
        raise ValueError(
            f"the series are of {len(studies)} studies ({rows}), and a patient may have changed between them; expected "
            f"the folder of one study, or each modality named ({HOW}) so that all are of one."
        )
    return found


def format_series(decided: Sequence[Series]) -> str:
    """Lay the decisions out as a table, a row for each series."""
    rows = [("series", "taken as", "description", "images", "times", "reason")]
    for each in decided:
        size = f"{each.num_images} x {each.thickness:.3g} mm" if each.thickness else f"{each.num_images}"
        plane = f" {each.plane}" if each.plane else ""
        rows.append((each.name, each.modality or "-", each.description, size + plane, each.times, each.reason))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def recognise(series: Series, modalities: Sequence[str]) -> Series:
    """Tell what one series is by itself: ``candidate`` of a modality, or ``None``, with the ``reason``.

    Words come first (description, then protocol, then sequence name), and echo, repetition and inversion time must
    agree with them; a series without words goes by its times.
    """
    series = replace(series, candidate=None, modality=None, undecided=False)
    why_not = _no_image(series)
    if why_not:
        return replace(series, reason=why_not)
    contrast, reason = _contrast(series)
    if contrast is None:
        return replace(series, reason=reason)
    given, why = _after_agent(series) if contrast in AGENT else (False, "")
    name = AGENT[contrast] if given else contrast
    if name not in modalities:
        return replace(series, reason=f"{name} ({reason}), which is not asked for")
    return replace(series, candidate=name, reason="; ".join(filter(None, (reason, why))))


def _words(text: str) -> str:
    """Bring a name into the form that ``sequences.yaml`` describes."""
    text = re.sub(r"(?<=[a-z]{2})(?=[A-Z])", " ", text).lower().replace("t2*", " t2star ")
    text = re.sub(r"\+ ?(c|gd|gad|km|kontrast|contrast)(?![a-z])|(?<![a-z])(c|gd|km) ?\+", " withagent ", text)
    text = re.sub(r"(?<![a-z])c ?-(?![a-z0-9])|(?<![a-z0-9])- ?c(?![a-z])", " minusagent ", text)
    text = re.sub(r"[^a-z0-9]+", " ", text)
    stuck = (
        r"(?<![a-z0-9])((?:axial|ax|tra|cor|sag|obl|[23]d|tse|fse|se|ce|s)?)t([12])((?:weighted|wi|w)(?![a-z]))?(?!\d)"
    )
    return " ".join(re.sub(stuck, r"\1 t\2 ", text).split())


def _fits(words: str, text: str) -> bool:
    return _pattern(words).search(text) is not None


def _no_image(series: Series) -> str | None:
    """Say why a series is none of the images that are segmented, whatever its contrast."""
    if series.kind != "MR":
        return f"no MR image but {series.kind or 'of an unknown kind'}"
    if series.b_value:
        return f"left out: diffusion (b {series.b_value:g} s/mm2)"
    for entry in _table()["left_out"]:
        types = [each for each in series.image_type if each in entry.get("image_types", ())]
        if types:
            return f"left out: {entry['what']} (image type {types[0]})"
    for text in _named_first(series):
        for entry in _table()["left_out"]:
            found = _pattern(entry["words"]).search(_words(text))
            if found and not (entry["what"] == PROTON and _t2_echo(series, text)):
                return f"left out: {entry['what']} (called `{text}`)"
    if _fits(_table()["other_body_parts"], series.body_part.lower()):
        return f"left out: not of the brain (body part {series.body_part})"
    if "EP" in series.scanning:
        return "left out: echo planar, as diffusion and perfusion are"
    if series.problem:
        return f"left out: {series.problem}"
    least = _table()["smallest_coverage_mm"]
    if series.coverage is not None and series.coverage < least:
        return (
            f"left out: {series.num_images} slices cover {series.coverage:.0f} mm, expected {least} or more of a brain"
        )
    return None


def _t2_echo(series: Series, text: str) -> bool:
    """Whether this is the T2-weighted echo of a series that has both: "PD/T2"."""
    return _contrast_word(text) == "t2" and (series.echo or 0.0) >= _table()["times_ms"]["shortest_t2_echo"]


def _named_first(series: Series) -> list[str]:
    """The names of a series up to the first that says a contrast; those behind it may be of a whole examination."""
    names = [each for each in (series.description, series.protocol, series.sequence) if each]
    for position, text in enumerate(names):
        if _contrast_word(text):
            return names[: position + 1]
    return names


def _contrast_word(text: str) -> str | None:
    words = _words(text)
    return next((each["name"] for each in _table()["contrasts"] if _fits(each["words"], words)), None)


def _contrast(series: Series) -> tuple[str | None, str]:
    """Tell the contrast by words, else by times, and why."""
    by_times = _contrast_by_times(series)
    text = _named_first(series)[-1] if _named_first(series) else ""
    by_words = _contrast_word(text)
    if by_words is None:
        if by_times is None:
            return None, f"not recognised: no known word in its names, and its times ({series.times}) do not tell"
        return by_times, f"by its times ({series.times}); no known word in its names"
    limits = _table()["times_ms"]
    echo, inversion = series.echo, series.inversion
    if inversion and inversion <= limits["longest_fat_inversion"] and by_words != "t1":
        return None, f"left out: fat suppressed by a short inversion time (called `{text}`, {series.times})"
    if by_words == "t2" and inversion and by_times == "flair":
        return "flair", f"called `{text}`, but the inversion time suppresses fluid ({series.times})"
    against = {
        "t1": bool(echo and echo > limits["longest_t1_echo"]),
        "t2": bool(echo and echo < limits["shortest_t2_echo"]),
        "flair": bool(echo and echo < limits["shortest_fluid_echo"])
        or bool(inversion and inversion < limits["shortest_fluid_inversion"]),
    }[by_words]
    if against:
        return None, f"not recognised: called `{text}`, which {series.times} contradict"
    agree = f"{series.times} agree" if echo else "no echo time to compare with"
    return by_words, f"called `{text}`, {agree}"


def _contrast_by_times(series: Series) -> str | None:
    """Tell the contrast by the times alone, where they leave no doubt."""
    limits = _table()["times_ms"]
    echo, repetition, inversion = series.echo, series.repetition, series.inversion or 0.0
    if not echo or not repetition:
        return None
    inverted = inversion > 0 or "IR" in series.scanning
    if "GR" in series.scanning:
        return "t1" if echo <= limits["longest_t1_gradient_echo"] and (inverted or repetition < 500) else None
    if inverted:
        if inversion >= limits["shortest_fluid_inversion"] and echo >= limits["shortest_fluid_echo"]:
            return "flair"
        between = limits["longest_fat_inversion"] < inversion < limits["shortest_fluid_inversion"]
        return "t1" if between and echo <= limits["longest_t1_echo"] else None
    if "SE" not in series.scanning:
        return None
    if repetition <= limits["longest_t1_repetition"] and echo <= limits["longest_t1_echo"]:
        return "t1"
    if repetition >= limits["shortest_t2_repetition"] and echo >= limits["shortest_t2_echo"]:
        return "t2"
    return None


def _after_agent(series: Series) -> tuple[bool, str]:
    """Tell whether a contrast agent had been given, by words, else by the header's contrast agent, and why."""
    words = _table()["contrast_agent"]
    agent = "" if _words(series.agent) in NOT_GIVEN else series.agent
    for text in (series.description, series.protocol):
        rest = _pattern(words["neither"]).sub(" ", _words(text))
        without = _pattern(words["before"]).sub(" ", rest)
        before, after = without != rest, _fits(words["after"], " ".join(without.split()))
        if before and not after:
            doubt = ", though the header names a contrast agent" if agent else ""
            return False, f"before the contrast agent by its name `{text}`{doubt}"
        if after and not before:
            return True, f"after the contrast agent by its name `{text}`"
    if agent:
        return True, f"after the contrast agent by its header ({agent})"
    return False, NO_AGENT


def _says_nothing_of_agent(series: Series) -> bool:
    """Whether a contrast agent would change what a series is called, and nothing tells of one."""
    return series.candidate in AGENT and _after_agent(series) == (False, NO_AGENT)


def _is_3d(series: Series) -> bool:
    """Whether an acquisition was 3D, by what the header says or by a name."""
    if series.three_dimensional is not None:
        return series.three_dimensional
    names = " ".join(map(_words, (series.description, series.protocol, series.sequence)))
    return _fits(_table()["three_dimensional"], names)


def _take_best(decided: list[Series], rivals: Sequence[int], modality: str) -> None:
    """Take one of several candidates and leave the others out; all of them where nothing tells which."""
    best, why = list(rivals), {}
    rules: tuple[tuple[str, Callable[[Series], float]], ...] = (  # less is better
        ("original, not derived", lambda each: "DERIVED" in each.image_type),
        ("3D", lambda each: not _is_3d(each)),
        ("thinner slices", lambda each: each.thickness or float("inf")),
        ("smaller pixels", lambda each: each.pixel or float("inf")),
        ("axial", lambda each: each.plane != "axial"),
    )
    for rule, measure in rules:
        least = min(measure(decided[i]) for i in best)
        for index in [i for i in best if measure(decided[i]) > least * (1 + ALIKE)]:
            best.remove(index)
            why[index] = rule
    names = {(decided[i].study, _words(decided[i].description)) for i in best}
    if len(best) > 1 and len(names) == 1 and not _says_nothing_of_agent(decided[best[0]]):  # might be after it
        last = max(best, key=lambda i: decided[i].order)
        why |= {i: "acquired last, under the same name" for i in best if i != last}
        best = [last]
    if len(best) > 1:
        equal = ", ".join(decided[i].name for i in best)
        reason = f"{modality}, but nothing tells which of the series {equal} to take: {HOW}"
        for index in best:
            decided[index] = replace(decided[index], modality=None, reason=reason, undecided=True)
    else:
        decided[best[0]] = replace(decided[best[0]], modality=modality)
    instead = "one of them" if len(best) > 1 else f"series {decided[best[0]].name}"
    for index, rule in why.items():
        _leave_out(decided, [index], f"{modality}, but {instead} is taken ({rule})")


def _doubt_agent(decided: list[Series], rivals: Sequence[int]) -> None:
    """Say so where one of several series is taken, and no word tells whether one of them is after a contrast agent."""
    unsaid = [i for i in rivals if _says_nothing_of_agent(decided[i])]
    for i in unsaid:
        if len(unsaid) > 1 and decided[i].modality:
            doubt = f"{len(unsaid)} such series say nothing of a contrast agent: is this before it?"
            decided[i] = replace(decided[i], reason=f"{decided[i].reason}; {doubt}")


def _leave_out(decided: list[Series], indices: Sequence[int], reason: str) -> None:
    for index in indices:
        decided[index] = replace(decided[index], modality=None, reason=reason)


def _by_user(series: Series, modality: str) -> Series:
    """Take a series for what the user says, unless no volume can be made of it."""
    if series.problem:
        raise ValueError(f"series {series.name} cannot be taken for {modality}: {series.problem}.")
    said = f" (by its headers: {series.reason})" if series.candidate != modality else ""
    return replace(series, candidate=modality, modality=modality, reason=f"named by the user{said}")


def _named(
    decided: Sequence[Series], modalities: Sequence[str], chosen: Mapping[str, str | int]
) -> dict[str, int | None]:
    """Find the series that the user names: modality to index."""
    named: dict[str, int | None] = {}
    for modality, wanted in chosen.items():
        if modality not in modalities:
            raise ValueError(f"series are named for `{modality}`; expected one of {list(modalities)}.")
        text = str(wanted).strip()
        if text.lower() == NOBODY:
            named[modality] = None
            continue
        fitting = [i for i, each in enumerate(decided) if each.name == text]
        fitting = fitting or [i for i, each in enumerate(decided) if each.description.lower() == text.lower()]
        if len(fitting) != 1:
            there = ", ".join(f"{each.name} `{each.description}`" for each in decided)
            raise ValueError(
                f"`{text}`, named for {modality}, fits {len(fitting)} series; expected the number or the whole "
                f"description of one of: {there}."
            )
        named[modality] = fitting[0]
    twice = [index for index in named.values() if index is not None and list(named.values()).count(index) > 1]
    if twice:
        raise ValueError(f"series {decided[twice[0]].name} is named for two modalities; expected one series for each.")
    return named
