# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How the parameter names of published checkpoints translate to the names here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

# published name -> name here; levels count from 1 there and from 0 here, stages of decoders from coarse to fine here
_ENCODER = [
    (r"e(\d)_c1\.conv\.", lambda g: f"first.{int(g[1]) - 1}.conv."),
    (r"e(\d)_c([23])\.conv\.", lambda g: f"rest.{int(g[1]) - 1}.{int(g[2]) - 2}.conv."),
]
_REGION_FUSION = [
    (r"modal_fusion\.(\d)\.weight_layer\.(\d)\.", lambda g: f"weigh.{g[1]}.{g[2]}."),
    (r"region_fusion\.fusion_layer\.0\.conv\.", lambda g: "region_mix."),
    (r"region_fusion\.fusion_layer\.([12])\.conv\.", lambda g: f"region_refine.{int(g[1]) - 1}.conv."),
    (r"short_cut\.0\.conv\.", lambda g: "shortcut_mix.conv."),
    (r"short_cut\.([12])\.conv\.", lambda g: f"shortcut_refine.{int(g[1]) - 1}.conv."),
]
_REGION_HEAD = [
    (r"embedding_layer\.0\.conv\.", lambda g: "mix.conv."),
    (r"embedding_layer\.([12])\.conv\.", lambda g: f"embed.{int(g[1]) - 1}.conv."),
    (r"prm_layer\.0\.conv\.", lambda g: "head.0.conv."),
    (r"prm_layer\.1\.", lambda g: "head.1."),
]
Rules = Sequence[tuple[str, Callable[[re.Match], str]]]


def _stage(level: str, part: str) -> str:
    """Name a part of the fused decoder of RFNet: level 4 is the bottom, levels 3 to 1 are stages 0 to 2."""
    return f"bottom_{part}." if level == "4" else f"stages.{3 - int(level)}.{part}."


def _first_match(name: str, rules: Rules) -> str | None:
    for pattern, rename in rules:
        match = re.match(pattern, name)
        if match:
            return rename(match) + name[match.end() :]
    return None


def _nested(match: re.Match, name: str, rules: Rules, prefix: str) -> str | None:
    inner = _first_match(name[match.end() :], rules)
    return None if inner is None else prefix + inner


def rfnet_name(name: str, modalities: Sequence[str]) -> str | None:
    """Translate one parameter name of a published RFNet checkpoint; ``None`` if it is not known.

    Args:
        name: e.g. ``"flair_encoder.e1_c1.conv.weight"``.
        modalities: names in the channel order of the network here.
    """
    if match := re.match(rf"({'|'.join(map(re.escape, modalities))})_encoder\.", name):
        return _nested(match, name, _ENCODER, f"encoders.{list(modalities).index(match[1])}.")
    if match := re.match(r"decoder_fuse\.RFM(\d)\.", name):
        return _nested(match, name, _REGION_FUSION, _stage(match[1], "fusion"))
    if match := re.match(r"decoder_fuse\.prm_generator(\d)\.", name):
        return _nested(match, name, _REGION_HEAD, _stage(match[1], "head"))
    return _first_match(
        name,
        [
            (r"decoder_fuse\.d(\d)_c1\.", lambda g: f"stages.{3 - int(g[1])}.up."),
            (r"decoder_fuse\.d(\d)_c2\.", lambda g: f"stages.{3 - int(g[1])}.merge.0."),
            (r"decoder_fuse\.d(\d)_out\.", lambda g: f"stages.{3 - int(g[1])}.merge.1."),
            (r"decoder_fuse\.seg_layer\.", lambda g: "segment."),
            (r"decoder_sep\.d(\d)_c1\.", lambda g: f"unimodal_decoder.up.{3 - int(g[1])}."),
            (r"decoder_sep\.d(\d)_c2\.", lambda g: f"unimodal_decoder.merge.{3 - int(g[1])}.0."),
            (r"decoder_sep\.d(\d)_out\.", lambda g: f"unimodal_decoder.merge.{3 - int(g[1])}.1."),
            (r"decoder_sep\.seg_layer\.", lambda g: "unimodal_decoder.segment."),
        ],
    )


def rfnet_modality_axis(name: str) -> int | None:
    """Tell along which axis a parameter of RFNet holds one block for each modality; ``None`` if along none.

    Args:
        name: of the parameter here, e.g. ``"bottom_head.mix.conv.weight"``.
    """
    if re.fullmatch(r".*\.(shortcut_)?mix\.conv\.weight|.*\.weigh\.\d+\.0\.weight", name):
        return 1
    return 0 if re.fullmatch(r".*\.weigh\.\d+\.2\.(weight|bias)", name) else None


def encoder_order(reference: Mapping[str, Tensor]) -> list[str]:
    """List the modalities of a published checkpoint in the order of its encoders, which is that of its channels."""
    matches = (re.match(r"(?:module\.)?([^.]+)_encoder\.", key) for key in reference)
    return list(dict.fromkeys(match[1] for match in matches if match))


def _reorder(value: Tensor, axis: int, order: Sequence[int]) -> Tensor:
    """Put the blocks along an axis into another order; what stands behind the last block stays there."""
    length = value.shape[axis] // len(order)
    positions = torch.arange(value.shape[axis])
    blocks = positions[: length * len(order)].view(len(order), length)[list(order)].flatten()
    return value.index_select(axis, torch.cat([blocks, positions[length * len(order) :]]))


def convert_state_dict(
    reference: Mapping[str, Tensor],
    network: nn.Module,
    modalities: Sequence[str],
    translate: Callable[[str, Sequence[str]], str | None] = rfnet_name,
    modality_axis: Callable[[str], int | None] = rfnet_modality_axis,
) -> dict[str, Tensor]:
    """Rename, reshape and reorder a published checkpoint so that it loads into ``network``.

    Args:
        reference: the published state dict, with or without a ``module.`` prefix; the order of its encoders says which
            block of a fusing weight belongs to which modality.
        network: the network it is meant for; only its parameter names and shapes are read.
        modalities: names in the channel order of ``network``, which need not be that of the checkpoint.
        translate: from a published name to a name here.
        modality_axis: from a name here to the axis with one block for each modality, or ``None``.

    Raises:
        ValueError: if keys are left over, missing, or of another shape; the message names them.
    """
    expected = network.state_dict()
    converted, problems, seen = {}, [], set()
    for key, value in reference.items():
        name = translate(key.removeprefix("module."), modalities)
        if name not in expected:
            problems.append(f"`{key}` is not known")
            continue
        seen.add(name)
        # 1x1 convolutions on one voxel are linear layers here: trailing axes of length 1 are the only difference
        if value.numel() != expected[name].numel() or value.squeeze().shape != expected[name].squeeze().shape:
            problems.append(f"`{key}` has shape {tuple(value.shape)}, expected {tuple(expected[name].shape)}")
            continue
        converted[name] = value.reshape(expected[name].shape)
    problems += [f"nothing found for `{name}`" for name in expected if name not in seen]
    if problems:
        raise ValueError(
            f"the checkpoint does not fit {type(network).__name__} with modalities {list(modalities)}, {len(problems)} "
            "differences: " + "; ".join(problems[:8]) + ("; ..." if len(problems) > 8 else "")
        )
    trained = encoder_order(reference)
    order = [trained.index(name) for name in modalities]
    axes = {name: modality_axis(name) for name in converted}
    return {name: x if axes[name] is None else _reorder(x, axes[name], order) for name, x in converted.items()}
