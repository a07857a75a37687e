# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Measures what the checks of ``scripts.plausibility`` find and what they raise falsely, on phantoms.

python -m scripts.tools.measure_plausibility --output_dir runs/plausibility
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.stats import binomtest

from ..phantom.case import PhantomSettings, make_phantom
from ..plausibility import corruptions
from ..plausibility.doubt import limits
from ..plausibility.examine import assigned, of_pair, of_series
from ..plausibility.recognition import describe, log_probabilities
from ..plausibility.tumour import measure_tumour
from ..plausibility.view import View, depth_mm, look_at
from ..records.claims import claim
from ..utils.files import replacing, write_json
from .command_line import run_tool

VARIETIES = ("typical", "randomized")
SEEDS = {"limits": 31, "report": 32}  # of the phantoms that limits are chosen on, and of those that are reported
SPACING_MM = 4.0
ALARMS = 0.01  # share of good patients that may be doubted by a check
SHELL_MM = 6.0  # of a wrong tumour along the brain's surface
AWAY_MM = 60.0  # by which a wrong tumour is moved


def measure_patient(settings: PhantomSettings, index: int) -> dict[str, Any]:
    """Measure one phantom as it is, and corrupted in each way: corruption to numbers."""
    phantom, names = make_phantom(settings, index), list(settings.modalities)
    rng = np.random.default_rng((settings.seed, index, 7))
    images, affine = phantom.images.astype(np.float32), phantom.affine
    view = look_at(torch.from_numpy(images), affine, names)
    brain, spacing = view.brain, view.spacing
    depth = depth_mm(brain, spacing)
    found: dict[str, Any] = {
        "series": {name: of_series(view, a) for a, name in enumerate(names)},
        "pairs": {f"{names[0]}+{name}": of_pair(view, 0, a) for a, name in enumerate(names) if a},
        "features": {name: describe(view.values[a], view.inside[a], spacing).tolist() for a, name in enumerate(names)},
        "tumour": measure_tumour(phantom.label > 0, affine, depth, view.affine),
    }
    found |= {name: _pair(view, moved) for name, moved in _moved(view, rng).items()}
    heads = [corruptions.add_head(each, name, spacing, rng) for each, name in zip(images, names, strict=True)]
    head = look_at(torch.from_numpy(np.stack(heads)), affine, names)
    found["head"] = {name: of_series(head, a) for a, name in enumerate(names)}
    found["label_map"] = _one(phantom.label.astype(np.float32), affine)
    found["brain_mask"] = _one((images[0] != 0).astype(np.float32), affine)
    found["no_outline"] = _one(images[0][tuple(slice(n // 4, -(n // 4)) for n in images[0].shape)], affine)
    wrong = {"shell": brain & (depth <= SHELL_MM), "grown": _grown(view, phantom.label > 0, affine)}
    for name, tumour in wrong.items():
        found[f"tumour_{name}"] = measure_tumour(tumour, view.affine, depth, view.affine)
    found["tumour_moved"] = measure_tumour(
        phantom.label > 0, _away(view, phantom.label > 0, affine), depth, view.affine
    )
    return found


def _one(image: NDArray, affine: NDArray) -> dict[str, float]:
    return of_series(look_at(torch.from_numpy(np.ascontiguousarray(image))[None], affine, ["image"]), 0)


def _grown(view: View, tumour: NDArray, affine: NDArray) -> NDArray:
    """Grow a tumour to four tenths of the brain, as a network does that takes all that is bright for tumour."""
    brain = view.brain
    centre = np.linalg.inv(view.affine) @ [*_centre(tumour, affine), 1]
    distance = np.linalg.norm(np.argwhere(brain) - centre[:3], axis=1)
    grown = np.zeros_like(brain)
    grown[brain] = distance <= np.quantile(distance, 0.4)
    return grown


def _away(view: View, tumour: NDArray, affine: NDArray) -> NDArray:
    """Move a tumour's affine by 60 mm, away from the middle of the brain."""
    outwards = _centre(tumour, affine) - _centre(view.brain, view.affine)
    moved = affine.copy()
    moved[:3, 3] += AWAY_MM * outwards / np.linalg.norm(outwards)
    return moved


def _centre(mask: NDArray, affine: NDArray) -> NDArray:
    """Find the middle of a mask in the world, ``(3,)`` mm."""
    return affine[:3, :3] @ np.argwhere(mask).mean(0) + affine[:3, 3]


def _moved(view: View, rng: np.random.Generator) -> dict[str, tuple[int, NDArray]]:
    """Move one series at a time: corruption to which one, and its image; 0 outside."""
    other = int(rng.integers(1, len(view.names)))
    image, spacing, zero = view.values[other], view.spacing, np.zeros(3)
    shifted = corruptions.move(image, spacing, 10 * corruptions.unit_vector(rng), zero)
    turned = np.zeros(3)
    turned[rng.integers(3)] = 10 * rng.choice([-1, 1])
    return {
        "shift_10_mm": (other, shifted),
        "shift_10_mm_under_one_mask": (other, shifted * view.inside[0]),
        "rotation_10_degrees": (other, corruptions.move(image, spacing, zero, turned)),
        "flip": (other, image[::-1]),
    }


def _pair(view: View, moved: tuple[int, NDArray]) -> dict[str, Any]:
    """Measure a moved series against the first."""
    other, image = moved
    changed = View(
        (view.names[0], view.names[other]),
        np.stack([view.values[0], image]),
        np.stack([view.inside[0], ndimage.binary_fill_holes(image != 0)]),
        view.affine,
        view.filled,
        view.few_values,
    )
    return {f"{view.names[0]}+{view.names[other]}": of_pair(changed, 0, 1)}


def scores(found: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Reduce what was measured to one number for each check and corruption: check to corruption to number.

    ``good`` is the number without corruption. A check that looks at each series or pair takes the highest of them.
    """
    result: dict[str, dict[str, float]] = {}

    def highest(series: Mapping[str, Mapping[str, float]], key: str) -> float:
        return max(each[key] for each in series.values())

    keyed = {"not_extracted": ("dark_below_surface", "head"), "fills": ("filled", "no_outline")}
    for check, (key, corruption) in keyed.items():
        bad = found[corruption]
        result[check] = {
            "good": highest(found["series"], key),
            corruption: bad[key] if key in bad else highest(bad, key),
        }
    masks = {name: found[name]["few_values"] for name in ("label_map", "brain_mask")}
    result["label_map"] = {"good": highest(found["series"], "few_values"), **masks}
    shifts = [name for name in found if name.startswith(("shift", "rotation"))]
    result["not_aligned"] = {name: _displaced(found[name]) for name in shifts}
    result["not_aligned"]["good"] = _displaced(found["pairs"])
    flips = {name: highest(found[name], "mirrored") for name in found if name.startswith("flip")}
    result["mirrored"] = {"good": highest(found["pairs"], "mirrored"), **flips}
    low, high = limits()["brain_ml"]
    middle = float(np.median([each["volume_ml"] for each in found["series"].values()]))
    scaled = {"good": 1.0, "voxels_1.3_times_as_long": 1.3**3, "voxels_0.7_times_as_long": 0.7**3}
    result["brain_volume"] = {name: max(low / (middle * by), middle * by / high) for name, by in scaled.items()}
    for check, key, corruption in (
        ("tumour_volume", "of_brain", "tumour_grown"),
        ("tumour_outside", "outside", "tumour_moved"),
        ("tumour_at_surface", "at_surface", "tumour_shell"),
    ):
        result[check] = {"good": found["tumour"][key], corruption: found[corruption][key]}
    return result | _of_names({name: log_probabilities(np.array(each)) for name, each in found["features"].items()})


def _displaced(pairs: Mapping[str, Mapping[str, float]]) -> float:
    return max(each["gain"] if each["mm"] > limits()["displaced_mm"] else 0.0 for each in pairs.values())


def _of_names(found: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Give images wrong names: every other one alone, every two exchanged, in sets of 1 to all images."""
    result: dict[str, dict[str, float]] = {}
    names = list(found)
    for name in names:
        alone = result.setdefault(f"other_modality_1_{name}", {"good": assigned({name: found[name]})["gain"]})  # type: ignore[index]
        for other in set(names) - {name}:
            alone[f"{name}_given_as_{other}"] = assigned({other: found[name]})["gain"]  # type: ignore[index]
    for one, other in combinations(names, 2):
        exchanged = {one: found[other], other: found[one]}
        for size in range(2, len(names) + 1):
            rest = [name for name in names if name not in exchanged][: size - 2]
            own = {name: found[name] for name in (one, other, *rest)}
            numbers = result.setdefault(f"other_modality_{size}_{one}_{other}", {"good": assigned(own)["gain"]})  # type: ignore[index]
            numbers[f"{one}_and_{other}_exchanged_of_{size}"] = assigned(own | exchanged)["gain"]  # type: ignore[index]
    return result


def limit_of(check: str) -> float:
    """Look up the limit that ships for a check's score."""
    allowed = limits()
    if check.startswith("other_modality"):
        return float(allowed["other_modality"][int(check.split("_")[2]) - 1])
    named = {"not_extracted": "dark_below_surface", "fills": "filled", "label_map": "few_values"}
    return (
        1.0 if check == "brain_volume" else float(allowed[{**named, "not_aligned": "displaced_gain"}.get(check, check)])
    )


def rows(measured: Mapping[str, list[dict]], variety: str) -> list[dict[str, Any]]:
    """Make the table's rows of one variety: false alarms, and what is found, with Wilson's intervals."""
    table = []
    tuning, reported = ([scores(each) for each in measured[part]] for part in SEEDS)
    for check in dict.fromkeys(check for each in reported for check in each):
        limit = limit_of(check)
        goods = [each[check]["good"] for each in tuning if check in each]
        for corruption in dict.fromkeys(name for each in reported for name in each.get(check, {})):
            values = np.array([each[check][corruption] for each in reported if check in each])
            hits = int((values > limit).sum())
            low, high = binomtest(hits, len(values)).proportion_ci(method="wilson")
            table.append(
                {
                    "variety": variety,
                    "check": check,
                    "corruption": corruption,
                    "patients": len(values),
                    "share": round(hits / len(values), 4),
                    "interval": [round(float(low), 4), round(float(high), 4)],
                    "limit": limit,
                    "limit_at_1_percent": round(float(np.quantile(goods, 1 - ALARMS, method="higher")), 4),
                }
            )
    return table


def markdown(table: list[dict[str, Any]]) -> str:
    """Write the rows as a table of Markdown."""
    lines = ["| phantoms | check | images | found | of | limit | 99th percentile of good ones |", "| " + "--- | " * 7]
    for row in table:
        low, high = row["interval"]
        share = f"{row['share']:.1%} ({low:.1%} to {high:.1%})"
        more = f"{row['patients']} | {row['limit']:g} | {row['limit_at_1_percent']:g}"
        lines.append(f"| {row['variety']} | {row['check']} | {row['corruption']} | {share} | {more} |")
    return "\n".join(lines) + "\n"


def main(output_dir: str, patients: int = 100, tuning: int = 75, start: int = 0, every: int = 1) -> None:
    """Measure phantoms and write `table.json` and `table.md`; what is there already is not measured again.

    Args:
        output_dir: of the tables and of what was measured of each patient.
        patients: of each variety, to report.
        tuning: of each variety, of another seed, whose 99th percentiles say what the limits would be.
        start: first patient; with `every`, what one of several processes measures.
        every: how many processes there are.
    """
    measured: dict[str, dict[str, list[dict]]] = {variety: {part: [] for part in SEEDS} for variety in VARIETIES}
    record = {"seeds": SEEDS, "spacing_mm": SPACING_MM}
    claim(Path(output_dir) / "settings.json", record, "measurements", "Use another folder or delete this one.")
    for index in range(start, max(patients, tuning), every):
        for part, count in {"limits": tuning, "report": patients}.items():
            for variety in VARIETIES if index < count else ():
                settings = PhantomSettings(spacing_mm=SPACING_MM, seed=SEEDS[part], variety=variety)
                file = Path(output_dir) / part / f"{variety}_{index:05d}.json"
                if not file.exists():
                    write_json(file, measure_patient(settings, index))
                measured[variety][part].append(json.loads(file.read_text(encoding="utf-8")))
    table = [row for variety in VARIETIES for row in rows(measured[variety], variety)]
    write_json(Path(output_dir) / "table.json", table)
    with replacing(Path(output_dir) / "table.md") as temporary:
        temporary.write_text(markdown(table), encoding="utf-8")
    print(f"measured, see {Path(output_dir) / 'table.md'}")


if __name__ == "__main__":
    run_tool(main)
