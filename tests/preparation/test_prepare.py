# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""From raw series to prepared images and back, on a head whose truth is known."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from scripts.preparation.geometry import Grid
from scripts.preparation.prepare import prepare, prepared_grid
from scripts.preparation.prepared import Places
from scripts.preparation.settings import Preparation
from tests.heads import BRAIN, MOVEMENT, REFERENCE, THICK, centred, outlined, rigid

pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")
SETTINGS = Preparation(reference="t1ce", spacing=[2.0, 2.0, 2.0])
BRAIN_ML = 4 / 3 * np.pi * float(np.prod(BRAIN)) / 1000


def values(image):
    return np.asarray(image.dataobj)


def dice(one, other):
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


def mask_on(head, grid, movement=None):
    return nib.Nifti1Image(head.brain(*grid, movement).astype(np.uint8), grid[0])


@pytest.fixture(scope="module")
def prepared(head, raw):
    with outlined(head):
        return prepare(raw, SETTINGS)


def test_raw_series_come_out_registered_without_skull_on_the_grid_of_the_network(head, prepared):
    grid = Grid.of(prepared.brain_mask)
    np.testing.assert_allclose(grid.spacing, 2.0)
    truth = head.brain(grid.affine, grid.shape)
    brain = values(prepared.brain_mask) > 0
    assert dice(brain, truth) > 0.96
    for name, image in prepared.images.items():
        assert Grid.of(image).is_(grid)
        assert (values(image)[~brain] == 0).all() and float((values(image)[brain] == 0).mean()) < 0.01
        expected = values(head.image(name, grid.affine, grid.shape))
        inside = head.outside(head.at(grid.affine, grid.shape)) < -5
        assert np.corrcoef(values(image)[inside], expected[inside])[0, 1] > 0.8, name
    points = grid.points(truth)
    found, true = (nib.affines.apply_affine(each, points) for each in (prepared.transforms["flair"], MOVEMENT))
    assert np.linalg.norm(found - true, axis=1).mean() < 1.0
    np.testing.assert_array_equal(prepared.transforms["t1ce"], np.eye(4))
    assert prepared.warnings == []


def test_the_record_has_the_numbers_and_says_them(prepared):
    record = json.loads(json.dumps(prepared.record))
    flair = record["series"]["flair"]
    points = Grid(*reversed(REFERENCE)).points(np.ones(REFERENCE[1], dtype=bool))
    shift = np.linalg.norm(nib.affines.apply_affine(MOVEMENT, points.mean(axis=0)) - points.mean(axis=0))
    assert (record["reference"], record["brain_from"], record["done"]) == ("t1ce", "HD-BET, fast", True)
    assert flair["shift_mm"] == pytest.approx(shift, abs=1.5)
    angle = np.degrees(np.arccos((np.trace(MOVEMENT[:3, :3]) - 1) / 2))
    assert flair["rotation_degrees"] == pytest.approx(angle, abs=1.5)
    assert flair["mutual_information_after"] > flair["mutual_information_before"]
    assert flair["registered"] and flair["mask_overlap"] > 0.95
    assert record["brain_ml"] == pytest.approx(BRAIN_ML, rel=0.06)
    assert flair["grid"] == {"shape": list(THICK[1]), "spacing_mm": [2.4, 6.0, 2.4]}
    assert record["in_words"][1].startswith("flair: registered, ")


def test_a_label_returns_to_the_place_and_size_it_was_drawn_with(head, prepared):
    grid = Grid.of(prepared.brain_mask)
    lesion = head.lesion_in(grid.affine, grid.shape)
    maps = np.stack([~lesion, lesion]).astype(np.float32)
    for name, there, movement in (
        ("t1ce", REFERENCE, None),
        ("flair", THICK, MOVEMENT),
        ("reference", REFERENCE, None),
    ):
        back = prepared.on_grid(maps, name)
        assert back.shape == (2, *there[1])
        label = back.argmax(axis=0) == 1
        truth = head.lesion_in(*there, movement)
        assert dice(label, truth) > 0.9, name
        volume = Grid(there[1], there[0]).voxel_ml * label.sum()
        assert volume == pytest.approx(lesion.sum() * grid.voxel_ml, rel=0.05)
    with pytest.raises(ValueError, match="`output_grid` is `t2`, which this patient does not have; expected reference"):
        prepared.on_grid(maps, "t2")


