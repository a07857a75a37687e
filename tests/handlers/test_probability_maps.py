# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The probability maps that inference writes for one case."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from scripts.handlers.probability_maps import ProbabilityMapWriter
from scripts.records.side_files import write_side_file

REGIONS = {"wt": [1, 2], "et": [2]}
AFFINE = np.array([[-1.0, 0, 0, 90], [0, 2, 0, -120], [0, 0.5, 4, -70], [0, 0, 0, 1]])


def case(absent=()):
    """A case of four voxels in a row: inside, certain, at the edge of the box that was segmented, outside of it."""
    probabilities = torch.tensor([[0.5, 0.0, 0.3, 0.0], [0.4, 0.0, 0.1, 0.0], [0.1, 1.0, 0.0, 0.0]])
    image = torch.ones(2, 4, 1, 1)
    image[list(absent)] = torch.nan
    voxels = MetaTensor(probabilities.reshape(3, 4, 1, 1), affine=AFFINE)
    return {"case": "case_a", "image": MetaTensor(image), "probabilities": voxels}


def write(folder, absent=(), **settings):
    writer = ProbabilityMapWriter(str(folder / "results"), REGIONS, str(folder / "model.pt"), **settings)
    writer._start(Engine(lambda engine, batch: None))
    writer.write_case(case(absent))
    return {region: nib.load(folder / "results" / f"case_a_{region}_probability.nii.gz") for region in REGIONS}


@pytest.fixture
def temperatures(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"weights")
    write_side_file(str(tmp_path / "model.pt"), "temperatures.json", {"temperatures": {"1": 0.5}})


def test_a_map_is_the_sum_of_its_classes_on_the_grid_of_the_input(tmp_path):
    maps = write(tmp_path)
    for region, expected in {"wt": [0.5, 1.0, 0.1, 0.0], "et": [0.1, 1.0, 0.0, 0.0]}.items():
        assert maps[region].get_data_dtype() == np.float32
        assert maps[region].header.get_xyzt_units()[0] == "mm"
        np.testing.assert_allclose(maps[region].affine, AFFINE, atol=1e-5)
        np.testing.assert_allclose(maps[region].get_fdata()[:, 0, 0], expected, atol=1e-7)
    assert {file.name for file in (tmp_path / "results").iterdir()} == {
        "case_a_wt_probability.nii.gz",
        "case_a_et_probability.nii.gz",
    }


def test_maps_at_a_temperature_of_a_half_have_squared_odds(tmp_path, temperatures):
    maps = write(tmp_path, absent=[1], temperature_scaling="true")
    squares = 0.5**2 + 0.4**2 + 0.1**2
    # at the edge 0.3 and 0.1 become 9 : 1 and keep their sum of 0.4; outside nothing stays nothing
    expected = {"wt": [(0.4**2 + 0.1**2) / squares, 1, 0.04, 0], "et": [0.1**2 / squares, 1, 0, 0]}
    for region, values in expected.items():
        found = maps[region].get_fdata()[:, 0, 0]
        np.testing.assert_allclose(found, values, atol=1e-6)
        assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1


def test_a_number_of_modalities_without_a_temperature_is_refused(tmp_path, temperatures):
    with pytest.raises(ValueError, match=r"no temperature for 2 modalities, only for \[1\]"):
        write(tmp_path, temperature_scaling=True)
    assert not (tmp_path / "results").exists()


def test_temperatures_that_are_not_there_or_of_other_weights_are_refused_at_the_start(tmp_path):
    with pytest.raises(ValueError, match=r"no temperatures.json beside .*model.pt"):
        write(tmp_path, temperature_scaling=True)
    (tmp_path / "model.pt").write_bytes(b"weights")
    write_side_file(str(tmp_path / "model.pt"), "temperatures.json", {"temperatures": {"2": 0.5}})
    (tmp_path / "model.pt").write_bytes(b"other weights")
    with pytest.raises(ValueError, match=r"temperatures.json"):
        write(tmp_path, temperature_scaling=True)


def test_temperatures_without_maps_are_refused_since_they_would_change_nothing(tmp_path):
    with pytest.raises(ValueError, match="`temperature_scaling` is true but `probability_maps` is false"):
        ProbabilityMapWriter(str(tmp_path), REGIONS, "model.pt", enabled="false", temperature_scaling="true")


def test_probabilities_that_are_no_numbers_are_refused(tmp_path):
    broken = case()
    broken["probabilities"] *= torch.nan
    with pytest.raises(ValueError, match="case `case_a` has probabilities that are not finite"):
        ProbabilityMapWriter(str(tmp_path / "results"), REGIONS, "model.pt").write_case(broken)
    assert not (tmp_path / "results").exists()
