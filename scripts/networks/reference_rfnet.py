# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How the parameter names of published RFNet checkpoints translate to the names here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from .reference_names import ENCODER, Rules, first_match, last_layer, nested, one_of, unimodal_decoder

_REGION_FUSION: Rules = [
    (r"modal_fusion\.(\d)\.weight_layer\.(\d)\.", lambda g: f"weigh.{g[1]}.{g[2]}."),
    (r"region_fusion\.fusion_layer\.0\.conv\.", lambda g: "region_mix."),
    (r"region_fusion\.fusion_layer\.([12])\.conv\.", lambda g: f"region_refine.{int(g[1]) - 1}.conv."),
    (r"short_cut\.0\.conv\.", lambda g: "shortcut_mix.conv."),
    (r"short_cut\.([12])\.conv\.", lambda g: f"shortcut_refine.{int(g[1]) - 1}.conv."),
]
_REGION_HEAD: Rules = [
    (r"embedding_layer\.0\.conv\.", lambda g: "mix.conv."),
    (r"embedding_layer\.([12])\.conv\.", lambda g: f"embed.{int(g[1]) - 1}.conv."),
    (r"prm_layer\.0\.conv\.", lambda g: "head.0.conv."),
    (r"prm_layer\.1\.", lambda g: "head.1."),
]
_DECODER: Rules = [
    (r"decoder_fuse\.d(\d)_c1\.", lambda g: f"stages.{3 - int(g[1])}.up."),
    (r"decoder_fuse\.d(\d)_c2\.", lambda g: f"stages.{3 - int(g[1])}.merge.0."),
    (r"decoder_fuse\.d(\d)_out\.", lambda g: f"stages.{3 - int(g[1])}.merge.1."),
    (r"decoder_fuse\.seg_layer\.", lambda g: "segment."),
    *unimodal_decoder(4),
]


def _stage(level: str, part: str) -> str:
    """Name a part of the fused decoder: level 4 is the bottom, levels 3 to 1 are stages 0 to 2."""
    return f"bottom_{part}." if level == "4" else f"stages.{3 - int(level)}.{part}."


def rfnet_name(name: str, modalities: Sequence[str]) -> str | None:
    """Translate one parameter name of a published RFNet checkpoint; ``None`` if it is not known.

    Args:
        name: e.g. ``"flair_encoder.e1_c1.conv.weight"``.
        modalities: names in the channel order of the network here.
    """
    if match := re.match(rf"{one_of(modalities)}_encoder\.", name):
        return nested(match, ENCODER, f"encoders.{list(modalities).index(match[1])}.")
    if match := re.match(r"decoder_fuse\.RFM(\d)\.", name):
        return nested(match, _REGION_FUSION, _stage(match[1], "fusion"))
    if match := re.match(r"decoder_fuse\.prm_generator(\d)\.", name):
        return nested(match, _REGION_HEAD, _stage(match[1], "head"))
    return first_match(name, _DECODER)


def rfnet_modality_axis(name: str) -> int | None:
    """Tell along which axis a parameter of RFNet holds one block for each modality; ``None`` if along none.

    Args:
        name: of the parameter here, e.g. ``"bottom_head.mix.conv.weight"``.
    """
    if re.fullmatch(r".*\.(shortcut_)?mix\.conv\.weight|.*\.weigh\.\d+\.0\.weight", name):
        return 1
    return 0 if re.fullmatch(r".*\.weigh\.\d+\.2\.(weight|bias)", name) else None


def rfnet_arguments(reference: Mapping[str, Tensor]) -> dict[str, int]:
    """Read classes, width and 2D or 3D from the shapes of a published RFNet checkpoint.

    Raises:
        KeyError: naming the parameter that is not there.
        ValueError: if it is no convolution.
    """
    return last_layer(reference, "decoder_fuse.seg_layer.weight")
