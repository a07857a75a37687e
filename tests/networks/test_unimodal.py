# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from scripts.networks.unimodal import ModalityEncoder, UnimodalDecoder

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.mark.parametrize("size", [(16, 16), (17, 20), (16, 9, 11)], ids=str)
def test_encoder_levels_double_the_channels_and_halve_the_size_rounding_up(size):
    levels = ModalityEncoder(len(size), [4, 8, 16])(torch.randn(2, 1, *size))
    expected = [[2, 4 * 2**k, *[-(-length // 2**k) for length in size]] for k in range(3)]
    assert [list(level.shape) for level in levels] == expected


def test_encoder_level_is_a_residual_sum_without_an_activation_behind_it():
    torch.manual_seed(0)
    encoder = ModalityEncoder(2, [4, 8])
    x = torch.randn(1, 1, 12, 10)
    finest, coarsest = encoder(x)
    inner = encoder.first[0](x)
    assert_close(finest, inner + encoder.rest[0][1](encoder.rest[0][0](inner)), **CLOSE)
    inner = encoder.first[1](finest)
    assert_close(coarsest, inner + encoder.rest[1][1](encoder.rest[1][0](inner)), **CLOSE)


def test_encoding_a_batch_equals_encoding_each_sample():
    encoder, x = ModalityEncoder(2, [4, 8]), torch.randn(3, 1, 9, 8)
    alone = [encoder(x[n : n + 1]) for n in range(3)]
    for level, together in enumerate(encoder(x)):
        assert_close(together, torch.cat([levels[level] for levels in alone]), **CLOSE)


def test_decoder_of_two_levels_is_upsample_convolve_concatenate_merge_segment():
    torch.manual_seed(0)
    decoder = UnimodalDecoder(2, [4, 8], num_classes=3)
    fine, coarse = torch.randn(2, 4, 6, 8), torch.randn(2, 8, 3, 4)
    x = decoder.up[0](F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=True))
    x = decoder.merge[0](x, fine)  # the upsampled path first
    assert_close(decoder([fine, coarse]), decoder.segment(x), **CLOSE)


@pytest.mark.parametrize("size", [(17, 20), (16, 9, 11)], ids=str)
@pytest.mark.parametrize("num_classes", [2, 5])
def test_decoder_gives_logits_on_the_grid_of_the_image(size, num_classes):
    encoder, decoder = ModalityEncoder(len(size), [4, 8, 16]), UnimodalDecoder(len(size), [4, 8, 16], num_classes)
    logits = decoder(encoder(torch.randn(2, 1, *size)))
    assert logits.shape == (2, num_classes, *size)
    assert logits.isfinite().all() and (logits < 0).any()  # the last layer has no activation
