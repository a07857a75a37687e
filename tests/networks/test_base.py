# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What every network promises about absent modalities, shown on the narrowest RFNet."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from scripts.modalities import acquired_modalities, modality_subsets
from scripts.networks.outputs import MultiModalOutput

NAN = float("nan")
SUBSETS = modality_subsets(4)
MASKS = ["".join(str(int(flag)) for flag in subset) for subset in SUBSETS]
CLOSE = {"rtol": 1e-4, "atol": 1e-4}  # of logits around 1


@pytest.fixture
def image():
    return torch.randn(1, 4, 16, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def network(build_rfnet):
    return build_rfnet().eval()


def count_encoded(network) -> list[int]:
    """Count, from now on, the samples that each encoder sees."""
    counts = [0] * network.num_modalities
    for m, encoder in enumerate(network.encoders):

        def count(module, inputs, m=m):
            counts[m] += len(inputs[0])

        encoder.register_forward_pre_hook(count)
    return counts


def test_one_nan_voxel_makes_a_modality_absent():
    image = torch.zeros(2, 3, 2, 2)
    image[0, 1, 0, 1] = NAN  # the rest of a window's channel may be padding
    image[1, :2] = NAN
    assert acquired_modalities(image).tolist() == [[True, False, True], [False, False, True]]


def test_zeros_and_infinities_are_not_absence():
    image = torch.stack([torch.zeros(3, 3), torch.full((3, 3), float("inf"))])[None]
    assert acquired_modalities(image).tolist() == [[True, True]]


@pytest.mark.parametrize("subset", SUBSETS, ids=MASKS)
@torch.no_grad()
def test_absent_channels_and_unavailable_channels_give_the_same_finite_output(network, image, hide, subset):
    absent = network(hide(image, subset))
    unavailable = network(image, subset[None])
    other = torch.where(subset[:, None, None, None], image, 100 * image + 7)
    assert absent.isfinite().all()
    assert torch.equal(absent, unavailable)
    assert torch.equal(absent, network(other, subset[None]))
    assert torch.equal(absent, network(hide(image, subset), torch.ones(1, 4, dtype=torch.bool)))  # only narrows


@torch.no_grad()
def test_every_modality_and_every_subset_matters(network, image):
    outputs = torch.cat([network(image, subset[None]) for subset in SUBSETS]).flatten(1)
    distance = torch.cdist(outputs, outputs, p=float("inf")) + torch.eye(len(SUBSETS))
    assert distance.min() > 0.01


@torch.no_grad()
def test_one_encoding_fused_for_every_subset_equals_a_forward_pass_for_each(network, image):
    counts = count_encoded(network)
    features = network.encode(image, torch.ones(1, 4, dtype=torch.bool))
    fused = [network.fuse(network.align(features, subset[None]), subset[None]) for subset in SUBSETS]
    assert counts == [1, 1, 1, 1]
    for subset, logits in zip(SUBSETS, fused, strict=True):
        assert_close(logits, network(image, subset[None]), **CLOSE)


@torch.no_grad()
def test_encoding_has_one_stack_for_each_level_with_zeros_where_not_available(network, image):
    available = torch.tensor([[True, False, False, True], [True, True, False, False]])
    levels = network.encode(image.repeat(2, 1, 1, 1, 1), available)
    assert [list(level.shape) for level in levels] == [[2, 4, 4 * 2**k] + [16 // 2**k] * 3 for k in range(4)]
    for level in levels:
        assert torch.equal(level.flatten(2).any(dim=2), available)


@pytest.mark.parametrize("subset", SUBSETS[::3], ids=MASKS[::3])
@pytest.mark.parametrize("training", [False, True])
def test_encoders_of_absent_modalities_never_run(build_rfnet, image, hide, subset, training):
    network = build_rfnet().train(training)
    counts = count_encoded(network)
    network(hide(image, subset))
    assert counts == subset.int().tolist()


@torch.no_grad()
def test_encoders_of_modalities_that_are_not_shown_run_in_training_only(network, image):
    shown = torch.tensor([[False, True, False, False]])
    counts = count_encoded(network)
    network(image, shown)
    assert counts == [0, 1, 0, 0]
    network.train()(image, shown)
    assert counts == [1, 2, 1, 1]


@torch.no_grad()
def test_encoders_see_only_the_samples_that_have_their_modality(network, image, hide):
    counts = count_encoded(network)
    network(torch.cat([hide(image, "1010"), hide(image, "0011"), hide(image, "0010")]))
    assert counts == [1, 0, 3, 1]


@pytest.mark.parametrize("first", range(0, 15, 2))
@torch.no_grad()
def test_samples_of_a_batch_with_different_modalities_do_not_touch_each_other(network, image, hide, first):
    pair = torch.cat([hide(image, SUBSETS[first]), hide(image.flip(2) + 1, SUBSETS[-1 - first])])
    assert_close(network(pair), torch.cat([network(pair[:1]), network(pair[1:])]), **CLOSE)
    network.train()
    together, alone = network(pair), [network(pair[:1]), network(pair[1:])]
    for name in ("fused", "unimodal", "fused_features", "acquired", "available"):
        assert_close(getattr(together, name), torch.cat([getattr(each, name) for each in alone]), **CLOSE)
    for level, logits in enumerate(together.auxiliary):
        assert_close(logits, torch.cat([each.auxiliary[level] for each in alone]), **CLOSE)


@torch.no_grad()
def test_samples_of_a_batch_that_are_shown_differently_do_not_touch_each_other(network, image):
    pair, shown = torch.cat([image, image.flip(2) + 1]), torch.tensor([[1, 0, 0, 1], [0, 1, 0, 1]]).bool()
    features = network.encode(pair, torch.ones(2, 4, dtype=torch.bool))
    alone = torch.cat([network(pair[:1], shown[:1]), network(pair[1:], shown[1:])])
    assert_close(network.fuse(features, shown), alone, **CLOSE)
    assert_close(network(pair, shown), alone, **CLOSE)
    assert_close(network.train()(pair, shown).fused, alone, **CLOSE)


def test_gradient_of_a_batch_is_the_mean_of_the_gradients_of_its_samples(build_rfnet, image, hide, learn):
    network = build_rfnet()
    pair = torch.cat([hide(image, "1010"), hide(image.flip(2) + 1, "0110")])
    together, first, second = learn(network, pair), learn(network, pair[:1]), learn(network, pair[1:])
    assert set(together) == set(first) | set(second)
    for name, gradient in together.items():
        if "bias" not in name:  # those before a normalisation are rounding noise
            mean = sum(alone[name] for alone in (first, second) if name in alone) / 2
            assert_close(gradient, mean, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("subset", SUBSETS, ids=MASKS)
def test_every_gradient_is_finite_and_parameters_of_absent_modalities_get_none(build_rfnet, image, hide, learn, subset):
    network = build_rfnet()
    gradients = learn(network, hide(image, subset))
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    for name, parameter in network.named_parameters():
        if name.startswith("encoders.") and not subset[int(name.split(".")[1])]:
            assert parameter.grad is None, name
        elif name.endswith("weight"):  # a bias in front of a normalisation has no effect
            assert parameter.grad.any(), name


def test_columns_of_absent_modalities_in_shared_weights_get_exactly_zero_gradient(build_rfnet, image, hide, learn):
    network = build_rfnet()
    for name, gradient in learn(network, hide(image, "1010")).items():
        if "mix.conv.weight" in name:  # (O, M * F, 1, 1, 1), modality-major
            assert gradient.flatten(1).unflatten(1, [4, -1]).abs().sum(dim=(0, 2)).bool().tolist() == [1, 0, 1, 0], name


def test_a_mixed_batch_trains_the_encoders_of_both_samples_with_finite_gradients(build_rfnet, image, hide, learn):
    network = build_rfnet()
    gradients = learn(network, torch.cat([hide(image, "1000"), hide(image, "0010")]))
    trained = [any(name.startswith(f"encoders.{m}.") for name in gradients) for m in range(4)]
    assert trained == [True, False, True, False]
    assert all(gradient.isfinite().all() for gradient in gradients.values())


def test_a_sample_without_any_modality_is_finite_and_leaves_the_others_as_they_are(build_rfnet, image, learn):
    network = build_rfnet().eval()
    nothing = torch.full_like(image, NAN)
    with torch.no_grad():
        assert network(nothing).isfinite().all()
        mixed = network(torch.cat([nothing, image]))
        assert mixed.isfinite().all()
        assert_close(mixed[1:], network(image), **CLOSE)
    for gradient in learn(network, nothing).values():
        assert gradient.abs().max() < 1
    alone = learn(network, image)
    for name, gradient in learn(network, torch.cat([nothing, image])).items():
        if name.endswith("weight"):
            assert_close(gradient, alone[name] / 2, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("value", [0.0, -0.7])  # air as it is normalised, and as it is augmented
@pytest.mark.parametrize("channels", ["1111", "0100"])
def test_a_patch_of_air_trains_with_moderate_gradients(build_rfnet, image, learn, value, channels):
    image[:, [flag == "1" for flag in channels]] = value
    for gradient in learn(build_rfnet(), image).values():
        assert gradient.abs().max() < 10  # the composition of PyTorch's layers gives 1e20 and NaN here


@torch.no_grad()
def test_evaluation_returns_the_logits_and_training_returns_everything(network, image, hide):
    assert type(network(image)) is torch.Tensor
    assert network(image).shape == (1, 3, 16, 16, 16)
    output = network.train()(hide(image, "1011"), torch.tensor([[True, True, False, True]]))
    assert type(output) is MultiModalOutput
    assert output.fused.shape == (1, 3, 16, 16, 16)
    assert [list(logits.shape) for logits in output.auxiliary] == [[1, 3] + [size] * 3 for size in (16, 8, 4, 2)]
    assert output.unimodal.shape == (1, 4, 3, 16, 16, 16)
    assert output.fused_features.shape == (1, 4, 16, 16, 16)
    assert output.acquired.tolist() == [[True, False, True, True]]
    assert output.available.tolist() == [[True, False, False, True]]
    assert_close(output.fused, network.eval()(hide(image, "1001")), **CLOSE)


@torch.no_grad()
def test_unimodal_heads_give_probabilities_where_encoded_and_exact_zeros_elsewhere(network, image, hide):
    unimodal = network.train()(hide(image, "1011"), torch.tensor([[True, False, False, False]])).unimodal
    total = unimodal.sum(dim=2)
    assert_close(total[:, [0, 2, 3]], torch.ones(1, 3, 16, 16, 16))
    assert not unimodal[:, 1].any() and (unimodal >= 0).all()
    alone = network(hide(image, "0010"), None).unimodal[:, 2]
    assert_close(unimodal[:, 2], alone, **CLOSE)  # a head sees its own modality only


def test_modalities_hidden_from_the_fusion_still_train_their_unimodal_heads(build_rfnet, image, learn):
    network = build_rfnet()
    shown = torch.tensor([[True, False, False, False]])
    gradients = learn(network, image, shown)
    for m in range(4):
        assert gradients[f"encoders.{m}.first.0.conv.weight"].any()
    network.zero_grad()
    output = network(image, shown)
    output.fused.square().sum().backward()
    for m, encoder in enumerate(network.encoders):  # the fused prediction teaches the modality that it saw
        taught = [p.grad is not None and bool(p.grad.any()) for p in encoder.parameters()]
        assert any(taught) == (m == 0)


@torch.no_grad()
def test_logarithms_of_unimodal_heads_are_safe_under_autocast(network, image):
    with torch.autocast("cpu", torch.bfloat16):
        output = network.train()(image)
    assert output.unimodal.dtype == torch.float32
    assert output.unimodal.isfinite().all() and output.fused.isfinite().all()


def test_a_wrong_number_of_channels_is_refused_in_words(network, image):
    with pytest.raises(ValueError, match="the input has 3 channels; expected 4, one for each modality"):
        network(image[:, :3])


def test_an_image_too_small_for_the_deepest_level_is_refused_in_words(network, image):
    assert network(image[..., :9, :9, :9]).isfinite().all()  # 9, 5, 3, 2 voxels
    with pytest.raises(ValueError, match=r"the image has .*16, 16, 8.* voxels; this network needs at least 9 along"):
        network(image[..., :8])


def test_training_encodes_once_and_gives_the_paths_asked_for_and_no_others(build_rfnet, image):
    network = build_rfnet().train()
    available, narrowed = torch.tensor([[True, True, True, False]]), torch.tensor([[True, False, False, False]])
    counts = count_encoded(network)
    output = network(image, available, paths=["fused", "unimodal", "students", "narrowed"], narrowed_available=narrowed)
    assert counts == [1, 1, 1, 1], "once each, hidden ones too: their heads learn"
    given = {name for name, value in output._asdict().items() if value is not None and len(value) > 0}
    assert given == set(output._fields) - {"teacher", "alignment", "encoded"}  # RFNet by itself aligns nothing
    only = network(image, available, paths=["fused"])
    assert counts == [2, 2, 2, 1], "nothing asked for what is hidden"
    assert only.unimodal is only.students is only.narrowed is only.alignment is None
    torch.testing.assert_close(only.fused, output.fused)
    deepest = network(image, available, paths=["encoded"])
    assert deepest.fused is None and torch.equal(deepest.encoded, network.encode(image, deepest.acquired)[-1])
    heads = network(image, available, paths=["unimodal"])
    assert heads.fused is None and heads.fused_features is None and len(heads.auxiliary) == 0
    torch.testing.assert_close(heads.unimodal, output.unimodal)
