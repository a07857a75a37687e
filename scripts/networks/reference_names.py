# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of parameter names that several published checkpoints share, and how to translate them.

Published names count levels from 1, finest first; here levels count from 0, and stages of decoders go from coarse to
fine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

Rules = Sequence[tuple[str, Callable[[re.Match], str]]]

ENCODER: Rules = [
    (r"e1_c1\.(?!conv)", lambda g: "first.0."),
    (r"e(\d)_c1\.conv\.", lambda g: f"first.{int(g[1]) - 1}.conv."),
    (r"e(\d)_c([23])\.conv\.", lambda g: f"rest.{int(g[1]) - 1}.{int(g[2]) - 2}.conv."),
]
TRANSFORMER: Rules = [
    (r"cross_attention_list\.(\d)\.fn\.norm\.", lambda g: f"{g[1]}.attention_norm."),
    (r"cross_attention_list\.(\d)\.fn\.fn\.qkv\.", lambda g: f"{g[1]}.attention.qkv."),
    (r"cross_attention_list\.(\d)\.fn\.fn\.proj\.", lambda g: f"{g[1]}.attention.out_proj."),
    (r"cross_ffn_list\.(\d)\.fn\.norm\.", lambda g: f"{g[1]}.mlp_norm."),
    (r"cross_ffn_list\.(\d)\.fn\.fn\.net\.0\.", lambda g: f"{g[1]}.mlp.linear1."),
    (r"cross_ffn_list\.(\d)\.fn\.fn\.net\.3\.", lambda g: f"{g[1]}.mlp.linear2."),
]


def unimodal_decoder(levels: int) -> Rules:
    """Give the rules for the decoder that serves single modalities, of an encoder with so many levels."""
    return [
        (r"decoder_sep\.d(\d)_c1\.", lambda g: f"unimodal_decoder.up.{levels - 1 - int(g[1])}."),
        (r"decoder_sep\.d(\d)_c2\.", lambda g: f"unimodal_decoder.merge.{levels - 1 - int(g[1])}.0."),
        (r"decoder_sep\.d(\d)_out\.", lambda g: f"unimodal_decoder.merge.{levels - 1 - int(g[1])}.1."),
        (r"decoder_sep\.seg_layer\.", lambda g: "unimodal_decoder.segment."),
    ]


def first_match(name: str, rules: Rules) -> str | None:
    """Translate the beginning of a name by the first rule that fits; ``None`` if there is none."""
    for pattern, rename in rules:
        match = re.match(pattern, name)
        if match:
            return rename(match) + name[match.end() :]
    return None


def nested(match: re.Match, rules: Rules, prefix: str) -> str | None:
    """Translate what stands behind a match, and put a prefix in front; ``None`` if no rule fits."""
    inner = first_match(match.string[match.end() :], rules)
    return None if inner is None else prefix + inner


def one_of(modalities: Sequence[str]) -> str:
    """Write a group of a regular expression that matches the name of any modality."""
    return f"({'|'.join(map(re.escape, modalities))})"


def last_layer(reference: Mapping[str, Tensor], name: str) -> dict[str, int]:
    """Read classes, width and 2D or 3D from the weight ``(C, width, 1, ...)`` of a network's last convolution.

    Raises:
        KeyError: naming the parameter, if it is not there.
        ValueError: if it is no convolution.
    """
    weight = reference[name]
    if weight.dim() not in (4, 5):
        raise ValueError(f"`{name}` has shape {tuple(weight.shape)}; expected that of a convolution in 2D or 3D.")
    return {"num_classes": weight.shape[0], "width": weight.shape[1], "spatial_dims": weight.dim() - 2}
