# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The ranges of variety.yaml, and what phantoms make of them."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from scipy import ndimage, stats

from scripts.phantom.anatomy import around_ventricles
from scripts.phantom.case import PhantomSettings, _cover, draw_all_tissues, image_patient, make_patient, make_phantom
from scripts.phantom.compartments import PATHOLOGIES, Compartments
from scripts.phantom.contrast import draw_sequence, signal
from scripts.phantom.tumour import draw_plan
from scripts.phantom.variety import VARIETY_FILE, Variety, get_variety

MODALITIES = ("flair", "t1ce", "t1", "t2")
VARIETIES = ("typical", "randomized")
NUM_CASES = 12
PROBABILITIES = ("not_enhancing", "enhancing_throughout", "second_seed", "other_sequence", "estranged")
# Pairs of which `randomized` need not contain the typical one: a median with a deviation, and a deviation that is drawn
# only where an image's contrast is estranged at all.
NOT_NESTED = ("atrophy", "estrangement")


def settings(variety):
    return PhantomSettings(spacing_mm=6.0, modalities=MODALITIES, seed=2026, variety=variety)


@pytest.fixture(scope="module")
def heads():
    """Twelve heads of each variety, imaged once."""
    found = {variety: [] for variety in VARIETIES}
    for variety, index in product(VARIETIES, range(NUM_CASES)):
        patient, rng = make_patient(settings(variety), index), np.random.default_rng(index)
        images = [image_patient(patient, name, rng, get_variety(variety)) for name in MODALITIES]
        found[variety].append(SimpleNamespace(patient=patient, images=images, label=patient.label))
    return found


def plans(variety):
    return [draw_plan(np.random.default_rng(seed), get_variety(variety)) for seed in range(400)]


def mean_of(head, modality, where):
    """Mean intensity of the voxels of the brain for which ``where``, ``(N,)``, holds."""
    return head.images[MODALITIES.index(modality)][head.patient.brain][where].mean()


def healthy(head, tissue, share=0.85):
    """Which voxels of the brain are mostly of one tissue, outside of the tumour: ``(N,)`` bool."""
    return (head.patient.fractions[tissue] > share) & (head.label[head.patient.brain] == 0)


# --- the ranges ------------------------------------------------------------------------------------


def test_every_range_is_given_for_every_variety():
    table = yaml.safe_load(VARIETY_FILE.read_text(encoding="utf-8"))
    assert set(table) == set(VARIETIES)
    for entry in table.values():
        assert set(entry) == {field.name for field in fields(Variety)}


@pytest.mark.parametrize("variety", VARIETIES)
def test_ranges_are_finite_and_ordered(variety):
    for name, value in asdict(get_variety(variety)).items():
        assert np.isfinite(value).all() and (np.array(value) >= 0).all(), name
        if isinstance(value, tuple) and name != "atrophy":  # a median and a deviation
            assert value[-2] <= value[-1], name


@pytest.mark.parametrize("variety", VARIETIES)
def test_probabilities_are_probabilities(variety):
    ranges = get_variety(variety)
    chances = [*(getattr(ranges, name) for name in PROBABILITIES), ranges.thick_slices[0]]
    assert all(0 <= chance <= 1 for chance in chances)
    assert ranges.not_enhancing + ranges.enhancing_throughout < 1


@pytest.mark.parametrize("name", [field.name for field in fields(Variety) if field.name not in NOT_NESTED])
def test_randomized_phantoms_may_be_typical(name):
    typical, randomized = (np.atleast_1d(getattr(get_variety(variety), name)) for variety in VARIETIES)
    if len(typical) == 1:  # a deviation or a probability
        assert randomized >= typical
    else:
        assert randomized[-2] <= typical[-2] and typical[-1] <= randomized[-1]
    if len(typical) > 2:  # a deviation or a probability in front of the limits
        assert randomized[-3] >= typical[-3]


def test_ranges_that_do_not_contain_each_other_have_a_reason():
    typical, randomized = map(get_variety, VARIETIES)
    assert randomized.atrophy[1] > typical.atrophy[1]  # the deviation
    assert typical.estranged == 0 and typical.estrangement == (0, 0)


def test_an_unknown_variety_is_refused():
    problem = r"`variety` of phantoms is 'wild'; expected one of \['typical', 'randomized'\]. See .*variety.yaml"
    with pytest.raises(ValueError, match=problem):
        get_variety("wild")
    with pytest.raises(ValueError, match=problem):
        PhantomSettings(variety="wild")


BASE = replace(get_variety("randomized"), estranged=1.0)


