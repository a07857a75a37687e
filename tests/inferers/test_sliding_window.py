# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Whole cases in windows: what is absent is decided once, every subset comes from one encoding."""

from __future__ import annotations

import math

import pytest
import torch
from monai.data import MetaTensor
from torch import nn
from torch.nn.functional import pad

from scripts.inferers.sliding_window import IncompleteSlidingWindowInferer, SubsetSlidingWindowInferer
from scripts.modalities import modality_subsets, subset_name
from scripts.networks.rfnet import RFNet

NAMES = ["flair", "t1ce", "t2"]
NAN = math.nan


class Counting(nn.Module):
    """A network by hand: where the first shown modality is positive, the class is the number of modalities shown.

    Features are the window itself. Counts its calls and notes what it was told to be available.
    """

    def __init__(self):
        super().__init__()
        self.encoded, self.aligned, self.fused = [], [], []

    def forward(self, x, available):
        return self.fuse(self.align(self.encode(x, available), available), available)

    def encode(self, x, available):
        assert not torch.isnan(x[available.expand(x.shape[0], -1)]).any()
        self.encoded.append(available[0].tolist())
        return [torch.nan_to_num(x).unsqueeze(2)]  # (b, M, 1, *roi)

    def align(self, features, available):
        self.aligned.append(available[0].tolist())
        return [level * available.reshape(*available.shape, *[1] * (level.ndim - 2)) for level in features]

    def fuse(self, features, available):
        self.fused.append(available[0].tolist())
        first = int(available[0].nonzero()[0])
        label = (features[0][:, first, 0] > 0) * available[0].sum()  # (b, *roi)
        return 9.0 * torch.nn.functional.one_hot(label, 4).movedim(-1, 1).float()


def striped(*absent, size=(12, 8, 8)):
    """A case ``(1, 3, *size)`` with its own pattern of positive voxels in each modality."""
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(3))
    image[:, list(absent)] = NAN
    return image


@pytest.fixture(scope="module")
def rfnet():
    torch.manual_seed(0)
    return RFNet(num_modalities=3, num_classes=4, spatial_dims=3, width=4).eval()


# --- one subset ------------------------------------------------------------------------------------


def test_probabilities_of_overlapping_windows_are_averaged():
    class Mean(nn.Module):
        """Says class 1 everywhere with the log-odds of the window's mean."""

        def forward(self, x, available):
            odds = x.mean(dim=(1, 2, 3))[:, None, None, None].expand(-1, 1, *x.shape[2:])
            return torch.cat([torch.zeros_like(odds), odds], dim=1)

    # a row of 6 with values 0 0 1 1 2 2 and windows of 4 that overlap by half: at 0 (mean 1/2) and 2 (mean 3/2)
    image = torch.tensor([0.0, 0, 1, 1, 2, 2]).repeat(1, 1, 4, 1)
    first, second = (1 / (1 + math.exp(-mean)) for mean in (0.5, 1.5))
    expected = torch.tensor([first, first, (first + second) / 2, (first + second) / 2, second, second])
    result = IncompleteSlidingWindowInferer([4, 4], overlap=0.5)(image, Mean())
    torch.testing.assert_close(result[0, 1], expected.expand(4, -1))
    torch.testing.assert_close(result.sum(dim=1), torch.ones(1, 4, 6))


def test_every_window_is_told_what_the_whole_case_has():
    image = striped(1)
    image[0, 1, 6:] = 0.0  # a stray part of the absent channel that looks acquired in the last window
    network = Counting()
    IncompleteSlidingWindowInferer([4, 8, 8], overlap=0.0)(image, network)
    assert network.encoded == [[True, False, True]] * 3


def test_an_image_smaller_than_a_window_keeps_its_absent_channel_absent(rfnet):
    image = striped(1, size=(10, 16, 12))
    padding = (2, 2, 0, 0, 3, 3)  # centred, last axis first, to 16 along each axis
    padded = pad(image, padding)
    padded[:, 1] = NAN  # what a case of this size would be; the window's channel is NaN in the middle, 0 around it
    with torch.no_grad():
        expected = rfnet(padded).softmax(dim=1)[:, :, 3:13, :, 2:14]
        result = IncompleteSlidingWindowInferer([16, 16, 16])(image, rfnet)
        complete = IncompleteSlidingWindowInferer([16, 16, 16])(striped(size=(10, 16, 12)), rfnet)
    assert torch.isfinite(result).all()
    torch.testing.assert_close(result, expected)
    assert (result - complete).abs().mean() > 1e-3