def test_places_survive_as_text_exactly(prepared):
    again = Places.from_text(prepared.places.to_text())
    assert again.reference == "t1ce"
    for name, grid in prepared.places.grids.items():
        np.testing.assert_array_equal(again.transforms[name], prepared.transforms[name])
        np.testing.assert_array_equal(again.grids[name].affine, grid.affine)
        assert again.grids[name].shape == grid.shape


def test_extracted_series_on_one_grid_are_handed_back_as_they_are(head, outline):
    images = {name: head.image(name, *REFERENCE, extracted=True) for name in ("flair", "t1ce", "t2")}
    prepared = prepare(images, SETTINGS)
    assert all(prepared.images[name] is image for name, image in images.items())
    assert not prepared.done and outline == [] and prepared.warnings == []
    assert prepared.record["in_words"] == ["nothing was prepared: one grid, and the brains were extracted already"]
    maps = np.random.default_rng(0).random((2, *REFERENCE[1])).astype(np.float32)
    np.testing.assert_array_equal(prepared.on_grid(maps, "flair"), maps)


def test_extracted_series_that_are_aligned_on_other_grids_are_resampled_and_not_moved(head, outline):
    grid = centred((2.5, 2.5, 4.0), (60, 66, 36), "LPS"), (60, 66, 36)
    hardly = rigid(shift=(0.35, 0.0, 0.0))
    images = {"t1ce": head.image("t1ce", *REFERENCE, extracted=True)}
    images["t2"] = head.image("t2", *grid, hardly, extracted=True)
    prepared = prepare(images, Preparation(reference="t1ce"))
    assert 0.15 < prepared.record["series"]["t2"]["moved_mm"] < 0.5, "found, and left"
    np.testing.assert_array_equal(prepared.transforms["t2"], np.eye(4))
    np.testing.assert_array_equal(values(prepared.images["t1ce"]), values(images["t1ce"]), "bit for bit")
    assert prepared.record["series"]["t2"]["registered"] is False and outline == []
    assert prepared.record["in_words"][1].startswith("t2: aligned already")


def test_on_does_all_of_it_whether_needed_or_not_and_off_nothing(head, outline):
    images = {name: head.image(name, *REFERENCE, extracted=True) for name in ("t1ce", "t2")}
    prepared = prepare(images, Preparation("on", reference="t1ce", brain_extraction="accurate"))
    assert [mode for _, mode in outline] == ["accurate", "accurate"]
    assert prepared.done and "registration_seconds" in prepared.record["series"]["t2"]
    heads = {name: head.image(name, *REFERENCE) for name in ("t1ce", "t2")}
    untouched = prepare(heads, Preparation("off"))
    assert untouched.images["t2"] is heads["t2"] and not untouched.done


def test_a_mask_that_is_given_wins_and_no_brain_is_looked_for(head, raw, outline):
    small = head.brain(*REFERENCE) & (head.at(*REFERENCE)[..., 0] > 0)  # the right half
    prepared = prepare(raw, SETTINGS, nib.Nifti1Image(small.astype(np.float32), REFERENCE[0]))
    assert outline == []
    assert prepared.record["brain_from"] == "file"
    assert prepared.record["brain_ml"] == pytest.approx(BRAIN_ML / 2, rel=0.06)
    grid = Grid.of(prepared.brain_mask)
    left = head.at(grid.affine, grid.shape)[..., 0] < -3
    assert (values(prepared.images["flair"])[left] == 0).all()
    extracted = {"t1ce": head.image("t1ce", *REFERENCE, extracted=True)}
    cut = prepare(extracted, SETTINGS, nib.Nifti1Image(small.astype(np.float32), REFERENCE[0]))
    assert cut.record["brain_ml"] == pytest.approx(BRAIN_ML / 2, rel=0.06), "on brains that were extracted too"


def test_a_mask_on_the_grid_of_another_series_makes_it_the_reference(head, raw):
    prepared = prepare(raw, SETTINGS, mask_on(head, THICK, MOVEMENT))
    assert prepared.record["reference"] == "flair"
    assert prepared.record["brain_ml"] == pytest.approx(BRAIN_ML, rel=0.06)


def test_a_mask_elsewhere_is_taken_by_its_header_with_a_warning_and_an_empty_one_refused(head, raw):
    other = centred((2.0, 2.0, 2.0), (70, 80, 70)), (70, 80, 70)
    alone = {"t1ce": raw["t1ce"]}
    prepared = prepare(alone, SETTINGS, mask_on(head, other))
    assert "the brain mask is on the grid of no series" in prepared.warnings[0]
    assert prepared.record["brain_ml"] == pytest.approx(BRAIN_ML, rel=0.06)
    with pytest.raises(ValueError, match="the brain mask is empty, or lies outside of the images"):
        prepare(alone, SETTINGS, nib.Nifti1Image(np.zeros(REFERENCE[1], dtype=np.uint8), REFERENCE[0]))


