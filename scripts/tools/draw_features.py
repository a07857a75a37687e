# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Draw the latent features that evaluations kept, side by side: one point for each case and modality.

python -m scripts.tools.draw_features --runs "{'without': runs/a, 'adaptive': runs/b}" --output runs/features.png
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler

from ..drawing.figures import COLOURS, MARKERS, png_path, save_png, shared_legend
from ..handlers.latent_features import FEATURES_FILE
from ..metrics.modality_gap import modality_gap
from ..utils.flags import as_list
from .command_line import run_tool

COLUMNS = 4  # panels of a row
FEWEST_POINTS = 4
PERPLEXITY = 30.0  # of t-SNE: about the number of neighbours that a point keeps; less where there are few points


class Features(NamedTuple):
    """Latent features of the cases of an evaluation.

    Attributes:
        vectors: ``(N, M, F)``, NaN where a case lacks the modality.
        modalities: ``(M,)`` names.
        level: of the encoder.
    """

    vectors: NDArray
    modalities: list[str]
    level: int


def read_features(folder: str | Path) -> Features:
    """Read the features that an evaluation kept.

    Raises:
        FileNotFoundError: if the folder has none.
        ValueError: if the file is not what an evaluation writes.
    """
    path = Path(folder) / FEATURES_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"no {FEATURES_FILE} in {folder}; expected the `output_dir` of an evaluation. The workflow `evaluating` "
            "with configs/evaluate.yaml writes it."
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            return Features(file["features"], file["modalities"].tolist(), int(file["level"]))
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read as what an evaluation writes: {error}. Evaluate again.") from error


def embed(vectors: NDArray, seed: int = 0) -> tuple[NDArray, NDArray]:
    """Embed the vectors of all cases and modalities in the plane by t-SNE, each feature standardised before.

    Args:
        vectors: ``(N, M, F)``, NaN where a case lacks the modality.
        seed: of t-SNE.

    Returns:
        ``(P, 2)`` points, and ``(P,)`` numbers of their modalities.

    Raises:
        ValueError: if there are too few vectors, or all are the same.
    """
    case, modality = np.isfinite(vectors).all(axis=2).nonzero()
    if len(case) < FEWEST_POINTS:
        raise ValueError(
            f"there are {len(case)} latent vectors, one for each case and modality; expected {FEWEST_POINTS} or more "
            "for t-SNE. Evaluate more cases."
        )
    standard = StandardScaler().fit_transform(vectors[case, modality].astype(float))  # (P, F)
    if not standard.any():
        raise ValueError("all latent vectors are the same; expected some that differ. Was the network trained?")
    start = "pca" if standard.shape[1] > 1 else "random"
    perplexity = min(PERPLEXITY, (len(case) - 1) / 3)
    return TSNE(perplexity=perplexity, init=start, random_state=seed).fit_transform(standard), modality


def draw(runs: Mapping[str, Features], seed: int = 0) -> Figure:
    """Draw one panel for each run; the title says the modality gap, measured before the embedding.

    Args:
        runs: title to features.
        seed: of t-SNE.
    """
    columns = min(len(runs), COLUMNS)
    rows = -(-len(runs) // columns)
    figure = Figure(figsize=(2.8 * columns + 0.2, 2.9 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    names = list(dict.fromkeys(name for run in runs.values() for name in run.modalities))
    for panel, (title, run) in zip(axes[: len(runs)], runs.items(), strict=True):
        try:
            _scatter(panel, run, names, seed)
        except ValueError as error:
            raise ValueError(f"run `{title}`: {error}") from error
        gap = modality_gap(run.vectors).gap
        number = int(np.isfinite(run.vectors).all(axis=2).any(axis=1).sum())
        panel.set_title(f"{title}\nmodality gap {gap:.2f} (level {run.level}, {number} cases)", fontsize=9)
    for panel in axes[len(runs) :]:
        panel.remove()
    shared_legend(figure, ncols=len(names), handletextpad=0.1)
    return figure


def _scatter(panel: Axes, run: Features, names: list[str], seed: int) -> None:
    points, modality = embed(run.vectors, seed)
    for number, name in enumerate(run.modalities):
        x, y = points[modality == number].T
        place = names.index(name)
        look: dict[str, Any] = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
        panel.scatter(x, y, s=22, alpha=0.8, linewidths=0.4, edgecolors="white", label=name, **look)
    panel.set_aspect("equal", adjustable="datalim")
    panel.set_xticks([])  # t-SNE's axes mean nothing
    panel.set_yticks([])


def main(runs: Any, output: str, seed: int = 0, dots_per_inch: int = 130) -> None:
    """Draw the latent features of one or several evaluations by t-SNE into a PNG file.

    Args:
        runs: title of each panel to the output folder of an evaluation, or folders joined by commas.
        output: the file.
        seed: of t-SNE.
        dots_per_inch: resolution.
    """
    try:
        path = png_path(output)
        named = yaml.safe_load(runs) if isinstance(runs, str) and runs.startswith("{") else runs
        folders = named if isinstance(named, dict) else {folder: folder for folder in as_list(named)}
        figure = draw({str(title): read_features(str(folder)) for title, folder in folders.items()}, seed)
    except (FileNotFoundError, ValueError, yaml.YAMLError) as error:
        raise SystemExit(f"Cannot draw: {error}") from error
    save_png(figure, path, dots_per_inch)
    print(f"{len(folders)} evaluations drawn: {path}")


if __name__ == "__main__":
    run_tool(main)
