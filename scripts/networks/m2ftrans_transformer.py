# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The modality-masked transformer of M2FTrans: fusion tokens that look at the modalities a sample has."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import channels_last
from .transformer import PositionalTables, TransformerLayer, TransformerSettings, to_image


class FusionLayer(TransformerLayer):
    """A transformer layer that serves tokens among themselves (``forward``) and fusion tokens (``fuse``)."""

    def fuse(self, fusion: Tensor, tokens: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Let fusion tokens attend to the tokens of the modalities and to each other.

        Equal to the last rows of the layer on ``cat([tokens, fusion])`` under a mask.

        Args:
            fusion: ``(B, N, width)``.
            tokens: ``(B, K, width)``, of all modalities, from before this layer.
            hidden: ``(B, 1, 1, K + N)`` bool, ``True`` for what must not be attended to; never a fusion token.

        Returns:
            fusion tokens ``(B, N, width)`` and the attention ``(B, heads, N, K + N)``, behind its dropout.
        """
        attention = self.attention
        own = self.attention_norm(fusion)
        everything = torch.cat([self.attention_norm(tokens), own], dim=1)
        width = attention.inner_dim
        query = F.linear(own, attention.qkv.weight[:width])
        key, value = F.linear(everything, attention.qkv.weight[width:]).chunk(2, dim=2)
        heads = [attention.num_heads, -1]
        query, key, value = [each.unflatten(2, heads).transpose(1, 2) for each in (query, key, value)]
        scores = torch.matmul(query, key.transpose(2, 3)) * attention.scale
        weights = attention.drop_weights(scores.masked_fill(hidden, -float("inf")).softmax(dim=3))
        attended = torch.matmul(weights, value).transpose(1, 2).flatten(2)
        fusion = fusion + self.dropout(attention.drop_output(attention.out_proj(attended)))
        return fusion + self.mlp(self.mlp_norm(fusion)), weights


class ModalityMaskedTransformer(nn.Module):
    """Refine the tokens of each modality and gather those that a sample has into learnt fusion tokens.

    A token of a modality attends to that modality alone, so a modality is a sequence of its own here; a fusion token
    attends to the tokens of the available modalities and to all fusion tokens. How much the fusion tokens of the first
    layer attend to a voxel of a modality, summed over heads and fusion tokens, is that voxel's spatial weight.

    Args:
        num_modalities: M.
        grid: voxels of the deepest level along each axis, for which positions and fusion tokens are learnt.
        settings: size of the transformer.

    Shape:
        - features: ``(B, A, width, *S)``; index: ``(B, A)``; available: ``(B, A)`` bool
        - output: ``(B, A, width, *S)`` of the modalities, ``(B, width, *S)`` of the fusion tokens and ``(B, A, *S)``
          spatial weights without gradient; exact zeros where not available. With the weights of the fusion tokens
          among themselves they add up to heads x voxels (without dropout)
    """

    def __init__(self, num_modalities: int, grid: list[int], settings: TransformerSettings) -> None:
        super().__init__()
        self.num_modalities = num_modalities
        self.positions = PositionalTables(num_modalities + 1, grid, settings.width)  # the last one: fusion tokens
        self.fusion = PositionalTables(1, grid, settings.width)
        nn.init.normal_(self.fusion.table)
        self.layers = nn.ModuleList(FusionLayer(settings) for _ in range(settings.depth))

    def forward(self, features: Tensor, index: Tensor, available: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        size = features.shape[3:]
        batch, given = available.shape
        positions = self.positions(size)  # (M + 1, N, width)
        tokens = features.flatten(3).transpose(2, 3).flatten(0, 1)  # (B * A, N, width)
        tokens = tokens + positions.index_select(0, index.flatten())
        fusion = (self.fusion(size) + positions[self.num_modalities]).expand(batch, -1, -1)
        number = fusion.shape[1]
        to_modalities = (~available).unsqueeze(2).expand(-1, -1, number).flatten(1)  # (B, A * N)
        hidden = F.pad(to_modalities, [0, number], value=False)[:, None, None]
        attended = torch.zeros_like(hidden)
        for i, layer in enumerate(self.layers):
            fusion, weights = layer.fuse(fusion, tokens.unflatten(0, [batch, given]).flatten(1, 2), hidden)
            tokens = layer(tokens)
            if i == 0:
                attended = weights.detach()
        spatial = attended.sum(dim=[1, 2])[:, : given * number].unflatten(1, [given] + list(size))
        maps = to_image(tokens, size).unflatten(0, [batch, given])
        return maps, to_image(fusion, size), channels_last(spatial.to(features.dtype))