def drawn(variety):
    """What a variety makes of some seeds: plans of tumours, and the images of one patient with two tumours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scripts.phantom.case.get_variety", lambda name: variety)
        phantom = make_phantom(PhantomSettings(2.5, (36, 40, 36), MODALITIES, seed=2026), 0)
    found = [draw_plan(np.random.default_rng(seed), variety) for seed in range(100)]
    # the chance of a second seed is part of a plan whether or not anything comes of it
    return [plan._replace(second_seed=0.0, second_seed_mm=(0.0, 0.0)) for plan in found], phantom.images.tobytes()


@pytest.fixture(scope="module")
def base_drawn():
    return drawn(BASE)


@pytest.mark.parametrize("name", [field.name for field in fields(Variety)])
def test_every_range_has_an_effect(name, base_drawn):
    value = getattr(BASE, name)
    if name in PROBABILITIES:
        other = float(value < 0.5)
    else:
        other = tuple(0.8 * part for part in value) if isinstance(value, tuple) else 0.8 * value
    assert drawn(replace(BASE, **{name: other})) != base_drawn


# --- patients --------------------------------------------------------------------------------------


def test_randomized_tumours_vary_more_in_volume():
    typical, randomized = (np.log([plan.whole_ml for plan in plans(variety)]) for variety in VARIETIES)
    assert randomized.std() > 1.25 * typical.std()
    assert randomized.min() < typical.min() and randomized.max() > typical.max()


def test_some_randomized_tumours_do_not_enhance(heads):
    chance = get_variety("randomized").not_enhancing
    found = np.mean([plan.rim_mm == 0 for plan in plans("randomized")])
    assert found == pytest.approx(chance, abs=3 * np.sqrt(chance * (1 - chance) / 400))
    without = [head for head in heads["randomized"] if not head.patient.fractions["enhancing"].any()]
    assert 1 <= len(without) < NUM_CASES / 2
    assert all(set(np.unique(head.label)) <= {0, 1, 2} for head in without)


def grown(**ranges):
    """A typical patient at 3 mm, but for some ranges; one with a rim, faint everywhere or nowhere as asked for."""
    variety = replace(get_variety("typical"), **ranges)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scripts.phantom.case.get_variety", lambda name: variety)
        patient = make_patient(PhantomSettings(3.0, modalities=MODALITIES, seed=2026), 0)
        return patient, image_patient(patient, "t1ce", np.random.default_rng(0), variety)[patient.brain]


def test_faint_enhancement_takes_its_share_of_the_enhancing_tumour_and_nothing_else():
    (even, bright_image), (patchy, faint_image) = grown(), grown(faint=(0.4, 0.4), faintness=(0.2, 0.2))
    np.testing.assert_array_equal(even.label, patchy.label)
    names = [name for name in even.fractions if not name.endswith("enhancing")] + ["non_enhancing"]
    for name in names:
        np.testing.assert_allclose(even.fractions[name], patchy.fractions[name], atol=1e-6)
    assert not even.fractions["faintly_enhancing"].any()
    both = patchy.fractions["enhancing"] + patchy.fractions["faintly_enhancing"]
    np.testing.assert_allclose(both, even.fractions["enhancing"], atol=1e-6)
    where = even.label[even.brain] == 3
    faint = patchy.fractions["faintly_enhancing"] > 0.5 * both
    assert faint[where].mean() == pytest.approx(0.4, abs=0.03)
    ratio = faint_image / bright_image
    assert np.isfinite(ratio).all()
    assert ratio[where & faint].mean() < 0.8 * ratio[where & ~faint].mean()
    assert patchy.tissues["faintly_enhancing"]["gadolinium"] == 0.2 * patchy.tissues["enhancing"]["gadolinium"]


def test_a_lower_threshold_makes_more_islands_of_enhancement_in_the_same_core():
    (few, _), (many, _) = grown(), grown(islands=(0.2, 0.2))
    np.testing.assert_array_equal(np.isin(few.label, (1, 3)), np.isin(many.label, (1, 3)))
    assert (many.label == 3)[few.label == 3].all()
    assert np.count_nonzero(many.label == 3) > 1.2 * np.count_nonzero(few.label == 3)


def test_a_one_sided_rim_enhances_more_on_one_side_of_the_same_core():
    def offset(patient):
        """Distance in mm of the middles of the enhancing tumour and of the core."""
        middles = [np.argwhere(np.isin(patient.label, classes)).mean(0) for classes in ((3,), (1, 3))]
        return np.linalg.norm(middles[0] - middles[1]) * patient.grid.spacing

    (even, _), (sided, _) = grown(), grown(one_sidedness=(1.0, 1.0))
    np.testing.assert_array_equal(np.isin(even.label, (1, 3)), np.isin(sided.label, (1, 3)))
    radius = (np.isin(even.label, (1, 3)).sum() * even.grid.spacing**3 * 0.75 / np.pi) ** (1 / 3)
    assert offset(even) < 0.1 * radius and 0.3 * radius < offset(sided) < radius
    assert (even.label == 3).any() and (sided.label[even.label == 3] == 1).any() and (sided.label == 3).any()


def test_a_solid_core_takes_the_place_of_necrosis_and_of_nothing_else():
    (necrotic, _), (solid, _) = grown(), grown(solid=(1.5, 1.5))
    np.testing.assert_array_equal(necrotic.label, solid.label)
    for name in set(necrotic.fractions) - {"necrosis", "non_enhancing"}:
        np.testing.assert_allclose(necrotic.fractions[name], solid.fractions[name], atol=1e-6)
    rest = [patient.fractions["necrosis"] + patient.fractions["non_enhancing"] for patient in (necrotic, solid)]
    np.testing.assert_allclose(*rest, atol=1e-6)
    shares = [patient.fractions["non_enhancing"].sum() / rest[0].sum() for patient in (necrotic, solid)]
    # a logistic edge of width 0.7 / 3 deviations blurs the threshold like a normal one of the same deviation
    steepness = np.hypot(1, 0.7 * np.pi / np.sqrt(3) / 3)
    expected = stats.norm.cdf([(more - 4 / 3) / steepness for more in (0, 1.5)])  # of a field of unit deviation
    np.testing.assert_allclose(shares, expected, atol=0.1)


def test_neither_changes_a_tumour_that_does_not_enhance():
    (plain, _), (other, _) = (
        grown(not_enhancing=1.0),
        grown(not_enhancing=1.0, one_sidedness=(1.0, 1.0), solid=(1.5, 1.5)),
    )
    assert (plain.label == 1).any() and not (plain.label == 3).any()
    np.testing.assert_array_equal(plain.label, other.label)
    for name, share in plain.fractions.items():
        np.testing.assert_array_equal(share, other.fractions[name])


def test_tissues_of_the_tumour_follow_their_ranges_and_others_do_not():
    def tissues(**ranges):
        return draw_all_tissues(np.random.default_rng(0), replace(get_variety("typical"), **ranges))

    plain = tissues()
    drawn = tissues(core_wetness=(0.6, 0.6), necrosis_protein=(0.4, 0.4), heterogeneity=(2.0, 2.0))
    factors = {
        name: {key: value / plain[name][key] for key, value in tissue.items() if value != plain[name][key]}
        for name, tissue in drawn.items()
    }
    solid = pytest.approx({"transverse_ms": 1.6, "longitudinal_ms": 1.3, "texture": 2.0})
    for name in PATHOLOGIES:
        expected = {"edema": {"texture": 2.0}, "necrosis": {"longitudinal_ms": 0.6, "texture": 2.0}}.get(name, solid)
        assert factors.pop(name) == expected, name
    assert set(factors) >= {"grey", "white", "csf"} and not any(factors.values())


def test_protein_makes_necrosis_brighter_than_edema_in_flair_and_darker_without():
    ratios = []
    for protein in (0.0, 0.5):
        variety = replace(get_variety("typical"), necrosis_protein=(protein, protein))
        tissues = draw_all_tissues(np.random.default_rng(0), variety)
        sequence = draw_sequence(np.random.default_rng(0), "flair")
        ratios.append(signal(tissues["necrosis"], sequence) / signal(tissues["edema"], sequence))
    assert np.isfinite(ratios).all() and 0 < ratios[0] < 0.8 and 1.2 < ratios[1]


def core_distance(head):
    """Distance in mm of the centres of the two largest parts of the core; 0 if the second one is but a crumb."""
    parts, _ = ndimage.label(np.isin(head.label, (1, 3)), np.ones((3, 3, 3)))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    first, second = sizes.argsort()[::-1][:2]
    if sizes[second] < 0.2 * sizes[first]:
        return 0.0
    centres = [np.argwhere(parts == part).mean(0) for part in (first, second)]
    return head.patient.grid.spacing * np.linalg.norm(centres[0] - centres[1])


def test_some_randomized_tumours_are_multifocal(heads):
    # a typical second seed lies at most 18 + 4 mm away, where the two cores grow into one
    assert not any(core_distance(head) for head in heads["typical"])
    far = [distance for distance in map(core_distance, heads["randomized"]) if distance > 22]
    assert 1 <= len(far) < NUM_CASES / 2


@pytest.mark.parametrize("variety", VARIETIES)
def test_brains_are_whole_and_backgrounds_empty(heads, variety):
    for head in heads[variety]:
        shares = np.stack(list(head.patient.fractions.values()))
        assert np.isfinite(shares).all() and (shares >= 0).all() and np.isfinite(head.patient.water).all()
        np.testing.assert_allclose(shares.sum(0), 1, atol=1e-4)
        for image in head.images:
            assert not image[~head.patient.brain].any() and (image[head.patient.brain] > 0).all()
        assert not head.label[~head.patient.brain].any() and head.label.any()


def test_meninges_remain_at_the_rim_of_some_heads_and_never_over_the_tumour(heads):
    assert not any("meninges" in head.patient.fractions for head in heads["typical"])
    left = [head for head in heads["randomized"] if head.patient.fractions.get("meninges", np.zeros(1)).any()]
    assert NUM_CASES / 4 < len(left)
    for head in left:
        share, brain = head.patient.fractions["meninges"], head.patient.brain
        assert share[head.label[brain] > 0].max() < 0.05
        depth = ndimage.distance_transform_edt(brain)[brain]  # in voxels of 6 mm
        assert share[depth > 2].max(initial=0) < 0.05
    assert np.mean([head.patient.fractions["meninges"].mean() for head in left]) > 0.01


def test_what_covers_the_brain_gives_way_to_the_tumour_by_hand():
    # voxels: covered, covered but tumour, half covered and half tumour
    tumour = np.zeros((len(PATHOLOGIES), 3))
    tumour[0] = [0, 1, 0.5]
    fractions = {"white": 1 - tumour[0], PATHOLOGIES[0]: tumour[0]}
    covered = _cover(fractions, np.array([1, 1, 0.5]), Compartments(tumour, np.zeros(3), np.zeros(3)))
    np.testing.assert_allclose(covered["meninges"], [1, 0, 0.5 * 0.5])
    np.testing.assert_allclose(covered["white"], [0, 0, 0.5 * 0.75])
    np.testing.assert_allclose(covered[PATHOLOGIES[0]], [0, 1, 0.5 * 0.75])


def test_white_matter_around_the_ventricles_is_wetter_with_caps(monkeypatch):
    patients = []
    for strength in (0.0, 1.0):
        variety = replace(get_variety("typical"), ventricle_caps=(strength, strength))
        monkeypatch.setattr("scripts.phantom.case.get_variety", lambda name, variety=variety: variety)
        patients.append(make_patient(settings("typical"), 2))
    dry, wet = patients
    gain = np.zeros(dry.grid.shape)
    gain[dry.brain] = wet.water - dry.water
    fluid, white = np.zeros(gain.shape, bool), np.zeros(gain.shape, bool)
    coordinates = np.stack(np.meshgrid(*dry.grid.axes, indexing="ij"))  # a head differs from MNI152 by a few mm
    fluid[dry.brain] = dry.fractions["csf"] > 0.5
    white[dry.brain] = dry.fractions["white"] > 0.5
    distance = ndimage.distance_transform_edt(~(fluid & around_ventricles(coordinates))) * dry.grid.spacing
    near, far = gain[white & (distance <= 6)], gain[white & (distance > 18)]
    assert len(near) > 20 and len(far) > 100 and np.isfinite(gain).all()
    assert near.mean() > 1 and abs(far).mean() < 0.02 * near.mean()  # in units of the texture's deviation
    variety = get_variety("typical")
    before, after = (image_patient(each, "flair", np.random.default_rng(0), variety) for each in patients)
    around = white & (distance <= 6)
    assert after[around].mean() > 1.03 * before[around].mean()


# --- images ----------------------------------------------------------------------------------------


def log_ratios(heads, variety, modality, first, second):
    """Logarithm of the ratio of the mean intensities of two groups of voxels, for each head of a variety."""
    found = [mean_of(head, modality, first(head)) / mean_of(head, modality, second(head)) for head in heads[variety]]
    assert np.isfinite(found).all()
    return np.log(found)


@pytest.mark.parametrize("modality", MODALITIES)
def test_contrast_of_grey_and_white_matter_varies_more_in_randomized_images(heads, modality):
    typical, randomized = (
        log_ratios(heads, variety, modality, lambda head: healthy(head, "grey"), lambda head: healthy(head, "white"))
        for variety in VARIETIES
    )
    assert randomized.std() > 1.5 * typical.std()


def test_contrast_of_edema_varies_more_in_randomized_images(heads):
    typical, randomized = (
        log_ratios(
            heads,
            variety,
            "flair",
            lambda head: head.label[head.patient.brain] == 2,
            lambda head: healthy(head, "white"),
        )
        for variety in VARIETIES
    )
    assert randomized.std() > 1.3 * typical.std()


@pytest.mark.parametrize("tissue", ["vessel", "meninges"])
def test_veins_and_meninges_are_bright_only_after_contrast_agent(heads, tissue):
    shown = [
        head
        for head in heads["randomized"]
        if tissue in head.patient.fractions and healthy(head, tissue, 0.4).sum() >= 5
    ]
    assert len(shown) >= 3
    after, before = (
        np.median([mean_of(h, name, healthy(h, tissue, 0.4)) / mean_of(h, name, healthy(h, "white")) for h in shown])
        for name in ("t1ce", "t1")
    )
    assert after > 1.2 and before < 1
