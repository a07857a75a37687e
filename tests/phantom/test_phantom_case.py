# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from scripts.phantom.case import PhantomSettings, make_patient, make_phantom
from scripts.phantom.record import GENERATOR_VERSION
from scripts.phantom.tumour import draw_plan
from scripts.phantom.variety import TYPICAL, get_variety

MODALITIES = ("flair", "t1ce", "t1", "t2")
SETTINGS = PhantomSettings(spacing_mm=6.0, grid_shape=(28, 35, 30), modalities=MODALITIES, seed=3)
NUM_CASES = 10
# What the generator of each version makes of SETTINGS, cases 0 and 1 of both varieties: mean intensity of each modality
# in the brain, number of voxels of each class. If phantoms of the same ranges are to change: raise GENERATOR_VERSION
# (other ranges of variety.yaml tell folders apart by themselves) and replace this by what the test below then finds.
# Bits are not compared, since other versions of numpy and scipy round differently.
RECORDED = {
    1: {
        ("typical", 0): ([265.8, 2053.6, 1196.0, 1078.6], [7789, 8, 132, 25]),
        ("typical", 1): ([872.6, 683.2, 1846.6, 1439.2], [6876, 137, 276, 103]),
        ("randomized", 0): ([841.5, 1273.1, 245.9, 2595.8], [7631, 11, 123, 20]),
        ("randomized", 1): ([367.1, 625.4, 1915.9, 678.6], [6508, 191, 375, 137]),
    }
}


@pytest.fixture(scope="module")
def cases():
    return [
        SimpleNamespace(phantom=make_phantom(SETTINGS, index), patient=make_patient(SETTINGS, index))
        for index in range(NUM_CASES)
    ]


def class_means(case, min_voxels=12):
    """Mean intensity of each modality per tissue or class, where the case has enough voxels of it."""
    label, patient = case.phantom.label, case.patient
    healthy = label[patient.brain] == 0
    masks = {"edema": label == 2, "enhancing": label == 3, "core": label == 1}
    for name, level in (("white", 0.9), ("grey", 0.9), ("csf", 0.9)):
        masks[name] = np.zeros(label.shape, bool)
        masks[name][patient.brain] = healthy & (patient.fractions[name] > level)
    return {
        name: dict(zip(MODALITIES, case.phantom.images[:, mask].mean(1), strict=True))
        for name, mask in masks.items()
        if mask.sum() >= min_voxels
    }


def ratios(cases, tissue, reference, modality):
    means = [class_means(case) for case in cases]
    found = [mean[tissue][modality] / mean[reference][modality] for mean in means if {tissue, reference} <= set(mean)]
    assert len(found) >= 3, f"only {len(found)} cases have enough {tissue}"
    return np.array(found)


def test_the_same_seed_and_index_give_the_same_phantom(cases):
    again = make_phantom(SETTINGS, 5)
    np.testing.assert_array_equal(again.images, cases[5].phantom.images)
    np.testing.assert_array_equal(again.label, cases[5].phantom.label)


@pytest.mark.parametrize(("variety", "index"), [("typical", 0), ("typical", 1), ("randomized", 0), ("randomized", 1)])
def test_one_version_of_the_generator_always_makes_the_same_phantoms(variety, index):
    phantom = make_phantom(replace(SETTINGS, variety=variety), index)
    means = [float(image[image > 0].mean()) for image in phantom.images]
    voxels = np.bincount(phantom.label[phantom.images[0] > 0], minlength=4)
    found = f"{variety} {index}: {np.round(means, 2).tolist()}, {voxels.tolist()}"
    expected_means, expected_voxels = RECORDED[GENERATOR_VERSION][variety, index]
    np.testing.assert_allclose(means, expected_means, rtol=2e-3, err_msg=found)
    np.testing.assert_allclose(voxels, expected_voxels, atol=4, err_msg=found)


def test_another_index_or_seed_is_another_patient(cases):
    first = cases[5].phantom
    for other in (cases[6].phantom, make_phantom(replace(SETTINGS, seed=4), 5)):
        assert (other.label != first.label).any()
        assert (other.images != first.images).any(axis=(1, 2, 3)).all()


def test_an_image_does_not_depend_on_which_other_modalities_are_made(cases):
    some = make_phantom(replace(SETTINGS, modalities=("t2", "pd", "flair")), 2)
    np.testing.assert_array_equal(some.images[[2, 0]], cases[2].phantom.images[[0, 3]])
    np.testing.assert_array_equal(some.label, cases[2].phantom.label)


def test_the_same_patient_is_seen_at_another_spacing(cases):
    finer = make_phantom(replace(SETTINGS, spacing_mm=4.0, grid_shape=None), 1)
    centres, volumes = [], []
    for phantom in (finer, cases[1].phantom):
        voxels = np.argwhere(phantom.label > 0)
        volumes.append(len(voxels) * abs(np.linalg.det(phantom.affine)))
        centres.append((phantom.affine @ [*voxels.mean(0), 1])[:3])
    np.testing.assert_allclose(volumes[0], volumes[1], rtol=0.05)
    np.testing.assert_allclose(centres[0], centres[1], atol=4.0)


