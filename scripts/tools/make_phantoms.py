# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Make a data set of phantoms.

    python -m scripts.tools.make_phantoms --folder data/phantoms --training 16 --validation 2 --testing 4 \
        --spacing_mm 2 --seed 0 --missing_rates "t1=0.2,t1ce=0.4,flair=0.6,t2=0.8"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from ..phantom.contrast import default_modalities
from ..phantom.dataset import SECTIONS, PhantomSettings, write_phantoms
from ..phantom.variety import TYPICAL
from ..utils.flags import as_list
from .command_line import run_tool


@dataclass
class MakePhantoms:
    """Write brain MRI phantoms with gliomas as BraTS-named NIfTI files, with a datalist.

    An interrupted run goes on where it stopped; a complete folder is left as it is.

    Args:
        folder: where to write.
        training: number of training cases.
        validation: number of validation cases.
        testing: number of testing cases.
        spacing_mm: edge of a voxel, in mm.
        grid_shape: voxels along each dimension, e.g. 80,96,80; the brain's bounding box by default.
        modalities: names from scripts/phantom/contrasts.yaml, joined by commas.
        seed: of the data set.
        missing_rates: share of the training cases without each modality, e.g. "t1=0.2,t1ce=0.4,flair=0.6,t2=0.8".
        variety: how much phantoms differ, a name of scripts/phantom/variety.yaml: typical or randomized.
    """

    folder: str
    training: int = 16
    validation: int = 2
    testing: int = 4
    spacing_mm: float = 2.0
    grid_shape: Sequence[int] | None = None
    modalities: str | Sequence[str] | None = None
    seed: int = 0
    missing_rates: str | Mapping[str, float] | None = None
    variety: str = TYPICAL

    def __call__(self) -> None:
        """Write the data set; end with status 1 and a message if that cannot be done."""
        names = as_list(self.modalities) if self.modalities else default_modalities()
        shape = cast(tuple[int, int, int], tuple(self.grid_shape)) if self.grid_shape else None
        num_cases = dict(zip(SECTIONS, (self.training, self.validation, self.testing), strict=True))
        try:
            settings = PhantomSettings(float(self.spacing_mm), shape, tuple(names), int(self.seed), self.variety)
            datalist = write_phantoms(self.folder, num_cases, settings, self.missing_rates)
        except ValueError as error:
            raise SystemExit(f"No phantoms made: {error}") from error
        print(f"{sum(num_cases.values())} phantoms: {datalist.resolve()}")


if __name__ == "__main__":
    run_tool(MakePhantoms)
