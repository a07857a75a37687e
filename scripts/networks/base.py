# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The contract of every network here: encode, align, fuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..modalities import acquired_modalities
from .alignment import AnchorAlignment, NoAlignment, broadcast
from .blocks import channels_last, stack_modalities
from .convolution import concatenate
from .outputs import (
    ALIGNMENT,
    DEFAULT_PATHS,
    ENCODED,
    FUSED,
    NARROWED,
    STUDENTS,
    UNIMODAL,
    MultiModalOutput,
    PathOutput,
    StudentOutput,
)
from .packing import in_one_batch, mean_of_available, pack, place_rows, stack_alone


class IncompleteMultiModalNetwork(nn.Module):
    """Segment from any subset of M modalities; an absent modality is a channel that contains NaN.

    A subclass sets ``encoders`` (M modules, each from one channel to a list of levels) and defines ``decode`` and
    ``decode_unimodal``. It gets from here: encoders of absent modalities never run; every subset of a case comes from
    one encoding (``encode`` once, ``fuse`` many times); training mode returns what the losses need.

    ``decode(features, index, available)`` takes one ``(B, A, F_l, *S_l)`` for each level, finest first, of the A
    modalities at the positions ``index`` ``(B, A)``, and ``available`` of these alone, ``(B, A)`` bool; where that is
    ``False`` the sample lacks the modality and its features are zero. It returns logits ``(B, C, *S)``, the logits of
    intermediate heads (finest first, or none) and the features ``(B, F, *S)`` right before the logits.
    ``decode_unimodal`` turns one modality's levels ``(n, F_l, *S_l)`` into logits ``(n, C, *S)``.

    Args:
        num_modalities: M.
        num_classes: C, with the background.
        level_channels: channels of the encoder's levels, finest first.
        level_strides: by how much each level shrinks the size of the one before, rounding up; ``[1, 2, 2, ...]`` if not
            given.
        alignment: what happens between encoders and fusion, ``NoAlignment`` if not given.

    Shape:
        - x: ``(B, M, *S)``
        - available: ``(B, M)`` bool; narrows what is fused. A modality counts only if it is also acquired
        - paths: in training mode, the names of the paths to run, out of ``PATHS`` of ``outputs``; fused, uni-modal and
          alignment if not given. The image is encoded once for all of them. A teacher is run by whoever has it
        - narrowed_available: ``(B, M)`` bool; what the narrowed path is shown of ``available``, if it is asked for
        - output: ``(B, C, *S)`` logits in evaluation mode, ``MultiModalOutput`` in training mode

    Attributes:
        checkpointing: in training, keep no activations of the encoders and decoders for the backward pass but compute
            them again there, part by part: far less memory for about a third more time. ``False`` at first.

    Raises:
        ValueError: if the alignment is of other modalities or levels.

    Note:
        Parameters that no sample of a batch uses get no gradient (``None``, not zero), so AdamW neither moves nor
        decays them in that step, and its moments stand still. In the published implementations they get zeros, which
        let momentum and weight decay move the encoder of an absent modality.
    """

    def __init__(
        self,
        num_modalities: int,
        num_classes: int,
        level_channels: list[int],
        level_strides: list[int] | None = None,
        alignment: AnchorAlignment | None = None,
    ) -> None:
        super().__init__()
        self.num_modalities = num_modalities
        self.num_classes = num_classes
        self.level_channels = level_channels
        self.checkpointing = False
        if alignment is not None:
            alignment.check(num_modalities, len(level_channels))
        self.alignment: AnchorAlignment | NoAlignment = NoAlignment() if alignment is None else alignment
        self.level_strides = level_strides or [1] + [2] * (len(level_channels) - 1)
        shrinkage = math.prod(self.level_strides)
        self.smallest_size = shrinkage + 1 if shrinkage > 1 else 1  # two voxels at the deepest level

    def forward(
        self,
        x: Tensor,
        available: Tensor | None = None,
        paths: list[str] | None = None,
        narrowed_available: Tensor | None = None,
    ) -> Tensor:
        if x.shape[1] != self.num_modalities:
            raise ValueError(
                f"the input has {x.shape[1]} channels; expected {self.num_modalities}, one for each modality "
                "(absent ones filled with NaN). Check that the data and `modalities` of the configuration agree."
            )
        if min(x.shape[2:]) < self.smallest_size:
            raise ValueError(
                f"the image has {x.shape[2:]} voxels; this network needs at least {self.smallest_size} along each "
                "axis, two at its deepest level. See `patch_size`."
            )
        acquired = acquired_modalities(x)
        available = acquired if available is None else acquired & available.to(acquired.device)
        if not torch.jit.is_scripting():
            if self.training:
                return self.forward_training(x, acquired, available, paths, narrowed_available)
        return self.fuse(self.align(self.encode(x, available), available), available)

    @torch.jit.unused
    def forward_training(
        self,
        x: Tensor,
        acquired: Tensor,
        available: Tensor,
        paths: list[str] | None = None,
        narrowed_available: Tensor | None = None,
    ) -> MultiModalOutput:
        """Encode once and run the paths asked for; what is not asked for is neither encoded nor decoded."""
        asked = set(DEFAULT_PATHS if paths is None else paths)
        if isinstance(self.alignment, NoAlignment):
            asked.discard(ALIGNMENT)
        whole = asked & {UNIMODAL, STUDENTS, ALIGNMENT, ENCODED}  # of every acquired modality, available or not
        features = self.encode(x, acquired if whole else available)
        found: dict[str, Any] = {}
        if FUSED in asked:
            packed = self._aligned(features, available)
            found[FUSED], found["auxiliary"], found["fused_features"] = self._run(self.decode, *packed)
            found["bottleneck"] = self.fused_bottleneck(*packed)
        if UNIMODAL in asked:
            found[UNIMODAL] = self.unimodal_probabilities(features, acquired)
        if STUDENTS in asked:
            single = available.sum(dim=1, keepdim=True) == 1  # (B, 1): `fused` is that student already
            found[STUDENTS] = self.fuse_alone(features, acquired & ~(available & single))
        if ALIGNMENT in asked:
            found[ALIGNMENT] = self.alignment.compare(features, acquired)
        if ENCODED in asked and hasattr(self, "encoders"):
            found[ENCODED] = features[-1]
        if NARROWED in asked and narrowed_available is not None:
            found[NARROWED] = self.path(features, available & narrowed_available.to(available.device))
        return MultiModalOutput(acquired, available, **found)

    @torch.jit.unused
    def path(self, features: list[Tensor], available: Tensor) -> PathOutput:
        """Fuse some of the encoded modalities, and give what other paths are compared with."""
        packed = self._aligned(features, available)
        logits = self._run(self.decode, *packed)[0]
        return PathOutput(available, logits, self.fused_bottleneck(*packed))

    @torch.jit.unused
    def fused_bottleneck(self, packed: list[Tensor], index: Tensor, available: Tensor) -> Tensor | None:
        """Average what is fused at the deepest level, see ``decode``: ``(B, F_L, *S_L)``."""
        return mean_of_available(packed[-1], available)

    def encode(self, x: Tensor, available: Tensor) -> list[Tensor]:
        """Encode every available modality on its own.

        Returns:
            one stack ``(B, M, F_l, *S_l)`` for each level, finest first; exact zeros where not available.
        """
        if not torch.jit.is_scripting():
            if torch.compiler.is_exporting():
                return self._encode_all(x, available)
        encoded: list[list[Tensor]] = []
        for m, encoder in enumerate(self.encoders):
            rows = available[:, m].nonzero().squeeze(1)
            levels: list[Tensor] = []
            if rows.numel() > 0:
                channel = x[:, m : m + 1].index_select(0, rows)
                if torch.jit.is_scripting():
                    levels = encoder(channel)
                else:
                    levels = self._run(encoder, channel)
                levels = [place_rows(level, rows, x.shape[0]) for level in levels]
            encoded.append(levels)
        return self._stack_levels(x, encoded)

    @torch.jit.unused
    def _encode_all(self, x: Tensor, available: Tensor) -> list[Tensor]:
        """Encode every modality, absent ones as zeros: an exported graph cannot leave out what a sample lacks."""
        x = x.masked_fill(~broadcast(available, x), 0.0)
        encoded = [encoder(channel) for encoder, channel in zip(self.encoders, x.split(1, dim=1), strict=True)]
        stacks = [stack_modalities(list(levels)) for levels in zip(*encoded, strict=True)]
        return [stack * broadcast(available, stack) for stack in stacks]  # (B, M, F_l, *S_l)

    def _stack_levels(self, x: Tensor, encoded: list[list[Tensor]]) -> list[Tensor]:
        """Stack the levels of all modalities, zeros in the place of those that were not encoded."""
        template: list[Tensor] = []
        for levels in encoded:
            if len(levels) > 0:
                template = levels
        if len(template) == 0:
            template = self._empty_levels(x)
        stacks: list[Tensor] = []
        for i in range(len(template)):
            absent = torch.zeros_like(template[i])
            stacks.append(stack_modalities([levels[i] if len(levels) > 0 else absent for levels in encoded]))
        return stacks  # (B, M, F_l, *S_l)

    def _empty_levels(self, x: Tensor) -> list[Tensor]:
        size: list[int] = list(x.shape[2:])
        levels: list[Tensor] = []
        for channels, stride in zip(self.level_channels, self.level_strides):
            size = [(length + stride - 1) // stride for length in size]
            levels.append(torch.zeros([x.shape[0], channels] + size, dtype=x.dtype, device=x.device))
        return levels

    def align(self, features: list[Tensor], available: Tensor) -> list[Tensor]:
        """Replace the features of absent modalities where the network's ``alignment`` does so; else leave them."""
        return self.alignment(features, available)

    def fuse(self, features: list[Tensor], available: Tensor) -> Tensor:
        """Decode the available modalities, all of them encoded and aligned, into logits ``(B, C, *S)``."""
        packed, index, available = pack(features, self.alignment.available_to_fusion(available))
        return self.decode(packed, index, available)[0]

    @torch.jit.unused
    def _aligned(self, features: list[Tensor], available: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """Align, then pack what the fusion gets."""
        return pack(self.align(features, available), self.alignment.available_to_fusion(available))

    @torch.jit.unused
    def unimodal_probabilities(self, features: list[Tensor], acquired: Tensor) -> Tensor | None:
        """Segment from each acquired modality alone with the shared uni-modal decoder.

        Returns:
            ``(B, M, C, *S)`` probabilities, exact zeros where not acquired.
        """
        rows = acquired.flatten().nonzero().squeeze(1)  # (n,) of B * M
        if rows.numel() == 0:
            size = [*acquired.shape, self.num_classes, *features[0].shape[3:]]
            return torch.zeros(size, device=features[0].device)
        if self._one_at_a_time(features):
            folded = [level.flatten(0, 1).split(1) for level in features]
            each = [self._run(self._unimodal, [level[row] for level in folded]) for row in rows.tolist()]
            probabilities = concatenate(each)
        else:
            probabilities = self._unimodal(in_one_batch(features, rows))
        return place_rows(probabilities, rows, acquired.numel()).unflatten(0, acquired.shape)

    def _unimodal(self, levels: list[Tensor]) -> Tensor:
        # float32 whatever the autocast: the losses take logarithms of these
        return self.decode_unimodal([channels_last(level) for level in levels]).float().softmax(dim=1)

    @torch.jit.unused
    def _one_at_a_time(self, features: list[Tensor]) -> bool:
        """Tell whether modalities alone go through a decoder one by one, as is best for memory, and for the CPU."""
        return self.checkpointing or features[0].device.type == "cpu"

    @torch.jit.unused
    def _run(self, function: Callable, *inputs: Any) -> Any:
        """Call a part of the network; with ``checkpointing``, what it computes inside is not kept for backward."""
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(function, *inputs, use_reentrant=False)
        return function(*inputs)

    @torch.jit.unused
    def fuse_alone(self, features: list[Tensor], available: Tensor) -> StudentOutput:
        """Fuse modalities alone: what the network says from each by itself, without the cost of the others.

        Equal to ``align`` and ``fuse`` under rows of the identity matrix. One batch on a GPU, one by one on the CPU.

        Args:
            features: one ``(B, M, F_l, *S_l)`` for each level, finest first.
            available: ``(B, M)`` bool, encoded modalities.
        """
        rows = available.flatten().nonzero().squeeze(1)  # (n,) of B * M
        if rows.numel() == 0:
            nothing = features[0].new_zeros([0, self.num_classes, *features[0].shape[3:]])
            return StudentOutput(available, nothing, [], nothing)
        index = (rows % self.num_modalities).unsqueeze(1)
        if self._one_at_a_time(features):
            folded = [level.flatten(0, 1).split(1) for level in features]
            each = [
                self._run(self._decode_alone, [level[row] for level in folded], index[i : i + 1])
                for i, row in enumerate(rows.tolist())
            ]
            logits, auxiliary, last = zip(*each, strict=True)
            joined = [concatenate(list(level)) for level in zip(*auxiliary, strict=True)]
            return StudentOutput(available, concatenate(list(logits)), joined, concatenate(list(last)))
        return StudentOutput(available, *self._decode_alone(in_one_batch(features, rows), index))

    def _decode_alone(self, levels: list[Tensor], index: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        levels = [channels_last(level) for level in levels]  # (n, F_l, *S_l)
        available = torch.zeros([len(index), self.num_modalities], dtype=torch.bool, device=index.device)
        available = available.scatter(1, index, True)
        if torch.equal(self.alignment.available_to_fusion(available), available):
            return self.decode(
                [level.unsqueeze(1) for level in levels], index, torch.ones_like(index, dtype=torch.bool)
            )
        return self.decode(*self._aligned([stack_alone(level, available) for level in levels], available))
