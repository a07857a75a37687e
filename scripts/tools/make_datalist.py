# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Write a datalist from one folder or several, with splits or folds and simulated missing rates.

    python -m scripts.tools.make_datalist --folder DIR --output datalist.json --split 0.7,0.1,0.2 \
        --missing_rates "t1=0.2,t1ce=0.4,flair=0.6,t2=0.8"
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.audit import audit_datalist, format_audit
from ..data.case_error import CaseError
from ..data.datalist import check_case_names, simulate_missing, write_datalist
from ..data.label_conventions import convention_names
from ..data.layouts import find_cases, order_modalities
from ..data.missing_rate import DEFAULT_SEED, assign_availability, parse_missing_rates
from ..data.split import SECTIONS, k_folds, split_cases
from ..utils.flags import as_list
from .command_line import run_tool

TRAINING = SECTIONS[0]
UNLABELLED = "unlabelled"


@dataclass
class MakeDatalist:
    """Write a datalist (JSON) of the cases found in one folder or several, and print what is missing from it.

    No image is opened, copied or deleted. Several values are joined by commas; an option with one value for each
    folder goes with the folders in their order. Cases without a label go to a section of their own, `unlabelled`.

    Args:
        folder: where the cases are; several folders make one datalist.
        output: the JSON file; with folds one file each, `datalist_fold0.json`, `datalist_fold1.json`, ...
        layout: auto, custom, or a name in scripts/data/layouts.yaml; one for all folders or one for each.
        patterns: file names of another layout, "flair=Flair_*.nii.gz,t1ce=T1c_*.nii.gz"; each sub-folder is a case,
            or "flair={case}_0000.nii.gz,..." where file names say which. A folder where they match nothing is read
            by the known layouts.
        label_pattern: file name of the label that goes with the patterns.
        label_convention: what the label values of the patterns' cases mean, e.g. brats2015; without patterns it takes
            the place of the layout's own.
        modalities: names in the order wanted; by default those of the layout (flair,t1ce,t1,t2), or of the patterns.
        split: fractions or numbers of cases for training, validation and testing, e.g. 0.7,0.1,0.2.
        folds: number of folds, instead of a split.
        sections: where there is neither split nor folds, the sections that all cases go to.
        seed: of the split or the folds.
        missing_rates: share of the training cases that lose each modality, e.g.
            "t1=0.2,t1ce=0.4,flair=0.6,t2=0.8"; the order matters, a modality not named is not taken away.
        rates_seed: of the missing rates; the default is that of the published tables.
        name: of the data set, for reports and performance.json; by default the folder of the datalist names it.
    """

    folder: str | Sequence[str]
    output: str
    layout: str | Sequence[str] = "auto"
    patterns: str | Mapping[str, str] | None = None
    label_pattern: str | None = None
    label_convention: str | None = None
    modalities: str | Sequence[str] | None = None
    split: Sequence[float] | Mapping[str, float] | None = None
    folds: int | None = None
    sections: str | Sequence[str] = TRAINING
    seed: int = 0
    missing_rates: str | Mapping[str, float] | None = None
    rates_seed: int = DEFAULT_SEED
    name: str | None = None

    def __call__(self) -> None:
        """Write the datalist and report; end with status 1 and a message if that cannot be done."""
        logging.basicConfig(format="%(levelname)s: %(message)s")
        try:
            self.write()
        except ValueError as error:
            raise SystemExit(f"No datalist written: {error}") from error

    def write(self) -> list[Path]:
        """Write the datalist, or one for each fold, and print the audit.

        Returns:
            Paths of the files written.

        Raises:
            ValueError: if the cases cannot be read, divided or named as asked; nothing is written then.
        """
        entries, recipe = self._find()
        modalities = self._names() or order_modalities(entries)
        unlabelled = [entry for entry in entries if "label" not in entry]
        rest = {UNLABELLED: unlabelled} if unlabelled else {}
        divided = self._divide([entry for entry in entries if "label" in entry])
        variants = [self._simulate(sections, modalities) for sections in divided]
        named = {} if self.name is None else {"name": str(self.name)}
        output = Path(str(self.output))
        paths = [output]
        if self.folds:
            paths = [output.with_name(f"{output.stem}_fold{fold}{output.suffix}") for fold in range(len(variants))]
        for path, (labelled, simulated) in zip(paths, variants, strict=True):
            sections = {**labelled, **rest}
            write_datalist(path, sections, modalities, **named, made_from={**recipe, **simulated})
            print(format_audit(audit_datalist(sections, modalities)))
            print(f"\nDatalist: {path.resolve()}\n")
        return paths

    def _find(self) -> tuple[list[dict], dict]:
        """Cases of all folders, sorted by name, and how they were found and will be divided."""
        folders, layouts = as_list(self.folder), as_list(self.layout)
        if len(layouts) not in (1, len(folders)):
            raise ValueError(f"{len(layouts)} layouts for {len(folders)} folders; expected one, or one for each.")
        if self.label_convention and self.label_convention not in convention_names():
            print(f"Note: label convention `{self.label_convention}` is not known; it must be defined for loading.")
        failures: list[CaseError] = []
        entries, sources = [], []
        for folder, layout in zip(folders, layouts * (len(folders) // len(layouts)), strict=True):
            found = self._find_in(folder, layout, failures)
            counts = dict(Counter(entry.pop("layout") for entry in found))
            print(f"{folder}: {len(found)} cases, layout " + ", ".join(f"{key} ({n})" for key, n in counts.items()))
            sources.append({"folder": str(Path(folder).resolve()), "layout": layout, "cases_by_layout": counts})
            entries += found
        if failures:
            raise ValueError("\n".join(["these cases are ambiguous:", *map(str, failures)]))
        check_case_names(entries, f"the folders {folders}")
        recipe = {"folders": sources, "split": self.split, "folds": self.folds, "seed": self.seed}
        return sorted(entries, key=lambda entry: entry["case"]), recipe

    def _find_in(self, folder: str, layout: str, failures: list[CaseError]) -> list[dict]:
        own = (self.patterns, self.label_pattern, self.label_convention)
        if self.patterns and layout not in ("auto", "custom"):
            own = (None, None, None)  # the patterns are for the other folders
        return find_cases(folder, layout, self._names(), *own, failures=failures)

    def _divide(self, entries: list[dict]) -> list[dict[str, list[dict]]]:
        """Sections of the datalist; several sets of them for folds."""
        if self.split and self.folds:
            raise ValueError(f"split is {self.split} and folds is {self.folds}; expected only one of them.")
        if (self.split or self.folds) and not entries:
            raise ValueError("none of the cases has a label, so there is nothing to divide.")
        if self.folds:
            return k_folds(entries, self.folds, self.seed)
        if self.split:
            return [split_cases(entries, self.split, self.seed)]
        return [{section: list(entries) for section in as_list(self.sections)}]

    def _simulate(self, sections: dict[str, list[dict]], modalities: list[str]) -> tuple[dict[str, list[dict]], dict]:
        """Take modalities away from the training cases at the rates asked for."""
        if self.missing_rates is None:
            return sections, {}
        rates = parse_missing_rates(self.missing_rates, modalities)
        if not sections.get(TRAINING):
            raise ValueError(f"missing rates are for the section `{TRAINING}`, which has no case.")
        entries = sections[TRAINING]
        available = assign_availability(len(entries), list(rates.values()), self.rates_seed)
        entries, untouched = simulate_missing(entries, available, list(rates))
        if untouched:
            print(f"{len(untouched)} cases would be left without any modality and keep what they have: {untouched[:5]}")
        record = {"missing_rates": rates, "rates_seed": self.rates_seed, "cases_not_reduced": untouched}
        return {**sections, TRAINING: entries}, record

    def _names(self) -> list[str] | None:
        return as_list(self.modalities) if self.modalities else None


if __name__ == "__main__":
    run_tool(MakeDatalist)
