# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Examines the images of one patient: numbers, and a doubt for each that no such images can have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .alignment import displacement
from .doubt import Doubt, limits
from .recognition import describe, log_probabilities
from .view import View, depth_mm, look_at

EXAMINED, DEPTH = "plausibility", "brain_depth"  # keys of a case: JSON text, and how deep in the brain voxels lie
SKULL_MM = (4.0, 20.0)  # depth below the surface of a head within which its skull lies
DARK = 0.25  # of the way from an image's lowest values to its median
SAME_SEQUENCE = ("t1", "t1ce")  # which differ by contrast agent: told apart only where both are there, to compare
SMALLEST_HEAD_ML = 1000.0  # foreground below which nothing is taken for a head


class Examination(NamedTuple):
    """What was found of the images of one patient.

    Attributes:
        doubts: what they cannot be.
        numbers: what was measured, as JSON takes it.
        depth: ``(X, Y, Z)`` float32 mm below the surface of the brain, 0 outside: where all images have foreground.
        affine: ``(4, 4)`` of ``depth``, voxel to world, RAS+ mm.
    """

    doubts: list[Doubt]
    numbers: dict[str, Any]
    depth: NDArray
    affine: NDArray


def examine(image: Tensor, affine: NDArray, modalities: Sequence[str]) -> Examination:
    """Examine the images of a patient.

    Args:
        image: ``(M, X, Y, Z)`` as loaded: absent modalities NaN, the background exactly 0.
        affine: ``(4, 4)`` voxel to world, RAS+ mm.
        modalities: ``(M,)`` names in channel order.

    Raises:
        ValueError: if no modality is acquired.
    """
    view = look_at(image, affine, modalities)
    numbers: dict[str, Any] = {"series": {name: of_series(view, a) for a, name in enumerate(view.names)}}
    volume = float(np.median([each["volume_ml"] for each in numbers["series"].values()]))
    numbers["brain_ml"] = round(volume, 1)
    numbers["pairs"] = {f"{view.names[0]}+{name}": of_pair(view, 0, a) for a, name in enumerate(view.names) if a}
    doubts = [doubt for name, each in numbers["series"].items() for doubt in doubts_of_series(name, each)]
    unusual = {doubt.name for doubt in doubts}
    if "not_extracted" not in unusual:
        doubts += doubts_of_volume(volume)
    doubts += doubts_of_pairs(numbers["pairs"])
    recognised = not unusual & {"not_extracted", "fills", "label_map"}
    numbers["modalities"] = of_modalities(view) if recognised else None
    doubts += doubts_of_modalities(numbers["modalities"])
    return Examination(doubts, numbers, depth_mm(view.brain, view.spacing), view.affine)


def of_series(view: View, a: int) -> dict[str, float]:
    """Measure one series: its volume (mL), and shares of 1."""
    inside, values = view.inside[a], view.values[a]
    volume = np.count_nonzero(inside) * view.voxel_ml
    depth = depth_mm(inside, view.spacing)
    shell = (depth > SKULL_MM[0]) & (depth <= SKULL_MM[1])
    dark = 0.0
    if shell.any():
        lowest, middle = np.percentile(values[inside], [0.5, 50])
        dark = float((values[shell] < lowest + DARK * (middle - lowest)).mean())
    return {
        "volume_ml": round(float(volume), 1),
        "dark_below_surface": round(dark, 4),
        "filled": round(float(view.filled[a]), 4),
        "few_values": round(float(view.few_values[a]), 4),
    }


def of_pair(view: View, one: int, other: int) -> dict[str, float]:
    """Measure how a series lies against another; see ``Displacement``. Nothing is, where one has no foreground."""
    masks = view.inside[one], view.inside[other]
    if not (masks[0].any() and masks[1].any()):
        return {"mm": 0.0, "gain": 0.0, "mirrored": 0.0}
    found = displacement(view.values[one], view.values[other], masks, view.spacing)
    return {name: round(value, 4) for name, value in found._asdict().items()}


def of_modalities(view: View) -> dict[str, Any] | None:
    """Compare images with what they are called; ``None`` where a name is none that the classifier knows."""
    found = {}
    for a, name in enumerate(view.names):
        if not view.inside[a].any():
            return None
        found[name] = log_probabilities(describe(view.values[a], view.inside[a], view.spacing))
    return assigned(found)


