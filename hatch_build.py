# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Puts the bundle into the wheel, inside of the package; an editable installation finds it in the checkout instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLACE = "incomplete_segmentation/bundle"
FOLDERS = ("configs", "docs", "scripts")
# Named one by one: weights of somebody's own training that lie here are not packed by accident.
FILES = (
    "LICENSE",
    "README.md",
    "metadata.json",
    "models/README.md",
    "models/model.pt",
    "models/performance.json",
    "models/training.json",
    "tests/meta_schema_20240725.json",  # by which `incomplete-seg verify` checks the metadata
)


class BundleHook(BuildHookInterface):
    """Adds the files of the bundle to a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files, and where they go.

        Raises:
            FileNotFoundError: if one is not there.
        """
        if version == "editable":
            return
        missing = [name for name in (*FOLDERS, *FILES) if not Path(self.root, name).exists()]
        if missing:
            raise FileNotFoundError(f"{', '.join(missing)} not in {self.root}; expected the bundle's own files.")
        places = {str(Path(self.root, name)): f"{PLACE}/{name}" for name in (*FOLDERS, *FILES)}
        build_data["force_include"].update(places)
