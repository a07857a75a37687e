# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from types import SimpleNamespace

import ignite.distributed as idist
import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from torch.testing import assert_close

from scripts.handlers.relative_preference import RelativePreferenceHandler, weights_of_cases
from scripts.losses.objective import Report
from scripts.losses.prototype_distillation import SemanticDistillationTerm
from scripts.losses.state import ObjectiveState
from scripts.losses.task import FusedTerm

NAN = float("nan")
NAMES = ["flair", "t1ce", "t2"]
CASES = [{"images": {"flair": "a", "t2": "b"}}, {"images": {"flair": "c"}}]


def objective(state=None):
    """Stand in for the objective: a state, a term that measures, and what the handler reads of each call."""
    return SimpleNamespace(state=state or ObjectiveState(), terms={"semantic": SemanticDistillationTerm()}, last=None)


def report(distance):
    """What the objective reports of a batch of distances; of none, that of a sample with every modality."""
    if distance is None:
        return Report({}, torch.ones(1, 3, dtype=torch.bool), None)
    distance = torch.as_tensor(distance)
    return Report({}, ~distance.isnan(), distance)


def run(distances, epochs=1, start=0, loss=None, **options):
    """Run epochs over batches of distances; give the engine and the objective's state."""
    loss = loss or objective()
    handler = RelativePreferenceHandler(loss, NAMES, CASES, start_epoch=start, **options)

    def step(engine, batch):
        loss.last = report(batch)

    engine = Engine(step)
    handler.attach(engine)
    engine.run(distances, max_epochs=epochs)
    return engine, loss.state


def test_distances_are_averaged_over_the_samples_that_show_a_modality_by_hand():
    engine, loss = run([[[0.2, NAN, 0.4], [0.4, NAN, NAN]], [[NAN, NAN, 0.8]]], gradient_wise=True)
    # flair: (0.2 + 0.4) / 2, t2: (0.4 + 0.8) / 2, their mean 0.45
    rows = engine.state.preference
    assert_close(rows["distance"], torch.tensor([0.3, NAN, 0.6]), equal_nan=True)
    assert_close(rows["preference"], torch.tensor([1 / 3, 0, -1 / 3]))
    moved = torch.tensor([1 - 0.015 / 3, 1, 1 + 0.015 / 3])
    assert_close(loss.coefficient, moved * 3**0.5 / moved.norm())
    metrics = engine.state.metrics
    assert metrics["distance/flair"] == pytest.approx(0.3) and "distance/t1ce" not in metrics
    assert metrics["preference/t2"] == pytest.approx(-1 / 3)
    assert metrics["coefficient/t2"] == pytest.approx(float(loss.coefficient[2]))


def test_an_epoch_of_the_reference_gives_its_distances(golden):
    reference = golden("preference")
    mask = torch.from_numpy(reference["iter_B1/mask"])
    distance = torch.where(mask, torch.from_numpy(reference["iter_B1/dist_unmasked"]), NAN)  # (40, 1, 4)
    loss = objective()
    handler = RelativePreferenceHandler(loss, ["flair", "t1ce", "t1", "t2"], [])
    engine = Engine(lambda engine, batch: vars(loss).update(last=report(batch)))
    handler.attach(engine)
    engine.run(list(distance), max_epochs=1)
    np.testing.assert_allclose(engine.state.preference["distance"], reference["epoch/dist_idt"], rtol=1e-5)


def test_without_gradient_wise_the_coefficients_stay_ones_and_are_still_reported():
    engine, loss = run([[[0.2, 0.3, 0.4]]])
    assert loss.coefficient.tolist() == [1, 1, 1]
    assert engine.state.metrics["distance/t1ce"] == pytest.approx(0.3)


@pytest.mark.parametrize("distances", [[[[0.0, 0, 0]]], [[[NAN, NAN, NAN]]], [None], [[[0.3, NAN, NAN]]]])
def test_what_gives_no_preference_leaves_the_coefficients_finite_and_equal(distances):
    _, loss = run(distances, gradient_wise=True)
    assert_close(loss.coefficient, torch.ones(3))


