# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Label values by convention: read, written, and refused when they contradict it."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.data.label_conventions import (
    channel_definition,
    convention_names,
    from_internal,
    get_convention,
    to_internal,
)

BACKGROUND, NCR, ED, ET = range(4)
LVB, RVB, MYO, EDEMA, SCAR = range(1, 6)

# (values in the file, the classes they mean), from the publications of each data set
MEANINGS = {
    "internal": ([0, 1, 2, 3], [BACKGROUND, NCR, ED, ET]),
    "brats2015": ([0, 1, 2, 3, 4], [BACKGROUND, NCR, ED, NCR, ET]),
    "brats2021": ([0, 1, 2, 4], [BACKGROUND, NCR, ED, ET]),
    "brats2023": ([0, 1, 2, 3], [BACKGROUND, NCR, ED, ET]),
    "brats2024": ([0, 1, 2, 3, 4], [BACKGROUND, NCR, ED, ET, BACKGROUND]),
    "msd": ([0, 1, 2, 3], [BACKGROUND, ED, NCR, ET]),
    "brats_peds": ([0, 1, 2, 3, 4], [BACKGROUND, ET, NCR, NCR, ED]),
    "monai_label": ([0, 1, 2, 3], [BACKGROUND, NCR, ED, ET]),  # or 4 in the place of 3, see below
    "myops2020": ([0, 200, 500, 600, 1220, 2221], [BACKGROUND, MYO, LVB, RVB, EDEMA, SCAR]),
}


def test_every_convention_has_its_meaning_stated_here():
    assert set(convention_names()) == set(MEANINGS)


@pytest.mark.parametrize("name", MEANINGS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int64, np.float32, np.float64])
def test_file_values_become_the_classes_they_mean(name, dtype):
    values, classes = MEANINGS[name]
    if max(values) > np.iinfo(np.uint8).max and dtype == np.uint8:
        pytest.skip("no file of this type can have these values")
    result = to_internal(np.array(values, dtype=dtype).reshape(1, -1), name)
    assert result.dtype == np.uint8
    assert result.tolist() == [classes]


@pytest.mark.parametrize("name", MEANINGS)
def test_written_classes_are_read_back_as_they_were(name):
    classes = np.array(sorted(set(MEANINGS[name][1])))[:, None]
    written = from_internal(classes, name)
    assert written.dtype == (np.uint16 if name == "myops2020" else np.uint8)
    assert written.shape == classes.shape
    assert set(written.ravel().tolist()) <= set(MEANINGS[name][0])
    assert np.array_equal(to_internal(written, name), classes)


def test_a_class_with_several_values_is_written_as_the_stated_one():
    assert from_internal(np.array([NCR]), "brats2015").tolist() == [1]  # never 3, the non-enhancing core
    assert from_internal(np.array([BACKGROUND]), "brats2024").tolist() == [0]  # never 4, the resection cavity


def test_float_predictions_are_written():
    assert from_internal(np.array([0.0, 3.0], dtype=np.float32), "brats2021").tolist() == [0, 4]


def test_an_enhancing_tumour_of_2021_is_refused_as_2023_and_the_fitting_conventions_are_named():
    with pytest.raises(ValueError) as caught:
        to_internal(np.array([0, 1, 2, 4]), "brats2023")
    message = str(caught.value)
    assert "has the values [0, 1, 2, 4], but convention `brats2023` has [0, 1, 2, 3]" in message
    assert "conventions that would fit: ['brats2015', 'brats2021', 'brats2024', 'brats_peds', 'monai_label']" in message
    assert "`label_convention` in the datalist" in message


def test_a_corrected_prediction_has_3_or_4_and_a_file_with_both_is_of_another_convention():
    assert to_internal(np.array([0, 1, 2, 4]), "monai_label").tolist() == [BACKGROUND, NCR, ED, ET]
    with pytest.raises(ValueError) as caught:
        to_internal(np.array([0, 1, 2, 3, 4]), "monai_label")
    message = str(caught.value)
    assert "has [0, 1, 2, 3, 4], of 3 and 4 one alone" in message
    assert "conventions that would fit: ['brats2015', 'brats2024', 'brats_peds']" in message


@pytest.mark.parametrize("values", [[0, 7], [-1, 0], [0, 300], [0.0, 1e30]])
def test_values_that_no_convention_has_are_refused(values):
    with pytest.raises(ValueError, match="no known convention fits"):
        to_internal(np.array(values), "brats2021")


