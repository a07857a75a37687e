# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from scripts.networks.blocks import ConvNormAct, ModalityConvNormAct, NormActConv, initialize_convolutions
from scripts.networks.convolution import upsample


def filled(block, weight, bias=0.0):
    """Give a block a known kernel."""
    with torch.no_grad():
        block.conv.weight.copy_(torch.as_tensor(weight, dtype=torch.float32).expand_as(block.conv.weight))
        block.conv.bias.fill_(bias)
    return block


def as_published(conv, x):
    """Reflect padding, convolution, instance normalisation, leaky ReLU of slope 0.2, one after the other."""
    padding = [size // 2 for size in conv.kernel_size for _ in range(2)]
    convolve = F.conv3d if x.dim() == 5 else F.conv2d
    x = convolve(F.pad(x, padding, mode="reflect"), conv.weight, conv.bias, conv.stride)
    return F.leaky_relu(F.instance_norm(x, eps=1e-5), 0.2)


def test_normalisation_and_activation_of_two_voxels_by_hand():
    block = filled(ConvNormAct(2, 1, 1, kernel_size=1), 1.0)
    # mean 3, biased variance 4: (-2, 2) / sqrt(4 + 1e-5), the negative one times 0.2
    expected = 2 / math.sqrt(4 + 1e-5)
    assert_close(block(torch.tensor([[[[1.0, 5.0]]]])), torch.tensor([[[[-0.2 * expected, expected]]]]))


def test_padding_reflects_without_repeating_the_edge_by_hand():
    left = [[0, 0, 0], [1, 0, 0], [0, 0, 0]]
    block = filled(ConvNormAct(2, 1, 1), left)
    # the left neighbours of (1, 2, 4) are (2, 1, 2): mean 5/3, biased variance 2/9
    row = [value / math.sqrt(2 / 9 + 1e-5) for value in (1 / 3, 0.2 * -2 / 3, 1 / 3)]
    assert_close(block(torch.tensor([[[[1.0, 2, 4]] * 3]])), torch.tensor([[[row] * 3]]))


def test_bias_in_front_of_the_normalisation_has_no_effect():
    block, x = ConvNormAct(3, 2, 3), torch.randn(1, 2, 4, 5, 6)
    with torch.no_grad():
        before = block(x)
        block.conv.bias.add_(3)
        assert_close(block(x), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("size", "kernel_size"), [((7, 6), 3), ((7, 6), 1), ((7, 6, 5), 3), ((8, 8, 8), 1)], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
def test_block_equals_its_steps_with_gradients(batch, channels_last, size, kernel_size, stride):
    torch.manual_seed(0)
    block = ConvNormAct(len(size), 3, 4, kernel_size, stride)
    x = 2 + torch.randn(batch, 3, *size)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last if len(size) == 2 else torch.channels_last_3d)
    weigh = torch.randn(batch, 4, *[math.ceil(length / stride) for length in size])
    results = []
    for function in (block, lambda inputs: as_published(block.conv, inputs)):
        inputs = x.clone().requires_grad_()
        output = function(inputs)
        block.zero_grad()
        (output * weigh).sum().backward()
        results.append([output, inputs.grad, block.conv.weight.grad.clone()])
    for found, expected in zip(*results, strict=True):
        assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("padding_mode", ["reflect", "zeros"])
@pytest.mark.parametrize(("size", "kernel_size"), [((7, 6), 3), ((7, 6), 1), ((7, 6, 5), 3), ((4, 5, 6), 1)], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
def test_normalisation_in_front_equals_its_steps_with_gradients(batch, padding_mode, size, kernel_size, stride):
    torch.manual_seed(0)
    block = NormActConv(len(size), 3, 4, kernel_size, stride, padding_mode)
    x = 2 + torch.randn(batch, 3, *size)
    weigh = torch.randn(batch, 4, *[math.ceil(length / stride) for length in size])
    width = [kernel_size // 2] * (2 * len(size))

    def step_by_step(inputs):
        activated = F.leaky_relu(F.instance_norm(inputs, eps=1e-5), 0.2)
        padded = F.pad(activated, width, mode="reflect" if padding_mode == "reflect" else "constant")
        convolve = F.conv3d if len(size) == 3 else F.conv2d
        return convolve(padded, block.conv.weight, block.conv.bias, stride)

    results = []
    for function in (block, step_by_step):
        inputs = x.clone().requires_grad_()
        output = function(inputs)
        block.zero_grad()
        (output * weigh).sum().backward()
        results.append([output, inputs.grad, block.conv.weight.grad.clone(), block.conv.bias.grad.clone()])
    for found, expected in zip(*results, strict=True):
        assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("block", [ConvNormAct, NormActConv])
def test_a_block_resizes_and_concatenates_as_its_steps_do(block):
    torch.manual_seed(0)
    block, inputs = block(3, 5, 4), [torch.randn(2, f, 3, 4, 5, requires_grad=True) for f in (2, 3)]
    size = [6, 7, 9]
    found, expected = block.convolve(inputs, size), block(upsample(torch.cat(inputs, dim=1), size))
    assert_close(found, expected, rtol=1e-4, atol=1e-4)
    weigh = torch.randn_like(found)
    gradients = [torch.autograd.grad((each * weigh).sum(), inputs) for each in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_block_equals_its_steps_in_double_precision():
    torch.manual_seed(0)
    block = ConvNormAct(2, 2, 3).double()
    x = torch.randn(2, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert_close(block(x), as_published(block.conv, x))
    assert torch.autograd.gradcheck(lambda inputs, _: block(inputs), (x, block.conv.weight))


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("block", [ConvNormAct, NormActConv])
@pytest.mark.parametrize("fused", [True, False])
def test_block_computes_in_the_precision_of_autocast(block, spatial_dims, fused):
    block, x = block(spatial_dims, 2, 3), torch.randn(2, 2, *[6] * spatial_dims)
    block.fused = fused
    with torch.autocast("cpu", torch.bfloat16):
        output = block(x)
        output.float().square().sum().backward()
    assert output.dtype == torch.bfloat16 and block.conv.weight.grad.isfinite().all()
    assert_close(output.float(), block(x), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("value", [0.0, -0.7, 300.0])
@pytest.mark.parametrize("fused", [True, False])
def test_a_constant_channel_is_almost_zero_and_passes_no_gradient(value, channels_last, fused):
    # the gradient of a normalisation is 1 / sqrt(1e-5) = 316 times too large there, again in every layer
    torch.manual_seed(0)
    block = ConvNormAct(3, 2, 4)
    block.fused = fused
    x = torch.cat([torch.full((1, 2, 6, 6, 6), value), torch.randn(1, 2, 6, 6, 6)])
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last_3d)
    x.requires_grad_()
    output = block(x)
    assert output[0].abs().max() < 0.1
    (output * torch.randn_like(output)).sum().backward()
    assert not x.grad[0].any() and x.grad[1].any()
    with_constant = block.conv.weight.grad.clone()
    assert with_constant.isfinite().all() and with_constant.any()


@pytest.mark.parametrize(("size", "halved"), [(80, 40), (10, 5), (5, 3), (3, 2)])
def test_stride_two_halves_the_size_rounding_up(size, halved):
    assert ConvNormAct(2, 1, 1, stride=2)(torch.randn(1, 1, size, 8)).shape == (1, 1, halved, 4)


@pytest.mark.parametrize("index", [[0], [2], [0, 2], [1, 2, 3], [0, 1, 2, 3]], ids=str)
@pytest.mark.parametrize("size", [(6, 5), (4, 3, 5)], ids=str)
def test_mixing_given_modalities_equals_concatenating_all_with_zeros_for_the_rest(index, size):
    torch.manual_seed(0)
    block, index = ModalityConvNormAct(len(size), 4, 3, 5), torch.tensor(index)
    everything = torch.zeros(2, 4, 3, *size)
    everything[:, index] = torch.randn(2, len(index), 3, *size)
    features = everything[:, index].requires_grad_()
    found = block(features, index.expand(2, -1))
    whole = everything.flatten(1, 2).requires_grad_()
    expected = as_published(block.conv, whole)
    assert_close(found, expected, rtol=1e-4, atol=1e-5)

    weigh = torch.randn_like(expected)
    gradient, weight_gradient = torch.autograd.grad((found * weigh).sum(), [features, block.conv.weight])
    gradient_all, weight_gradient_all = torch.autograd.grad((expected * weigh).sum(), [whole, block.conv.weight])
    assert_close(gradient, gradient_all.unflatten(1, [4, 3])[:, index], rtol=1e-4, atol=1e-5)
    assert_close(weight_gradient, weight_gradient_all, rtol=1e-4, atol=1e-4)


def test_samples_may_name_different_modalities():
    torch.manual_seed(0)
    block, features = ModalityConvNormAct(2, 3, 2, 4), torch.randn(2, 2, 2, 5, 4)
    index = torch.tensor([[0, 2], [1, 0]])
    alone = [block(features[b : b + 1], index[b : b + 1]) for b in range(2)]
    assert_close(block(features, index), torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_upsampling_aligns_corners_by_hand():
    # the corners keep their values, the voxel between them is their mean
    found = upsample(torch.tensor([[[[0.0, 2], [4, 6]]]]), [3, 3])
    assert_close(found, torch.tensor([[[[0.0, 1, 2], [2, 3, 4], [4, 5, 6]]]]))
    volume = upsample(torch.tensor([0.0, 8]).reshape(1, 1, 1, 1, 2), [1, 1, 5])
    assert_close(volume.flatten(), torch.tensor([0.0, 2, 4, 6, 8]))


def test_upsampling_to_the_same_size_changes_nothing():
    x = torch.randn(1, 2, 3, 4)
    assert torch.equal(upsample(x, [3, 4]), x)


@pytest.mark.parametrize("conv", [nn.Conv3d(16, 32, 3), nn.Conv2d(64, 64, 1), nn.Conv3d(8, 64, 3)], ids=str)
def test_convolution_weights_are_drawn_from_kaimings_normal_distribution(conv):
    torch.manual_seed(0)
    bias = conv.bias.detach().clone()
    initialize_convolutions(nn.Sequential(nn.Identity(), nn.Sequential(conv)))
    fan_in = conv.weight[0].numel()
    # relative error of a standard deviation from n numbers: 1 / sqrt(2 n), taken four times
    tolerance = 4 / math.sqrt(2 * conv.weight.numel())
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=tolerance)
    assert conv.weight.abs().max() > 3 * math.sqrt(2 / fan_in)  # normal, not uniform
    assert torch.equal(conv.bias, bias)