def test_the_coefficients_rest_until_the_warm_up_has_ended():
    _, state = run([[[0.1, 0.2, 0.3]]], epochs=2, start=2, gradient_wise=True)
    assert state.coefficient.tolist() == [1, 1, 1]
    _, state = run([[[0.1, 0.2, 0.3]]], epochs=3, start=2, gradient_wise=True)
    assert state.coefficient.isfinite().all() and state.coefficient[0] < 1 < state.coefficient[2]


def test_coefficients_that_follow_distances_which_nothing_measures_are_refused():
    plain = SimpleNamespace(state=ObjectiveState(), terms={"fused": FusedTerm()})
    with pytest.raises(ValueError, match=r"none of the terms \['fused'\] measures them; expected `semantic_dist"):
        RelativePreferenceHandler(plain, NAMES, CASES, gradient_wise=True)


def test_in_the_first_epoch_modalities_weigh_the_more_the_rarer_the_datalist_has_them():
    loss = objective()
    handler = RelativePreferenceHandler(loss, NAMES, CASES, frequency_weights=True)
    engine = Engine(lambda engine, batch: setattr(loss, "last", report(None)))
    seen = []
    handler.attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(loss.state.modality_weight.tolist()))
    engine.run([None], max_epochs=1)
    assert seen == [[2 / 2, 0, 2 / 1]]  # of two cases; no case has t1ce
    assert run([None], frequency_weights=False)[1].modality_weight is None


def test_where_cases_show_all_they_have_the_weights_stay_those_of_the_datalist():
    as_listed = [[[0.2, NAN, 0.4]], [[0.3, NAN, NAN]]]  # the two CASES
    loss = run(as_listed, epochs=3, frequency_weights=True)[1]
    assert torch.equal(loss.modality_weight, weights_of_cases(CASES, NAMES))


def test_where_less_is_shown_than_there_is_the_weights_follow_what_was_shown():
    dropped = [[[0.2, NAN, 0.4]], [[0.3, NAN, NAN]], [[0.3, NAN, NAN]], [[NAN, NAN, 0.1]], [[0.5, NAN, NAN]]]
    loss = run(dropped, frequency_weights=True)[1]
    assert loss.shown.tolist() == [5, 4, 0, 2]
    engine, loss = run([[[NAN, NAN, 0.4]]], frequency_weights=True, loss=objective(loss))  # as a resumed run goes on
    assert loss.shown.tolist() == [6, 4, 0, 3]
    _, loss = run([[[NAN, NAN, 0.4]]], epochs=2, frequency_weights=True, loss=objective(loss))
    assert_close(loss.modality_weight, torch.tensor([7 / 4, 0, 7 / 4]))  # set before the last epoch
    assert loss.modality_weight.isfinite().all()


def test_a_modality_not_shown_yet_weighs_as_in_the_datalist():
    loss = run([[[0.2, NAN, NAN]]], epochs=2, frequency_weights=True)[1]
    assert loss.modality_weight.tolist() == [1, 0, 2]  # t2: one of the two CASES


def average(rank, folder):
    """Run an epoch in one of two processes, which have different cases and different numbers of batches."""
    shares = ([[[0.2, NAN, 0.4]], [[0.4, NAN, NAN]]], [[[NAN, NAN, 0.8]]])
    engine, loss = run(shares[rank], gradient_wise=True, frequency_weights=True)
    found = {**engine.state.preference, "shown": loss.shown}
    torch.save({name: row.tolist() for name, row in found.items()}, f"{folder}/{rank}.pt")


def test_several_processes_agree_on_what_one_process_finds_on_all_their_cases(tmp_path):
    idist.spawn("gloo", average, args=(str(tmp_path),), nproc_per_node=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    engine, loss = run([[[0.2, NAN, 0.4]], [[0.4, NAN, NAN]], [[NAN, NAN, 0.8]]], gradient_wise=True)
    alone = {name: row.tolist() for name, row in {**engine.state.preference, "shown": loss.shown}.items()}
    for name, row in alone.items():
        assert first[name] == pytest.approx(row, nan_ok=True) and second[name] == pytest.approx(row, nan_ok=True), name
    assert alone["coefficient"][0] < 1 < alone["coefficient"][2]


def test_stacked_images_count_by_their_channels():
    cases = [{"image": "x", "channels": ["t2", None, "flair"]}]
    assert weights_of_cases(cases, NAMES).tolist() == [1, 0, 1]
