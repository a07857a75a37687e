# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Segmentation of brain tumours from incomplete multi-modal MRI: the MONAI Bundle as a Python package.

from incomplete_segmentation import segment
result = segment({"flair": "a.nii.gz", "t1ce": "b.nii.gz"}, output="seg.nii.gz")

How Python finds the bundle
    A MONAI Bundle keeps its Python files in a package called ``scripts``, and its configurations name classes as
    ``scripts.losses...``. A package of such a name must not lie in everybody's site-packages. So the whole bundle
    travels inside this package (``incomplete_segmentation/bundle``, in a checkout the root of the repository), and
    there are two ways in:

    - From Python, as here, its files are ordinary modules called ``incomplete_segmentation.bundle.scripts...``, and the
      reader of configurations calls the classes likewise (``scripts/bundle/configuration.py``). A package ``scripts``
      of the user, imported before or after, is another one; worker processes find their modules by name.
    - The command ``incomplete-seg`` is a process of its own, in which ``scripts`` is that of the bundle, as under
      ``python -m monai.bundle`` in a bundle's folder (``incomplete_segmentation/command.py``).

Names are loaded when they are first used: importing this package takes no time.
"""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .bundle import ROOT

if TYPE_CHECKING:
    from .bundle.scripts.segment import PatientSegmentation, Segmenter, segment

__all__ = ["PatientSegmentation", "Segmenter", "bundle_folder", "segment"]

bundle_folder = ROOT
"""Folder of the bundle: configurations, weights, documents; ``configs/...`` is looked for here from any folder."""


def __getattr__(name: str) -> Any:
    if name in ("PatientSegmentation", "Segmenter", "segment"):
        return getattr(import_module(".bundle.scripts.segment", __name__), name)
    if name == "__version__":
        return json.loads((ROOT / "configs" / "metadata.json").read_text(encoding="utf-8"))["version"]
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`; it has {', '.join(__all__)}.")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
