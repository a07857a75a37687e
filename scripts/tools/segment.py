# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Segment one patient from whatever modalities there are.

python -m scripts.tools.segment --flair a.nii.gz --t1ce b.nii.gz --output seg.nii.gz
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..engines import case_evaluator
from ..segment import PatientSegmentation, Segmenter, Source, read_configuration
from ..utils.memory import keep_freed_memory
from ..utils.quiet import quiet
from .command_line import run_tool


def main(
    output: str,
    patient: str | None = None,
    image: str | None = None,
    channels: str | Sequence[str | None] | None = None,
    config_file: str | Sequence[str] | None = None,
    **options: Any,
) -> None:
    """Segment one patient; a label map on the grid of the input, and beside it a report in JSON.

    Raw series are registered and their brain cut out first. Name the file of each modality that there is, in any order:
    `--flair a.nii.gz --t1ce b.nii.gz`. Or `--patient`, or `--image`. Not for clinical use.

    Args:
        output: the label map, `.nii.gz` or `.nii`; the report is the `.json` of the same name.
        patient: folder of one patient, its files named as in any known layout, or by `--layout` or `--patterns`.
        image: one stacked file with all modalities as its channels.
        channels: modality of each channel of `--image`, e.g. `flair,t1,none,t2`; the configured ones by default.
        config_file: `configs/inference.yaml` by default; several joined by commas, e.g. with a network's overlay.
        options: files by modality; and ids of the configuration: `--model_file FILE`, `--device cuda`,
            `--subset flair+t2`, `--flips opposite` (average over the image and that flipped along all axes, twice as
            long), `--flips all` (over every flip, 8 times as long), `--probability_maps`,
            `--label_convention NAME`, `--sliding_window_overlap 0.25`, ... For raw series `--prepare off`, `auto` or
            `on`, `--brain_mask FILE`, `--brain_extraction accurate`, `--output_grid flair`, `--keep_prepared`, ...
    """
    try:
        modalities = read_configuration(config_file).get("modalities")
        files = {name: options.pop(name) for name in list(options) if name in modalities}
        empty = [name for name, file in files.items() if isinstance(file, bool)]  # as Fire has an option without value
        if empty:
            raise ValueError(f"`--{empty[0]}` is given without a file; expected `--{empty[0]} FILE`.")
        read_configuration(config_file, **options)  # a misspelt modality is not known here either
        source = _source(files, patient, image, modalities)
        if channels is not None and image is None:
            raise ValueError("`--channels` goes with `--image`; expected a stacked file.")
        keep_freed_memory()  # this process is ours; `scripts.segment`, which others call from theirs, leaves it alone
        segmenter = Segmenter(config_file, progress=True, **options)
        with quiet(logging.ERROR, case_evaluator.__name__):  # it logs a failure that is said below
            result = segmenter(source, str(output), channels)
    except (OSError, ValueError) as error:
        raise SystemExit(f"Cannot segment: {error}") from error
    _print(result, str(output))


def _source(files: Mapping[str, Any], patient: Any, image: Any, modalities: Sequence[str]) -> Source:
    """Choose the one form in which the patient was given."""
    given = {name: str(value) for name, value in {"patient": patient, "image": image}.items() if value is not None}
    forms = [*given, *(["files by modality"] if files else [])]
    if len(forms) != 1:
        wanted = " ".join(f"--{name} FILE" for name in modalities)
        raise ValueError(
            f"{' and '.join(forms) or 'no modality'} given; expected one of: files by modality (any of {wanted}), "
            "--patient FOLDER, --image STACKED_FILE."
        )
    return {name: str(file) for name, file in files.items()} if files else next(iter(given.values()))


def _print(result: PatientSegmentation, output: str) -> None:
    report = result.report
    volumes = ", ".join(f"{region} {volume['ml']:g} mL" for region, volume in report["volumes"].items())
    print(f"{output}: from {report['subset']}; {volumes}")
    prepared = report.get("preparation", {})
    for line in prepared["in_words"] if prepared.get("done") else ():
        print(f"  {line}")
    for warning in report["warnings"]:
        print(f"  warning: {warning}")


def run(arguments: Sequence[str] | None = None, program: str | None = None) -> None:
    """Read the command line, on which Fire would take the last of two options of one name without a word."""
    arguments = sys.argv[1:] if arguments is None else arguments
    names = Counter(each.partition("=")[0] for each in arguments if each.startswith("--"))
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise SystemExit(f"Cannot segment: {', '.join(twice)} is given more than once; expected one file for each.")
    run_tool(main, arguments, program)


if __name__ == "__main__":
    run()
