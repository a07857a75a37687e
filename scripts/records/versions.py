# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Which versions of the packages ran."""

from __future__ import annotations

from importlib.metadata import version

PACKAGES = ("torch", "monai", "pytorch-ignite", "numpy", "nibabel")


def package_versions() -> dict[str, str]:
    """Versions, by name, of the packages that numbers depend on."""
    return {name: version(name) for name in PACKAGES}
