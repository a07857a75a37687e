# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The average over sites, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.federated.aggregation import ModalityAverage, count_cases

NAMES = ["a", "b"]
OWNERS = {
    "encoder_a": np.int8(0) * np.ones((), np.int8),
    "encoder_b": np.ones((), np.int8),
    "decoder": -np.ones((), np.int8),
    "mixing": np.array([[0, 1, -1]], np.int8),
}


def update(value):
    """The same change of every number."""
    shapes = {"encoder_a": (2,), "encoder_b": (2,), "decoder": (1,), "mixing": (1, 3)}
    return {name: np.full(shape, value, np.float32) for name, shape in shapes.items()}


def counts(total, a, b):
    return {"cases": total, "cases_by_modality": {"a": a, "b": b}}


@pytest.fixture
def average():
    return ModalityAverage(OWNERS, NAMES)


def test_each_weight_is_averaged_over_the_cases_that_could_train_it(average):
    average.add(update(1.0), counts(4, a=4, b=0), "without b")
    average.add(update(5.0), counts(6, a=2, b=6), "mixed")
    average.add(update(9.0), counts(2, a=0, b=2), "without a")
    found = average.result()
    of_a = (4 * 1 + 2 * 5) / (4 + 2)
    of_b = (6 * 5 + 2 * 9) / (6 + 2)
    of_all = (4 * 1 + 6 * 5 + 2 * 9) / (4 + 6 + 2)
    expected = {"encoder_a": [of_a] * 2, "encoder_b": [of_b] * 2, "decoder": [of_all], "mixing": [[of_a, of_b, of_all]]}
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], values, rtol=1e-6)


def test_with_every_modality_everywhere_it_is_the_plain_weighted_mean(average):
    average.add(update(1.0), counts(3, a=3, b=3), "one")
    average.add(update(2.0), counts(1, a=1, b=1), "two")
    for values in average.result().values():
        np.testing.assert_allclose(values, (3 * 1 + 1 * 2) / 4)


def test_what_no_site_has_stays_as_it_is(average):
    average.add(update(1.0), counts(4, a=4, b=0), "one")
    average.add(update(3.0), counts(4, a=1, b=0), "two")
    found = average.result()
    assert (found["encoder_b"] == 0).all() and found["mixing"][0, 1] == 0
    assert all(np.isfinite(values).all() for values in found.values())
    np.testing.assert_allclose(found["decoder"], 2.0)


def test_a_round_starts_from_nothing(average):
    average.add(update(1.0), counts(1, a=1, b=1), "one")
    average.result()
    assert average.result() == {}
    average.add(update(7.0), counts(1, a=1, b=1), "one")
    np.testing.assert_allclose(average.result()["decoder"], 7.0)


def test_the_update_of_a_site_is_not_changed(average):
    sent = update(1.0)
    average.add(sent, counts(2, a=2, b=2), "one")
    average.add(update(2.0), counts(2, a=2, b=2), "two")
    average.result()
    assert all((values == 1.0).all() for values in sent.values())


@pytest.mark.parametrize(
    ("changes", "told", "text"),
    [
        ({}, {"cases": 2, "cases_by_modality": {"b": 1, "a": 1}}, "modalities \\['b', 'a'\\]; expected \\['a', 'b'\\]"),
        ({}, {}, "modalities \\[\\]; expected"),
        ({}, counts(0, 0, 0), "has 0 cases"),
        ({}, counts(2, 3, 1), "not more of a modality than in all"),
        ({"head": np.ones(1)}, counts(2, 1, 1), "differing in \\['head'\\]"),
        ({"mixing": np.ones((2, 3))}, counts(2, 1, 1), "`mixing` of shape \\(2, 3\\); expected \\(1, 3\\)"),
        ({"decoder": np.array([np.nan])}, counts(2, 1, 1), "`decoder` with values that are not finite"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing_behind(average, changes, told, text):
    with pytest.raises(ValueError, match=f"`somewhere`.*{text}"):
        average.add({**update(1.0), **changes}, told, "somewhere")
    assert average.result() == {}


def test_a_site_of_another_width_is_refused(average):
    average.add(update(1.0), counts(1, a=1, b=1), "one")
    with pytest.raises(ValueError, match="`encoder_a` of shape \\(3,\\); expected \\(2,\\)"):
        average.add({**update(1.0), "encoder_a": np.ones(3)}, counts(1, a=1, b=1), "two")


def test_cases_are_counted_by_what_they_list():
    cases = [{"images": {"a": "1a"}}, {"images": {"a": "2a", "b": "2b"}}, {"image": "3", "channels": ["b", None]}]
    assert count_cases(cases, ["b", "a", "c"]) == {"cases": 3, "cases_by_modality": {"b": 2, "a": 2, "c": 0}}
