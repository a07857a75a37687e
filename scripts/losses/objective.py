# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The objective: adds the terms, and is the only place where availability and weights are applied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from ..networks.outputs import FUSED, PATHS, STUDENTS, TEACHER, MultiModalOutput
from .preference import lagging
from .state import ObjectiveState
from .term import Measured, Term

ALWAYS_GIVEN = (FUSED, STUDENTS, TEACHER)  # if asked for; not every network or sample has the other paths


class Report(NamedTuple):
    """What the last call of an objective found, detached.

    Attributes:
        terms: by name, a scalar each: the mean over the samples to which the term applies, NaN if there are none. A
            term of single modalities also has ``<name>_per_modality`` ``(M,)``, NaN for one that no sample has; one
            whose weight changes, ``<name>_weight``. ``total`` is what was returned. What a network does not give leaves
            no entry.
        acquired: ``(B, M)`` bool, of the samples.
        distance: ``(B, M)`` of the students from the fused prediction, NaN where nothing was compared; ``None`` where
            no term measures it.
    """

    terms: dict[str, Tensor]
    acquired: Tensor
    distance: Tensor | None


class Objective(nn.Module):
    """Weighted sum of terms over the paths of one training pass.

    Per sample, with v the values of a term where it applies, 0 elsewhere::

        total = sum_terms weight v                              terms of samples
              + sum_terms weight sum_m importance_m v_m         terms of modalities, or their mean over m

    and the mean over the samples. ``importance_m`` is the product of what the term names in ``multiplied_by``: the
    coefficient and the weight of the modality, which ``state`` holds, and the gate, which is one without ``task_wise``,
    else whether the modality is further from the fused prediction than the average of its sample. While the state is
    warming up only the terms made for it count, ungated.

    Args:
        terms: by the name under which each is logged; ``None`` in the place of one leaves it out.
        task_wise: gate by the relative preference of the sample.

    Attributes:
        state: what is learnt between iterations; part of the ``state_dict``.
        last: ``Report`` of the last call; ``None`` before the first.

    Shape:
        - output: ``MultiModalOutput`` of a network in training mode that was asked for ``paths``
        - label: ``(B, 1, *S)`` integers
        - returns a scalar

    Raises:
        ValueError: if there is no term, a term reads a path that there is not or that the output lacks, or
            ``task_wise`` finds no distances.

    Reference:
        Shi et al., PASSION, ACM MM 2024, for gate, coefficient and weight. Differs from its release: the mean over
        samples in place of the sum, so that the batch size does not scale the gradient; every sample has its own gate
        (both equal at batch size 1).
    """

    def __init__(self, terms: Mapping[str, Term | None], task_wise: bool = False) -> None:
        super().__init__()
        kept = {name: term for name, term in terms.items() if term is not None}
        self.terms = nn.ModuleDict(kept)
        self.task_wise = task_wise
        self.state = ObjectiveState()
        self.last: Report | None = None
        if len(self.terms) == 0:
            raise ValueError("the objective has no terms; expected at least one. See `loss::terms`.")
        for name, term in kept.items():
            unknown = sorted(set(term.paths) - set(PATHS))
            if unknown:
                raise ValueError(
                    f"the term `{name}` reads the paths {unknown}; expected names out of {list(PATHS)}. See "
                    "scripts/networks/outputs.py."
                )

    @property
    def paths(self) -> list[str]:
        """The paths that a network is to run: those that a term reads which weighs or measures something."""
        asked = {path for term in self._at_work().values() for path in term.paths}
        return [path for path in PATHS if path in asked]

    def get_extra_state(self) -> dict[str, Any]:
        """Return what is learnt between iterations, for the ``state_dict``."""
        return self.state.state_dict()

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore what an earlier run had come to."""
        self.state.load_state_dict(state)

    def forward(self, output: MultiModalOutput, label: Tensor) -> Tensor:
        values: dict[str, Tensor] = {}
        distance = None
        for name, term in self._at_work().items():
            self._check(name, term, output)
            with torch.set_grad_enabled(torch.is_grad_enabled() and term.weight != 0):
                found = term(output, label)
            if isinstance(found, Measured):
                distance, found = torch.where(output.acquired, found.distance.detach(), torch.nan), found.values
            if found is not None and term.weight != 0:
                values[name] = found
        if self.task_wise and distance is None:
            raise ValueError(
                f"`task_wise` gates by distances, and none of the terms {list(self.terms)} measures them; expected "
                "`semantic_distillation`, with weight 0 if it is not to count. See configs/method_passion.yaml."
            )
        return self._total(values, output, distance)

    def _check(self, name: str, term: Term, output: MultiModalOutput) -> None:
        """Refuse an output without a path that every network gives if it is asked for it."""
        lacking = [path for path in term.paths if path in ALWAYS_GIVEN and getattr(output, path) is None]
        if lacking:
            raise ValueError(
                f"the term `{name}` reads the paths {list(term.paths)}, and the output has no {lacking}; expected a "
                "network in training mode that was called with `paths` of the objective, as TrainingInferer does."
            )

    def _at_work(self) -> dict[str, Term]:
        """Leave out what weighs nothing and measures nothing."""
        terms = {name: cast(Term, term) for name, term in self.terms.items()}
        return {name: term for name, term in terms.items() if term.weight != 0 or term.measures}

    def _total(self, values: dict[str, Tensor], output: MultiModalOutput, distance: Tensor | None) -> Tensor:
        """Apply availability, gates and weights, once; note every term."""
        gate = None
        if self.task_wise and not self.state.warming_up and distance is not None:
            gate = lagging(distance, output.acquired)
        noted: dict[str, Tensor] = {}
        weighted = []
        terms = self._at_work()
        for name, each in values.items():
            term = terms[name]
            per_sample, entries = self._of_samples(name, term, each, output, gate)
            noted.update(entries)
            weight = term.weight_at(self.state)
            if term.weight_changes:
                noted[f"{name}_weight"] = torch.tensor(weight, device=each.device)
            if term.in_warm_up or not self.state.warming_up:
                weighted.append(weight * per_sample.mean())
        total = torch.stack(weighted).sum() if weighted else output.acquired.new_zeros((), dtype=torch.float32)
        noted["total"] = total.detach()
        self.last = Report(noted, output.acquired, distance)
        return total

    def _of_samples(
        self, name: str, term: Term, values: Tensor, output: MultiModalOutput, gate: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum up the modalities of each sample: ``(B,)``, and what is noted of the term."""
        applies = term.applies(output)
        if values.dim() == 1:
            if applies is None:
                return values, {name: values.detach().mean()}
            return torch.where(applies, values, 0), {name: _mean_where(applies, values.detach())}
        applies = output.acquired if applies is None else applies
        values = torch.where(applies, values, 0)
        noted = {f"{name}_per_modality": _mean_where(applies, values.detach())}
        if term.averaged:
            values = values / applies.sum(dim=1, keepdim=True).clamp(min=1)
        noted[name] = values.detach().sum(dim=1).mean()
        return (self.state.importance(term.multiplied_by, gate, values) * values).sum(dim=1), noted


def _mean_where(applies: Tensor, values: Tensor) -> Tensor:
    """Average over the samples to which a term applies, ``()`` or ``(M,)``; NaN where it applies to none."""
    return torch.where(applies, values, torch.nan).nanmean(dim=0)