def test_a_batch_of_cases_with_the_same_modalities_is_segmented_together():
    pair = torch.cat([striped(0), striped(0).flip(2)])
    together = IncompleteSlidingWindowInferer([8, 8, 8])(pair, Counting())
    single = IncompleteSlidingWindowInferer([8, 8, 8])(pair[:1], Counting())
    torch.testing.assert_close(together[:1], single)


# --- test-time flips --------------------------------------------------------------------------------


def test_flips_average_the_probabilities_of_every_flip_of_the_image():
    class Ramp(nn.Module):
        """Says class 1 with log-odds that grow along each axis of the window, whatever the image."""

        def forward(self, x, available):
            axes = [torch.arange(length, dtype=torch.float32) for length in x.shape[2:]]
            odds = sum(torch.meshgrid(*axes, indexing="ij"))[None, None]
            return torch.cat([torch.zeros_like(odds), odds], dim=1)

    # an image of one window, 2 x 2: log-odds 0 1 / 1 2, so that after the flips each voxel has the mean of all four
    expected = sum(1 / (1 + math.exp(-odds)) for odds in (0, 1, 1, 2)) / 4
    result = IncompleteSlidingWindowInferer([2, 2], flips=True)(torch.zeros(1, 1, 2, 2), Ramp())
    torch.testing.assert_close(result[0, 1], torch.full((2, 2), expected))


def test_opposite_averages_the_image_and_its_flip_along_all_axes_at_once(rfnet):
    image = striped(1, size=(18, 16, 21))
    plain, opposite = (IncompleteSlidingWindowInferer([16] * 3, flips=flips) for flips in ("none", "opposite"))
    with torch.no_grad():
        once, back = plain(image, rfnet), plain(image.flip((2, 3, 4)), rfnet).flip((2, 3, 4))
        found = opposite(image, rfnet)
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found, (once + back) / 2)
    assert (once - back).abs().max() > 1e-3


@pytest.mark.parametrize(("flips", "means"), [(False, "none"), ("False", "none"), (True, "all"), ("true", "all")])
def test_flips_may_be_switched_like_a_flag(flips, means):
    assert IncompleteSlidingWindowInferer([16] * 3, flips=flips).flips == means


def test_other_flips_are_refused():
    with pytest.raises(ValueError, match="`flips` is `sideways`; expected none, opposite or all"):
        IncompleteSlidingWindowInferer([16] * 3, flips="sideways")


@pytest.mark.parametrize("axes", [(2,), (2, 3, 4)])
def test_a_flipped_image_gives_the_flipped_result(rfnet, axes):
    image = striped(1, size=(18, 16, 21))  # windows do not lie symmetrically
    plain, flipping = (IncompleteSlidingWindowInferer([16] * 3, flips=flips) for flips in ("false", "true"))
    with torch.no_grad():
        result, flipped = (flipping(each, rfnet) for each in (image, image.flip(axes)))
        once, once_flipped = (plain(each, rfnet) for each in (image, image.flip(axes)))
    assert torch.isfinite(result).all()
    torch.testing.assert_close(flipped.flip(axes), result)
    torch.testing.assert_close(result.sum(dim=1), torch.ones(1, 18, 16, 21))
    assert (once_flipped.flip(axes) - once).abs().max() > 1e-3  # not so without flips


def test_without_flips_nothing_changes(rfnet):
    image = striped(2, size=(18, 16, 16))
    with torch.no_grad():
        default, off = (
            IncompleteSlidingWindowInferer([16] * 3, **flips)(image, rfnet) for flips in ({}, {"flips": False})
        )
    assert torch.equal(default, off)


def test_every_flip_shows_what_the_case_has_and_a_2d_network_is_flipped_in_its_plane():
    network = Counting()
    IncompleteSlidingWindowInferer([8, 8, 8], flips=True)(striped(1, size=(8, 8, 8)), network)
    assert network.encoded == [[True, False, True]] * 8
    network = Counting()
    IncompleteSlidingWindowInferer([8, 8, 1], flips=True, spatial_dims=2)(striped(1, size=(8, 8, 3)), network)
    assert len(network.encoded) == 4 * 3  # flips times slices


def test_flips_of_one_of_several_subsets_are_those_of_the_subset_alone(rfnet):
    image = striped(size=(18, 16, 16))
    alone = image.clone()
    alone[:, [0, 2]] = NAN
    with torch.no_grad():
        several = SubsetSlidingWindowInferer([16] * 3, NAMES, ["all", "t1ce"], flips=True)(image, rfnet)
        expected = IncompleteSlidingWindowInferer([16] * 3, flips=True)(alone, rfnet).argmax(dim=1)
    assert (
        several[:, 1].argmax(dim=1) == expected
    ).float().mean() > 0.999  # but for rounding where two classes are as likely


