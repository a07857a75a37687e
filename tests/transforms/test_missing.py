# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The settings: what a case has, what is shown, what is dropped."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor, list_data_collate
from monai.transforms import Compose

from scripts.data.case_error import CaseError
from scripts.modalities import acquired_in, modality_subsets, subset_name
from scripts.transforms.missing import (
    AvailableModalitiesd,
    KeepModalitiesd,
    RandDropModalitiesd,
    RandShowModalitiesd,
    ShowModalitiesd,
    draw_subset,
)


def case(*absent):
    """Four channels of ones, NaN in the absent ones."""
    image = torch.ones(4, 3, 3, 3)
    image[list(absent)] = torch.nan
    return {"image": MetaTensor(image), "case": "case_a"}


def test_one_nan_voxel_marks_a_channel_as_absent():
    image = case(1)["image"]
    image[1, 1:] = 0.0  # what padding writes
    image[3, 2, 2, 2] = torch.nan
    acquired = acquired_in(image)
    assert acquired.tolist() == [True, False, True, False]
    assert acquired.dtype == torch.bool
    assert type(acquired) is torch.Tensor


def test_available_modalities_are_written_beside_an_unchanged_image():
    data = case(2)
    result = AvailableModalitiesd()(data)
    assert result["available"].tolist() == [True, True, False, True]
    assert result["image"] is data["image"]
    assert "available" not in data


@pytest.mark.parametrize(
    "transform",
    [
        AvailableModalitiesd(),
        RandDropModalitiesd(),
        RandShowModalitiesd(),
        ShowModalitiesd("random", "abcd"),
        ShowModalitiesd("all", "abcd"),
        KeepModalitiesd("all", "abcd"),
    ],
)
def test_a_case_without_any_modality_is_refused(transform):
    with pytest.raises(CaseError, match="case `case_a`: no modality is available; expected at least one"):
        transform(case(0, 1, 2, 3))


@pytest.mark.parametrize("available", modality_subsets(4).tolist())
def test_every_non_empty_subset_of_what_a_case_has_is_drawn_equally_often(available):
    class EveryNumber:
        """Stands for the random state: gives each number below the bound in turn."""

        def __init__(self):
            self.drawn = 0

        def randint(self, bound):
            assert bound == 2 ** sum(available) - 1
            self.drawn += 1
            return self.drawn - 1

    source = EveryNumber()
    drawn = [tuple(draw_subset(torch.tensor(available), source).tolist()) for _ in range(2 ** sum(available) - 1)]
    assert len(set(drawn)) == len(drawn)
    assert all(any(subset) for subset in drawn)
    assert not [subset for subset in drawn for shown, has in zip(subset, available, strict=True) if shown and not has]


@pytest.mark.parametrize("setting", [RandDropModalitiesd, RandShowModalitiesd])
def test_the_draw_is_uniform(setting):
    transform = setting().set_random_state(seed=0)
    draws = 1400
    rows = [tuple(transform(case(2))["available"].tolist()) for _ in range(draws)]
    counts = np.array([rows.count(row) for row in sorted(set(rows))])
    expected = draws / 7  # three modalities have seven non-empty subsets
    assert len(counts) == 7
    assert ((counts - expected) ** 2 / expected).sum() < 22.5  # chi-squared, 6 degrees of freedom, p = 0.001


def test_dropped_modalities_become_nan_and_the_others_stay():
    transform = RandDropModalitiesd().set_random_state(seed=1)
    seen = set()
    for _ in range(40):
        data = case(1)
        result = transform(data)
        assert torch.equal(acquired_in(result["image"]), result["available"])
        assert bool((result["image"][result["available"]] == 1).all())
        assert acquired_in(data["image"]).tolist() == [True, False, True, True]  # a cached case stays whole
        assert isinstance(result["image"], MetaTensor)
        seen.add(subset_name(result["available"].tolist(), "abcd"))
    assert seen == {"a", "c", "d", "a+c", "a+d", "c+d", "a+c+d"}


