# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How the parameter names of published mmFormer checkpoints translate to the names here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from .reference_names import ENCODER, TRANSFORMER, Rules, first_match, last_layer, nested, one_of, unimodal_decoder
from .transformer import TransformerSettings, cube_side

_DECODER: Rules = [
    (r"multimodal_decode_conv\.", lambda g: "mix_tokens."),
    (r"decoder_fuse\.RFM5\.fusion_layer\.(\d)\.conv\.", lambda g: f"bottom.{g[1]}.conv."),
    (r"decoder_fuse\.RFM(\d)\.fusion_layer\.0\.conv\.", lambda g: f"stages.{4 - int(g[1])}.fusion.mix.conv."),
    (
        r"decoder_fuse\.RFM(\d)\.fusion_layer\.([12])\.conv\.",
        lambda g: f"stages.{4 - int(g[1])}.fusion.refine.{int(g[2]) - 1}.conv.",
    ),
    (r"decoder_fuse\.d(\d)_c1\.", lambda g: f"stages.{4 - int(g[1])}.up."),
    (r"decoder_fuse\.d(\d)_c2\.", lambda g: f"stages.{4 - int(g[1])}.merge.0."),
    (r"decoder_fuse\.d(\d)_out\.", lambda g: f"stages.{4 - int(g[1])}.merge.1."),
    (r"decoder_fuse\.seg_d(\d)\.", lambda g: f"heads.{4 - int(g[1])}."),
    (r"decoder_fuse\.seg_layer\.", lambda g: "segment."),
    *unimodal_decoder(5),
]


def mmformer_name(name: str, modalities: Sequence[str]) -> str | None:
    """Translate one parameter name of a published mmFormer checkpoint; ``None`` if it is not known.

    Args:
        name: e.g. ``"flair_encoder.e1_c1.weight"``.
        modalities: names in the channel order of the network here.
    """
    if match := re.match(rf"{one_of(modalities)}_(encoder\.|transformer\.|encode_conv\.|pos$)", name):
        encoder = f"encoders.{list(modalities).index(match[1])}."
        if match[2] == "encoder.":
            return nested(match, ENCODER, encoder + "convolutions.")
        if match[2] == "transformer.":
            return nested(match, TRANSFORMER, encoder + "layers.")
        return encoder + ("positions.table" if match[2] == "pos" else "project." + name[match.end() :])
    if match := re.match(r"multimodal_transformer\.", name):
        return nested(match, TRANSFORMER, "layers.")
    return first_match(name, _DECODER)


def mmformer_modality_axis(name: str) -> int | None:
    """Tell along which axis a parameter of mmFormer holds one block for each modality; ``None`` if along none.

    The weight that mixes tokens has such an axis only in appearance: its blocks meet successive tokens of one sequence,
    so the order of the modalities cannot be changed (``reorderable`` is false).

    Args:
        name: of the parameter here, e.g. ``"stages.0.fusion.mix.conv.weight"``.
    """
    return 1 if name.endswith("fusion.mix.conv.weight") else None


def mmformer_arguments(reference: Mapping[str, Tensor]) -> dict:
    """Read the arguments of ``MMFormer`` from the shapes of a published checkpoint; eight heads, as published.

    Raises:
        KeyError: naming the parameter that is not there.
        ValueError: if the last layer is no convolution, or the positional table belongs to no cube (or square).
    """
    sizes = last_layer(reference, "decoder_fuse.seg_layer.weight")
    prefix = "multimodal_transformer.cross_{}_list.{}.fn.fn.{}.weight"
    mlp_width, transformer_width = reference[prefix.format("ffn", 0, "net.0")].shape
    depth = sum(key.endswith("fn.fn.qkv.weight") and key.startswith("multimodal") for key in reference)
    tables = [value for key, value in reference.items() if key.endswith("_pos")]
    if not tables:
        raise KeyError("<modality>_pos")
    return {
        **sizes,
        "patch_size": 16 * cube_side(tables[0].shape[1], sizes["spatial_dims"]),
        "transformer": TransformerSettings(transformer_width, mlp_width, depth=depth),
    }