def test_an_image_with_metadata_keeps_it_through_flips(rfnet):
    image = MetaTensor(striped(0, size=(16, 16, 16)), affine=torch.diag(torch.tensor([2.0, 1, 1, 1])))
    with torch.no_grad():
        result = IncompleteSlidingWindowInferer([16] * 3, flips=True)(image, rfnet)
    assert isinstance(result, MetaTensor)
    assert torch.equal(result.affine, image.affine)


def test_windows_in_one_pass_give_what_they_give_one_by_one(rfnet):
    image = striped(2, size=(24, 16, 16))
    with torch.no_grad():
        one, several = (IncompleteSlidingWindowInferer([16] * 3, sw_batch_size=n)(image, rfnet) for n in (1, 2))
    torch.testing.assert_close(one, several, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [IncompleteSlidingWindowInferer, SubsetSlidingWindowInferer])
def test_a_batch_that_mixes_different_modalities_is_refused(kind):
    inferer = kind([8, 8, 8], **({"modalities": NAMES} if kind is SubsetSlidingWindowInferer else {}))
    mixed = torch.cat([striped(0), striped(1)])
    message = r"mixes cases with different modalities \[\[0, 1, 1\], \[1, 0, 1\]\].*batch size of 1"
    with pytest.raises(ValueError, match=message):
        inferer(mixed, Counting())


@pytest.mark.parametrize("kind", [IncompleteSlidingWindowInferer, SubsetSlidingWindowInferer])
def test_a_case_without_any_modality_is_refused(kind):
    inferer = kind([8, 8, 8], **({"modalities": NAMES} if kind is SubsetSlidingWindowInferer else {}))
    with pytest.raises(ValueError, match="every channel of the image contains NaN"):
        inferer(striped(0, 1, 2), Counting())


def test_metadata_of_the_case_stays_with_the_prediction():
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0]))
    image = MetaTensor(striped(1), affine=affine)
    result = IncompleteSlidingWindowInferer([8, 8, 8])(image, Counting())
    torch.testing.assert_close(result.affine.float(), affine)


# --- every subset ----------------------------------------------------------------------------------


def test_each_subset_of_a_complete_case_gets_the_label_map_made_by_hand():
    image = striped()
    result = SubsetSlidingWindowInferer([8, 8, 8], NAMES)(image, Counting())
    assert result.dtype == torch.float32
    assert result.shape == (1, 7, 4, 12, 8, 8)
    for probabilities, subset in zip(result[0], modality_subsets(3), strict=True):
        first = int(subset.nonzero()[0])
        torch.testing.assert_close(probabilities.argmax(dim=0), (image[0, first] > 0) * int(subset.sum()))


@pytest.mark.parametrize("absent", [(), (0,), (1, 2)])
def test_every_subset_equals_a_run_of_its_own(rfnet, absent):
    image = striped(*absent, size=(20, 16, 16))
    inferer = SubsetSlidingWindowInferer([16, 16, 16], NAMES, overlap=0.25)
    subsets = inferer.subsets_for(~torch.isnan(image[0]).flatten(1).any(dim=1))
    alone = IncompleteSlidingWindowInferer([16, 16, 16], overlap=0.25)
    with torch.no_grad():
        together = inferer(image, rfnet)
        assert together.shape[1] == len(subsets) == 2 ** (3 - len(absent)) - 1
        for probabilities, subset in zip(together[0], subsets, strict=True):
            shown = image.clone()
            shown[:, ~subset] = NAN
            expected = alone(shown, rfnet).argmax(dim=1)[0]
            assert len(expected.unique()) > 1
            agreement = (probabilities.argmax(dim=0) == expected).float().mean()  # rounding may turn a tie
            assert agreement > 0.999, f"{subset_name(subset, NAMES)}: {agreement}"


def test_each_subset_sees_the_foreground_of_its_own_modalities_as_a_run_on_these_alone_does(rfnet):
    image = striped(size=(24, 16, 16))
    image[:, 0, :6], image[:, 1, 18:], image[:, 2, ..., :4] = 0, 0, 0  # foregrounds that differ
    inferer = SubsetSlidingWindowInferer([16, 16, 16], NAMES, overlap=0.25)
    alone = IncompleteSlidingWindowInferer([16, 16, 16], overlap=0.25)
    boxes = set()
    with torch.no_grad():
        together = inferer(image, rfnet)
        for found, subset in zip(together[0], modality_subsets(3), strict=True):
            inside = (image[0, subset] != 0).any(dim=0).nonzero()
            box = tuple(
                slice(int(low), int(high) + 1) for low, high in zip(inside.amin(0), inside.amax(0), strict=True)
            )
            shown = image[(slice(None), slice(None), *box)].clone()
            shown[:, ~subset] = NAN
            expected = torch.zeros_like(found)
            expected[(slice(None), *box)] = alone(shown, rfnet)[0]
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
            boxes.add(str(box))
    assert len(boxes) > 3


