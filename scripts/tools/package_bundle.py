# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Pack the bundle with its weights into one zip file in the layout of MONAI's model zoo.

python -m scripts.tools.package_bundle --output dist
"""

from __future__ import annotations

import json

from ..bundle.packaging import BUNDLE_NAME, build_package
from .command_line import run_tool


def main(
    output: str,
    model_file: str | None = None,
    name: str = BUNDLE_NAME,
    training: str | None = None,
    large_files_url: str | None = None,
) -> None:
    """Write `<output>/<name>_v<version>.zip` and print its checksums.

    Args:
        output: folder of the zip file.
        model_file: weights; `models/model.pt` of the bundle if not given.
        name: of the bundle, and of the one folder in the zip file.
        training: output folder of the run that made the weights; needed if it was not train.yaml as it is.
        large_files_url: address of the weights, which are left out then and named in `large_files.yml`.
    """
    try:
        package = build_package(str(output), model_file, str(name), training, large_files_url)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f"Nothing packed: {error}") from error
    print(f"{package.path}: {package.num_files} files, {package.path.stat().st_size / 1e6:.1f} MB")
    print(f"SHA-1   {package.sha1}")
    print(f"SHA-256 {package.sha256}")
    print("model_info.json: " + json.dumps({package.path.stem: {"checksum": package.sha1, "source": ""}}))


if __name__ == "__main__":
    run_tool(main)
