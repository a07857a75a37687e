# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Transformer layers over the voxels of a bottleneck, and their positional tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from monai.networks.blocks import MLPBlock, SABlock
from monai.utils import ensure_tuple_rep
from torch import Tensor, nn


class TransformerSettings(NamedTuple):
    """Size of a transformer.

    Attributes:
        width: numbers of a token, a multiple of ``heads``.
        mlp_width: hidden units between two tokens.
        heads: of the attention.
        depth: layers.
        dropout: probability, at four places of every layer.
    """

    width: int
    mlp_width: int
    heads: int = 8
    depth: int = 1
    dropout: float = 0.1


class TransformerLayer(nn.Module):
    """Self-attention and a multi-layer perceptron, each behind a layer normalisation and added to its input.

    Attention without bias in front and with one behind, dropout behind it twice, as published.

    Args:
        settings: size of the transformer.

    Shape:
        - tokens, output: ``(B, N, width)``
    """

    def __init__(self, settings: TransformerSettings) -> None:
        super().__init__()
        width, dropout = settings.width, settings.dropout
        self.attention_norm = nn.LayerNorm(width)
        self.attention = SABlock(width, settings.heads, dropout)
        self.dropout = nn.Dropout(dropout)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = MLPBlock(width, settings.mlp_width, dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.dropout(self.attention(self.attention_norm(tokens)))
        return tokens + self.mlp(self.mlp_norm(tokens))


def token_grid(patch_size: Sequence[int] | int, spatial_dims: int, num_levels: int) -> list[int]:
    """Tell the size of the deepest level of a patch, whose voxels are the tokens; each level halves, rounding up."""
    return [-(-length // 2 ** (num_levels - 1)) for length in ensure_tuple_rep(patch_size, spatial_dims)]


def to_tokens(features: Tensor) -> Tensor:
    """List the voxels of ``(B, F, *S)`` in row-major order: ``(B, N, F)``."""
    return features.flatten(2).transpose(1, 2)


def to_image(tokens: Tensor, size: list[int]) -> Tensor:
    """Undo ``to_tokens``: ``(B, N, F)`` to ``(B, F, *S)``, the channels of a voxel side by side in memory."""
    return tokens.unflatten(1, size).movedim(-1, 1)


def resize_positions(table: Tensor, before: list[int], after: list[int]) -> Tensor:
    """Interpolate positional tables of another grid, linearly with aligned corners.

    Args:
        table: ``(K, N, width)``, K tables of the N voxels of ``before`` in row-major order.
        before: size of the grid that the table is for.
        after: size of the grid wanted.

    Returns:
        ``(K, N', width)`` for the N' voxels of ``after``; the table itself if the sizes are equal.
    """
    if before == list(after):  # a torch.Size equals no list
        return table
    mode = "trilinear" if len(after) == 3 else "bilinear"
    return to_tokens(F.interpolate(to_image(table, before), size=after, mode=mode, align_corners=True))


class PositionalTables(nn.Module):
    """Learnt positions of the voxels of a grid, K tables; zeros at first.

    A checkpoint of another grid is interpolated when it is loaded, an input of another size at every call.

    Args:
        num_tables: K.
        grid: size of the grid in voxels.
        width: numbers of a position.

    Shape:
        - output: ``(K, N, width)`` for the N voxels of the size asked for

    Raises:
        ValueError: on loading, if a table of another length does not belong to a cube (a square in 2D).
    """

    def __init__(self, num_tables: int, grid: list[int], width: int) -> None:
        super().__init__()
        self.grid = grid
        number = 1
        for length in grid:
            number *= length
        self.table = nn.Parameter(torch.zeros(num_tables, number, width))

    def forward(self, size: list[int]) -> Tensor:
        return resize_positions(self.table, self.grid, size)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args) -> None:
        loaded = state_dict.get(prefix + "table")
        fits = loaded is not None and loaded.dim() == 3 and loaded.shape[::2] == self.table.shape[::2]
        if fits and loaded.shape[1] != self.table.shape[1]:
            side = cube_side(loaded.shape[1], len(self.grid))
            state_dict[prefix + "table"] = resize_positions(loaded, [side] * len(self.grid), self.grid)
        super()._load_from_state_dict(state_dict, prefix, *args)


def cube_side(number: int, spatial_dims: int) -> int:
    """Tell the side of the cube (square in 2D) that has ``number`` voxels.

    Raises:
        ValueError: if there is none.
    """
    side = round(number ** (1 / spatial_dims))
    if side**spatial_dims != number:
        shape = "cube" if spatial_dims == 3 else "square"
        raise ValueError(
            f"a positional table has {number} positions, those of no {shape}; only a {shape} can be interpolated. Set "
            "`patch_size` to that of the checkpoint."
        )
    return side
