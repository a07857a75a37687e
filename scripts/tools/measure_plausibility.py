# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Measures what the checks of ``scripts.plausibility`` find and what they raise falsely, on phantoms.

python -m scripts.tools.measure_plausibility --output_dir runs/plausibility
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import combinations, permutations
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


def scores(found: Mapping[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Reduce what was measured to the numbers that limits are about: check to corruption to one or more numbers.

    ``good`` is without corruption. A check that looks at each series or pair takes the highest of them.
    """
    result: dict[str, dict[str, list[float]]] = {}

    def highest(series: Mapping[str, Mapping[str, float]], key: str) -> list[float]:
        return [max(each[key] for each in series.values())]

    for check, key in (("not_extracted: volume", "volume_ml"), ("not_extracted: bone", "dark_below_surface")):
        result[check] = {"good": highest(found["series"], key), "head": highest(found["head"], key)}
    result["fills"] = {"good": highest(found["series"], "filled"), "no_outline": [found["no_outline"]["filled"]]}
    masks = {name: [found[name]["few_values"]] for name in ("label_map", "brain_mask")}
    result["label_map"] = {"good": highest(found["series"], "few_values"), **masks}
    shifts = [name for name in found if name.startswith(("shift", "rotation"))]
    result["not_aligned"] = {"good": _displaced(found["pairs"]), **{name: _displaced(found[name]) for name in shifts}}
    result["mirrored"] = {"good": highest(found["pairs"], "mirrored"), "flip": highest(found["flip"], "mirrored")}
    low, high = limits()["brain_ml"]
    middle = float(np.median([each["volume_ml"] for each in found["series"].values()]))
    scaled = {"good": 1.0, "voxels_1.3_times_as_long": 1.3**3, "voxels_0.7_times_as_long": 0.7**3}
    result["brain_volume"] = {name: [max(low / (middle * by), middle * by / high)] for name, by in scaled.items()}
    for check, key, corruption in (
        ("tumour_volume", "of_brain", "tumour_grown"),
        ("tumour_outside", "outside", "tumour_moved"),
        ("tumour_at_surface", "at_surface", "tumour_shell"),
    ):
        result[check] = {"good": [found["tumour"][key]], corruption: [found[corruption][key]]}
    return result | _of_names({name: log_probabilities(np.array(each)) for name, each in found["features"].items()})


def _displaced(pairs: Mapping[str, Mapping[str, float]]) -> list[float]:
    near, far = limits()["displaced_mm"]
    return [max(each["gain"] if near < each["mm"] <= far else 0.0 for each in pairs.values())]


def _of_names(found: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, list[float]]]:
    """Give images wrong names: every other one alone, every two exchanged, in sets of 2 to all images."""
    result: dict[str, dict[str, list[float]]] = {}
    for size in range(1, len(found) + 1):
        good = [_gain({name: found[name] for name in names}) for names in combinations(found, size)]
        result[f"other_modality of {size}"] = {"good": good}
    for name, other in permutations(found, 2):
        result["other_modality of 1"][f"{name} as {other}"] = [_gain({other: found[name]})]
    for one, other in combinations(found, 2):
        for size in range(2, len(found) + 1):
            rest = [name for name in found if name not in (one, other)][: size - 2]
            exchanged = {**{name: found[name] for name in rest}, one: found[other], other: found[one]}
            result[f"other_modality of {size}"][f"{one} and {other} exchanged"] = [_gain(exchanged)]
    return result


def _gain(found: Mapping[str, Mapping[str, float]]) -> float:
    named = assigned(found)
    return named["gain"] if named is not None else -np.inf


def limit_of(check: str) -> float:
    """Look up the limit that ships for a check's score."""
    allowed = limits()
    if check.startswith("other_modality"):
        return float(allowed["other_modality"][int(check[-1]) - 1])
    named = {
        "not_extracted: volume": "head_ml",
        "not_extracted: bone": "dark_below_surface",
        "fills": "filled",
        "label_map": "few_values",
        "not_aligned": "displaced_gain",
    }
    return 1.0 if check == "brain_volume" else float(allowed[named.get(check, check)])


def suggested(found: list[dict[str, dict[str, list[float]]]]) -> dict[str, float]:
    """Find the limit of each check that one in a hundred good phantoms exceed."""
    goods = {check: np.concatenate([each[check]["good"] for each in found]) for check in found[0]}
    return {check: round(float(np.quantile(good, 1 - ALARMS, method="higher")), 4) for check, good in goods.items()}


def rows(
    found: list[dict[str, dict[str, list[float]]]], variety: str, at_1_percent: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Make the table's rows of one variety: false alarms, and what is found, with Wilson's intervals.

    Args:
        found: what ``scores`` gives of each patient.
        variety: its name.
        at_1_percent: limits to compare with those that ship, see ``suggested``.
    """
    table = []
    for check, corruption in [(check, name) for check, of in found[0].items() for name in of]:
        limit = limit_of(check)
        values = np.concatenate([each[check][corruption] for each in found])
        row = {"variety": variety, "check": check, "images": corruption, "of": len(values), "limit": limit}
        table.append(row | _doubted(values, limit) | {"at_1_percent": _doubted(values, at_1_percent[check])})
    return table


def _doubted(values: NDArray, limit: float) -> dict[str, Any]:
    hits = int((values > limit).sum())
    interval = binomtest(hits, len(values)).proportion_ci(method="wilson")
    return {"doubted": round(hits / len(values), 4), "interval": [round(float(end), 4) for end in interval]}


def markdown(table: list[dict[str, Any]], at_1_percent: Mapping[str, float]) -> str:
    """Write the rows as a table of Markdown: for each variety what the limit finds, and what that of 1 % would."""
    varieties = list(dict.fromkeys(row["variety"] for row in table))
    heads = ["check", "limit", "at 1 %", "images", *varieties, *(f"{name} at 1 %" for name in varieties)]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for row in [row for row in table if row["variety"] == varieties[0]]:
        same = [each for each in table if (each["check"], each["images"]) == (row["check"], row["images"])]
        shares = [_in_words(each) for each in (*same, *(each["at_1_percent"] for each in same))]
        cells = [row["check"], f"{row['limit']:g}", f"{at_1_percent[row['check']]:.3g}", row["images"], *shares]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _in_words(found: Mapping[str, Any]) -> str:
    low, high = found["interval"]
    return f"{found['doubted']:.0%} ({low:.0%}-{high:.0%})"


def main(output_dir: str, patients: int = 100, tuning: int = 75, start: int = 0, every: int = 1) -> None:
    """Measure phantoms and write `table.json` and `table.md`; what is there already is not measured again.

    Several processes may share the patients; one without `start` and `every` makes the whole table afterwards.

    Args:
        output_dir: of the tables and of what was measured of each patient.
        patients: of each variety, to report.
        tuning: of each variety, of another seed, whose 99th percentile says what the limits would be.
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
    scored = {part: {v: [scores(each) for each in measured[v][part]] for v in VARIETIES} for part in SEEDS}
    at_1_percent = suggested([each for of in scored["limits"].values() for each in of])
    table = [row for variety in VARIETIES for row in rows(scored["report"][variety], variety, at_1_percent)]
    write_json(Path(output_dir) / "table.json", {"rows": table, "limits_at_1_percent": at_1_percent})
    with replacing(Path(output_dir) / "table.md") as temporary:
        temporary.write_text(markdown(table, at_1_percent), encoding="utf-8")
    print(f"measured, see {Path(output_dir) / 'table.md'}")


if __name__ == "__main__":
    run_tool(main)