@pytest.mark.parametrize("value", [-1, 1, 199, 501, 2222, 65536 + 200])
def test_a_value_between_or_beyond_those_of_a_convention_is_refused(value):
    with pytest.raises(ValueError, match=rf"values \[.*{value}.*\], but convention `myops2020` has \[0, 200, 500"):
        to_internal(np.array([200, value]), "myops2020")


def test_file_values_may_be_those_of_16_bits_and_classes_those_of_8():
    widest = {0: 0, 65535: 255}
    for dtype in (np.uint16, np.int32, np.float32):
        assert to_internal(np.array([65535, 0], dtype=dtype), widest).tolist() == [255, 0]
    written = from_internal(np.array([255, 0]), widest)
    assert written.dtype == np.uint16 and written.tolist() == [65535, 0]
    with pytest.raises(ValueError, match=r"has the file values \[0, 65536\]; expected 0 to 65535"):
        get_convention({0: 0, 65536: 1})
    with pytest.raises(ValueError, match=r"has the classes \[0, 256\]; expected 0 to 255"):
        get_convention({0: 0, 1: 256})


@pytest.mark.parametrize("value", [0.5, 1.01, np.nan, np.inf])
def test_values_that_are_not_integers_are_refused(value):
    with pytest.raises(ValueError, match="1 values that are not integers.*brats2021.*Was the label map interpolated"):
        to_internal(np.array([0.0, value, 4.0], dtype=np.float32), "brats2021")


def test_rounding_of_a_scaled_file_is_forgiven():
    assert to_internal(np.array([0.0, 0.99999997, 4.0000005]), "brats2021").tolist() == [BACKGROUND, NCR, ET]


def test_classes_that_a_convention_cannot_write_are_refused():
    with pytest.raises(ValueError, match="`brats2021` cannot write; it has \\[0, 1, 2, 3\\]"):
        from_internal(np.array([0, 4]), "brats2021")


@pytest.mark.parametrize("mapping", [{0: 0, 10: 2, 20: 3}, {"0": 0, "10": 2, "20": 3}, {"read": {0: 0, 10: 2, 20: 3}}])
def test_a_mapping_from_configuration_is_a_convention(mapping):
    assert to_internal(np.array([20, 10, 0]), mapping).tolist() == [ET, ED, BACKGROUND]
    assert from_internal(np.array([ET, ED, BACKGROUND]), "ours", {"ours": mapping}).tolist() == [20, 10, 0]
    assert "ours" in convention_names({"ours": mapping})


def test_a_convention_from_configuration_is_named_when_it_would_fit():
    with pytest.raises(ValueError, match="would fit: \\['ours'\\]"):
        to_internal(np.array([0, 10]), "brats2021", {"ours": {0: 0, 10: 2}})


def test_a_mapping_that_does_not_say_what_to_write_is_refused():
    with pytest.raises(ValueError, match="Where several values are one class, say under `write`"):
        get_convention({0: 0, 1: 1, 3: 1})


@pytest.mark.parametrize(
    "mapping", [{0: "background"}, {}, {0: 0, 1: 256}, {"read": [0, 1]}, {"read": {0: 0}, "classes": [0]}]
)
def test_a_mapping_without_integers_is_refused(mapping):
    with pytest.raises(ValueError, match="label convention `custom` (is|has)"):
        get_convention(mapping)


def test_an_unknown_convention_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="`brats1999` is unknown; expected one of .*'brats2015'.*'msd'"):
        to_internal(np.array([0]), "brats1999")


def test_the_channel_definition_names_the_values_that_are_written():
    names = {"0": "background", "1": "necrotic core", "2": "edema"}
    assert channel_definition("brats2021") == {**names, "4": "enhancing tumor"}
    assert channel_definition("brats2015") == {**names, "4": "enhancing tumor"}
    assert channel_definition("brats2024") == {**names, "3": "enhancing tumor"}
    assert channel_definition({0: 0, 5: 9}) == {"0": "background", "5": "class 9"}


def test_classes_have_the_names_of_their_own_task():
    named = channel_definition("myops2020")
    assert list(named) == ["0", "200", "500", "600", "1220", "2221"]
    assert (named["500"], named["2221"]) == ("left ventricular blood pool", "myocardial scar")
    assert not set(named.values()) & (set(channel_definition("brats2021").values()) - {"background"})
    ours = {"read": {0: 0, 7: 1}, "classes": {"1": "gland"}}
    assert channel_definition(ours) == {"0": "class 0", "7": "gland"}
