# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Slices of a stack on their way into a 2D network and back."""

from __future__ import annotations

import pytest
import torch

from scripts.inferers.slice_axis import drop_slice_axis, restore_slice_axis


def test_a_patch_of_one_slice_loses_its_last_axis_and_gets_it_back():
    patch = torch.rand(2, 3, 5, 4, 1)
    image = drop_slice_axis(patch, 2)
    assert torch.equal(image, patch[..., 0])
    assert torch.equal(restore_slice_axis(image, patch), patch)


@pytest.mark.parametrize(("shape", "spatial_dims"), [((1, 2, 4, 4, 1), 3), ((1, 2, 4, 1), 2), ((1, 2, 4, 4, 1), None)])
def test_what_has_the_axes_of_the_network_stays_as_it_is_even_if_the_last_one_is_1(shape, spatial_dims):
    patch = torch.rand(shape)
    assert drop_slice_axis(patch, spatial_dims) is patch
    assert restore_slice_axis(patch, patch) is patch


@pytest.mark.parametrize(("size", "spatial_dims"), [((4, 4, 2), 2), ((1, 4, 4), 2), ((4, 1), 3)])
def test_a_patch_that_is_not_one_slice_thick_is_refused(size, spatial_dims):
    message = rf"a patch has \({', '.join(map(str, size))}\) voxels.*`spatial_dims: {spatial_dims}`.*See `patch_size`"
    with pytest.raises(ValueError, match=message):
        drop_slice_axis(torch.zeros(1, 2, *size), spatial_dims)
