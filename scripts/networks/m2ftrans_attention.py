# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The channel-wise cross attention of M2FTrans, from the channels of a kernel to those of every modality.

Images are voxel-major inside: ``(n, *S, F)``, the layout in which 1x1 convolutions, which are linear layers of a voxel,
and layer normalisation work.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

EPSILON = 1e-6  # of the layer normalisations


def rows_by_modality(index: Tensor, available: Tensor, num_modalities: int) -> list[Tensor]:
    """List the rows of the folded ``B * A`` that have each of the M modalities: ``(B, A)`` each, to M of ``(n_m,)``.

    While a network is being exported every modality is given, and its rows are listed whether it is available or not.
    """
    if not torch.jit.is_scripting():
        if torch.compiler.is_exporting():
            return list(torch.arange(index.numel(), device=index.device).view(index.shape).unbind(dim=1))
    position = torch.where(available, index, -1).flatten()
    return [(position == m).nonzero().squeeze(1) for m in range(num_modalities)]


class VoxelMap(nn.Module):
    """Linear layer, grouped 3x3x3 convolution with zero padding, linear layer; each with a layer normalisation behind.

    A GELU follows the first two normalisations.

    Args:
        spatial_dims: 2 or 3.
        channels: F of the input and of the output; also the number of groups.
        hidden_channels: F' in between, a multiple of F.

    Shape:
        - input, output: ``(n, *S, F)``
    """

    def __init__(self, spatial_dims: int, channels: int, hidden_channels: int) -> None:
        super().__init__()
        convolution = Conv[Conv.CONV, spatial_dims]
        self.expand = convolution(channels, hidden_channels, 1)
        self.expand_norm = nn.LayerNorm(hidden_channels, eps=EPSILON)
        self.mix = convolution(hidden_channels, hidden_channels, 3, padding=1, groups=channels)
        self.mix_norm = nn.LayerNorm(hidden_channels, eps=EPSILON)
        self.project = convolution(hidden_channels, channels, 1)
        self.project_norm = nn.LayerNorm(channels, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.expand_norm(F.linear(x, self.expand.weight.flatten(1), self.expand.bias)))
        # contiguous: of 2^3 voxels in another layout, torch's bfloat16 gradient of a grouped kernel is wrong or NaN
        x = F.gelu(self.mix_norm(self.mix(x.movedim(-1, 1).contiguous()).movedim(1, -1)))
        return self.project_norm(F.linear(x, self.project.weight.flatten(1), self.project.bias))


class ModalityMaps(nn.Module):
    """One ``VoxelMap`` for each of the M modalities, applied to the rows that show it; exact zeros elsewhere.

    Shape:
        - x, output: ``(R, *S, F)``
        - rows: M of ``(n_m,)``, no row twice
    """

    def __init__(self, num_modalities: int, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList(VoxelMap(spatial_dims, channels, channels) for _ in range(num_modalities))

    def forward(self, x: Tensor, rows: list[Tensor]) -> Tensor:
        mapped: list[Tensor] = []
        for m, voxel_map in enumerate(self.maps):
            if rows[m].numel() > 0:
                mapped.append(voxel_map(x.index_select(0, rows[m])))
        if len(mapped) == 0:
            return torch.zeros_like(x)
        values = torch.cat(mapped)
        return torch.zeros_like(x, dtype=values.dtype).index_copy(0, torch.cat(rows), values)


class ChannelCrossAttention(nn.Module):
    """Replace each channel of a kernel by a mixture of the channels of all available modalities.

    With a query q of channel i, keys k and values v of channel j of modality m, all of them images of L voxels:
    ``attention_i,mj = softmax_mj(q_i k_mj / sqrt(L))``, over the available modalities.

    Args:
        spatial_dims: 2 or 3.
        num_modalities: M.
        channels: F.

    Shape:
        - kernel, output: ``(B, *S, F)``
        - maps: ``(B * A, *S, F)`` of the modalities given; rows: of each modality among them
        - available: ``(B, A)`` bool; a sample that has nothing attends to zeros
    """

    def __init__(self, spatial_dims: int, num_modalities: int, channels: int) -> None:
        super().__init__()
        self.query = VoxelMap(spatial_dims, channels, channels)
        self.keys = ModalityMaps(num_modalities, spatial_dims, channels)
        self.values = ModalityMaps(num_modalities, spatial_dims, channels)
        self.project = VoxelMap(spatial_dims, channels, channels)

    def forward(self, kernel: Tensor, maps: Tensor, rows: list[Tensor], available: Tensor) -> Tensor:
        size = kernel.shape[1:-1]
        query = self.query(kernel).flatten(1, -2)  # (B, L, F)
        key = self.keys(maps, rows).flatten(1, -2).unflatten(0, available.shape)  # (B, A, L, F)
        value = self.values(maps, rows).flatten(1, -2).unflatten(0, available.shape)
        scores = torch.einsum("bli,balj->biaj", query, key) * query.shape[1] ** -0.5  # (B, F, A, F)
        available = available | ~available.any(dim=1, keepdim=True)  # a softmax over nothing is NaN
        scores = scores.masked_fill(~available[:, None, :, None], -float("inf"))
        weights = scores.flatten(2).softmax(dim=2).unflatten(2, scores.shape[2:])
        attended = torch.einsum("biaj,balj->bli", weights, value)
        return self.project(attended.unflatten(1, size))


class FeedForward(nn.Module):
    """Add a ``VoxelMap`` four times as wide, and apply a GELU to the sum.

    Shape:
        - input, output: ``(n, *S, F)``
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.map = VoxelMap(spatial_dims, channels, 4 * channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x + self.map(x))


class ChannelFusion(nn.Module):
    """Fuse the modalities of one level into a kernel by two layers of channel-wise cross attention.

    Args:
        spatial_dims: 2 or 3.
        num_modalities: M.
        channels: F.
        dropout: probability, of what the attention adds to the kernel.

    Shape:
        - kernel, output: ``(B, F, *S)``
        - maps: ``(B, A, F, *S)``; index: ``(B, A)`` their modalities; available: ``(B, A)`` bool
    """

    def __init__(self, spatial_dims: int, num_modalities: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.num_modalities = num_modalities
        self.attend = nn.ModuleList(ChannelCrossAttention(spatial_dims, num_modalities, channels) for _ in range(2))
        self.kernel_feed = nn.ModuleList(FeedForward(spatial_dims, channels) for _ in range(2))
        self.map_feed = FeedForward(spatial_dims, channels)  # between the two layers, the same for all modalities
        self.dropout = nn.Dropout(dropout)

    def forward(self, kernel: Tensor, maps: Tensor, index: Tensor, available: Tensor) -> Tensor:
        rows = rows_by_modality(index, available, self.num_modalities)
        kernel = kernel.movedim(1, -1)
        maps = maps.flatten(0, 1).movedim(1, -1)
        for i, (attend, feed) in enumerate(zip(self.attend, self.kernel_feed)):
            if i > 0:
                maps = self.map_feed(maps)
            kernel = feed(kernel + self.dropout(attend(kernel, maps, rows, available)))
        return kernel.movedim(-1, 1)
