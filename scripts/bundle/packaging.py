# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Packs the bundle into one zip file in the layout of MONAI's model zoo: the same files give the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from monai.bundle import ConfigParser

from ..evaluation.origin import TRAINING_FILE, read_training
from ..evaluation.performance import PERFORMANCE_FILE, eval_metrics, read_performance
from ..evaluation.temperature import TEMPERATURES_FILE
from ..networks.weights import load_weights
from ..records.side_files import read_side_file, sha256, side_file
from ..utils.files import replacing
from .configuration import parser_of
from .place import ROOT

BUNDLE_NAME = "brats_mri_incomplete_segmentation"
WEIGHTS = "models/model.pt"  # where MONAI looks for them
LARGE_FILES = "large_files.yml"
METADATA = ("configs/metadata.json", "metadata.json")  # one file; in git the second is a link to the first
# What belongs to the bundle. Named one by one: a folder of patients that lies here is never packed by accident.
FOLDERS = (
    *("configs", "docs", "federated", "incomplete_segmentation", "scripts"),
    *("tests", "tests_federated", "tests_install", "tests_label"),
)
FILES = (
    *("CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md"),
    *("hatch_build.py", "metadata.json", "models/README.md", "pyproject.toml"),
)
ENDINGS = (".conf", ".css", ".html", ".json", ".md", ".npz", ".png", ".py", ".txt", ".typed", ".yaml")
WORKFLOWS = (TRAINING, INFERENCE) = ("train", "inference")  # configurations that stand by themselves
# What the weights were made for: ids that a training run's configuration shares with those of the package
MODEL_IDS = (
    "modalities",
    "num_classes",
    "regions",
    "spatial_dims",
    "orientation",
    "spacing",
    "patch_size",
    "label_convention",
    "network_def",
    "alignment",
)
MOMENT = (2022, 5, 30, 0, 0, 0)  # of every file, the one that the zoo's own packages have


class Package(NamedTuple):
    """A package that was built.

    Attributes:
        path: the zip file.
        num_files: in it.
        sha1: what the zoo's ``model_info.json`` states.
        sha256: what ``large_files.yml`` and most other places state.
    """

    path: Path
    num_files: int
    sha1: str
    sha256: str


def build_package(
    output: str | Path,
    model_file: str | Path | None = None,
    name: str = BUNDLE_NAME,
    training: str | Path | None = None,
    large_files_url: str | None = None,
    root: Path = ROOT,
) -> Package:
    """Write ``<output>/<name>_v<version>.zip`` with one folder, ``<name>``, in it.

    Args:
        output: folder of the zip file.
        model_file: weights, as training writes them; what lies beside them and is true of them goes along.
            ``models/model.pt`` of the bundle if not given.
        name: of the bundle.
        training: output folder of the run that made the weights, where it was not one of train.yaml as it is: what its
            configuration says of network, alignment and task is written into the package's configurations. Without it,
            voxels and patch are those of the record beside the weights.
        large_files_url: where the weights are going to be. They are left out then, and ``large_files.yml`` names them.
        root: of the bundle that is packed.

    Raises:
        FileNotFoundError: if weights or the configuration of the run are not there.
        ValueError: if the weights are not those of the configured network, or a file beside them is of others.
    """
    weights = root / WEIGHTS if model_file is None else Path(model_file)
    if not weights.is_file():
        raise FileNotFoundError(
            f"no weights at {weights}; expected the file that training writes. Train first, or name it with "
            "`--model_file`. Weights that are kept elsewhere (`--large_files_url`) are needed here for their hash."
        )
    recorded = (read_training(weights) or {}).get("settings", {})
    configs = packaged_configs(root, recorded if training is None else trained_ids(training))
    check_weights(weights, configs[INFERENCE])
    check_settings(weights, configs[INFERENCE])
    metadata = packaged_metadata(root, weights)
    contents: dict[str, bytes | Path] = {**bundle_files(root), **config_files(root, configs), **side_files(weights)}
    contents.update(dict.fromkeys(METADATA, (json.dumps(metadata, indent=4, ensure_ascii=False) + "\n").encode()))
    if large_files_url is None:
        contents[WEIGHTS] = weights
    else:
        contents[LARGE_FILES] = large_files(large_files_url, weights)
    path = Path(output) / f"{name}_v{metadata['version']}.zip"
    write_archive(path, name, contents)
    return Package(path, len(contents), hashlib.sha1(path.read_bytes()).hexdigest(), sha256(path))


def bundle_files(root: Path) -> dict[str, Path]:
    """List what belongs to the bundle, links resolved: place in the package to file."""
    found = [root / name for name in FILES] + list(root.glob("requirements*.txt"))
    for folder, below, names in (entry for name in FOLDERS for entry in os.walk(root / name)):
        below[:] = [each for each in below if not each.startswith((".", "__"))]  # caches
        found += [Path(folder) / each for each in names if each.endswith(ENDINGS) and not each.startswith(".")]
    return {file.relative_to(root).as_posix(): file.resolve() for file in found if file.is_file()}