def assigned(found: Mapping[str, Mapping[str, float]]) -> dict[str, Any] | None:
    """Find the names that would suit images best, each once, and by how much better than their own.

    Args:
        found: name of each image to log probabilities of all modalities.

    Returns:
        ``best``: name to the likeliest other naming; ``gain``: in nats, negative where the own names are the best;
        ``log_probabilities``, those of T1 and T1ce united unless both are there. ``None`` where an image has a name
        that is not among them.
    """
    names, known = list(found), list(next(iter(found.values())))
    if set(names) - set(known):
        return None
    if not set(SAME_SEQUENCE) <= set(names):
        found = {name: _united(each) for name, each in found.items()}
    own = sum(found[name][name] for name in names)
    others = [order for order in permutations(known, len(names)) if list(order) != names]
    totals = [sum(found[name][other] for name, other in zip(names, order, strict=True)) for order in others]
    best = int(np.argmax(totals))
    return {
        "best": dict(zip(names, others[best], strict=True)),
        "gain": round(totals[best] - own, 3),
        "log_probabilities": {name: {other: round(p, 3) for other, p in each.items()} for name, each in found.items()},
    }


def _united(found: Mapping[str, float]) -> dict[str, float]:
    """Give modalities of the same sequence one probability: that of either."""
    united = float(np.logaddexp.reduce([found[name] for name in SAME_SEQUENCE if name in found] or [-np.inf]))
    return {name: united if name in SAME_SEQUENCE else value for name, value in found.items()}


def doubts_of_series(name: str, found: Mapping[str, float]) -> list[Doubt]:
    """Doubt one series by its own numbers."""
    allowed, doubts = limits(), []
    few, filled, dark = found["few_values"], found["filled"], found["dark_below_surface"]
    if few > allowed["few_values"]:
        message = f"{name} looks like a mask or a label map: {few:.0%} of its foreground has one of 8 values"
        message += f" (at most {allowed['few_values']:.0%})"
        return [Doubt("label_map", message, few, allowed["few_values"])]  # it has no tissues to say anything of
    if filled > allowed["filled"]:
        message = f"{name} fills {filled:.0%} of its volume (at most {allowed['filled']:.0%}); no outline of a brain"
        doubts.append(Doubt("fills", message, filled, allowed["filled"]))
    volume = found["volume_ml"]
    if volume > allowed["head_ml"]:
        message = f"the brain of {name} seems not extracted: {volume:.0f} mL (at most {allowed['head_ml']:.0f})"
        doubts.append(Doubt("not_extracted", message, volume, allowed["head_ml"]))
    elif dark > allowed["dark_below_surface"] and volume > SMALLEST_HEAD_ML:
        message = (
            f"the brain of {name} seems not extracted: {dark:.0%} of what lies 4 to 20 mm below its surface is dark as "
            f"bone is (at most {allowed['dark_below_surface']:.0%})"
        )
        doubts.append(Doubt("not_extracted", message, dark, allowed["dark_below_surface"]))
    return doubts


def doubts_of_volume(volume: float) -> list[Doubt]:
    """Doubt the volume of the brain (mL), the median of the series'."""
    low, high = limits()["brain_ml"]
    if low <= volume <= high:
        return []
    why = "is it extracted" if volume > high else "is a part missing"
    message = f"the brain has {volume:.0f} mL, expected {low:.0f} to {high:.0f}; {why}, are the voxel sizes right?"
    return [Doubt("brain_volume", message, volume, high if volume > high else low)]


def doubts_of_pairs(pairs: Mapping[str, Mapping[str, float]]) -> list[Doubt]:
    """Doubt how series lie against the first one; which of the two is displaced, two images cannot say."""
    allowed, doubts = limits(), []
    near, far = allowed["displaced_mm"]
    for pair, found in pairs.items():
        one, other = pair.split("+")
        if found["mirrored"] > allowed["mirrored"]:
            message = (
                f"{other} and {one} seem mirrored left to right against each other: mirrored they share "
                f"{found['mirrored']:.3f} nats more (at most {allowed['mirrored']})"
            )
            doubts.append(Doubt("mirrored", message, found["mirrored"], allowed["mirrored"]))
        elif near < found["mm"] <= far and found["gain"] > allowed["displaced_gain"]:
            message = f"{other} lies about {found['mm']:.0f} mm off {one} (at most {near:.0f} mm)"
            doubts.append(Doubt("not_aligned", message, found["mm"], near))
    return doubts


def doubts_of_modalities(found: Mapping[str, Any] | None) -> list[Doubt]:
    """Doubt the names of images where others suit them much better."""
    if found is None:
        return []
    limit = limits()["other_modality"][min(len(found["best"]), len(limits()["other_modality"])) - 1]
    if found["gain"] <= limit:
        return []
    changed = ", ".join(f"{name} looks like {other}" for name, other in found["best"].items() if name != other)
    message = f"{changed} (more likely by {found['gain']:.1f} nats, at most {limit})"
    return [Doubt("other_modality", message, found["gain"], limit)]
