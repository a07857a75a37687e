# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What a training says at its end can be copied to the prompt."""

from __future__ import annotations

import shlex

from scripts.handlers.next_commands import next_commands


def test_a_plain_training_is_followed_by_the_commands_of_the_readme():
    arguments = ["run", "training", "--config_file", "configs/train.yaml", "--dataset_dir", "/data/brats"]
    commands = next_commands("runs/train/model.pt", arguments)
    start = "python -m monai.bundle run evaluating --config_file "
    assert commands == {
        "score them": f"{start}\"['configs/train.yaml','configs/evaluate.yaml']\" --model_file runs/train/model.pt "
        "--dataset_dir /data/brats",
        "segment with them": f"{start}\"['configs/inference.yaml']\" --model_file runs/train/model.pt "
        "--dataset_dir <patients>",
    }


def test_overlays_go_where_they_are_needed():
    files = ["train", "network_unet", "method_medmap", "method_passion", "finetune", "multi_gpu_train"]
    listed = [f"/b/configs/{name}.yaml" for name in files]
    score, segment = next_commands("m.pt", ["run", "training", f"--config_file={listed}"]).values()
    of_score, of_segment = (shlex.split(command)[6] for command in (score, segment))
    names = ["train", "network_unet", "method_medmap", "method_passion", "evaluate"]
    assert of_score == "[" + ",".join(f"'/b/configs/{name}.yaml'" for name in names) + "]"
    names = ["inference", "network_unet", "method_medmap"]
    assert of_segment == "[" + ",".join(f"'/b/configs/{name}.yaml'" for name in names) + "]"
