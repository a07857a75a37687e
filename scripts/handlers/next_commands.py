# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Which commands use the weights that a training has written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fire.parser import DefaultParseValue

from .run_record import given_options

TRAINING, EVALUATION, INFERENCE = (f"configs/{name}.yaml" for name in ("train", "evaluate", "inference"))
ONLY_TRAINING = ("multi_gpu_train.yaml", "train_phantom.yaml", "finetune.yaml")  # overlays that no evaluation needs
OF_INFERENCE = ("network_", "method_medmap", "dataset_")  # how overlays begin that inference needs too


def next_commands(model_file: str | Path, arguments: Sequence[str]) -> dict[str, str]:
    """Write the commands that score weights and segment with them.

    Args:
        model_file: the weights.
        arguments: of the training, behind the program's name; its data set is scored.

    Returns:
        what for, to command.
    """
    options = dict(given_options(arguments))
    given = DefaultParseValue(options.get("config_file", TRAINING))
    files = [str(each) for each in (given if isinstance(given, (list, tuple)) else [given])]
    base, overlays = files[0], [name for name in files[1:] if Path(name).name not in ONLY_TRAINING]
    shared = [name for name in overlays if Path(name).name.startswith(OF_INFERENCE)]
    data = f" --dataset_dir {options['dataset_dir']}" if options.get("dataset_dir") else ""
    return {
        "score them": _command([base, *overlays, _beside(base, EVALUATION)], model_file) + data,
        "segment with them": _command([_beside(base, INFERENCE), *shared], model_file) + " --dataset_dir <patients>",
    }


def _beside(base: str, name: str) -> str:
    return str(Path(base).with_name(Path(name).name))


def _command(files: Sequence[str], model_file: str | Path) -> str:
    listed = ",".join(f"'{name}'" for name in files)
    return f'python -m monai.bundle run evaluating --config_file "[{listed}]" --model_file {model_file}'
