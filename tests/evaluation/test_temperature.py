# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Temperature scaling: what it does to probabilities, and that known temperatures are found again."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from scripts.evaluation.temperature import (
    GRID,
    TEMPERATURES_FILE,
    UNCHANGED,
    Curves,
    fit_temperature,
    log_spline,
    read_temperatures,
    scale,
    temperature_curves,
    temperature_for,
)
from scripts.records.side_files import write_side_file

REGIONS = {"wt": [1, 2], "et": [2]}


@pytest.fixture(scope="module")
def honest():
    """Probabilities ``(1, 3, N)`` and classes ``(N,)`` that were drawn by exactly these probabilities."""
    generator = torch.Generator().manual_seed(0)
    probabilities = (1.5 * torch.randn(3, 40_000, generator=generator)).softmax(dim=0)
    return probabilities[None], torch.multinomial(probabilities.T, 1, generator=generator)[:, 0].to(torch.uint8)


def test_two_probabilities_are_scaled_as_by_hand():
    # 0.8 : 0.2 is 4 : 1, whose square root is 2 : 1 and whose square is 16 : 1
    given = torch.tensor([0.8, 0.2])
    torch.testing.assert_close(scale(given, 2.0), torch.tensor([2 / 3, 1 / 3]))
    torch.testing.assert_close(scale(given, 0.5), torch.tensor([16 / 17, 1 / 17]))
    torch.testing.assert_close(scale(given, 1.0), given)


@pytest.mark.parametrize("temperature", [0.1, 0.7, 1.0, 3.0, 10.0])
def test_scaling_is_a_softmax_of_logarithms_and_keeps_the_most_probable_class(honest, temperature):
    given = honest[0][0]
    found = scale(given, temperature)
    torch.testing.assert_close(found, (given.log() / temperature).softmax(dim=0), rtol=1e-4, atol=1e-6)
    assert torch.equal(found.argmax(dim=0), given.argmax(dim=0))


def test_scaling_keeps_sums_so_that_nothing_stays_nothing():
    given = torch.tensor([[0.0, 0.4, 1.0, 1e-38], [0.0, 0.1, 0.0, 0.0]])  # outside, at the edge, certain, tiny
    for temperature in (0.1, 3.0):
        found = scale(given, temperature)
        torch.testing.assert_close(found.sum(dim=0), given.sum(dim=0))
        assert torch.isfinite(found).all()
        assert found[:, 0].tolist() == [0, 0] and found[:, 2].tolist() == [1, 0]


def test_the_curves_of_two_voxels_are_those_made_by_hand():
    probabilities = torch.tensor([[[0.75, 0.5], [0.25, 0.5], [0.0, 0.0]]])  # (1, 3, 2)
    found = temperature_curves(probabilities, torch.tensor([1, 0]), REGIONS)
    assert found.voxels == 2 and GRID[UNCHANGED] == 1
    assert found.nll[UNCHANGED] == pytest.approx(-math.log(0.25) - math.log(0.5))
    # WT: 0.25 where it is (bin 3), 0.5 where it is not (bin 7); ET: 0 and 0
    gaps = found.gaps[0, UNCHANGED]
    assert {b: gap for b, gap in enumerate(gaps) if gap} == pytest.approx({3: 0.25 - 1, 7: 0.5})
    assert found.ece()[:, UNCHANGED] == pytest.approx([(0.75 + 0.5) / 2, 0])
    ratio = 3 ** (1 / GRID)  # at temperature T, 3 : 1 is 3^(1/T) : 1
    np.testing.assert_allclose(found.nll, np.log(1 + ratio) + np.log(2), rtol=1e-3)  # 0 is a little at large T


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.8, 3.3])
def test_probabilities_too_sharp_by_a_factor_get_this_temperature(honest, factor):
    probabilities, truth = honest
    sharpened = (factor * probabilities.log()).softmax(dim=1)
    curves = temperature_curves(sharpened, truth, REGIONS)
    temperature = fit_temperature(curves.nll)
    # 40 000 draws tell it to about a percent
    assert temperature == pytest.approx(factor, rel=0.03)
    at_best = log_spline(curves.nll)(np.log(temperature))
    assert at_best <= curves.nll.min()
    assert at_best == pytest.approx(-honest_log_likelihood(sharpened, truth, temperature), rel=1e-4)
    ece = curves.ece()[0]
    assert ece[np.abs(GRID - factor).argmin()] < 0.02
    assert factor == 1.0 or ece[UNCHANGED] > 2 * ece[np.abs(GRID - factor).argmin()]


def honest_log_likelihood(probabilities, truth, temperature):
    """Add the logarithms of what the true classes get, without any grid."""
    scaled = scale(probabilities[0].double(), temperature)
    return float(scaled.gather(0, truth.long()[None]).log().sum())


def test_several_predictions_and_cases_are_fitted_by_adding_their_curves(honest):
    probabilities, truth = honest
    two = torch.cat([probabilities, probabilities.roll(1, dims=1)])
    together = temperature_curves(two, truth, REGIONS)
    parts = [
        temperature_curves(each[None, :, part], truth[part], REGIONS)
        for each in two
        for part in (slice(15_000), slice(15_000, None))
    ]
    added = Curves(*(sum(entries) for entries in zip(*parts, strict=True)))
    for one, other in zip(together, added, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=0.01)


def test_a_temperature_beyond_the_grid_is_its_end_and_said(caplog):
    always_right = torch.tensor([[[0.6, 0.6], [0.4, 0.4], [0.0, 0.0]]])
    curves = temperature_curves(always_right, torch.tensor([0, 0]), REGIONS)
    assert fit_temperature(curves.nll) == GRID[0]
    assert "the best temperature is 0.1 or beyond" in caplog.text


def test_probabilities_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="probabilities are not finite"):
        temperature_curves(torch.full((1, 3, 2), torch.nan), torch.tensor([0, 0]), REGIONS)


def test_temperatures_are_read_from_beside_the_weights_they_were_fitted_with(tmp_path):
    weights = tmp_path / "model.pt"
    weights.write_bytes(b"weights")
    with pytest.raises(ValueError, match=r"no temperatures.json beside .*model.pt; expected.*calibrate.yaml"):
        read_temperatures(str(weights))
    write_side_file(str(weights), TEMPERATURES_FILE, {"temperatures": {"1": 1.5, "3": 2}})
    assert read_temperatures(str(weights)) == {1: 1.5, 3: 2.0}
    weights.write_bytes(b"other weights")
    with pytest.raises(ValueError, match=r"temperatures.json"):
        read_temperatures(str(weights))


def test_a_number_of_modalities_that_no_case_had_has_no_temperature():
    assert temperature_for({1: 1.5, 3: 2.0}, 3) == 2.0
    with pytest.raises(ValueError, match=r"no temperature for 2 modalities, only for \[1, 3\].*calibrate.yaml"):
        temperature_for({1: 1.5, 3: 2.0}, 2)
