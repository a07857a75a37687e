# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The checks that MONAI's model zoo makes of a bundle, by MONAI's own functions; and one of our own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from monai.bundle import ckpt_export, download_large_files, verify_metadata, verify_net_in_out

from ..evaluation.origin import read_training

SCHEMAS = "tests"  # folder in which a copy of the schema lies, so that nothing need be downloaded
NETWORK = "network_def"


def verify_bundle(root: Path, full: bool = True, model_info: Path | None = None) -> Iterator[tuple[str, str | None]]:
    """Make the checks one after the other, whether or not those before were passed.

    Args:
        root: of the bundle, which Python must find ``scripts`` in.
        full: also run and export the network; otherwise only files and metadata are looked at.
        model_info: the zoo's ``model_info.json``, whose versions must not be used again.

    Yields:
        what was checked, and why it failed, or ``None``.
    """
    checks: dict[str, Callable[[], None]] = {
        "large files": lambda: fetch_large_files(root),
        "files": lambda: check_files(root),
        "version": lambda: check_version(root, model_info),
        "metadata": lambda: check_metadata(root),
        "training record": lambda: check_training_record(root),
    }
    if full:
        checks["network input and output"] = lambda: check_network(root)
        checks["TorchScript"] = lambda: check_export(root)
    for name, check in checks.items():
        try:
            check()
        except Exception as error:  # whatever MONAI raises; the other checks are made all the same
            yield name, f"{type(error).__name__}: {error}"
        else:
            yield name, None


def fetch_large_files(root: Path) -> None:
    """Download what ``large_files.*`` names, if there is such a file."""
    if list(root.glob("large_files.*")):
        download_large_files(bundle_path=str(root))


def check_files(root: Path) -> None:
    """Look for the files that the zoo asks for.

    Raises:
        FileNotFoundError: naming those that are missing.
    """
    wanted = ("configs/metadata.json", "LICENSE", "models/model.pt")
    missing = [name for name in wanted if not (root / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{', '.join(missing)} not in {root}; expected in every bundle of the zoo.")
    inference_config(root)


def inference_config(root: Path) -> Path:
    """Find the configuration of inference, in the order in which the zoo and MONAI Label look.

    Raises:
        FileNotFoundError: if there is none.
    """
    for ending in ("json", "yaml", "yml"):
        file = root / "configs" / f"inference.{ending}"
        if file.is_file():
            return file
    raise FileNotFoundError(f"no configs/inference.json, .yaml or .yml in {root}.")


def check_version(root: Path, model_info: Path | None = None) -> None:
    """Compare version and changelog, and with versions that are published.

    Raises:
        ValueError: if the changelog does not tell of the version, or it was used.
    """
    metadata = json.loads((root / "configs" / "metadata.json").read_text(encoding="utf-8"))
    version = metadata["version"]
    if version not in metadata["changelog"]:
        raise ValueError(f"version {version} is not in the changelog, which has {', '.join(metadata['changelog'])}.")
    if model_info is not None and f"{root.name}_v{version}" in json.loads(model_info.read_text(encoding="utf-8")):
        raise ValueError(f"{root.name}_v{version} is already used in {model_info}; expected a new version.")


def check_metadata(root: Path) -> None:
    """Validate ``configs/metadata.json`` by the schema that it names; a copy in ``tests`` saves the download."""
    file = root / "configs" / "metadata.json"
    name = json.loads(file.read_text(encoding="utf-8"))["schema"].rpartition("/")[2]
    copy = root / SCHEMAS / name
    with TemporaryDirectory() as folder:
        verify_metadata(meta_file=str(file), filepath=str(copy if copy.is_file() else Path(folder) / name))


def check_training_record(root: Path) -> None:
    """Compare ``models/training.json``, if there is one, with the weights that it lies beside.

    Raises:
        ValueError: if it is damaged or of other weights.
    """
    weights = root / "models" / "model.pt"
    if weights.is_file():
        read_training(weights)


def check_network(root: Path) -> None:
    """Run the network on an image as the metadata describes it."""
    meta_file, config_file = root / "configs" / "metadata.json", inference_config(root)
    verify_net_in_out(net_id=NETWORK, meta_file=str(meta_file), config_file=str(config_file), bundle_root=str(root))


def check_export(root: Path) -> None:
    """Export network and weights as TorchScript into a temporary file, and load it; also ``models/model.ts`` if any."""
    with TemporaryDirectory() as folder:
        exported = Path(folder) / "model.ts"
        ckpt_export(
            net_id=NETWORK,
            filepath=str(exported),
            ckpt_file=str(root / "models" / "model.pt"),
            meta_file=str(root / "configs" / "metadata.json"),
            config_file=str(inference_config(root)),
            bundle_root=str(root),
        )
        torch.jit.load(exported, map_location="cpu")
    if (root / "models" / "model.ts").is_file():
        torch.jit.load(root / "models" / "model.ts", map_location="cpu")
