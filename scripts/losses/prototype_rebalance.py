# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Prototypical modal rebalance: slow modalities are pulled to prototypes of the classes, fast ones are held back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import ignite.distributed as idist
import torch
import torch.nn.functional as F
from monai.networks.layers import Pool
from torch import Tensor, nn

from ..networks.outputs import ENCODED, FUSED, MultiModalOutput
from .state import ObjectiveState
from .term import Term, given

EPSILON = 1e-7  # of shares of a class and of probabilities


class Nearness(NamedTuple):
    """How the features of each modality lie to its prototypes.

    Shape:
        - cross_entropy, entropy: ``(B, M)`` nats
        - ratio: ``(B, M)``, the score of a modality over the mean score of the others of its sample; 1 for one alone
    """

    cross_entropy: Tensor
    entropy: Tensor
    ratio: Tensor


class PrototypeRebalanceTerm(Term):
    """What both terms of prototypical modal rebalance share: prototypes of the classes, for each modality.

    Of the deepest encoder features z of a modality, with y_c the share of class c in the voxel of that level::

        prototype_c = sum_v y_vc z_v / sum_v y_vc                      moving average over the iterations
        p_c(v)      = softmax_c( -|z_v - prototype_c| )
        score       = mean_c sum_v y_vc p_c(v) / sum_v y_vc            classes that the sample has

    Only classes that have a prototype take part. A modality that a sample lacks moves no prototype and has no score.

    Args:
        weight: see ``Term``.
        momentum: share of the old prototype that is kept in each iteration, 0 to below 1.

    Raises:
        ValueError: if the momentum is out of range; in training, if the network has no encoder for each modality.

    Reference:
        Fan et al., PMR, CVPR 2023: prototypes of uni-modal features, softmax of negative Euclidean distances, the ratio
        of the modalities' scores. Ours, since the paper classifies whole samples of two modalities: voxels of the
        deepest level with shares of classes, the mean over the classes instead of over the samples, the mean of the
        others in the place of the other modality, prototypes that move in every iteration instead of once an epoch.
    """

    paths = (FUSED, ENCODED)

    def __init__(self, weight: float, momentum: float = 0.9) -> None:
        super().__init__(weight)
        if not 0 <= momentum < 1:
            raise ValueError(f"`momentum` is {momentum}; expected at least 0 and below 1. See configs/method_pmr.yaml.")
        self.momentum = momentum
        self.prototypes: Tensor | None = None  # (M, C, F), NaN where nothing was seen

    def get_extra_state(self) -> dict[str, Any]:
        """Return the prototypes, for the ``state_dict``."""
        return {"prototypes": self.prototypes}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore the prototypes of an earlier run."""
        self.prototypes = state["prototypes"]

    def forward(self, output: MultiModalOutput, label: Tensor) -> Tensor:
        if output.encoded is None:
            raise ValueError(
                "prototypes are of the features of each modality, and this network has no encoder for each; expected "
                "another than an early fusion. See `network_def`."
            )
        features = output.encoded.float().flatten(3).transpose(2, 3)  # (B, M, V, F)
        shares = class_shares(label, given(output.fused).shape[1], output.encoded.shape[3:])  # (B, C, V)
        self._move(features.detach(), shares, output.acquired)
        return self.values(self._compare(features, shares, output.acquired))

    def values(self, nearness: Nearness) -> Tensor:
        """Give the value of each modality ``(B, M)``."""
        raise NotImplementedError

    @torch.no_grad()
    def _move(self, features: Tensor, shares: Tensor, acquired: Tensor) -> None:
        """Move the prototypes towards the means of this iteration's features, over all processes."""
        there = acquired.to(shares)
        sums = torch.einsum("bm,bcv,bmvf->mcf", there, shares, torch.where(acquired[..., None, None], features, 0))
        sizes = torch.einsum("bm,bcv->mc", there, shares)
        sums, sizes = (cast(Tensor, idist.all_reduce(each)) for each in (sums, sizes))
        means = torch.where(sizes[..., None] > EPSILON, sums / sizes[..., None], torch.nan)
        old = means if self.prototypes is None else self.prototypes.to(means)
        moved = self.momentum * old + (1 - self.momentum) * means
        self.prototypes = torch.where(old.isnan(), means, torch.where(means.isnan(), old, moved))

    def _compare(self, features: Tensor, shares: Tensor, acquired: Tensor) -> Nearness:
        prototypes = cast(Tensor, self.prototypes)
        known = ~prototypes.isnan().any(dim=2)  # (M, C)
        distance = torch.cdist(features, prototypes.nan_to_num()[None])  # (B, M, V, C)
        logits = (-distance).masked_fill(~known[None, :, None], -torch.inf)
        logits = torch.where(known.any(dim=1)[None, :, None, None], logits, 0)  # a modality that was never seen
        log_p = F.log_softmax(logits, dim=3).clamp(min=torch.finfo(torch.float32).min)
        p = log_p.exp()
        size = shares.sum(dim=2)[:, None]  # (B, 1, C)
        counts = (size > EPSILON) & known[None]  # (B, M, C)
        number = counts.sum(dim=2).clamp(min=1)

        def of_classes(values: Tensor) -> Tensor:
            found = torch.einsum("bmvc,bcv->bmc", values, shares) / size.clamp(min=EPSILON)
            return torch.where(counts, found, 0).sum(dim=2) / number

        taken = torch.where(known[None, :, None], log_p, 0)
        score = torch.where(acquired, of_classes(p).detach(), 0)
        return Nearness(-of_classes(taken), -(p * taken).sum(dim=3).mean(dim=2), score_ratio(score, acquired))


