# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What is doubted of images, and what is not."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
import torch

from scripts.modalities import modality_subsets
from scripts.phantom.case import PhantomSettings
from scripts.plausibility import corruptions
from scripts.plausibility.doubt import limits
from scripts.plausibility.examine import (
    assigned,
    doubts_of_modalities,
    doubts_of_series,
    doubts_of_volume,
    examine,
    of_series,
)
from scripts.plausibility.view import look_at

NAMES = PhantomSettings().modalities
FLAIR, T1CE, T1, T2 = range(4)


def names_of(found):
    return {doubt.name for doubt in found.doubts}


def only(images, *channels):
    """Copy with the other channels absent."""
    result = torch.full_like(images, torch.nan)
    result[list(channels)] = images[list(channels)]
    return result


def test_good_images_are_not_doubted_in_any_subset(images, affine):
    for available in modality_subsets(4):
        found = examine(only(images, *available.nonzero()[:, 0].tolist()), affine, NAMES)
        assert found.doubts == [], available
        assert len(found.numbers["series"]) == int(available.sum())


def test_scaled_and_shifted_intensities_give_the_same_numbers(images, affine):
    changed = torch.where(images != 0, 0.037 * images - 11.3, 0.0)
    expected, found = (examine(each, affine, NAMES).numbers for each in (images, changed))
    assert found["brain_ml"] == expected["brain_ml"]
    for name in NAMES:
        assert found["series"][name] == pytest.approx(expected["series"][name], abs=2e-3)
    assert found["modalities"]["gain"] == pytest.approx(expected["modalities"]["gain"], abs=0.05)


def test_the_order_of_axes_changes_nothing(images, affine):
    turned = affine[:, [2, 0, 1, 3]] @ np.diag([-1.0, 1, 1, 1])
    turned[:3, 3] = affine[:3, 3] + affine[:3, 2] * (images.shape[3] - 1)
    moved = images.permute(0, 3, 1, 2).flip(1).contiguous()
    expected, found = examine(images, affine, NAMES), examine(moved, turned, NAMES)
    assert found.numbers == expected.numbers
    np.testing.assert_array_equal(found.depth, expected.depth)
    np.testing.assert_allclose(found.affine, expected.affine, atol=1e-9)


@pytest.mark.parametrize("channel", range(4))
def test_a_head_around_the_brain_is_said_of_each_series_and_no_modality_is_recognised_then(images, affine, channel):
    rng = np.random.default_rng(channel)
    head = corruptions.add_head(images[channel].numpy(), NAMES[channel], np.full(3, 4.0), rng)
    found = examine(torch.from_numpy(head)[None], affine, [NAMES[channel]])
    assert "not_extracted" in names_of(found)
    assert "brain_volume" not in names_of(found), "one cause is said once"
    assert found.numbers["modalities"] is None
    assert NAMES[channel] in found.doubts[0].message
    assert found.doubts[0].value == found.numbers["series"][NAMES[channel]]["volume_ml"] > limits()["head_ml"]


def test_a_part_of_a_head_is_known_by_its_bone():
    good = {"volume_ml": 1500.0, "dark_below_surface": 0.2, "filled": 0.3, "few_values": 0.1}
    assert doubts_of_series("t1", good) == []
    doubt = doubts_of_series("t1", {**good, "dark_below_surface": 0.4})[0]
    assert (doubt.name, doubt.value, doubt.limit) == ("not_extracted", 0.4, limits()["dark_below_surface"])
    assert "40% of what lies 4 to 20 mm below its surface is dark as bone is (at most 30%)" in doubt.message


def test_darkness_below_the_surface_is_counted_by_hand():
    # a block of 25 voxels of 4 mm along each axis, all 100; depth 4 to 20 mm are the layers 2 to 5, of which 2 is dark
    block = torch.zeros(1, 31, 31, 31)
    block[:, 3:28, 3:28, 3:28] = 100 + torch.rand(25, 25, 25, generator=torch.Generator().manual_seed(0))
    block[:, 4:27, 4:27, 4:27] = 1.0
    block[:, 5:26, 5:26, 5:26] = 100 + torch.rand(21, 21, 21, generator=torch.Generator().manual_seed(1))
    found = of_series(look_at(block, np.diag([4.0, 4, 4, 1]), ["t1"]), 0)
    assert found["dark_below_surface"] == pytest.approx((23**3 - 21**3) / (23**3 - 15**3), abs=1e-3)


def test_an_image_without_an_outline_fills_its_volume(images, affine):
    inner = images[:, 12:30, 14:36, 12:30]
    assert "fills" in names_of(examine(inner.contiguous(), affine, NAMES))


def test_a_label_map_given_as_an_image_is_found_and_nothing_else_is_said_of_it(phantoms, images, affine):
    mixed = images.clone()
    mixed[T2] = (images[T2] != 0) + torch.from_numpy(phantoms[0].label.astype(np.float32))
    found = examine(mixed, affine, NAMES)
    assert [doubt.name for doubt in found.doubts if "t2 looks" in doubt.message] == ["label_map"]
    assert found.numbers["series"]["t2"]["few_values"] == 1.0


