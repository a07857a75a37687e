# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Patients kept on disk: what is read back is what was grown."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from scripts.phantom import patients, record
from scripts.phantom.case import PhantomSettings, make_patient
from scripts.phantom.patients import FULL, STEPS, PatientStore
from scripts.phantom.variety import get_variety

SETTINGS = PhantomSettings(8.0, None, ("flair", "t1ce"), seed=5, variety="randomized")
OTHER_SETTINGS = r"holds phantoms of other settings: `{}` is {}, asked for is {} .*settings.json"


@pytest.fixture
def store(tmp_path):
    return PatientStore(tmp_path / "patients", SETTINGS)


@pytest.mark.parametrize("index", [0, 4])
def test_what_is_read_back_is_what_was_grown(store, index):
    grown, read = make_patient(SETTINGS, index), store.patient(index)
    np.testing.assert_array_equal(read.brain, grown.brain)
    np.testing.assert_array_equal(read.label, grown.label)
    np.testing.assert_array_equal(read.grid.affine, grown.grid.affine)
    assert list(read.fractions) == list(grown.fractions)
    # K shares, each rounded by half a step, are divided by their sum, which is off by K / 2 steps at most
    steps = (1 + len(grown.fractions)) / 2
    for name, share in grown.fractions.items():
        np.testing.assert_allclose(read.fractions[name], share, atol=1.01 * steps / FULL)
    np.testing.assert_allclose(sum(read.fractions.values()), 1, atol=1e-5)
    largest = 127 / STEPS  # what fits into a signed byte
    np.testing.assert_allclose(read.water, np.minimum(grown.water, largest), atol=0.51 / STEPS)


def test_the_same_generator_gives_the_same_images_and_another_one_others(store):
    (images, label), (again, _), (others, same) = (store.images(1, np.random.default_rng(k)) for k in (0, 0, 1))
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(label, same)
    assert (images != others).any(axis=(1, 2, 3)).all()
    assert images.shape == (2, *store.grid.shape) and images.dtype == np.int16
    brain = store.patient(1).brain
    assert (images[:, brain] > 0).all() and not images[:, ~brain].any()


def test_images_of_kept_patients_are_close_to_those_of_grown_ones(store):
    kept, label = store.images(0, np.random.default_rng(3))
    grown, same = PatientStore(None, SETTINGS).images(0, np.random.default_rng(3))
    np.testing.assert_array_equal(label, same)
    brain = kept[0] > 0
    for image, other in zip(kept, grown, strict=True):
        difference = abs(image[brain].astype(float) - other[brain])
        assert np.median(difference) < 0.02 * np.median(other[brain])


def test_two_stores_on_one_folder_agree(store, monkeypatch):
    first = store.images(2, np.random.default_rng(7))
    monkeypatch.setattr(patients, "make_patient", lambda *_: pytest.fail("grown again"))
    second = PatientStore(store.folder, SETTINGS).images(2, np.random.default_rng(7))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_store_may_image_the_patients_of_another_one_in_other_modalities(store):
    _, label = store.images(2, np.random.default_rng(7))
    images, same = PatientStore(store.folder, replace(SETTINGS, modalities=("t2",))).images(2, np.random.default_rng(7))
    np.testing.assert_array_equal(label, same)
    assert images.shape == (1, *label.shape)


@pytest.mark.parametrize(
    ("name", "value"), [("seed", 6), ("spacing_mm", 6.0), ("variety", "typical"), ("grid_shape", (20, 24, 20))]
)
def test_patients_of_other_settings_are_refused(store, name, value):
    found, wanted = (json.loads(json.dumps(each)) for each in (getattr(SETTINGS, name), value))
    problem = OTHER_SETTINGS.format(name, found, str(wanted).replace("[", r"\[").replace("]", r"\]"))
    with pytest.raises(ValueError, match=problem):
        PatientStore(store.folder, replace(SETTINGS, **{name: value}))


def test_patients_of_a_variety_that_was_edited_since_are_refused(store, monkeypatch):
    push = get_variety("randomized").push
    edited = replace(get_variety("randomized"), push=(push[0], push[1] + 0.25))
    monkeypatch.setattr(record, "get_variety", lambda name: edited)
    before, after = (rf"\[{push[0]}, {upper}\]" for upper in (push[1], push[1] + 0.25))
    with pytest.raises(ValueError, match=OTHER_SETTINGS.format("push", before, after)):
        PatientStore(store.folder, SETTINGS)


def test_patients_of_another_generator_are_refused(store, monkeypatch):
    version = record.GENERATOR_VERSION
    monkeypatch.setattr(record, "GENERATOR_VERSION", version + 1)
    with pytest.raises(ValueError, match=OTHER_SETTINGS.format("version", version, version + 1)):
        PatientStore(store.folder, SETTINGS)


def test_a_folder_from_before_ranges_were_noted_stays_valid(store):
    file = store.folder / "settings.json"
    content = json.loads(file.read_text())
    del content["ranges"]
    file.write_text(json.dumps(content))
    PatientStore(store.folder, SETTINGS)
    assert "ranges" not in json.loads(file.read_text())
    with pytest.raises(ValueError, match=OTHER_SETTINGS.format("seed", 5, 6)):
        PatientStore(store.folder, replace(SETTINGS, seed=6))


def test_a_half_written_patient_never_appears(store, monkeypatch):
    def fail(stream, **arrays):
        stream.write(b"PK half of a file")
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", fail)
        with pytest.raises(OSError, match="the disk is full"):
            store.patient(0)
    assert [file.name for file in store.folder.iterdir()] == ["settings.json"]
    assert store.patient(0).label.any()
    assert sorted(file.name for file in store.folder.iterdir()) == ["patient_00000.npz", "settings.json"]


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images, label = PatientStore(None, SETTINGS).images(0, np.random.default_rng(0))
    assert images.any() and label.any() and not list(tmp_path.iterdir())
