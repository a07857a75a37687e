# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil

import pytest
import torch
from torch.testing import assert_close

from scripts.networks import compiled_normalization, normalization
from scripts.networks.alignment import AnchorAlignment
from scripts.networks.m2ftrans import M2FTrans
from scripts.networks.mmformer import MMFormer
from scripts.networks.normalization import normalize_activate, normalize_activate_backward
from scripts.networks.prepare import prepare_network
from scripts.networks.rfnet import RFNet
from scripts.networks.unet import MultiEncoderUNet

BUILD = {
    "rfnet": lambda: RFNet(3, 3, width=4),
    "unet": lambda: MultiEncoderUNet(3, 3, width=4),
    "mmformer": lambda: MMFormer(3, 3, patch_size=18, width=4),
    "m2ftrans": lambda: M2FTrans(3, 3, patch_size=18, width=4),
}


@pytest.fixture
def image():
    image = torch.randn(2, 3, 18, 18, 18, generator=torch.Generator().manual_seed(1))
    image[0, 1] = torch.nan
    return image


@pytest.mark.parametrize("name", BUILD)
def test_checkpointing_gives_the_same_gradients_with_dropout_too(learn, image, name):
    gradients = []
    for checkpointing in (False, "true"):
        torch.manual_seed(0)
        network = prepare_network(BUILD[name](), "cpu", checkpointing)
        torch.manual_seed(1)  # of the dropout
        gradients.append(learn(network, image))
    assert set(gradients[0]) == set(gradients[1])
    for key, gradient in gradients[0].items():
        if "bias" not in key:  # in front of a normalisation they are rounding noise
            assert_close(gradients[1][key], gradient, rtol=1e-3, atol=1e-5, msg=key)


@pytest.mark.parametrize("name", BUILD)
def test_checkpointing_keeps_less_than_half(image, name):
    kept = []
    for checkpointing in (False, True):
        network = prepare_network(BUILD[name](), "cpu", checkpointing).train()
        storages = {}

        def keep(tensor, storages=storages):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        parameters = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            output = network(image)
        kept.append(sum(size for pointer, size in storages.items() if pointer not in parameters))
        assert output.fused.isfinite().all()
    assert kept[1] < kept[0] / 2


@torch.no_grad()
def test_checkpointing_changes_nothing_where_no_gradient_is_wanted(image):
    network = prepare_network(RFNet(3, 3, width=4), "cpu")
    expected = network.train()(image).fused
    assert torch.equal(prepare_network(network, "cpu", checkpointing=True)(image).fused, expected)


def test_an_option_that_is_neither_on_nor_off_is_refused():
    with pytest.raises(ValueError, match="`checkpointing` is `maybe`; expected true or false"):
        prepare_network(RFNet(3, 3, width=4), "cpu", checkpointing="maybe")


def test_a_network_that_was_made_without_the_configured_alignment_is_refused():
    # it would be exported, loaded and served without it
    with pytest.raises(ValueError, match="the RFNet of `network_def` has none; expected the line `alignment: '%align"):
        prepare_network(RFNet(3, 3, width=4), "cpu", alignment=AnchorAlignment(["a", "b", "c"]))


NEEDS_COMPILER = pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=NEEDS_COMPILER)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_normalisation_agrees_with_the_formula(dtype, compiled):
    # computed in float32 from the stored numbers; the error is that of storing the result
    x = (3 + 2 * torch.randn(2, 8, 6, 5, 4)).to(dtype).contiguous(memory_format=torch.channels_last_3d)
    x[0, 0] = 7  # a constant channel
    exact = x.double().requires_grad_()
    expected = torch.nn.functional.leaky_relu(torch.nn.functional.instance_norm(exact, eps=1e-5), 0.2)
    weigh = torch.randn_like(x)
    (expected * weigh).sum().backward()
    y, inverse_std = normalize_activate(x, compiled=compiled)
    gradient = normalize_activate_backward(weigh, y, inverse_std, compiled)
    assert y.dtype == gradient.dtype == dtype
    error = 1e-5 if dtype == torch.float32 else 2**-8
    assert_close(y.double(), expected, rtol=error, atol=2 * error)
    assert_close(gradient[1].double(), exact.grad[1], rtol=4 * error, atol=8 * error)
    assert gradient.isfinite().all()


@NEEDS_COMPILER
def test_a_network_learns_the_same_with_compiled_normalisation(learn, image):
    torch.manual_seed(0)
    network = RFNet(3, 3, width=4)
    expected = learn(network, image)
    compiled = learn(prepare_network(network, "cpu", compiled=True), image)
    assert list(network.state_dict()) == list(RFNet(3, 3, width=4).state_dict())
    for key, gradient in expected.items():
        if "bias" not in key:
            # rounding moves a few voxels across the threshold of the loss, as it does between float32 and float64
            assert (compiled[key] - gradient).norm() < 0.05 * gradient.norm(), key


def test_networks_of_one_process_are_compiled_or_not_each_by_itself(monkeypatch, image):
    """By calls of what would be compiled, so without a compiler."""
    calls = []

    def forward(rows, features, slope, epsilon):
        calls.append(features)
        return normalization._forward(rows, features, False)

    monkeypatch.setattr(compiled_normalization, "forward", forward)
    torch.manual_seed(0)
    networks = [RFNet(3, 3, width=4) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    outputs = []
    for choice in ([True, False], [False, True]):
        for network, compiled in zip(networks, choice, strict=True):
            prepare_network(network, "cpu", compiled=compiled)
        for network, compiled in zip(networks, choice, strict=True):
            calls.clear()
            with torch.no_grad():
                outputs.append(network.train()(image).fused)
            assert bool(calls) == compiled, "the other network's option counts"
    for output in outputs[1:]:
        assert torch.equal(output, outputs[0])


def test_what_is_compiled_are_the_fused_layers():
    network = RFNet(3, 3, width=4)
    with pytest.raises(ValueError, match="`compiled` is true and `fused` is false; expected both true"):
        prepare_network(network, "cpu", compiled="true", fused="false")
    with pytest.raises(ValueError, match="`fused` is `maybe`; expected true or false"):
        prepare_network(network, "cpu", fused="maybe")


def test_training_may_start_from_the_weights_of_another(tmp_path):
    first, second = (RFNet(3, 3, width=4) for _ in range(2))
    torch.save(first.state_dict(), tmp_path / "first.pt")
    network = prepare_network(second, "cpu", initial_file=str(tmp_path / "first.pt"))
    assert network is second
    for name, value in network.state_dict().items():
        assert_close(value, first.state_dict()[name], rtol=0, atol=0)


def test_weights_to_start_from_are_those_of_the_network_and_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weights to start from at .*none.pt; .* See `initial_file`"):
        prepare_network(RFNet(3, 3, width=4), "cpu", initial_file=str(tmp_path / "none.pt"))
    torch.save(RFNet(3, 3, width=8).state_dict(), tmp_path / "wide.pt")
    with pytest.raises(ValueError, match="of another network or alignment: .* of another shape"):
        prepare_network(RFNet(3, 3, width=4), "cpu", initial_file=str(tmp_path / "wide.pt"))