class PrototypeCrossEntropyTerm(PrototypeRebalanceTerm):
    """Pull the features of a modality to their own prototypes, the more the further it lags behind: ``(B, M)``.

    ``clip(1 / ratio - 1, 0, 1) cross_entropy``, see ``PrototypeRebalanceTerm``: nothing for a modality that is ahead.

    Reference:
        Fan et al., PMR, CVPR 2023: acceleration of the slow modality.
    """

    def __init__(self, weight: float = 1.0, momentum: float = 0.9) -> None:
        super().__init__(weight, momentum)

    def values(self, nearness: Nearness) -> Tensor:
        return (1 / nearness.ratio.clamp(min=EPSILON) - 1).clamp(0, 1) * nearness.cross_entropy


class PrototypeEntropyTerm(PrototypeRebalanceTerm):
    """Keep a modality that is ahead from deciding too early: ``(B, M)``.

    ``-clip(ratio - 1, 0, 1) entropy``, see ``PrototypeRebalanceTerm``: nothing for a modality that lags behind.

    Args:
        weight: see ``Term``.
        momentum: see ``PrototypeRebalanceTerm``.
        epochs: in which it counts, from the first; as in the paper, in the beginning of the training.

    Reference:
        Fan et al., PMR, CVPR 2023: prototypical entropy regularisation.
    """

    weight_changes = True

    def __init__(self, weight: float = 0.1, momentum: float = 0.9, epochs: float = 100) -> None:
        super().__init__(weight, momentum)
        self.epochs = epochs

    def weight_at(self, state: ObjectiveState) -> float:
        return self.weight if state.completed_epochs < self.epochs else 0.0

    def values(self, nearness: Nearness) -> Tensor:
        return -(nearness.ratio - 1).clamp(0, 1) * nearness.entropy


def class_shares(label: Tensor, num_classes: int, size: torch.Size) -> Tensor:
    """Give the share of each class in the voxels of a coarser level.

    Args:
        label: ``(B, 1, *S)`` integers in 0..C-1.
        num_classes: C.
        size: of the level.

    Returns:
        ``(B, C, V)``, V the voxels of the level; sums up to 1 over the classes.
    """
    one_hot = F.one_hot(label[:, 0].long(), num_classes).movedim(-1, 1).float()
    pool: nn.Module = Pool[Pool.ADAPTIVEAVG, len(size)](tuple(size))
    return cast(Tensor, pool(one_hot)).flatten(2)


def score_ratio(score: Tensor, available: Tensor) -> Tensor:
    """Divide the score of each modality by the mean score of the others of its sample.

    Args:
        score: ``(B, M)``, from 0.
        available: ``(B, M)`` bool.

    Returns:
        ``(B, M)``, from 0; 1 for a modality alone, and for one that is not there.
    """
    there = available.to(score)
    score = score * there
    others = there.sum(dim=1, keepdim=True) - there
    mean = (score.sum(dim=1, keepdim=True) - score) / others.clamp(min=1)
    return torch.where(available & (others > 0), score / mean.clamp(min=EPSILON), 1)
