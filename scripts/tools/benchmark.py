# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Measure a network: time of inference and training steps, peak memory, all subsets at once against one by one.

    python -m scripts.tools.benchmark --output bench.json

Every row is measured in a process of its own, since peak memory can only be read for a process. Times are medians of
wall-clock time; on a shared machine compare ratios within one table only.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from monai.utils import set_determinism

from ..bundle.configuration import find_files, read
from ..inferers.autocast import reduced_precision
from ..inferers.sliding_window import IncompleteSlidingWindowInferer, SubsetSlidingWindowInferer
from ..modalities import modality_subsets
from ..utils.files import write_json
from ..utils.memory import keep_freed_memory
from .command_line import run_tool

MIB = 2**20
WARM_UP = 3  # runs until the allocator has all the buffers it needs


class Subject:
    """A network with its objective, an image and a label to run it on.

    Args:
        config: configuration files, the training base first.
        size: voxels along each axis of the patch.
        available: how many modalities the image has, the first ones; the others are NaN.
        options: values for ids of the configuration: precision, checkpointing, compiled.
    """

    def __init__(self, config: list[str], size: int, available: int, options: dict[str, Any]) -> None:
        set_determinism(0)
        parser = read(config, options)
        parser["patch_size"] = [size] * parser["spatial_dims"]
        self.network = parser.get_parsed_content("network")
        self.loss = parser.get_parsed_content("loss")
        self.inferer = parser.get_parsed_content("train::inferer")  # knows the precision, and what a method asks for
        self.modalities = parser["modalities"]
        device = next(self.network.parameters()).device
        shape = [size] * parser["spatial_dims"]
        self.image = torch.randn(1, len(self.modalities), *shape, device=device)
        self.image[:, available:] = torch.nan
        self.label = torch.randint(0, parser["num_classes"], (1, 1, *shape), device=device)
        self.size, self.precision = shape, options["precision"]

    def infer(self) -> None:
        """Segment one patch."""
        self.network.eval()
        with torch.inference_mode(), reduced_precision(self.image.device, self.precision):
            self.network(self.image)

    def train(self) -> None:
        """Forward, objective and backward on one patch, without the optimizer."""
        self.network.train()
        self.network.zero_grad(set_to_none=True)
        self.loss(self.inferer(self.image, self.network), self.label).backward()

    def subsets_at_once(self) -> None:
        """Segment the patch from every subset, encoding it once."""
        self.network.eval()
        inferer = SubsetSlidingWindowInferer(self.size, self.modalities, precision=self.precision)
        with torch.inference_mode():
            inferer(self.image, self.network)

    def subsets_one_by_one(self) -> None:
        """Segment the patch from every subset by separate inferences."""
        self.network.eval()
        inferer = IncompleteSlidingWindowInferer(self.size, precision=self.precision)
        with torch.inference_mode():
            for subset in modality_subsets(len(self.modalities)):
                image = self.image.clone()
                image[:, ~subset] = torch.nan
                inferer(image, self.network).argmax(dim=1)


def measure(act: Callable[[], None], repeats: int, device: torch.device) -> dict[str, float]:
    """Warm up, then run ``repeats`` times; return the median in s and the peak memory in MiB."""
    for _ in range(WARM_UP):
        act()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        act()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else resident
    return {"seconds": statistics.median(seconds), "peak_mib": peak / MIB}


def profile(act: Callable[[], None], rows: int) -> dict[str, float]:
    """Return the operators that take the largest shares of the operator time."""
    for _ in range(WARM_UP):
        act()
    with torch.profiler.profile() as profiler:
        act()
    averages = profiler.key_averages()
    total = sum(row.self_cpu_time_total for row in averages)
    largest = sorted(averages, key=lambda row: -row.self_cpu_time_total)[:rows]
    return {row.key: row.self_cpu_time_total / total for row in largest}


def row(what: str, available: int, config: list[str], size: int, repeats: int, options: dict, top: int = 0) -> None:
    """Measure one row in this process and print it as JSON; ``benchmark`` calls it in a process of its own."""
    keep_freed_memory()  # as the workflows do
    subject = Subject(config, size, available, options)
    act = getattr(subject, what)
    print(json.dumps(profile(act, top) if top else measure(act, repeats, subject.image.device)))


def benchmark(
    config: str = "configs/train.yaml",
    size: int = 80,
    repeats: int = 5,
    precision: str = "float32",
    checkpointing: bool = False,
    compiled: bool = False,
    top: int = 12,
    output: str | None = None,
) -> None:
    """Measure and print a Markdown table; optionally write the figures as JSON.

    Args:
        config: configuration files joined by commas, the training base first, then e.g. configs/network_<x>.yaml and
            configs/method_<y>.yaml.
        size: voxels along each axis of the patch.
        repeats: of each measurement, behind those that warm up.
        precision: float32 or bfloat16.
        checkpointing: as the id of the configuration.
        compiled: as the id of the configuration.
        top: how many operators of a training step to list; 0 leaves out the list and the rows with all subsets.
        output: file for the figures.
    """
    files = find_files(config)
    num_modalities = len(read(files)["modalities"])
    options = {"precision": precision, "checkpointing": checkpointing, "compiled": compiled}
    common = {"config": files, "size": size, "repeats": repeats, "options": options}
    counts = sorted({num_modalities, max(1, num_modalities // 2), 1}, reverse=True)
    planned = [(what, count) for what in ("infer", "train") for count in counts]
    planned += [(what, num_modalities) for what in ("subsets_at_once", "subsets_one_by_one") if top]
    rows = []
    settings = ", ".join(f"{name} {value}" for name, value in options.items())
    print(f"{hardware()}; {' + '.join(files)}, {size}^n, batch 1, {settings}\n")
    print("| what | modalities available | median [s] | peak memory [MiB] |\n| --- | --- | --- | --- |")
    for what, count in planned:
        figures = _in_own_process(what=what, available=count, **common)
        rows.append({"what": what, "available": count, **figures})
        print(f"| {what} | {count} | {figures['seconds']:.3f} | {figures['peak_mib']:.0f} |", flush=True)
    shares = _in_own_process(what="train", available=num_modalities, top=top, **common) if top else {}
    if shares:
        print(f"\nlargest shares of operator time in a training step, {num_modalities} available:\n")
        print("| operator | share |\n| --- | --- |")
        print("\n".join(f"| {name} | {share:.1%} |" for name, share in shares.items()))
    if output:
        write_json(Path(output), {"hardware": hardware(), **common, "rows": rows, "shares": shares})


def _in_own_process(**arguments: Any) -> dict[str, float]:
    code = f"from scripts.tools.benchmark import row; row(**{arguments!r})"
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"measuring {arguments} failed:\n{result.stderr}")
    return json.loads(result.stdout.splitlines()[-1])


def hardware() -> str:
    """Name processor, cores and versions; the GPU where there is one."""
    name = platform.machine()
    cpu_file = Path("/proc/cpuinfo")
    if cpu_file.exists():
        names = [line.partition(":")[2].strip() for line in cpu_file.read_text().splitlines() if "model name" in line]
        name = names[0] if names else name
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} threads{gpu}, torch {torch.__version__}"


if __name__ == "__main__":
    run_tool(benchmark)