@pytest.mark.parametrize(("spacing", "shape"), [(6.0, (24, 24, 24)), (8.0, (32, 20, 24)), (3.0, (24, 16, 20))])
def test_any_grid_shows_a_brain_with_a_tumour(spacing, shape):
    phantom = make_phantom(PhantomSettings(spacing, shape, MODALITIES[:2]), 0)
    brain = phantom.images[0] > 0
    assert phantom.images.shape == (2, *shape) and phantom.label.shape == shape
    assert 0 < (phantom.label > 0).sum() < 0.3 * brain.sum()
    np.testing.assert_allclose(np.abs(np.diag(phantom.affine)[:3]), spacing)


def test_background_is_exactly_zero_and_the_brain_is_positive_in_every_modality(cases):
    for case in cases:
        assert case.phantom.images.dtype == np.int16 and case.phantom.label.dtype == np.uint8
        for image in case.phantom.images:
            assert not image[~case.patient.brain].any() and (image[case.patient.brain] > 0).all()
        assert 0.15 < case.patient.brain.mean() < 0.5


def test_the_shares_of_tissues_in_a_voxel_sum_to_one(cases):
    for case in cases:
        shares = np.stack(list(case.patient.fractions.values()))
        assert np.isfinite(shares).all() and (shares >= 0).all()
        np.testing.assert_allclose(shares.sum(0), 1, atol=1e-4)


def test_tumours_lie_inside_the_brain_and_outside_of_fluid(cases):
    for case in cases:
        assert (case.phantom.label > 0).any() and not case.phantom.label[~case.patient.brain].any()
        tumour = case.phantom.label[case.patient.brain] > 0
        assert case.patient.fractions["csf"][tumour].mean() < 0.1


def test_enhancing_tumour_is_part_of_a_core_that_edema_surrounds(cases):
    surrounded = []
    for case in cases:
        core = np.isin(case.phantom.label, (1, 3))
        parts, count = ndimage.label(core, np.ones((3, 3, 3)))
        assert np.bincount(parts.ravel())[1:].max() > 0.9 * core.sum(), f"the core is in {count} pieces"
        around = ndimage.binary_dilation(core) & ~core & case.patient.brain
        surrounded.append((case.phantom.label[around] == 2).mean())
    assert min(surrounded) > 0.2 and np.median(surrounded) > 0.5  # where it touches cortex or fluid there is no edema


def test_tumours_vary_in_volume_kind_and_side(cases):
    plans = [draw_plan(np.random.default_rng(seed), get_variety(TYPICAL)) for seed in range(300)]
    volumes = np.array([plan.whole_ml for plan in plans])
    assert 4 <= volumes.min() < 12 and 120 < volumes.max() <= 150
    without, solid = (np.mean([plan.rim_mm == mm for plan in plans]) for mm in (0.0, np.inf))
    assert 0.1 < without < 0.26 and 0.06 < solid < 0.2
    right = [np.argwhere(case.phantom.label > 0)[:, 0].mean() < 13.5 for case in cases]
    assert 0 < sum(right) < NUM_CASES


def test_some_tumours_do_not_enhance(cases):
    for index, case in enumerate(cases):
        fraction = case.patient.fractions["enhancing"]
        if not fraction.any():
            assert set(np.unique(case.phantom.label)) == {0, 1, 2}, f"case {index}"
    assert 1 <= sum(not case.patient.fractions["enhancing"].any() for case in cases) < NUM_CASES / 2


def test_edema_is_brighter_than_white_matter_where_water_is_bright(cases):
    for modality in ("flair", "t2"):
        edema = ratios(cases, "edema", "white", modality)
        assert (edema > 1.05).all() and edema.mean() > 1.25
    assert (ratios(cases, "edema", "white", "t1") < 1.1).all()
    assert ratios(cases, "edema", "white", "t1").mean() < 0.95


def test_enhancing_tumour_is_bright_only_after_contrast_agent(cases):
    assert (ratios(cases, "enhancing", "white", "t1ce") > 1.2).all()
    assert (ratios(cases, "enhancing", "white", "t1") < 1.03).all()


def test_necrosis_is_dark_where_relaxation_is_slow(cases):
    with_rim = [case for case in cases if case.patient.fractions["enhancing"].any()]
    assert ratios(with_rim, "core", "white", "t1").mean() < 0.85
    assert (ratios(with_rim, "core", "white", "t1ce") < ratios(with_rim, "core", "white", "t2")).all()
    assert ratios(with_rim, "core", "edema", "t2").mean() > 1.1


def test_fluid_is_bright_in_one_contrast_and_dark_in_the_others(cases):
    assert (ratios(cases, "csf", "white", "t2") > 2).all()
    for modality in ("flair", "t1", "t1ce"):
        assert (ratios(cases, "csf", "white", modality) < 0.75).all()


def test_grey_matter_is_darker_than_white_where_relaxation_is_slow(cases):
    assert ratios(cases, "grey", "white", "t1").mean() < 0.9
    assert ratios(cases, "grey", "white", "t2").mean() > 1.15
    assert ratios(cases, "grey", "white", "flair").mean() > 1.05


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match=r"\['bold'\] have no contrast; expected different names out of \['flair'"):
        PhantomSettings(modalities=("flair", "bold"))
    with pytest.raises(ValueError, match="`spacing_mm` is 0"):
        PhantomSettings(spacing_mm=0)
    with pytest.raises(ValueError, match="`grid_shape` is .* expected three positive numbers"):
        PhantomSettings(grid_shape=(24, 24))
