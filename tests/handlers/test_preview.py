# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""When a picture of a result is drawn, and what of."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from monai.data import MetaTensor

from scripts.handlers import preview
from scripts.handlers.preview import PreviewWriter

REGIONS = {"wt": [1, 2], "et": [2]}


@pytest.fixture
def case(tmp_path):
    """A case of two modalities, the second absent, at 2 mm, and its classes at 1 mm with other axes."""
    image = torch.full((2, 20, 24, 16), torch.nan)
    image[0] = 0
    image[0, 2:-2, 2:-2, 2:-2] = torch.randn(16, 20, 12, generator=torch.Generator().manual_seed(0)) - 1
    classes = torch.zeros(1, 40, 48, 32)
    classes[0, 10:20, 20:30, 10:20] = 1
    classes[0, 14:18, 22:26, 14:18] = 2
    coarse = torch.tensor([[2.0, 0, 0, 0.5], [0, 2.0, 0, 0.5], [0, 0, 2.0, 0.5], [0, 0, 0, 1]])
    flipped = torch.tensor([[-1.0, 0, 0, 39], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1]])
    pred = MetaTensor(classes.flip(1), affine=flipped)
    return {"case": "P1", "image": MetaTensor(image, affine=coarse), "pred": pred}


def write(case, folder, wanted, prepared):
    report = {"case": "P1", "subset": "flair", "volumes": {"wt": {"ml": 1.0}}, "warnings": []}
    report |= {} if prepared is None else {"preparation": {"done": prepared}}
    (folder / "P1.json").write_text(json.dumps(report))
    PreviewWriter(str(folder), ["flair", "t1"], REGIONS, wanted).write_case(case)
    return (folder / "P1.png").exists()


@pytest.mark.parametrize(
    ("wanted", "prepared", "drawn"),
    [("auto", None, False), ("auto", False, False), ("auto", True, True), (True, None, True), ("true", False, True)],
)
def test_a_picture_is_drawn_where_something_was_prepared_or_where_asked_for(case, tmp_path, wanted, prepared, drawn):
    assert write(case, tmp_path, wanted, prepared) == drawn
    if drawn:
        assert imread(tmp_path / "P1.png").shape[1] > 500
    assert sorted(file.name for file in tmp_path.iterdir()) == ["P1.json", *(["P1.png"] if drawn else [])]


def test_the_images_are_those_of_the_network_and_the_labels_lie_on_their_grid(case, tmp_path, monkeypatch):
    seen = {}

    def keep(path, images, classes, brain, affine, regions, report):
        seen.update(images=images, classes=classes, affine=affine)

    monkeypatch.setattr(preview, "write_preview", keep)
    write(case, tmp_path, "true", None)
    (shown,) = seen["images"].values()
    assert list(seen["images"]) == ["flair"]
    inside = case["image"][0].numpy() != 0
    assert bool((shown[inside] > 0).all()) and not shown[~inside].any()
    expected = case["image"][0].numpy()[inside]
    np.testing.assert_allclose(shown[inside] - shown[inside].min(), expected - expected.min(), atol=1e-5)
    # index i of the image lies at 2 i + 0.5, between the indices 2 i and 2 i + 1 of the classes
    assert seen["classes"].shape == (20, 24, 16)
    marked = np.argwhere(seen["classes"] == 2)
    assert marked.min(axis=0).tolist() == [7, 11, 7] and marked.max(axis=0).tolist() == [8, 12, 8]
    assert np.array_equal(seen["affine"], case["image"].affine.numpy())


def test_a_slice_has_no_picture(case, tmp_path):
    case["image"] = case["image"][..., 8]
    assert not write(case, tmp_path, "true", None)


def test_another_word_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`preview` is `maybe`; expected auto, true or false"):
        PreviewWriter(str(tmp_path), ["t1"], REGIONS, "maybe")