def test_observers_see_a_case_once_though_its_subsets_have_different_foregrounds():
    seen, image = [], striped(size=(12, 8, 8))
    image[:, 0, :6] = 0
    inferer, network = SubsetSlidingWindowInferer([12, 8, 8], NAMES, ["all", NAMES[0]]), Counting()
    inferer.observers.append(lambda features, acquired: seen.append(features[0].shape[3:]))
    inferer(image, network)
    assert seen == [(12, 8, 8)] and len(network.encoded) == 2


def test_a_window_is_encoded_once_however_many_subsets_there_are():
    network = Counting()
    SubsetSlidingWindowInferer([4, 8, 8], NAMES, overlap=0.0)(striped(), network)
    assert network.encoded == [[True] * 3] * 3  # 12 voxels in windows of 4
    assert network.fused == modality_subsets(3).tolist() * 3
    assert network.aligned == network.fused, "alignment depends on who is there"


def test_modalities_that_no_subset_shows_are_encoded_only_for_observers():
    subsets = [NAMES[2], f"{NAMES[0]}+{NAMES[2]}"]
    inferer, network = SubsetSlidingWindowInferer([12, 8, 8], NAMES, subsets), Counting()
    inferer(striped(), network)
    inferer.observers.append(lambda *shown: None)
    inferer(striped(), network)
    assert network.encoded == [[True, False, True], [True, True, True]]


def test_observers_see_each_encoding_once_with_what_the_case_has():
    seen, inferer = [], SubsetSlidingWindowInferer([4, 8, 8], NAMES, overlap=0.0, sw_batch_size=2)
    inferer.observers += [lambda *shown: seen.append(shown)] * 2
    image = striped(1)
    inferer(image, Counting())
    assert [[tuple(level.shape) for level in features] for features, _ in seen[::2]] == [
        [(2, 3, 1, 4, 8, 8)],  # 12 voxels in windows of 4, two at a time
        [(1, 3, 1, 4, 8, 8)],
    ]
    assert all(acquired.tolist() == [[True, False, True]] for _, acquired in seen)
    windows = torch.cat([features[0][:, :, 0] for features, _ in seen[::2]])  # (3, M, 4, 8, 8)
    whole = torch.cat(list(windows), dim=1)
    torch.testing.assert_close(whole[[0, 2]], image[0, [0, 2]])


def test_probability_observers_see_each_case_once_with_what_is_returned():
    pair = MetaTensor(torch.cat([striped(1), striped(1).flip(2)]))
    seen, inferer = [], SubsetSlidingWindowInferer([8, 8, 8], NAMES, overlap=0.25)
    alone = inferer(pair, Counting())
    inferer.probability_observers.append(lambda *shown: seen.append(shown))
    result = inferer(pair, Counting())
    torch.testing.assert_close(result, alone, rtol=0, atol=0)
    assert len(seen) == 2
    for (probabilities, subsets), returned in zip(seen, result, strict=True):
        assert subsets.tolist() == [[True, False, False], [False, False, True], [True, False, True]]
        assert type(probabilities) is torch.Tensor and probabilities.dtype == torch.float32
        assert probabilities.shape == (3, 4, 12, 8, 8)  # K, C, *S
        torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(3, 12, 8, 8))
        assert torch.equal(probabilities, returned.as_tensor())


def test_only_subsets_of_what_the_case_has_are_segmented():
    inferer = SubsetSlidingWindowInferer([12, 8, 8], NAMES, subsets=["t2", "all", "t2+flair"])
    network = Counting()
    result = inferer(striped(1), network)
    assert result.shape[1] == 2
    assert network.fused == [[False, False, True], [True, False, True]]  # `all` is the same as the last
    assert network.encoded == [[True, False, True]]


def test_a_case_for_which_no_asked_for_subset_is_left_is_refused():
    inferer = SubsetSlidingWindowInferer([12, 8, 8], NAMES, subsets=["t1ce", "t1ce+t2"])
    with pytest.raises(ValueError, match=r"modalities \[1, 0, 1\], and none of the 2 asked-for subsets"):
        inferer(striped(1), Counting())


