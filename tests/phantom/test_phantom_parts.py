# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest

from scripts.phantom.acquisition import acquire
from scripts.phantom.contrast import PulseSequence, draw_sequence, draw_tissues, image_signal, known_modalities, signal
from scripts.phantom.fields import interpolate, random_field
from scripts.phantom.grid import head_grid
from scripts.phantom.growth import grow
from scripts.phantom.variety import TYPICAL, get_variety

TISSUE = {"density": 1.0, "longitudinal_ms": 1000.0, "transverse_ms": 100.0, "gadolinium": 0.0, "texture": 0.0}


def test_signal_of_a_spin_echo_by_hand():
    # repetition = ln 2 of T1: half of it has recovered; echo = ln 2 of T2: half of that is left
    sequence = PulseSequence(1000 * math.log(2), 100 * math.log(2), None, False)
    assert signal(TISSUE, sequence) == pytest.approx(0.25)


def test_inversion_nulls_a_tissue_by_hand():
    # 1 - 2 exp(-TI / T1) = 0 at TI = T1 ln 2, when the repetition is very long
    assert signal(TISSUE, PulseSequence(1e6, 0.0, 1000 * math.log(2), False)) == pytest.approx(0, abs=1e-9)


def test_contrast_agent_shortens_relaxation_by_hand():
    # 4.5 / (mmol/L s) * 1/4.5 mmol/L = 1/s, as fast again as 1 / 1000 ms: the tissue relaxes like one of T1 = 500 ms
    agent = TISSUE | {"gadolinium": 1 / 4.5}
    after, before = PulseSequence(600.0, 0.0, None, True), PulseSequence(600.0, 0.0, None, False)
    assert signal(agent, after) == pytest.approx(1 - math.exp(-600 / 500))
    assert signal(agent, before) == pytest.approx(1 - math.exp(-600 / 1000))


def test_a_voxel_mixes_the_signals_of_its_tissues():
    tissues = {"a": TISSUE, "b": TISSUE | {"density": 0.5}}
    sequence = PulseSequence(1e6, 0.0, None, False)  # the signal is the density
    fractions = {"a": np.array([1.0, 0.5, 0.0]), "b": np.array([0.0, 0.5, 1.0])}
    np.testing.assert_allclose(image_signal(fractions, tissues, sequence, np.zeros(3)), [1, 0.75, 0.5], rtol=1e-6)


def test_every_modality_of_the_table_gives_every_tissue_a_finite_signal():
    tissues = draw_tissues(np.random.default_rng(0))
    for modality in known_modalities():
        sequence = draw_sequence(np.random.default_rng(1), modality)
        signals = np.array([signal(tissue, sequence) for tissue in tissues.values()])
        assert np.isfinite(signals).all() and (signals >= 0).all() and signals.std() > 0.01


def test_a_random_field_is_the_same_function_on_any_grid():
    axes = [np.arange(-40.0, 41.0, 2.0)] * 3
    coarse = [axis[::4] for axis in axes]
    fine_field = random_field(np.random.default_rng(0), axes, 20.0)
    coarse_field = random_field(np.random.default_rng(0), coarse, 20.0)
    np.testing.assert_allclose(fine_field[::4, ::4, ::4], coarse_field, atol=1e-5)


def test_a_random_field_has_unit_deviation():
    axes = [np.arange(-80.0, 81.0, 4.0)] * 3
    fields = np.stack([random_field(np.random.default_rng(seed), axes, 15.0) for seed in range(8)])
    assert fields.std() == pytest.approx(1, abs=0.05) and fields.mean() == pytest.approx(0, abs=0.05)


def test_interpolating_a_plane_gives_the_plane():
    source, target = [np.arange(0.0, 41.0, 4.0)] * 3, [np.arange(8.0, 30.0, 1.5)] * 3
    plane = sum(np.meshgrid(*source, indexing="ij"))
    np.testing.assert_allclose(interpolate(plane, source, target), sum(np.meshgrid(*target, indexing="ij")), rtol=1e-4)


def test_growth_stops_at_the_target_and_never_crosses_fluid():
    conductivity, seed = np.ones((21, 21, 21)), np.zeros((21, 21, 21))
    conductivity[13] = 0
    seed[10, 10, 10] = 1
    exposure = grow(conductivity, seed, 300)
    assert np.isfinite(exposure).all() and exposure.argmax() == np.ravel_multi_index((10, 10, 10), exposure.shape)
    assert not exposure[13:].any() and exposure[12, 10, 10] > 0.5
    assert 250 < (exposure > 0.5).sum() < 900
    # on its free side it is symmetric
    np.testing.assert_allclose(exposure, exposure[:, ::-1], atol=1e-5)


def test_growth_is_faster_in_the_better_conductor():
    conductivity, seed = np.ones((31, 15, 15)), np.zeros((31, 15, 15))
    conductivity[:15] = 0.1
    seed[15, 7, 7] = 1
    exposure = grow(conductivity, seed, 400)
    assert (exposure[15:] > 0.5).sum() > 2 * (exposure[:15] > 0.5).sum() > 0


def test_a_scanner_leaves_the_background_at_zero_and_scales_the_brain():
    grid = head_grid(8.0)
    brain = np.zeros(grid.shape, bool)
    brain[4:-4, 4:-4, 4:-4] = True
    signals = np.where(np.arange(brain.sum()) % 2, 1.0, 3.0)
    image = acquire(signals, brain, grid, np.random.default_rng(5), get_variety(TYPICAL))
    assert not image[~brain].any() and (image[brain] > 0).all()
    assert image[brain][0::2].mean() > 1.2 * image[brain][1::2].mean()
    assert (acquire(0 * signals, brain, grid, np.random.default_rng(5), get_variety(TYPICAL))[brain] >= 1).all()
