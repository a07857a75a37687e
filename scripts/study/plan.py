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

ALL = "all"  # subsets of any number of modalities
MEAN = "mean"  # of all regions
PAIRED_T, WILCOXON = "paired_t", "wilcoxon"
TESTS = (PAIRED_T, WILCOXON)


@dataclass(frozen=True)
class Outcome:
    """A number that a study decides by: mean Dice of a region over the subsets of so many modalities.

    Args:
        num_modalities: how many are shown; ``all`` for every subset.
        region: its name, or ``mean`` of all regions.
    """

    num_modalities: int | str = ALL
    region: str = MEAN


@dataclass(frozen=True)
class Variant:
    """One of the configurations that are compared.

    Args:
        files: overlays, behind those of the study.
        options: ids of the configuration and their values, behind those of the study.
        missing_rates: names of the missing rates under which it runs; all of the study by default.
        models: id to an earlier variant, whose model under the same rates and seed the id names; that one runs first.
        seeds: some of those of the study; all of them by default.
        about: what it is, in one line.
    """

    files: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    missing_rates: Sequence[str] | None = None
    models: Mapping[str, str] = field(default_factory=dict)
    seeds: Sequence[int] | None = None
    about: str = ""

    def runs_under(self, rates: str) -> bool:
        """Tell whether it runs under the missing rates of this name."""
        return self.missing_rates is None or rates in self.missing_rates

    def runs_with(self, seed: int) -> bool:
        """Tell whether it runs with this seed."""
        return self.seeds is None or seed in self.seeds


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
        question: what it is to answer, in words.
        outcomes: the primary ones, by which the question is answered.
        test: of each primary comparison, over seeds: ``paired_t`` or ``wilcoxon``, two-sided.
        alpha: what p is to be below, after Holm's correction over all primary comparisons.

    Raises:
        ValueError: if there is nothing to run; a variant asks for missing rates, seeds or the model of a variant that
            the study does not have; or outcomes, test or alpha are none.
    """

    missing_rates: Mapping[str, Mapping[str, float]]
    seeds: Sequence[int]
    variants: Mapping[str, Variant]
    files: Sequence[str] = ("configs/train.yaml",)
    options: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    phantoms: Mapping[str, float] = field(default_factory=dict)
    about: str = ""
    question: str = ""
    outcomes: Sequence[Outcome] = (Outcome(1), Outcome(ALL))
    test: str = PAIRED_T
    alpha: float = 0.05

    def __post_init__(self) -> None:
        for name in ("missing_rates", "seeds", "variants", "outcomes"):
            if not getattr(self, name):
                raise ValueError(f"the study has no `{name}`; expected at least one.")
        self._check_test()
        for number, name in enumerate(self.variants):
            self._check_models(name, list(self.variants)[:number])
            self._check_variant(name)

    def _check_test(self) -> None:
        """Refuse outcomes that no evaluation has, and tests that nobody can make."""
        if self.test not in TESTS:
            raise ValueError(f"the `test` of the study is {self.test!r}; expected one of {list(TESTS)}.")
        if not isinstance(self.alpha, float) or not 0 < self.alpha < 1:
            raise ValueError(f"the `alpha` of the study is {self.alpha!r}; expected a number between 0 and 1, as 0.05.")
        if not isinstance(self.question, str):
            raise ValueError(f"the `question` of the study is {self.question!r}; expected text, in quotes if need be.")
        numbers = [*range(1, max(map(len, self.missing_rates.values())) + 1), ALL]
        for outcome in self.outcomes:
            if outcome.num_modalities not in numbers or isinstance(outcome.num_modalities, bool):
                raise ValueError(
                    f"an outcome is over subsets of {outcome.num_modalities!r} modalities; expected one of {numbers}."
                )
            if list(self.outcomes).count(outcome) > 1:
                raise ValueError(f"{outcome} is twice among the `outcomes`; expected once, it would be tested twice.")

    def _check_variant(self, name: str) -> None:
        variant = self.variants[name]
        unknown = sorted(set(variant.missing_rates or ()) - set(self.missing_rates))
        if unknown:
            raise ValueError(
                f"variant `{name}` asks for the missing rates {unknown}; expected some of "
                f"{list(self.missing_rates)}. See `missing_rates` of the study."
            )
        if variant.seeds is not None and (not variant.seeds or not set(variant.seeds) <= set(self.seeds)):
            raise ValueError(
                f"variant `{name}` asks for the seeds {list(variant.seeds)}; expected some of {list(self.seeds)}. See "
                "`seeds` of the study."
            )
        if not isinstance(variant.about, str) or "\n" in variant.about.strip():
            raise ValueError(f"`about` of variant `{name}` is {variant.about!r}; expected one line of text.")

    def _check_models(self, name: str, earlier: Sequence[str]) -> None:
        variant = self.variants[name]
        for id, other in variant.models.items():
            rates = [each for each in self.missing_rates if variant.runs_under(each)]
            if other not in earlier or not all(self.variants[other].runs_under(each) for each in rates):
                raise ValueError(
                    f"variant `{name}` takes `{id}` from `{other}`; expected one of {list(earlier)}, those before it, "
                    f"that runs under {rates} too. See `models` of the variant."
                )
            lacking = [seed for seed in self.seeds_of(name) if not self.variants[other].runs_with(seed)]
            if lacking:
                raise ValueError(
                    f"variant `{name}` takes `{id}` from `{other}`, which does not run with the seeds {lacking}; "
                    "expected the same seeds, or fewer. See `seeds` of the variants."
                )

    def runs(self) -> list[Run]:
        """List the runs, seed by seed, so that an unfinished study compares all variants on fewer seeds."""
        return [
            Run(rates, name, seed)
            for seed in self.seeds
            for rates in self.missing_rates
            for name, variant in self.variants.items()
            if variant.runs_under(rates) and variant.runs_with(seed)
        ]

    @property
    def baseline(self) -> str:
        """The variant that the others are compared with."""
        return next(iter(self.variants))

    def seeds_of(self, variant: str) -> list[int]:
        """List the seeds that a variant runs with."""
        return [seed for seed in self.seeds if self.variants[variant].runs_with(seed)]

    def comparisons(self) -> list[tuple[str, str, Outcome]]:
        """List the primary comparisons, one family: missing rates, variant and outcome, each against the baseline."""
        return [
            (rates, name, outcome)
            for rates in self.missing_rates
            for outcome in self.outcomes
            for name, variant in self.variants.items()
            if name != self.baseline and variant.runs_under(rates) and self.variants[self.baseline].runs_under(rates)
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
        if "outcomes" in content:
            content["outcomes"] = tuple(Outcome(**each) for each in content["outcomes"] or ())
        return Study(variants=variants, **content)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"study `{file}` is not understood: {error}. See configs/studies for examples.") from error
