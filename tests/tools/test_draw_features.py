# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Latent features drawn in the plane."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.image import imread

from scripts.drawing.figures import COLOURS
from scripts.metrics.modality_gap import modality_gap
from scripts.tools.draw_features import Features, draw, embed, main, read_features

NAMES = ["a", "b", "c"]


def vectors(gap, cases=8, features=5, names=NAMES):
    """Draw vectors of spread 1 around one centroid for each modality; the first case lacks the last modality."""
    random = np.random.default_rng(0)
    centroids = gap * np.eye(len(names), features)
    result = centroids + random.normal(size=(cases, len(names), features)) / features**0.5
    result[0, -1] = np.nan
    return result.astype(np.float32)


def write(folder, features, names=NAMES, **more):
    folder.mkdir(parents=True, exist_ok=True)
    cases = np.array([f"case_{n}" for n in range(len(features))], dtype=str)
    np.savez(folder / "features.npz", features=features, cases=cases, modalities=np.array(names), level=3, **more)
    return folder


def test_every_vector_that_is_there_becomes_one_point_the_same_each_time():
    found = vectors(4.0)
    points, modality = embed(found)
    assert points.shape == (8 * 3 - 1, 2) and np.isfinite(points).all()
    assert np.bincount(modality).tolist() == [8, 8, 7]
    np.testing.assert_array_equal(embed(found)[0], points)
    assert not np.array_equal(embed(found[:, [1, 0, 2]])[0], points)


def test_modalities_that_lie_apart_are_drawn_apart():
    points, modality = embed(vectors(40.0))
    distance = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (modality[distance.argmin(axis=1)] == modality).all()


def test_features_of_another_scale_weigh_the_same():
    found = vectors(4.0)
    scale = np.array([1, 1024, 1, 2.0**-10, 1], dtype=np.float32)  # powers of two: nothing is rounded
    np.testing.assert_array_equal(embed(found * scale)[0], embed(found)[0])


@pytest.mark.parametrize("features", [1, 2])
def test_few_features_and_few_points_are_enough(features):
    points, _ = embed(vectors(4.0, cases=3, features=features, names=NAMES[:2]))
    assert points.shape == (5, 2) and np.isfinite(points).all()


def test_each_run_has_a_panel_that_says_its_gap():
    runs = {"without": Features(vectors(9.0), NAMES, 3), "with": Features(vectors(1.0), NAMES, 0)}
    figure = draw(runs)
    gaps = [modality_gap(run.vectors).gap for run in runs.values()]
    assert gaps[0] > gaps[1]
    assert [panel.get_title() for panel in figure.axes] == [
        f"without\nmodality gap {gaps[0]:.2f} (level 3, 8 cases)",
        f"with\nmodality gap {gaps[1]:.2f} (level 0, 8 cases)",
    ]


@pytest.mark.parametrize(("number", "places"), [(1, 1), (5, 5)])
def test_panels_without_a_run_are_left_out(number, places):
    run = Features(vectors(1.0, cases=3), NAMES, 3)
    assert len(draw({str(n): run for n in range(number)}).axes) == places


def test_a_modality_looks_the_same_in_every_panel_and_the_legend_names_each_once():
    other = ["c", "d"]
    runs = {"first": Features(vectors(1.0), NAMES, 3), "second": Features(vectors(1.0, names=other), other, 3)}
    figure = draw(runs)
    looks = {}
    for panel in figure.axes:
        for points in panel.collections:
            look = (to_hex(points.get_facecolor()[0]).upper(), points.get_paths()[0].vertices.tobytes())
            looks.setdefault(points.get_label(), set()).add(look)
    assert {name: len(seen) for name, seen in looks.items()} == {"a": 1, "b": 1, "c": 1, "d": 1}
    assert [colour for seen in looks.values() for colour, _ in seen] == list(COLOURS[:4])
    assert len({marker for seen in looks.values() for _, marker in seen}) == 4
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("form", ["text", "dictionary", "folders"])
def test_the_tool_writes_a_png_of_several_evaluations(tmp_path, capsys, form):
    folders = [write(tmp_path / name, vectors(gap, cases=3)) for name, gap in (("a", 3.0), ("b", 1.0))]
    runs = {
        "text": f"{{'without': {folders[0]}, 'adaptive': {folders[1]}}}",  # as Fire hands paths over
        "dictionary": {"without": str(folders[0]), "adaptive": str(folders[1])},
        "folders": f"{folders[0]},{folders[1]}",
    }
    main(runs[form], str(tmp_path / "figure.png"), dots_per_inch=50)
    height, width = imread(tmp_path / "figure.png").shape[:2]
    assert width > 1.5 * height > 150
    assert f"2 evaluations drawn: {tmp_path / 'figure.png'}" in capsys.readouterr().out


def test_what_cannot_be_drawn_is_refused_with_the_reason(tmp_path):
    write(tmp_path / "few", vectors(1.0)[:1])
    write(tmp_path / "same", np.ones((4, 3, 5), dtype=np.float32))
    (tmp_path / "empty").mkdir()
    for name, content in (("broken", b"PK not a zip"), ("text", b"features")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "features.npz").write_bytes(content)
    np.savez((tmp_path / "empty" / "features.npz"), other=np.zeros(1))
    for name, message in {
        "nowhere": "no features.npz in .*nowhere; expected the `output_dir` of an evaluation. The workflow `eval",
        "few": "run `.*few`: there are 2 latent vectors, .*expected 4 or more for t-SNE. Evaluate more cases",
        "same": "run `.*same`: all latent vectors are the same",
        "broken": "broken/features.npz cannot be read as what an evaluation writes",
        "text": "text/features.npz cannot be read as what an evaluation writes",
        "empty": "empty/features.npz cannot be read as what an evaluation writes: 'features is not a file",
    }.items():
        with pytest.raises(SystemExit, match=f"Cannot draw: .*{message}"):
            main(str(tmp_path / name), str(tmp_path / "figure.png"))
    with pytest.raises(SystemExit, match="Cannot draw: while parsing a flow mapping"):
        main("{'a': runs/a", str(tmp_path / "figure.png"))
    with pytest.raises(SystemExit, match="Cannot draw: `output` is x.jpg; expected the name of a PNG file"):
        main(str(tmp_path / "few"), "x.jpg")
    assert not (tmp_path / "figure.png").exists()


def test_features_are_read_as_they_were_written(tmp_path):
    found = vectors(2.0)
    read = read_features(write(tmp_path, found))
    np.testing.assert_array_equal(read.vectors, found)
    assert (read.modalities, read.level) == (NAMES, 3)
