# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Load checkpoints of published implementations: rename, reshape and reorder their parameters."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .m2ftrans import M2FTrans
from .mmformer import MMFormer
from .reference_m2ftrans import m2ftrans_arguments, m2ftrans_modality_axis, m2ftrans_name
from .reference_mmformer import mmformer_arguments, mmformer_modality_axis, mmformer_name
from .reference_rfnet import rfnet_arguments, rfnet_modality_axis, rfnet_name
from .rfnet import RFNet


class Published(NamedTuple):
    """A published network.

    Attributes:
        network: its class here.
        translate: from a published name and the names of the modalities to a name here; ``None`` for an unknown one.
        modality_axis: from a name here to the axis with one block for each modality, or ``None``.
        arguments: from a published state dict to the arguments of the class, other than the number of modalities.
        reorderable: whether the modalities may stand in another order here than in the checkpoint.
    """

    network: type[nn.Module]
    translate: Callable[[str, Sequence[str]], str | None]
    modality_axis: Callable[[str], int | None]
    arguments: Callable[[Mapping[str, Tensor]], dict]
    reorderable: bool = True


PUBLISHED = {
    "rfnet": Published(RFNet, rfnet_name, rfnet_modality_axis, rfnet_arguments),
    "mmformer": Published(MMFormer, mmformer_name, mmformer_modality_axis, mmformer_arguments, reorderable=False),
    "m2ftrans": Published(M2FTrans, m2ftrans_name, m2ftrans_modality_axis, m2ftrans_arguments),
}


def encoder_order(reference: Mapping[str, Tensor]) -> list[str]:
    """List the modalities of a published checkpoint in the order of its encoders, which is that of its channels."""
    matches = (re.match(r"([^.]+)_encoder\.", key) for key in without_prefix(reference))
    return list(dict.fromkeys(match[1] for match in matches if match))


def without_prefix(reference: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop the ``module.`` that data-parallel training puts in front of every name."""
    return {key.removeprefix("module."): value for key, value in reference.items()}


def convert_state_dict(
    reference: Mapping[str, Tensor], network: nn.Module, modalities: Sequence[str]
) -> dict[str, Tensor]:
    """Rename, reshape and reorder a published checkpoint so that it loads into ``network``.

    Args:
        reference: the published state dict, with or without a ``module.`` prefix; the order of its encoders says which
            block of a fusing weight belongs to which modality.
        network: an instance of one of the classes in ``PUBLISHED``; only its parameter names and shapes are read.
        modalities: names in the channel order of ``network``, which need not be that of the checkpoint.

    Raises:
        ValueError: if keys are left over, missing, or of another shape, or if the modalities cannot be put into that
            order; the message names them.
    """
    published = next(each for each in PUBLISHED.values() if each.network is type(network))
    expected = network.state_dict()
    converted, problems, seen = {}, [], set()
    for key, value in without_prefix(reference).items():
        name = published.translate(key, modalities)
        if name not in expected:
            problems.append(f"`{key}` is not known")
            continue
        seen.add(name)
        if not _same_numbers(value, expected[name]):
            problems.append(f"`{key}` has shape {tuple(value.shape)}, expected {tuple(expected[name].shape)}")
            continue
        converted[name] = value.reshape(expected[name].shape)
    problems += [f"nothing found for `{name}`" for name in expected if name not in seen]
    if problems:
        raise ValueError(
            f"the checkpoint does not fit {type(network).__name__} with modalities {list(modalities)}, {len(problems)} "
            "differences: " + "; ".join(problems[:8]) + ("; ..." if len(problems) > 8 else "")
        )
    return _in_order_of(modalities, converted, encoder_order(reference), published)


def _same_numbers(value: Tensor, expected: Tensor) -> bool:
    """Tell whether shapes differ in notation only.

    1x1 convolutions on one voxel are linear layers here (trailing axes of length 1), and positional tables one behind
    the other, ``(1, K * N, width)``, are a stack ``(K, N, width)``.
    """
    tables = value.dim() == expected.dim() == 3 and value.shape[-1] == expected.shape[-1]
    return value.numel() == expected.numel() and (tables or value.squeeze().shape == expected.squeeze().shape)


def _in_order_of(
    modalities: Sequence[str], state: dict[str, Tensor], trained: list[str], published: Published
) -> dict[str, Tensor]:
    order = [trained.index(name) for name in modalities]
    if order == sorted(order):
        return state
    if not published.reorderable:
        raise ValueError(
            f"the modalities of a {published.network.__name__} cannot be reordered: the checkpoint has {trained}, "
            f"asked for is {list(modalities)}. Name them in the order of the checkpoint, here and in `modalities` of "
            "the configuration."
        )
    moved = {}
    for name, value in state.items():
        axis = published.modality_axis(name)
        moved[name] = value if axis is None else _reorder(value, axis, order)
    return moved


def _reorder(value: Tensor, axis: int, order: Sequence[int]) -> Tensor:
    """Put the blocks along an axis into another order; what stands behind the last block stays there."""
    length = value.shape[axis] // len(order)
    positions = torch.arange(value.shape[axis])
    blocks = positions[: length * len(order)].view(len(order), length)[list(order)].flatten()
    return value.index_select(axis, torch.cat([blocks, positions[length * len(order) :]]))
