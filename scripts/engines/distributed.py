# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Which part of a run that several processes share is this one's: device, cases, and what it says."""

from __future__ import annotations

import atexit
import gc
import os
from collections.abc import Sized
from datetime import timedelta

import ignite.distributed as idist
import torch
import torch.distributed as dist

TIMEOUT = timedelta(hours=2)  # for which a process waits for the slowest one, which may have a large case left


def own_device() -> torch.device:
    """Choose the GPU of this process, by its number on the machine; the CPU where there is no GPU.

    Raises:
        ValueError: if the machine has fewer GPUs than processes.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    number, count = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if number >= count:
        raise ValueError(
            f"process {number} of this machine has no GPU of its own: {count} are visible; expected one for each "
            "process. See `--nproc_per_node` of torchrun and CUDA_VISIBLE_DEVICES."
        )
    return torch.device("cuda", number)


def start_processes(device: torch.device | str) -> None:
    """Meet the other processes that torchrun has started: by NCCL where they compute on GPUs, by gloo on the CPU.

    They part when Python ends, whether the run succeeded or not. Does nothing where they have met already.

    Args:
        device: of this process.

    Raises:
        RuntimeError: if the process was not started by torchrun or the like.
    """
    if dist.is_initialized():
        return
    if "RANK" not in os.environ:
        raise RuntimeError(
            "this process does not know of any other: RANK is not set; expected to be started by torchrun, as "
            "configs/multi_gpu_*.yaml ask for. See docs/how_to/multi_gpu.md, or leave the overlay out."
        )
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.set_device(own_device() if device.index is None else device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    idist.sync()  # what handlers ask
    atexit.register(_part)


def _part() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
        # Networks in reference cycles keep the group, whose threads would outlive Python and abort the process.
        gc.collect()


def is_follower() -> bool:
    """Tell whether another process is the first one, which alone logs and writes."""
    return idist.get_rank() > 0


def own_share(dataset: Sized) -> range:
    """Give the positions of the items that are this process's to evaluate, for a data loader's ``sampler``.

    The processes deal them out in turn: none is left out and none is evaluated twice, also where they do not come out
    even; a process may get nothing.
    """
    return range(idist.get_rank(), len(dataset), idist.get_world_size())
