# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""List the DICOM series of a folder: which modality each is taken for, and why. Nothing is written.

python -m scripts.tools.list_series --folder data/dicom --series "t1ce=7,t1=none"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..data.layouts import read_layout_file
from ..preparation.dicom import read_folder
from ..preparation.sequences import decide, format_series, taken
from ..utils.flags import as_list
from .command_line import run_tool


def main(
    folder: str, series: str | Mapping[str, str | int] | None = None, modalities: str | Sequence[str] | None = None
) -> None:
    """Print a row for each series; end with status 1 and a message if it is not clear which to take.

    Args:
        folder: with the series of one patient, in any sub-folders.
        series: which series is which, against the headers: modality to number or description, or to none.
        modalities: names that are wanted, joined by commas; flair,t1ce,t1,t2 if not given.
    """
    wanted = as_list(modalities) if modalities else list(read_layout_file()["modalities"])
    found = read_folder(str(folder))
    decided = decide([each.series for each in found.series], wanted, series)
    print(f"{format_series(decided)}\n\n{found.summary()}")
    images = taken(decided)
    absent = [modality for modality in wanted if modality not in images]
    print(f"Images: {', '.join(f'{name} is series {images[name].name}' for name in wanted if name in images)}")
    if absent:
        print(f"Absent: {', '.join(absent)}")


if __name__ == "__main__":
    run_tool(main)
