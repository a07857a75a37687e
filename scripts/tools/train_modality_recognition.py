# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Trains the classifier that recognises modalities, on phantoms alone.

python -m scripts.tools.train_modality_recognition --output_file scripts/plausibility/modality.json
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..phantom.case import PhantomSettings, make_phantom
from ..plausibility.recognition import CORE, describe, log_probabilities
from ..plausibility.view import look_at
from ..utils.files import replacing
from .command_line import run_tool

VARIETIES = ("typical", "randomized")
SPACING_MM = 4.0  # the grid that images are looked at on
GAMMA = 0.25  # deviation of the logarithm of the power that copies are raised to
DECIMALS = 4  # of the numbers that ship


def described_phantoms(seed: int, patients: int, copies: int) -> tuple[NDArray, NDArray, list[str]]:
    """Describe the images of phantoms: ``(N, F)`` features, ``(N,)`` modality, and the modalities' names.

    Args:
        seed: of the phantoms, and of the copies.
        patients: of each variety.
        copies: of each image, raised to a random power, beside it.
    """
    rng = np.random.default_rng(seed)
    features: list[NDArray] = []
    targets: list[int] = []
    names = PhantomSettings().modalities
    for variety in VARIETIES:
        settings = PhantomSettings(spacing_mm=SPACING_MM, seed=seed, variety=variety)
        for index in range(patients):
            phantom = make_phantom(settings, index)
            images = phantom.images.astype(np.float32)
            for power in [np.ones(len(names)), *np.exp(GAMMA * rng.standard_normal((copies, len(names))))]:
                raised = images ** power.astype(np.float32)[:, None, None, None]
                view = look_at(torch.from_numpy(raised), phantom.affine, names)
                features += [describe(*each, view.spacing) for each in zip(view.values, view.inside, strict=True)]
                targets += range(len(names))
    return np.array(features), np.array(targets), list(names)


def train(features: NDArray, targets: NDArray, hidden: int, weight_decay: float, epochs: int, seed: int) -> dict:
    """Fit a network of one hidden layer, or none: its numbers, as ``log_probabilities`` takes them."""
    torch.manual_seed(seed)
    mean, deviation = features.mean(0), np.maximum(features.std(0), 1e-3)
    x = torch.from_numpy(np.clip((features - mean) / deviation, -CORE, CORE)).float()
    y = torch.from_numpy(targets)
    sizes = [x.shape[1], *([hidden] if hidden else []), int(y.max()) + 1]
    linear = [nn.Linear(*pair) for pair in zip(sizes, sizes[1:], strict=False)]
    network = nn.Sequential(*[layer for each in linear for layer in (each, nn.ReLU())][:-1])
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
        schedule.step()
    rounded = [
        [np.round(p.detach().numpy().astype(float), DECIMALS).tolist() for p in each.parameters()] for each in linear
    ]
    return {
        "mean": np.round(mean.astype(float), DECIMALS).tolist(),
        "deviation": np.round(deviation.astype(float), DECIMALS).tolist(),
        "weights": [weight for weight, _ in rounded],
        "biases": [bias for _, bias in rounded],
    }


def accuracy(of: Mapping[str, Any], features: NDArray, targets: NDArray) -> float:
    """Share of images that are taken for what they are."""
    arrays = {**of, **{key: [np.asarray(each) for each in of[key]] for key in ("weights", "biases")}}
    found = [list(log_probabilities(each, arrays).values()) for each in features]
    return float((np.argmax(found, axis=1) == targets).mean())


def main(
    output_file: str,
    patients: int = 150,
    held_out: int = 60,
    copies: int = 2,
    hidden: Sequence[int] = (0, 24),
    weight_decay: float = 0.1,
    epochs: int = 400,
    seed: int = 21,
) -> None:
    """Train on phantoms and write a classifier as JSON, with the record of its training.

    Args:
        output_file: of the result.
        patients: of each variety, to train on.
        held_out: of each variety, of another seed (`seed + 1`), to measure by.
        copies: of each image, raised to a random power.
        hidden: sizes of the hidden layer to compare; 0 is logistic regression. The first one is written.
        weight_decay: of AdamW.
        epochs: over all images at once.
        seed: of phantoms, copies and first weights.
    """
    features, targets, names = described_phantoms(seed, patients, copies)
    others = described_phantoms(seed + 1, held_out, 0)[:2]
    half = len(others[1]) // 2
    parts = {"typical": slice(half), "randomized": slice(half, None)}
    trained, figures = [], {}
    for size in hidden:
        found = {"modalities": names, **train(features, targets, size, weight_decay, epochs, seed)}
        shares = {name: accuracy(found, *(each[part] for each in others)) for name, part in parts.items()}
        figures[str(size)] = {name: round(share, 4) for name, share in shares.items()}
        print(f"{size} hidden units: {figures[str(size)]}")
        trained.append(found)
    record = {
        "command": "python -m scripts.tools.train_modality_recognition",
        "data": "phantoms alone, synthetic",
        "patients": patients,
        "held_out": held_out,
        "copies": copies,
        "weight_decay": weight_decay,
        "epochs": epochs,
        "seed": seed,
        "hidden": hidden[0],
        "accuracy_held_out": figures,
    }
    best = {**trained[0], "record": record}
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in best.items())
    with replacing(Path(output_file)) as temporary:
        temporary.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    run_tool(main)
