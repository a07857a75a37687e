# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The slice that is kept of each case of an evaluation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.engines.utils import IterationEvents

from scripts.evaluation.store import CaseStore
from scripts.handlers.slices import SliceKeeper
from scripts.inferers.sliding_window import SubsetSlidingWindowInferer

NAMES = ["a", "b", "c"]
SIZE = (12, 10, 8)
RAS = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0], dtype=torch.float64))  # indices grow to the right, front and head


def keeper(tmp_path, **settings):
    inferer = SubsetSlidingWindowInferer([4, 4, 4], NAMES)
    return SliceKeeper(CaseStore(str(tmp_path), [], {}), inferer, NAMES, **settings)


def case(image=None, label=None, prediction=None):
    """A case without modality ``c`` whose label is largest in slice 5; images and labels share one grid."""
    if image is None:
        image = torch.zeros(3, *SIZE)
        image[:2, 2:9, 3:8] = torch.arange(1.0, 8.0)[:, None, None]  # 1 to 7 from left to right
        image[1] *= -1  # a normalised image has negative voxels
    image[2] = torch.nan
    if label is None:
        label = torch.zeros(1, *SIZE, dtype=torch.uint8)
        label[0, 3, 4, 1], label[0, 3:5, 4, 5] = 1, 2
    if prediction is None:
        prediction = torch.zeros(3, *SIZE)  # subsets a, b and a+b
        prediction[0, 3, 5, 5], prediction[1, 4, 5, 5], prediction[2, :, :, 2] = 1, 2, 3
    image, label, prediction = (MetaTensor(each, affine=RAS) for each in (image, label, prediction))
    return {"case": "one", "image": image, "label": label, "pred": prediction}


def test_the_slice_with_the_largest_label_is_kept_with_the_axes_of_radiologists(tmp_path):
    found = keeper(tmp_path).slice_of(case())
    assert (int(found["number"]), int(found["num_slices"])) == (5, 8)
    assert found["spacing_mm"] == pytest.approx([2.0, 3.0])
    # right becomes left and front becomes back, so both axes are turned round; the box is 2 pixels wider than the image
    box = (slice(12 - 9 - 2, 12 - 2 + 2), slice(10 - 8 - 2, 10 - 3 + 2))
    truth = case()["label"][0, ..., 5].numpy()[::-1, ::-1][box]
    np.testing.assert_array_equal(found["truth"], truth)
    assert truth.sum() == 2 + 2
    for kept, whole in zip(found["predictions"], case()["pred"].numpy(), strict=True):
        np.testing.assert_array_equal(kept, whole[..., 5][::-1, ::-1][box])
    assert found["subsets"].tolist() == ["a", "b", "a+b"]
    assert {name: each.dtype for name, each in found.items() if each.ndim > 1} == dict.fromkeys(
        ("images", "truth", "predictions"), np.dtype("uint8")
    )


def test_images_of_what_was_acquired_are_scaled_from_the_darkest_voxel_to_white(tmp_path):
    found = keeper(tmp_path).slice_of(case())
    assert found["modalities"].tolist() == ["a", "b"]
    columns = found["images"][:, 2:-2, 4]  # inside the margin, from the left of the image: 7 to 1 and -7 to -1
    falling, rising = np.arange(7, 0, -1), np.arange(0, 7)  # above the darkest voxel: the background's 0, and -7
    white = np.percentile(np.repeat(np.arange(1, 7), 5 * 8), 99.6)  # of the second image
    expected = [255 * falling / 7, 255 * rising / white]
    np.testing.assert_allclose(columns, np.round(expected), atol=1)
    assert (found["images"][:, :2] == 0).all(), "the background is black"


def test_images_come_back_from_the_grid_of_the_network(tmp_path):
    # A ramp of 2 per mm from left to right, known on voxels of 1 mm in a box that is cropped by 3 mm on every side
    size = (18, 24, 26)
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, 3] = 3
    x = torch.arange(18.0) + 3
    image = MetaTensor((1 + 2 * x)[:, None, None].repeat(3, 1, *size[1:]), affine=affine)
    image[2] = torch.nan
    whole = keeper(tmp_path).slice_of({**case(), "image": image})
    columns = whole["images"][0].max(axis=1)
    inside = np.array([2.0 * i for i in range(SIZE[0]) if 3 <= 2 * i <= 20])[::-1]  # mm, from the patient's left
    expected = 255 * (1 + 2 * inside) / np.percentile(1 + 2 * np.arange(3, 21), 99.6)
    np.testing.assert_allclose(columns[columns > 0], expected.clip(0, 255), atol=2)


def test_a_stack_keeps_the_axes_of_its_file(tmp_path):
    found = keeper(tmp_path, orientation=None).slice_of(case())
    np.testing.assert_array_equal(found["truth"], case()["label"][0, 0:11, 1:10, 5].numpy())


@pytest.mark.parametrize(("predicted", "number"), [(True, 2), (False, 4)])
def test_without_a_lesion_the_largest_prediction_or_the_middle_is_kept(tmp_path, predicted, number):
    healthy = case(label=torch.zeros(1, *SIZE), prediction=None if predicted else torch.zeros(3, *SIZE))
    assert int(keeper(tmp_path).slice_of(healthy)["number"]) == number


def run(handler, *items):
    engine = Engine(lambda engine, item: None)
    engine.register_events(*IterationEvents)
    handler.attach(engine)
    for item in items:
        engine.state.batch = [{name: value for name, value in item.items() if name != "pred"}]
        engine.state.output = [{"pred": item["pred"]}]
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
    return sorted(file.name for file in (handler.store.output_dir / "cases").glob("*"))


def test_each_labelled_case_gets_a_file_of_its_own(tmp_path):
    unlabelled = {**case(), "case": "two"}
    del unlabelled["label"]
    handler = keeper(tmp_path)
    assert run(handler, case(), unlabelled) == ["one.slices.npz"]
    with np.load(tmp_path / "cases" / "one.slices.npz", allow_pickle=False) as kept:
        for name, value in handler.slice_of(case()).items():
            np.testing.assert_array_equal(kept[name], value)


@pytest.mark.parametrize("keep", [False, "false"])
def test_nothing_is_kept_where_it_is_not_wanted(tmp_path, keep):
    assert run(keeper(tmp_path, keep=keep), case()) == []
    with pytest.raises(ValueError, match="`keep_slices` is `maybe`; expected true or false"):
        keeper(tmp_path, keep="maybe")
