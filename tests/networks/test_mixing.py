# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from scripts.networks.mixing import mix_by_region, mix_channels


def test_mixing_of_one_voxel_by_hand():
    x, kernels = torch.tensor([[[1.0, 2]]]), torch.tensor([[[3.0, 4], [5, 6]]])
    assert mix_channels(x, kernels).tolist() == [[[11, 17]]]
    regions = torch.tensor([[[0.25, 0.75]]])
    # region 0 takes the sum of both channels, region 1 the second one
    by_region = mix_by_region(x, torch.tensor([[[[1.0, 1]], [[0, 1]]]]), regions)
    assert by_region.tolist() == [[[0.25 * 3 + 0.75 * 2]]]


def test_gradients_are_those_of_the_formulas_in_double_precision():
    torch.manual_seed(0)
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    kernels = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(mix_channels, (x, kernels))
    region_kernels = torch.randn(2, 3, 4, 3, dtype=torch.float64, requires_grad=True)
    regions = torch.rand(2, 5, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(mix_by_region, (x, region_kernels, regions))


def test_every_sample_has_kernels_of_its_own():
    torch.manual_seed(0)
    x, kernels, regions = torch.randn(2, 6, 3), torch.randn(2, 2, 4, 3), torch.rand(2, 6, 2)
    expected = torch.einsum("bnr,brok,bnk->bno", regions, kernels, x)
    assert_close(mix_by_region(x, kernels, regions), expected)
    assert_close(mix_channels(x, kernels[:, 0]), torch.einsum("bok,bnk->bno", kernels[:, 0], x))


@pytest.mark.parametrize("function", [mix_channels, mix_by_region])
def test_scripted_mixing_agrees(function):
    torch.manual_seed(0)
    x, kernels = torch.randn(2, 6, 3), torch.randn(2, 2, 4, 3)
    inputs = (x, kernels, torch.rand(2, 6, 2)) if function is mix_by_region else (x, kernels[:, 0])
    assert_close(torch.jit.script(function)(*inputs), function(*inputs))


def test_mixing_computes_in_the_precision_of_autocast():
    x, kernels = torch.randn(1, 6, 3), torch.randn(1, 4, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        output = mix_channels(x, kernels)
    assert output.dtype == torch.bfloat16
    output.float().sum().backward()
    assert kernels.grad.dtype == torch.float32 and kernels.grad.isfinite().all()
    assert_close(output.float(), mix_channels(x, kernels), rtol=0.05, atol=0.05)
