# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The objective: adds the terms, and is the only place where availability and weights are applied."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..networks.convolution import upsample
from ..networks.outputs import MultiModalOutput, StudentOutput
from .anchor_alignment import AnchorAlignmentLoss
from .pixel_distillation import PixelDistillation
from .preference import lagging
from .prototype_distillation import PrototypeDistillation
from .segmentation import SegmentationLoss


class IncompleteMultiModalLoss(nn.Module):
    """Sum of the task losses of the fused prediction, intermediate and uni-modal heads, of distillation and alignment.

    Per sample, with L = weighted cross-entropy + soft Dice, m the acquired modalities, s_m what the network says from m
    alone (students) and z what it says from all that is shown (teacher)::

        total = fused * L(fused)
              + deep_supervision * sum_l 2^-l L(up(auxiliary_l))                    l = 1 for the finest head
              + unimodal * sum_m gate_m coefficient_m weight_m L(unimodal_m)
              + pixel_distillation * sum_m coefficient_m weight_m [ KL(s_m, z) + sum_l 2^-l KL(up(s_ml), up(z_l)) ]
              + semantic_distillation * sum_m gate_m weight_m prototype(s_m, z)
              + alignment * mean_m distance of m's features from the anchor

    and the mean over the samples. Auxiliary probabilities, not logits, are upsampled. ``coefficient`` and ``weight``,
    rows of M, are ones until ``RelativePreferenceHandler`` sets them; ``gate`` is one without ``task_wise``, else
    whether the modality is further from the teacher than the average of its sample. While ``warming_up`` only the
    uni-modal heads count, ungated.

    The values of the last call are kept, detached, in ``terms`` (a scalar or a row of M for each name), for logging;
    what a network does not give leaves no entry. ``distance`` ``(B, M)`` is that between students and teacher, NaN for
    absent modalities; ``None`` without students. ``encoded`` ``(B, M)`` bool is what the samples showed.

    Args:
        fused: weight of the fused prediction, dimensionless.
        deep_supervision: weight of the intermediate heads; 0 leaves them out.
        unimodal: weight of the uni-modal heads; 0 leaves them out.
        pixel_distillation: weight of the pixel-wise self-distillation; 0 leaves it out.
        semantic_distillation: weight of the prototypes' self-distillation; 0 leaves it out.
        temperature: of the pixel-wise self-distillation.
        task_wise: gate the uni-modal heads and the prototypes by the relative preference of the sample.
        alignment: weight of the anchor alignment, of a network that has one; 0 leaves it out.

    Shape:
        - output: ``MultiModalOutput`` of a network in training mode
        - label: ``(B, 1, *S)`` integers
        - returns a scalar

    Raises:
        ValueError: if a weight or ``task_wise`` needs students that the network was not asked for.

    Reference:
        Shi et al., PASSION, ACM MM 2024. Differs from the release: the mean over samples in place of the sum, so that
        the batch size does not scale the gradient; every sample has its own gate (both equal at batch size 1).
    """

    def __init__(
        self,
        fused: float = 1.0,
        deep_supervision: float = 1.0,
        unimodal: float = 1.0,
        pixel_distillation: float = 0.0,
        semantic_distillation: float = 0.0,
        temperature: float = 4.0,
        task_wise: bool = False,
        alignment: float = 1.0,
    ) -> None:
        super().__init__()
        self.weights = {
            "fused": fused,
            "deep_supervision": deep_supervision,
            "unimodal": unimodal,
            "pixel_distillation": pixel_distillation,
            "semantic_distillation": semantic_distillation,
            "alignment": alignment,
        }
        self.task_wise = task_wise
        self.segmentation = SegmentationLoss()
        self.pixel = PixelDistillation(temperature)
        self.align = AnchorAlignmentLoss()
        self.coefficient: Tensor | None = None
        self.modality_weight: Tensor | None = None
        self.shown: Tensor | None = None  # (1 + M,) samples of the run, and those that showed each modality
        self.warming_up = False
        self.encoded: Tensor | None = None
        self.terms: dict[str, Tensor] = {}
        self.distance: Tensor | None = None

    def get_extra_state(self) -> dict[str, Tensor | None]:
        """Return what the epochs so far have led to, for the ``state_dict``."""
        return {"coefficient": self.coefficient, "shown": self.shown}

    def set_extra_state(self, state: dict[str, Tensor | None]) -> None:
        """Restore what an earlier run had come to."""
        self.coefficient, self.shown = state["coefficient"], state["shown"]

    def forward(self, output: MultiModalOutput, label: Tensor) -> Tensor:
        self.encoded = output.encoded
        per_sample = {"fused": self._task(output.fused.float().softmax(dim=1), label)}  # each (B,)
        per_modality: dict[str, Tensor] = {}  # each (B, M)
        if output.auxiliary:
            per_sample["deep_supervision"] = self._deep_supervision(output.auxiliary, label)
        if output.unimodal is not None:
            per_modality["unimodal"] = self._unimodal(output.unimodal, output.encoded, label)
        per_modality.update(self._distillation(output, label))
        aligned = None
        if output.alignment is not None and self.weights["alignment"] != 0:
            per_modality["alignment"], aligned = self._alignment(output)
        per_sample.update(self.further_terms(output, label))
        return self._total(per_sample, per_modality, output.encoded, aligned)

    def further_terms(self, output: MultiModalOutput, label: Tensor) -> dict[str, Tensor]:
        """Give the terms ``(B,)`` that a method adds, each with an entry in ``weights``; none here."""
        return {}

    def _total(
        self,
        per_sample: dict[str, Tensor],
        per_modality: dict[str, Tensor],
        encoded: Tensor,
        aligned: Tensor | None = None,
    ) -> Tensor:
        """Apply availability, gates and weights, once; note every term."""
        self.terms = {name: values.detach().mean() for name, values in per_sample.items()}
        importance = self._importance(encoded)
        for name, values in per_modality.items():
            shown = encoded if aligned is None or name != "alignment" else aligned
            values = torch.where(shown, values, 0)
            self.terms[f"{name}_per_modality"] = _seen_mean(values.detach(), shown)
            if name == "alignment":  # the mean over the modalities of a sample; of the other terms, the sum
                values = values / shown.sum(dim=1, keepdim=True).clamp(min=1)
            per_sample[name] = (importance.get(name, 1.0) * values).sum(dim=1)
            self.terms[name] = values.detach().sum(dim=1).mean()
        if self.warming_up:
            per_sample = {name: values for name, values in per_sample.items() if name == "unimodal"}
        weighted = [self.weights[name] * values.mean() for name, values in per_sample.items()]
        total = torch.stack(weighted).sum()
        self.terms["total"] = total.detach()
        return total

    def _importance(self, encoded: Tensor) -> dict[str, Tensor]:
        """Weigh the terms of each modality, ``(B, M)``; a term without an entry weighs one."""
        ones = torch.ones(encoded.shape, device=encoded.device)
        weight = ones if self.modality_weight is None else ones * self.modality_weight.to(ones)
        coefficient = ones if self.coefficient is None else self.coefficient.to(ones)
        gate = ones
        if self.task_wise and not self.warming_up and self.distance is not None:
            gate = lagging(self.distance, encoded).to(ones)
        return {
            "unimodal": gate * coefficient * weight,
            "pixel_distillation": coefficient * weight,
            "semantic_distillation": gate * weight,
        }

    def _task(self, probabilities: Tensor, label: Tensor) -> Tensor:
        """Task loss of one prediction ``(B, C, *S)`` for each sample: ``(B,)``."""
        terms = self.segmentation(probabilities.unsqueeze(1), label)
        return (terms.cross_entropy + terms.dice).squeeze(1)

    def _alignment(self, output: MultiModalOutput) -> tuple[Tensor, Tensor]:
        """Compare features with their anchor, a teacher's where it has one: ``(B, M)``, and which of them count."""
        own = output.alignment
        if output.teacher is None or output.teacher.alignment is None:
            return self.align(own), own.aligned
        other = output.teacher.alignment
        led = other.aligned.any(dim=1)  # (B,)
        pairs = zip(other.anchors, own.anchors, strict=True)
        anchors = [torch.where(led.view([-1] + [1] * (p.dim() - 1)), p, q) for p, q in pairs]
        return self.align(own, anchors), torch.where(led.unsqueeze(1), output.encoded, own.aligned)

    def _deep_supervision(self, auxiliary: list[Tensor], label: Tensor) -> Tensor:
        total = torch.zeros(label.shape[0], device=label.device)
        if self.weights["deep_supervision"] == 0:
            return total
        size = list(label.shape[2:])
        for level, logits in enumerate(auxiliary, start=1):
            total = total + 0.5**level * self._task(upsample(logits.float().softmax(dim=1), size), label)
        return total

    def _unimodal(self, probabilities: Tensor, encoded: Tensor, label: Tensor) -> Tensor:
        """Task loss of each uni-modal head: ``(B, M)``; columns that no sample of the batch has are not computed."""
        values = torch.zeros(encoded.shape, device=label.device)
        index = encoded.any(dim=0).nonzero().squeeze(1)
        if self.weights["unimodal"] == 0 or index.numel() == 0:
            return values
        if index.numel() < encoded.shape[1]:
            probabilities = probabilities.index_select(1, index)
        terms = self.segmentation(probabilities, label)
        return values.index_copy(1, index, terms.cross_entropy + terms.dice)

    def _distillation(self, output: MultiModalOutput, label: Tensor) -> dict[str, Tensor]:
        """Compare the students of each sample with its teacher: ``(B, M)`` each; sets ``distance``."""
        self.distance = None
        names = [name for name in ("pixel_distillation", "semantic_distillation") if self.weights[name] != 0]
        if output.students is None:
            if names or self.task_wise:
                raise ValueError(
                    f"the objective has {names or '`task_wise`'}, but the network gave no students; expected "
                    "`train::inferer::students` to be true."
                )
            return {}
        taught = output.students.taught
        columns = [self._of_sample(b, output, label) for b in range(len(taught)) if taught[b].any()]
        values = torch.zeros([3, taught.numel()], device=label.device)
        if columns:
            rows = taught.flatten().nonzero().squeeze(1)
            values = values.index_copy(1, rows, torch.cat(columns, dim=1))
        pixel, semantic, distance = values.unflatten(1, taught.shape)
        self.distance = torch.where(output.encoded, distance.detach(), torch.nan)
        found = {"pixel_distillation": pixel, "semantic_distillation": semantic}
        return {name: found[name] for name in names}

    def _of_sample(self, b: int, output: MultiModalOutput, label: Tensor) -> Tensor:
        """Pixel-wise and semantic term and distance of the n students of one sample: ``(3, n)``."""
        students = output.students
        before = int(students.taught[:b].sum())
        mine = slice(before, before + int(students.taught[b].sum()))
        one = slice(b, b + 1)
        pixel = torch.zeros([1, mine.stop - mine.start], device=label.device)
        if self.weights["pixel_distillation"] != 0:
            pixel = self._pixel(students, mine, output, one, list(label.shape[2:]))
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.weights["semantic_distillation"] != 0):
            features = students.features[mine].unsqueeze(0)  # (1, n, F, *S)
            prototype = PrototypeDistillation(num_classes=output.fused.shape[1])
            semantic = prototype(features, output.fused_features[one], label[one])
        return torch.cat([pixel, semantic.loss, semantic.distance])

    def _pixel(
        self, students: StudentOutput, mine: slice, output: MultiModalOutput, one: slice, size: list[int]
    ) -> Tensor:
        total = self.pixel(students.logits[mine].unsqueeze(0), output.fused[one])  # (1, n)
        for level, (logits, teacher) in enumerate(zip(students.auxiliary, output.auxiliary, strict=True), start=1):
            total = total + 0.5**level * self.pixel(logits[mine].unsqueeze(0), teacher[one], size)
        return total


def _seen_mean(values: Tensor, seen: Tensor) -> Tensor:
    """Average ``(B, M)`` over the samples that have a modality: ``(M,)``, NaN for one that none has."""
    return torch.where(seen, values, torch.nan).nanmean(dim=0)