def test_a_registration_that_is_doubtful_is_warned_of_with_its_number(head, raw, monkeypatch):
    def wrong(image, grid, mode):
        mask = head.brain(grid.affine, grid.shape, None if grid.shape == REFERENCE[1] else MOVEMENT)
        return mask if grid.shape == REFERENCE[1] else mask & (head.at(grid.affine, grid.shape)[..., 2] > 5)

    monkeypatch.setattr("scripts.preparation.prepare.extract_brain", wrong)
    (warning,) = prepare(raw, SETTINGS).warnings
    assert warning.startswith("flair may not lie on t1ce: their brains overlap with a Dice of 0.")
    far = {**raw, "flair": nib.Nifti1Image(raw["flair"].get_fdata(), rigid(shift=(0, 80, 0)) @ raw["flair"].affine)}
    monkeypatch.setattr(
        "scripts.preparation.prepare.extract_brain",
        lambda image, grid, mode: head.brain(
            grid.affine, grid.shape, None if grid.shape == REFERENCE[1] else rigid(shift=(0, 80, 0)) @ MOVEMENT
        ),
    )
    (warning,) = prepare(far, SETTINGS).warnings
    assert "flair was moved by 7" in warning and "expected less than 50 mm" in warning


def test_a_brain_outside_of_the_view_of_the_reference_is_warned_of(head, outline):
    whole = head.image("t2", *REFERENCE)
    images = {"t1ce": head.image("t1ce", *REFERENCE).slicer[:, :, :26], "t2": whole}  # the lower part of the head
    low, high = (prepare(images, Preparation(reference=name)) for name in ("t1ce", "t2"))
    assert Grid.of(low.brain_mask).shape == (48, 56, 26)
    assert high.warnings == [] and high.record["series"]["t1ce"]["mask_overlap"] > 0.95, "the reference sees all of it"
    (warning,) = low.warnings
    assert warning.endswith("% of the brain in t2 lies outside of the field of view of t1ce, and was not segmented")


def test_without_the_preferred_series_the_finest_is_the_reference(head, raw, outline):
    others = {"flair": raw["flair"], "t2": head.image("t2", *REFERENCE)}  # 27 and 35 cubic mm
    assert prepare(others, SETTINGS).record["reference"] == "t2"


def test_stacked_series_are_aligned_by_definition(head, outline):
    images = {name: head.image(name, *REFERENCE) for name in ("t1ce", "t2")}
    prepared = prepare(images, SETTINGS, aligned=True)
    np.testing.assert_array_equal(prepared.transforms["t2"], np.eye(4))
    assert "registered" not in prepared.record["series"]["t2"] and len(outline) == 2


def test_a_bias_field_is_taken_out_where_asked_for(head):
    image = head.image("t1", *REFERENCE, extracted=True)
    places = head.at(*REFERENCE)
    field = np.exp(places[..., 1] / 120)
    biased = nib.Nifti1Image((image.get_fdata() * field).astype(np.float32), image.affine)
    inside = head.outside(places) < -3

    def slope(found):
        return np.polyfit(places[..., 1][inside], values(found)[inside] / values(found)[inside].mean(), 1)[0]

    before, after = (
        slope(prepare({"t1": biased}, Preparation(bias_field=flag)).images["t1"]) for flag in (False, True)
    )
    assert before > 0.006 and abs(after) < before / 3


def test_the_grid_of_the_network_follows_the_axes_of_the_reference():
    grid = Grid((60, 26, 54), centred((2.0, 6.0, 3.0), (60, 26, 54), "LSP"))
    assert prepared_grid(grid) is grid
    assert prepared_grid(grid, [2.0, 3.0, 6.0]) is grid, "it has these voxels already: x, z, y"
    np.testing.assert_allclose(prepared_grid(grid, [1.0, 2.0, -1]).spacing, [1.0, 6.0, 2.0])


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"mode": "maybe"}, "`prepare` is `maybe`; expected off, auto or on"),
        ({"brain_extraction": "slow"}, "expected fast or"),
    ],
)
def test_a_misspelt_word_is_refused(wrong, reason):
    with pytest.raises(ValueError, match=reason):
        Preparation(**wrong)


def test_words_may_come_as_yaml_reads_them():
    assert (Preparation(False).mode, Preparation(True).mode, Preparation("AUTO").mode) == ("off", "on", "auto")