def trained_ids(training: str | Path) -> dict[str, Any]:
    """Read from a training run's ``config.yaml`` what its weights were made for.

    Raises:
        FileNotFoundError: if the folder has none.
    """
    file = Path(training) / "config.yaml"
    if not file.is_file():
        raise FileNotFoundError(
            f"no configuration at {file}; expected the one that `python -m monai.bundle run training` writes into its "
            "`output_dir`. See `--training`."
        )
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {id_: config[id_] for id_ in MODEL_IDS if id_ in config}


def packaged_configs(root: Path, ids: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Load training and inference, each with what the weights were made for: name of the workflow to configuration."""
    configs = {name: _as_it_lies(root, name) for name in WORKFLOWS}
    chosen = {id_: value for id_, value in ids.items() if value != configs[TRAINING].get(id_)}
    return {name: {id_: chosen.get(id_, value) for id_, value in config.items()} for name, config in configs.items()}


def _as_it_lies(root: Path, name: str) -> dict[str, Any]:
    return ConfigParser.load_config_file(str(root / "configs" / f"{name}.yaml"))


def check_weights(weights: Path, config: Mapping[str, Any]) -> None:
    """Refuse weights that are not those of the network that the package's configuration describes.

    Raises:
        ValueError: naming what does not fit.
    """
    network = parser_of(config).get_parsed_content("network_def")
    try:
        load_weights(network, weights)
    except ValueError as error:
        raise ValueError(f"{error} Name the run that made them with `--training <its output_dir>`.") from None


def check_settings(weights: Path, config: Mapping[str, Any]) -> None:
    """Refuse a configuration under which the figures in ``performance.json`` were not measured.

    Raises:
        ValueError: naming what differs.
    """
    measured = (read_performance(weights) or {}).get("settings", {})
    # a setting may be an expression that reads what lies beside the weights
    parser = parser_of({**config, "model_file": str(weights)})
    packed = {id_: parser.get_parsed_content(id_) if id_ in config else None for id_ in measured}
    differing = {id_: value for id_, value in measured.items() if json.loads(json.dumps(packed[id_])) != value}
    if differing:
        found = ", ".join(f"{id_} {value}" for id_, value in differing.items())
        here = ", ".join(f"{id_} {packed[id_]}" for id_ in differing)
        raise ValueError(
            f"the weights in {weights} were evaluated with {found}; the package would have {here}. Name the run that "
            "made them with `--training <its output_dir>`, or evaluate again."
        )


def config_files(root: Path, configs: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
    """Give the configurations that are not packed as they lie here.

    Each as JSON too, which is what ``monai.bundle.load`` reads; as YAML where the weights are of another configuration
    than the one that lies here.
    """
    files = {}
    for name, config in configs.items():
        files[f"configs/{name}.json"] = (json.dumps(config, indent=4, ensure_ascii=False) + "\n").encode()
        if config != _as_it_lies(root, name):
            header = f"# {name}.yaml with the network and task of the weights in this package.\n"
            text = header + yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=120)
            files[f"configs/{name}.yaml"] = text.encode()
    return files


def packaged_metadata(root: Path, weights: Path) -> dict[str, Any]:
    """Read the bundle's metadata, with what these weights reached in their evaluation."""
    metadata = json.loads((root / METADATA[0]).read_text(encoding="utf-8"))
    return {**metadata, "eval_metrics": eval_metrics(read_performance(weights))}


def side_files(weights: Path) -> dict[str, Path]:
    """List the files that lie beside the weights and are true of them.

    Raises:
        ValueError: if one is of other weights.
    """
    names = [name for name in (PERFORMANCE_FILE, TEMPERATURES_FILE) if read_side_file(weights, name) is not None]
    names += [TRAINING_FILE] if read_training(weights) is not None else []
    return {f"models/{name}": side_file(weights, name) for name in names}


def large_files(url: str, weights: Path) -> bytes:
    """Say where the weights are, for ``python -m monai.bundle download_large_files``."""
    entry = {"path": WEIGHTS, "url": url, "hash_val": sha256(weights), "hash_type": "sha256"}
    return yaml.safe_dump({"large_files": [entry]}, sort_keys=False).encode()


def write_archive(path: Path, folder: str, contents: Mapping[str, bytes | Path]) -> None:
    """Write a zip file whose bytes depend on names and contents alone; with one version of zlib, that is."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in sorted(contents):
            content = contents[name]
            entry = zipfile.ZipInfo(f"{folder}/{name}", MOMENT)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16  # a plain file, whatever the system
            data = content if isinstance(content, bytes) else content.read_bytes()
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED, compresslevel=9)
