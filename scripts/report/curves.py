# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Which curves of a training stand together in a report."""

from __future__ import annotations

from collections.abc import Iterable

LOSS, PER_MODALITY, DICE, OF_SUBSET = "loss_", "_per_modality", "dice_", "dice/"
FIRST = ("total", "fused")
Groups = dict[str, dict[str, str]]
"""Title of a panel to the tags of its lines and their names."""


def curve_sections(tags: Iterable[str]) -> dict[str, Groups]:
    """Sort the tags that handlers write into figures.

    Args:
        tags: such as ``loss_fused``, ``loss_unimodal_per_modality/flair``, ``distance/flair``, ``mean_dice``,
            ``dice/flair-t2``.

    Returns:
        Title of each figure to its panels; figures without a curve are left out, and every tag is in one of them.
    """
    tags = list(dict.fromkeys(tags))
    losses = {tag: tag.removeprefix(LOSS) for tag in tags if tag.startswith(LOSS) and "/" not in tag}
    order = sorted(losses, key=lambda tag: FIRST.index(losses[tag]) if losses[tag] in FIRST else len(FIRST))
    validation = {tag: tag.removeprefix(DICE).upper() for tag in tags if tag.startswith(DICE)}
    validation |= {tag: "mean" for tag in tags if tag == "mean_dice"}
    subsets = {tag: tag.removeprefix(OF_SUBSET).replace("-", "+") for tag in tags if tag.startswith(OF_SUBSET)}
    split = {tag: tag.rpartition("/") for tag in tags if "/" in tag and tag not in subsets}
    modalities: dict[str, Groups] = {"terms": {}, "others": {}}
    for tag, (group, _, modality) in split.items():
        term = group.startswith(LOSS)
        title = group.removeprefix(LOSS).removesuffix(PER_MODALITY) if term else group
        modalities["terms" if term else "others"].setdefault(_words(title), {})[tag] = modality
    placed = {*losses, *validation, *subsets, *split}
    rest = {tag: tag for tag in tags if tag not in placed}
    sections = {
        "Objective: every term": {_words(losses[tag]): {tag: losses[tag]} for tag in order},
        "Validation and learning rate": {
            **({"validation Dice": validation} if validation else {}),
            **{_words(name): {tag: name} for tag, name in rest.items()},
        },
        "Validation of each subset": {"validation Dice": subsets} if subsets else {},
        "Terms of each modality": modalities["terms"],
        "Balance of the modalities": modalities["others"],
    }
    return {title: groups for title, groups in sections.items() if groups}


def _words(name: str) -> str:
    return name.replace("_", " ")