def test_the_volume_is_measured_in_ml_and_doubted_outside_of_its_range():
    # 25 x 25 x 25 voxels of 4 mm: 100 mm cubed, 1000 mL; of 5 mm 1953 mL; of 3 mm 421.9 mL; of 5.2 mm 2197 mL
    block = torch.zeros(1, 31, 31, 31)
    block[:, 3:28, 3:28, 3:28] = torch.rand(25, 25, 25, generator=torch.Generator().manual_seed(0)) + 1
    for mm, expected, doubted in ((4.0, 1000.0, False), (5.0, 1953.1, False), (3.0, 421.9, True), (5.2, 2197.0, True)):
        found = examine(block, np.diag([mm, mm, mm, 1]), ["t1"])
        assert found.numbers["brain_ml"] == pytest.approx(expected, abs=0.1)
        assert ("brain_volume" in names_of(found)) is doubted, mm
    low, high = doubts_of_volume(421.9)[0], doubts_of_volume(2197.0)[0]
    assert (low.limit, high.limit) == (700.0, 2000.0)
    assert "422 mL, expected 700 to 2000" in low.message
    assert "extracted" in high.message


@pytest.mark.parametrize("channel", [T1CE, T1, T2])
def test_a_displaced_turned_or_mirrored_series_is_named(images, affine, channel):
    spacing, zero = np.full(3, 4.0), np.zeros(3)
    moved = {
        "shift": (corruptions.move(images[channel].numpy(), spacing, np.array([0, 10.0, 0]), zero), "not_aligned"),
        "turn": (corruptions.move(images[channel].numpy(), spacing, zero, np.array([0, 0, 10.0])), "not_aligned"),
        "flip": (images[channel].flip(0).numpy(), "mirrored"),
    }
    for how, (image, expected) in moved.items():
        changed = images.clone()
        changed[channel] = torch.from_numpy(np.ascontiguousarray(image))
        found = [doubt for doubt in examine(changed, affine, NAMES).doubts if doubt.name in ("not_aligned", "mirrored")]
        assert [doubt.name for doubt in found] == [expected], how
        assert NAMES[channel] in found[0].message, how


def test_two_exchanged_series_are_named_and_so_is_a_single_one_under_another_name(images, affine):
    for one, other in combinations(range(4), 2):
        order = list(range(4))
        order[one], order[other] = other, one
        found = examine(images[order], affine, NAMES)
        said = [doubt for doubt in found.doubts if doubt.name == "other_modality"]
        assert len(said) == 1, (one, other)
        assert f"{NAMES[one]} looks like {NAMES[other]}" in said[0].message
    t1_as_t1ce = torch.full_like(images, torch.nan)
    t1_as_t1ce[T1CE] = images[T1]
    assert examine(t1_as_t1ce, affine, NAMES).doubts == [], "without the other one there is nothing to compare"
    t2_as_t1 = torch.full_like(images, torch.nan)
    t2_as_t1[T1] = images[T2]
    assert "t1 looks like t2" in examine(t2_as_t1, affine, NAMES).doubts[0].message


def test_the_best_names_are_found_each_once_by_hand():
    # own names: -1 - 2 = -3. b's image as a, a's as b: -0.5 - 0.25 = -0.75, better by 2.25
    found = assigned({"a": {"a": -1.0, "b": -0.5, "c": -9.0}, "b": {"a": -0.25, "b": -2.0, "c": -9.0}})
    assert found["best"] == {"a": "b", "b": "a"}
    assert found["gain"] == 2.25
    # alone b's image would be called a (-0.25) as well, but a name is given once
    assert assigned({"heart": {"a": -1.0}}) is None, "names that the classifier does not know"


def test_a_gain_up_to_the_limit_is_not_doubted():
    limit = limits()["other_modality"][0]
    found = {"best": {"t1": "t1ce"}, "gain": limit}
    assert doubts_of_modalities(found) == []
    assert doubts_of_modalities({**found, "gain": limit + 0.001})[0].limit == limit


def test_what_is_absent_everywhere_is_an_error(images, affine):
    with pytest.raises(ValueError, match="no modality is acquired; expected at least one of"):
        examine(torch.full_like(images, torch.nan), affine, NAMES)


def test_the_numbers_are_strict_json_and_their_names_are_as_documented(images, affine):
    numbers = json.loads(json.dumps(examine(images, affine, NAMES).numbers, allow_nan=False))
    assert list(numbers) == ["series", "brain_ml", "pairs", "modalities"]
    assert list(numbers["series"]["t1"]) == ["volume_ml", "dark_below_surface", "filled", "few_values"]
    assert list(numbers["pairs"]) == ["flair+t1ce", "flair+t1", "flair+t2"]
    assert list(numbers["pairs"]["flair+t2"]) == ["mm", "gain", "mirrored"]
    assert list(numbers["modalities"]) == ["best", "gain", "log_probabilities"]


def test_finer_voxels_are_averaged_and_keep_their_place():
    # 16 voxels of 1 mm along each axis are 4 blocks of 4; their first centre lies at 1.5 mm, but of every second voxel
    # (0 and 2) only: at 1 mm
    image = torch.arange(1.0, 17)[:, None, None].expand(16, 16, 16)[None].contiguous()
    view = look_at(image, np.eye(4), ["t1"])
    assert view.values.shape == (1, 4, 4, 4)
    np.testing.assert_allclose(view.values[0, :, 0, 0], [2.0, 6.0, 10.0, 14.0])
    np.testing.assert_allclose(view.affine, [[4, 0, 0, 1], [0, 4, 0, 1], [0, 0, 4, 1], [0, 0, 0, 1]])