def test_a_misspelt_subset_is_refused_at_once():
    with pytest.raises(ValueError, match=r"subset `flair\+t3` names \['t3'\]"):
        SubsetSlidingWindowInferer([8, 8, 8], NAMES, subsets=["flair+t3"])


# --- stacks, slice by slice -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flat_rfnet():
    torch.manual_seed(0)
    return RFNet(num_modalities=3, num_classes=4, spatial_dims=2, width=4).eval()


@pytest.mark.parametrize("size", [(24, 16, 3), (12, 20, 1)])  # larger and smaller than a window
def test_a_stack_is_segmented_as_each_of_its_slices_alone(flat_rfnet, size):
    image = striped(1, size=size)
    stack = IncompleteSlidingWindowInferer([16, 16, 1], spatial_dims=2)
    flat = IncompleteSlidingWindowInferer([16, 16])
    with torch.no_grad():
        result = stack(image, flat_rfnet)
        slices = [flat(image[..., level], flat_rfnet) for level in range(size[2])]
    assert result.shape == (1, 4, *size)
    torch.testing.assert_close(result, torch.stack(slices, dim=-1))


def test_every_subset_of_a_stack_is_segmented_slice_by_slice_and_keeps_its_metadata(flat_rfnet):
    affine = torch.diag(torch.tensor([1.0, 1.0, 12.0, 1.0]))
    image = striped(2, size=(24, 16, 3))
    inferer = SubsetSlidingWindowInferer([16, 16, 1], NAMES, spatial_dims=2, sw_batch_size=2)
    with torch.no_grad():
        result = inferer(MetaTensor(image, affine=affine), flat_rfnet)
        slices = [SubsetSlidingWindowInferer([16, 16], NAMES)(image[..., z], flat_rfnet) for z in range(3)]
    assert result.shape == (1, 3, 4, 24, 16, 3)
    classes = result.as_tensor().argmax(dim=2)
    assert len(classes.unique()) > 1
    assert (classes == torch.stack(slices, dim=-1).argmax(dim=2)).float().mean() > 0.999  # rounding may turn a tie
    torch.testing.assert_close(result.affine.float(), affine)


@pytest.mark.parametrize("kind", [IncompleteSlidingWindowInferer, SubsetSlidingWindowInferer])
def test_windows_thicker_than_a_slice_are_refused_for_a_2d_network(flat_rfnet, kind):
    inferer = kind([16, 16, 2], spatial_dims=2, **({"modalities": NAMES} if kind is SubsetSlidingWindowInferer else {}))
    with pytest.raises(ValueError, match=r"a patch has \(16, 16, 2\) voxels.*See `patch_size`"):
        inferer(striped(size=(16, 16, 4)), flat_rfnet)


# --- precision -------------------------------------------------------------------------------------


def test_all_means_everything_that_the_case_has():
    inferer = SubsetSlidingWindowInferer([8, 8, 8], NAMES, subsets=["all", NAMES[0]])
    acquired = torch.tensor([True] * (len(NAMES) - 1) + [False])
    first = [True] + [False] * (len(NAMES) - 1)
    assert inferer.subsets_for(acquired).tolist() == [acquired.tolist(), first]
    assert inferer.subsets_for(torch.tensor(first)).tolist() == [first], "once, though it is both"


def test_subsets_given_as_one_text_are_refused():
    with pytest.raises(ValueError, match="`subsets` is the text `all`; expected a list of names"):
        SubsetSlidingWindowInferer([8, 8, 8], NAMES, subsets="all")


def test_bfloat16_gives_float32_probabilities_close_to_those_of_float32(rfnet):
    image = striped(0, size=(16, 16, 16))
    with torch.no_grad():
        full, half = (
            IncompleteSlidingWindowInferer([16] * 3, precision=p)(image, rfnet) for p in ("float32", "bfloat16")
        )
    assert full.dtype == half.dtype == torch.float32
    torch.testing.assert_close(half.sum(dim=1), torch.ones(1, 16, 16, 16))
    difference = (full - half).abs()
    assert 0 < difference.max(), "the network did not run in bfloat16"
    assert difference.mean() < 0.02


def test_subsets_in_bfloat16_mostly_agree_with_float32(rfnet):
    image = striped(size=(16, 16, 16))
    with torch.no_grad():
        full, half = (
            SubsetSlidingWindowInferer([16] * 3, NAMES, precision=p)(image, rfnet) for p in ("float32", "bfloat16")
        )
    assert full.dtype == half.dtype == torch.float32
    agreement = (full.argmax(dim=2) == half.argmax(dim=2)).float().mean()
    assert 0.9 < agreement < 1
