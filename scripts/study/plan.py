# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What a study compares: configurations, over missing rates and seeds, on the same cases."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Variant:
    """One of the configurations that are compared.

    Args:
        files: overlays, behind those of the study.
        options: ids of the configuration and their values, behind those of the study.
        missing_rates: names of the missing rates under which it runs; all of the study by default.
        models: id to an earlier variant, whose model under the same rates and seed the id names; that one runs first.
    """

    files: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    missing_rates: Sequence[str] | None = None
    models: Mapping[str, str] = field(default_factory=dict)

    def runs_under(self, rates: str) -> bool:
        """Tell whether it runs under the missing rates of this name."""
        return self.missing_rates is None or rates in self.missing_rates


@dataclass(frozen=True)
class Run:
    """One training with its evaluation: a variant under missing rates, with a seed."""

    rates: str
    variant: str
    seed: int

    @property
    def name(self) -> str:
        """Where the run's files go, below the folder of the study."""
        return f"{self.rates}/{self.variant}/seed{self.seed}"


@dataclass(frozen=True)
class Study:
    """A plan: every variant under every set of missing rates with every seed.

    A seed decides the initial weights, the order and augmentation of cases, and which training cases lack what. The
    first variant is the one that the others are compared with.

    Args:
        missing_rates: name to the missing rate of each modality in training; the order counts, as in the datalist.
        seeds: one run each.
        variants: by name.
        files: configuration files of every run, training first.
        options: ids and values for every run.
        evaluation: further ids and values for its evaluation.
        phantoms: numbers of ``training`` and ``testing`` cases, ``spacing_mm`` and ``seed`` of the phantoms to use.
        about: what the study is for.

    Raises:
        ValueError: if there is nothing to run, or a variant asks for missing rates or the model of a variant that the
            study does not have.
    """

    missing_rates: Mapping[str, Mapping[str, float]]
    seeds: Sequence[int]
    variants: Mapping[str, Variant]
    files: Sequence[str] = ("configs/train.yaml",)
    options: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    phantoms: Mapping[str, float] = field(default_factory=dict)
    about: str = ""

    def __post_init__(self) -> None:
        for name in ("missing_rates", "seeds", "variants"):
            if not getattr(self, name):
                raise ValueError(f"the study has no `{name}`; expected at least one.")
        for number, (name, variant) in enumerate(self.variants.items()):
            self._check_models(name, list(self.variants)[:number])
            unknown = sorted(set(variant.missing_rates or ()) - set(self.missing_rates))
            if unknown:
                raise ValueError(
                    f"variant `{name}` asks for the missing rates {unknown}; expected some of "
                    f"{list(self.missing_rates)}. See `missing_rates` of the study."
                )

    def _check_models(self, name: str, earlier: Sequence[str]) -> None:
        variant = self.variants[name]
        for id, other in variant.models.items():
            rates = [each for each in self.missing_rates if variant.runs_under(each)]
            if other not in earlier or not all(self.variants[other].runs_under(each) for each in rates):
                raise ValueError(
                    f"variant `{name}` takes `{id}` from `{other}`; expected one of {list(earlier)}, those before it, "
                    f"that runs under {rates} too. See `models` of the variant."
                )

    def runs(self) -> list[Run]:
        """List the runs, seed by seed, so that an unfinished study compares all variants on fewer seeds."""
        return [
            Run(rates, name, seed)
            for seed in self.seeds
            for rates in self.missing_rates
            for name, variant in self.variants.items()
            if variant.runs_under(rates)
        ]

    def config_files(self, run: Run) -> list[str]:
        """Configuration files of a run, in the order in which they are merged."""
        return [*self.files, *self.variants[run.variant].files]

    def needed(self, run: Run) -> dict[str, Run]:
        """Give the runs whose models a run takes, by the id that names the file."""
        return {id: replace(run, variant=other) for id, other in self.variants[run.variant].models.items()}

    def overrides(self, run: Run) -> dict[str, Any]:
        """Ids and values that a run sets on top of its files."""
        return {**self.options, **self.variants[run.variant].options, "seed": run.seed}

    def record(self) -> dict[str, Any]:
        """Everything that determines the numbers of a run, but for which runs there are."""
        kept = asdict(self)
        return {name: kept[name] for name in ("files", "options", "evaluation", "phantoms")}


def read_study(file: str | os.PathLike) -> Study:
    """Read a study from YAML, whose keys are the arguments of ``Study``; a variant may be empty.

    Raises:
        ValueError: if the file has a key that is not known, lacks one, or plans nothing.
    """
    content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    try:
        variants = {name: Variant(**(options or {})) for name, options in content.pop("variants", {}).items()}
        return Study(variants=variants, **content)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"study `{file}` is not understood: {error}. See configs/studies for examples.") from error