def test_shown_modalities_are_a_subset_while_the_image_stays_complete():
    transform = RandShowModalitiesd().set_random_state(seed=1)
    shown = []
    for _ in range(40):
        data = case(1)
        result = transform(data)
        assert result["image"] is data["image"]
        assert not bool(result["available"][1])
        shown.append(tuple(result["available"].tolist()))
    assert len(set(shown)) == 7


@pytest.mark.parametrize("setting", [RandDropModalitiesd, RandShowModalitiesd])
def test_the_same_seed_draws_the_same(setting):
    def run(seed):
        transform = Compose([setting()]).set_random_state(seed=seed)
        return [transform(case())["available"].tolist() for _ in range(10)]

    assert run(5) == run(5)
    assert run(5) != run(6)


@pytest.mark.parametrize(
    ("subset", "expected"),
    [("flair", [1, 0, 0, 0]), ("t2+flair", [1, 0, 0, 1]), ("all", [1, 1, 0, 1]), ("t1+t2", [0, 0, 0, 1])],
)
def test_named_modalities_are_kept_or_shown_as_far_as_the_case_has_them(modalities, subset, expected):
    data = case(2)
    result = KeepModalitiesd(subset, modalities)(data)
    assert result["available"].int().tolist() == expected
    assert acquired_in(result["image"]).int().tolist() == expected
    assert bool((result["image"][result["available"]] == 1).all())
    shown = ShowModalitiesd(subset, modalities)(data)
    assert shown["available"].int().tolist() == expected
    assert shown["image"] is data["image"]


@pytest.mark.parametrize(("own", "expected"), [("t2", [0, 0, 0, 1]), ("all", [1, 1, 0, 1]), ("", [1, 0, 0, 0])])
def test_a_request_may_name_its_own_subset(modalities, own, expected):
    keep = KeepModalitiesd("flair", modalities, subset_key="asked")
    assert keep({**case(2), "asked": own})["available"].int().tolist() == expected
    assert keep(case(2))["available"].int().tolist() == [1, 0, 0, 0]
    assert KeepModalitiesd("flair", modalities)({**case(2), "asked": own})["available"].int().tolist() == [1, 0, 0, 0]
    with pytest.raises(CaseError, match=r"subset `t1` was asked for.*has only `flair\+t1ce\+t2`"):
        keep({**case(2), "asked": "t1"})


def test_random_modalities_are_shown_as_in_the_setting_that_does_so(modalities):
    shown = [
        transform.set_random_state(seed=3)(case(1))["available"].tolist()
        for transform in (ShowModalitiesd("random", modalities), RandShowModalitiesd())
        for _ in range(2)
    ]
    draws = ShowModalitiesd("random", modalities).set_random_state(seed=3)
    assert shown == [shown[0]] * 4
    assert len({tuple(draws(case(1))["available"].tolist()) for _ in range(40)}) == 7


@pytest.mark.parametrize("choose", [KeepModalitiesd, ShowModalitiesd])
def test_a_case_that_has_none_of_the_named_modalities_is_refused(modalities, choose):
    with pytest.raises(CaseError, match=r"case `case_a`: subset `t1ce\+t1` was asked for.*has only `flair\+t2`"):
        choose("t1ce+t1", modalities)(case(1, 2))


@pytest.mark.parametrize("choose", [KeepModalitiesd, ShowModalitiesd])
def test_a_misspelt_modality_is_found_at_once(modalities, choose):
    with pytest.raises(ValueError, match="subset `flare` names"):
        choose("flare", modalities)


@pytest.mark.parametrize("name", ["AvailableModalitiesd", "RandDropModalitiesd", "RandShowModalitiesd"])
def test_settings_are_made_by_a_configuration_and_their_cases_collate(name):
    config = ConfigParser({"missing": {"_target_": f"scripts.transforms.missing.{name}"}})
    transform = config.get_parsed_content("missing")
    batch = list_data_collate([transform(case(0)), transform(case(1, 2))])
    assert batch["available"].shape == (2, 4)
    assert batch["available"].dtype == torch.bool
    assert bool(batch["available"].any(1).all())
