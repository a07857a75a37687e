# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How the parameter names of published M2FTrans checkpoints translate to the names here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from .reference_names import ENCODER, TRANSFORMER, Rules, first_match, last_layer, nested, one_of, unimodal_decoder
from .transformer import TransformerSettings, cube_side

_VOXEL_MAP: Rules = [
    (r"(pwconv1|conv1)\.", lambda g: "expand."),
    (r"norm1\.", lambda g: "expand_norm."),
    (r"(dwconv|conv2)\.", lambda g: "mix."),
    (r"norm2\.", lambda g: "mix_norm."),
    (r"(pwconv2|conv3)\.", lambda g: "project."),
    (r"norm3\.", lambda g: "project_norm."),
]
_DECODER: Rules = [
    (r"decoder_fusion\.RFM([123])\.fusion_layer\.0\.conv\.", lambda g: f"stages.{3 - int(g[1])}.fusion.mix."),
    (
        r"decoder_fusion\.RFM([123])\.fusion_layer\.([12])\.",
        lambda g: f"stages.{3 - int(g[1])}.fusion.refine.{int(g[2]) - 1}.",
    ),
    (r"decoder_fusion\.prm_fusion([1-5])\.prm_layer\.", lambda g: _stage(g[1], "head")),
    (r"decoder_fusion\.d([1-4])_c1\.", lambda g: _stage(g[1], "up")),
    (r"decoder_fusion\.d([1-5])_c2\.", lambda g: _stage(g[1], "merge") + "0."),
    (r"decoder_fusion\.d([1-5])_out\.", lambda g: _stage(g[1], "merge") + "1."),
    (r"decoder_fusion\.seg_layer\.", lambda g: "segment."),
    (r"pos$", lambda g: "bottleneck.positions.table"),
    (r"fusion$", lambda g: "bottleneck.fusion.table"),
    *unimodal_decoder(5),
]


def _stage(level: str, part: str) -> str:
    """Name a part of the fused decoder: level 5 is the bottom, 4 the coarse one, levels 3 to 1 are stages 0 to 2."""
    named = {"5": f"bottom_{part}.", "4": f"coarse_{part}."}
    return named.get(level) or f"stages.{3 - int(level)}.{part}."


def m2ftrans_name(name: str, modalities: Sequence[str]) -> str | None:
    """Translate one parameter name of a published M2FTrans checkpoint; ``None`` if it is not known.

    Args:
        name: e.g. ``"flair_encoder.e1_c1.conv.weight"``.
        modalities: names in the channel order of the network here.
    """
    order = list(modalities)
    if match := re.match(rf"{one_of(modalities)}_encoder\.", name):
        return nested(match, ENCODER, f"encoders.{order.index(match[1])}.")
    if match := re.match(r"Bottleneck\.trans_bottle\.", name):
        return nested(match, TRANSFORMER, "bottleneck.layers.")
    if match := re.match(r"decoder_fusion\.CT([45])\.layers\.([01])\.cross_attn\.(query_map|out_project)\.", name):
        part = {"query_map": "query", "out_project": "project"}[match[3]]
        return nested(match, _VOXEL_MAP, f"{_stage(match[1], 'fusion')}attend.{match[2]}.{part}.")
    attention = r"decoder_fusion\.CT([45])\.layers\.([01])\.cross_attn\.(key|value)_map_"
    if match := re.match(rf"{attention}{one_of(modalities)}\.", name):
        part = f"attend.{match[2]}.{match[3]}s.maps.{order.index(match[4])}."
        return nested(match, _VOXEL_MAP, _stage(match[1], "fusion") + part)
    if match := re.match(r"decoder_fusion\.CT([45])\.layers\.([01])\.ffn1\.", name):
        return nested(match, _VOXEL_MAP, f"{_stage(match[1], 'fusion')}kernel_feed.{match[2]}.map.")
    if match := re.match(r"decoder_fusion\.CT([45])\.layers\.0\.ffn2\.", name):
        return nested(match, _VOXEL_MAP, f"{_stage(match[1], 'fusion')}map_feed.map.")
    return first_match(name, _DECODER)


def m2ftrans_modality_axis(name: str) -> int | None:
    """Tell along which axis a parameter of M2FTrans holds one block for each modality; ``None`` if along none.

    Args:
        name: of the parameter here, e.g. ``"stages.0.fusion.mix.weight"``.
    """
    if name == "bottleneck.positions.table":  # the table of the fusion tokens stands behind those of the modalities
        return 0
    return 1 if name.endswith("fusion.mix.weight") else None


def m2ftrans_arguments(reference: Mapping[str, Tensor]) -> dict:
    """Read the arguments of ``M2FTrans`` from the shapes of a published checkpoint; eight heads, as published.

    Raises:
        KeyError: naming the parameter that is not there.
        ValueError: if the last layer is no convolution, or the fusion tokens belong to no cube (or square).
    """
    sizes = last_layer(reference, "decoder_fusion.seg_layer.weight")
    mlp_width, transformer_width = reference["Bottleneck.trans_bottle.cross_ffn_list.0.fn.fn.net.0.weight"].shape
    depth = sum(key.startswith("Bottleneck.") and key.endswith("fn.fn.qkv.weight") for key in reference)
    return {
        **sizes,
        "patch_size": 16 * cube_side(reference["fusion"].shape[1], sizes["spatial_dims"]),
        "transformer": TransformerSettings(transformer_width, mlp_width, depth=depth),
    }
