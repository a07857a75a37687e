# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Pulls the features of all modalities to one anchor, and puts it in the place of absent ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..utils.flags import as_flag
from .outputs import ALIGNMENT_MEASURES, RELEASED, AlignmentOutput
from .packing import all_available

ADAPTIVE, NORMAL = "adaptive", "normal"  # anchors that are no modality


class NoAlignment(nn.Module):
    """Leave the features as they are; what ``AnchorAlignment`` takes the place of.

    Shape:
        - features: ``(B, M, F_l, *S_l)`` for each level; available: ``(B, M)`` bool
    """

    def forward(self, features: list[Tensor], available: Tensor) -> list[Tensor]:
        return features

    def available_to_fusion(self, available: Tensor) -> Tensor:
        """Tell which modalities the fusion has features of, ``(B, M)`` bool: those available."""
        return available

    @torch.jit.unused
    def compare(self, features: list[Tensor], acquired: Tensor) -> AlignmentOutput | None:
        """Return ``None``: nothing is aligned."""
        return None

    @torch.jit.unused
    def learnt_weights(self) -> Tensor | None:
        """Return ``None``: nothing is learnt."""
        return None


class AnchorAlignment(nn.Module):
    """Pull the features of every modality to one anchor P; the features of absent modalities are replaced by it.

    With A the available modalities of a sample and z_m the features of one at some level, the anchor is::

        normal      P = 0, the mean of a standard normal distribution
        <modality>  P = z_k of the modality with that name; a sample that lacks it is neither aligned nor filled
        adaptive    P = sum_{m in A} w_m z_m,   w = softmax(theta) over A,   theta (M,) learnt, zeros at first

    Behind it the fusion treats every modality as available, in training and in evaluation alike. What pulls is
    ``AnchorAlignmentLoss``, on what ``compare`` returns. For given features ``released`` and ``pooled`` are smallest
    where P is their mean, so at equal weights they give theta no gradient: theta learns through what is filled.

    Args:
        modalities: M names in channel order.
        anchor: ``"normal"``, ``"adaptive"`` or the name of a modality.
        levels: encoder levels that are pulled, finest first from 0; -1 is the deepest. Filling is of every level.
        fill: put the anchor in the place of absent modalities; otherwise they stay absent.
        detach_anchor: let the loss move the features alone, not the anchor (nor theta through it).
        measure: of the distance from the anchor: ``"released"``, ``"pooled"``, ``"moments"`` or ``"pooled+moments"``.

    Shape:
        - features: ``(B, M, F_l, *S_l)`` for each level, finest first
        - available: ``(B, M)`` bool
        - output: like ``features``

    Raises:
        ValueError: if the anchor is neither of the two words nor a modality, there is no level, there is no such
            measure, or an option is another word than true or false.

    Reference:
        MedMAP, arXiv 2408.09465: the anchors, alignment of each modality by itself; filling and gradient into the
        anchor as in its released snippet, and w renormalised over A as in the snippet's inference; its training takes
        all four modalities, so has another anchor. Ours: one rule for both, the deepest level by default, filling of
        every level with the weights of the same anchor, no filling without an anchor. Not taken over: at inference
        the snippet also multiplies features by w_m, which its training does not.
    """

    def __init__(
        self,
        modalities: Sequence[str],
        anchor: str = ADAPTIVE,
        levels: Sequence[int] = (-1,),
        fill: bool | str = True,
        detach_anchor: bool | str = False,
        measure: str = RELEASED,
    ) -> None:
        super().__init__()
        names = list(modalities)
        if anchor not in (ADAPTIVE, NORMAL, *names):
            raise ValueError(
                f"`anchor` is `{anchor}`; expected `{ADAPTIVE}`, `{NORMAL}` or one of the modalities {names}. "
                "See `alignment` in the configuration."
            )
        if len(levels) == 0:
            raise ValueError("`levels` is empty; expected encoder levels to align, such as [-1], the deepest one.")
        if measure not in ALIGNMENT_MEASURES:
            raise ValueError(
                f"`measure` is `{measure}`; expected one of {list(ALIGNMENT_MEASURES)}. See `alignment` in the "
                "configuration."
            )
        self.levels, self.measure = list(levels), measure
        self.fill = as_flag(fill, "alignment::fill")
        self.detach_anchor = as_flag(detach_anchor, "alignment::detach_anchor")
        self.at_origin = anchor == NORMAL
        # one of the two is in the state dict, so that weights fit only a network that is aligned likewise
        self.register_parameter("theta", nn.Parameter(torch.zeros(len(names))) if anchor == ADAPTIVE else None)
        fixed = torch.tensor([float(name == anchor) for name in names])
        self.register_buffer("mixture", None if anchor == ADAPTIVE else fixed)
        self.register_load_state_dict_pre_hook(_refuse_another_anchor)

    def forward(self, features: list[Tensor], available: Tensor) -> list[Tensor]:
        """Replace the features of absent modalities by the anchor, at every level."""
        if not self.fill or all_available(available):
            return features
        weights = self.weights(available)
        filled: list[Tensor] = []
        for level in features:
            anchor = mix(level, weights).unsqueeze(1).to(level.dtype)
            filled.append(torch.where(broadcast(available, level), level, anchor))
        return filled  # (B, M, F_l, *S_l)

    def available_to_fusion(self, available: Tensor) -> Tensor:
        """Tell which modalities the fusion has features of: ``(B, M)`` bool, all where absent ones were filled."""
        if not self.fill:
            return available
        return available | self.has_anchor(available).unsqueeze(1)

    def weights(self, available: Tensor) -> Tensor:
        """Give the share of each available modality in the anchor: ``(B, M)``.

        Rows sum to one, or to zero for the normal anchor and where there is no anchor.
        """
        if self.theta is not None:
            # not -inf, of which a row without any modality would be NaN
            scores = self.theta.unsqueeze(0).expand(available.shape).masked_fill(~available, -1e30)
            return F.softmax(scores, dim=1) * available
        assert self.mixture is not None  # for TorchScript
        return self.mixture * available

    def has_anchor(self, available: Tensor) -> Tensor:
        """Tell which samples have an anchor: ``(B,)`` bool."""
        if self.mixture is None or self.at_origin:
            return available.any(dim=1)
        return (self.mixture * available).any(dim=1)

    @torch.jit.unused
    def compare(self, features: list[Tensor], acquired: Tensor) -> AlignmentOutput | None:
        """Give features and anchors of the aligned levels, for the loss."""
        weights, available = self.weights(acquired), acquired & self.has_anchor(acquired).unsqueeze(1)
        chosen = [features[level] for level in self.levels]
        anchors = [mix(level, weights) for level in chosen]
        if self.detach_anchor:
            anchors = [anchor.detach() for anchor in anchors]
        return AlignmentOutput(chosen, anchors, available, self.measure, self.at_origin)

    @torch.jit.unused
    def learnt_weights(self) -> Tensor | None:
        """Give the share of each modality where all are available: ``(M,)``; ``None`` if nothing is learnt."""
        return None if self.theta is None else self.theta.detach().softmax(dim=0)

    @torch.jit.unused
    def check(self, num_modalities: int, num_levels: int) -> None:
        """Refuse a network that has not these modalities and levels.

        Raises:
            ValueError: naming the numbers.
        """
        names = len(self.mixture if self.theta is None else self.theta)
        if names != num_modalities:
            raise ValueError(
                f"`alignment` is of {names} modalities and the network of {num_modalities}; expected one number. See "
                "`alignment::modalities` and `network_def::num_modalities`."
            )
        unknown = [level for level in self.levels if not -num_levels <= level < num_levels]
        if unknown:
            raise ValueError(
                f"`alignment::levels` has {unknown}; the network's encoders have {num_levels} levels, so expected "
                f"{-num_levels} to {num_levels - 1}."
            )


def broadcast(rows: Tensor, level: Tensor) -> Tensor:
    """Shape rows ``(B, M)`` so that they broadcast over a level ``(B, M, F, *S)``."""
    return rows.view(list(rows.shape) + [1] * (level.dim() - 2))


def mix(level: Tensor, weights: Tensor) -> Tensor:
    """Sum up the modalities by weight: ``(B, M, F, *S)`` and ``(B, M)`` to ``(B, F, *S)``, at least float32."""
    return (level * broadcast(weights, level)).sum(dim=1)


def _refuse_another_anchor(alignment: AnchorAlignment, state: Mapping[str, Tensor], prefix: str, *others: Any) -> None:
    """Add to the errors of loading (the last argument of such a hook) if the file has another fixed anchor."""
    found, own = state.get(f"{prefix}mixture"), alignment.mixture
    if found is not None and own is not None and not torch.equal(found.cpu(), own.cpu()):
        others[-1].append(f"{prefix}mixture is {found.tolist()}, and {own.tolist()} here: trained with another anchor")
