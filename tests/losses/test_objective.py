# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from scripts.losses.objective import Objective
from scripts.losses.segmentation import SegmentationLoss
from scripts.losses.task import FusedTerm
from scripts.losses.term import Term
from scripts.networks.outputs import AlignmentOutput, MultiModalOutput
from tests.objectives import objective_of

TERMS = {"fused", "deep_supervision", "unimodal"}
ACQUIRED = [[True, False, True], [False, False, True]]  # the middle modality is in no sample


def draw(acquired=ACQUIRED, num_classes=3, seed=0):
    """An output with leaves that ask for gradients, and a label."""
    generator = torch.Generator().manual_seed(seed)
    acquired = torch.tensor(acquired)
    batch = len(acquired)

    def randn(*shape):
        return torch.randn(batch, *shape, generator=generator).requires_grad_()

    auxiliary = [randn(num_classes, 8, 4), randn(num_classes, 4, 2), randn(num_classes, 2, 1)]
    unimodal = randn(3, num_classes, 8, 4).softmax(dim=2) * acquired[:, :, None, None, None]
    unimodal = unimodal.detach().requires_grad_()
    output = MultiModalOutput(
        acquired,
        acquired,
        fused=randn(num_classes, 8, 4),
        auxiliary=auxiliary,
        fused_features=randn(4, 8, 4),
        unimodal=unimodal,
    )
    return output, torch.randint(num_classes, (batch, 1, 8, 4), generator=generator)


def rows(output, label, keep):
    """Some samples of an output."""
    given = {name: each for name, each in output._asdict().items() if name == "auxiliary" or each is not None}
    kept = {name: [x[keep] for x in each] if name == "auxiliary" else each[keep] for name, each in given.items()}
    return MultiModalOutput(**kept), label[keep]


def task(probabilities, label):
    """Cross-entropy plus Dice of one prediction ``(B, C, *S)``: ``(B,)``."""
    return sum(SegmentationLoss()(probabilities.unsqueeze(1), label)).squeeze(1)


def test_total_of_two_voxels_by_hand():
    acquired = torch.tensor([[True, True, False]])
    label = torch.tensor([0, 1]).reshape(1, 1, 1, 2)
    even = torch.zeros(1, 2, 1, 2)  # logits: every probability is 1/2
    unimodal = torch.full((1, 3, 2, 1, 2), 0.5)
    # each prediction: cross-entropy (1/2)(1/2 + 1/2) ln 2, Dice 1 - 2 * (1/2) / (1 + 1)
    single = 0.5 * math.log(2) + 0.5
    # once for the fused one, 1/2 + 1/4 for two intermediate heads, once for each of two modalities
    loss = objective_of()
    output = MultiModalOutput(acquired, acquired, even, [even, even[..., :1]], even, unimodal=unimodal)
    total = loss(output, label)
    assert_close(total, torch.tensor(single * (1 + 0.75 + 2)))
    for name, factor in {"fused": 1, "deep_supervision": 0.75, "unimodal": 2, "total": 3.75}.items():
        assert_close(loss.last.terms[name], torch.tensor(single * factor))
    assert_close(loss.last.terms["unimodal_per_modality"], torch.tensor([single, single, math.nan]), equal_nan=True)


def test_intermediate_heads_halve_in_weight_and_upsample_probabilities():
    output, label = draw()
    loss = objective_of()
    loss(output, label)
    expected = 0
    for weight, logits in zip((1 / 2, 1 / 4, 1 / 8), output.auxiliary, strict=True):
        probabilities = torch.nn.functional.interpolate(
            logits.softmax(dim=1), size=(8, 4), mode="bilinear", align_corners=True
        )
        expected = expected + weight * task(probabilities, label)
    assert_close(loss.last.terms["deep_supervision"], expected.mean().detach())


def test_total_is_the_weighted_sum_of_its_terms():
    output, label = draw()
    loss = objective_of(fused=0.3, deep_supervision=2.0, unimodal=0.7)
    total = loss(output, label)
    expected = (
        0.3 * loss.last.terms["fused"] + 2 * loss.last.terms["deep_supervision"] + 0.7 * loss.last.terms["unimodal"]
    )
    assert_close(total, expected)
    assert_close(loss.last.terms["fused"], task(output.fused.softmax(dim=1), label).mean().detach())
    assert_close(loss.last.terms["total"], total.detach())


def test_a_batch_costs_the_mean_of_its_samples():
    output, label = draw()
    loss = objective_of()
    alone = [loss(*rows(output, label, [b])) for b in range(2)]
    assert_close(loss(output, label), (alone[0] + alone[1]) / 2)


def test_each_modality_costs_what_it_would_cost_alone():
    output, label = draw()
    loss = objective_of()
    loss(output, label)
    values = torch.stack([task(output.unimodal[:, m], label) for m in range(3)], dim=1).detach()  # (B, M)
    # modalities: the first is in sample 0 only, the second in none, the third in both
    means = [values[0, 0], torch.tensor(math.nan), (values[0, 2] + values[1, 2]) / 2]
    assert_close(loss.last.terms["unimodal_per_modality"], torch.stack(means), equal_nan=True)
    assert_close(loss.last.terms["unimodal"], (values[0, 0] + values[0, 2] + values[1, 2]) / 2)


def test_absent_modalities_weigh_nothing_and_get_no_gradient():
    output, label = draw()
    loss = objective_of()
    expected = loss(output, label)
    absent = ~output.acquired
    changed = output.unimodal.detach().clone()
    changed[absent] = torch.rand_like(changed[absent])
    changed.requires_grad_()
    found = loss(output._replace(unimodal=changed), label)
    assert torch.equal(found, expected)
    found.backward()
    assert changed.grad.isfinite().all()
    assert torch.equal(changed.grad.flatten(2).any(dim=2), output.acquired)


def test_heads_of_acquired_modalities_count_even_if_they_were_not_fused():
    output, label = draw()
    loss, hidden = objective_of(), objective_of()
    shown = torch.tensor([[True, False, False], [False, False, False]])
    assert torch.equal(hidden(output._replace(available=shown), label), loss(output, label))
    for name, value in loss.last.terms.items():
        assert_close(hidden.last.terms[name], value, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", sorted(TERMS))
def test_a_weight_of_zero_switches_its_term_off(name):
    output, label = draw()
    full, without = objective_of(), objective_of(**{name: 0.0})
    expected = full(output, label) - full.last.terms[name]
    total = without(output, label)
    assert_close(total, expected)
    total.backward()
    leaves = {"fused": [output.fused], "deep_supervision": output.auxiliary, "unimodal": [output.unimodal]}
    for term, tensors in leaves.items():
        learns = [x.grad is not None and bool(x.grad.any()) for x in tensors]
        assert learns == [term != name] * len(tensors), term


def test_a_weight_scales_the_gradient_of_its_term_only():
    gradients = []
    for weight in (1.0, 3.0):
        output, label = draw()
        objective_of(unimodal=weight)(output, label).backward()
        gradients.append((output.fused.grad, output.unimodal.grad))
    assert_close(gradients[1][0], gradients[0][0])
    assert_close(gradients[1][1], 3 * gradients[0][1])
    assert gradients[0][1].any()


def test_terms_are_named_detached_and_finite():
    output, label = draw(acquired=[[True, True, True]])
    loss = objective_of()
    total = loss(output, label)
    assert total.shape == () and total.requires_grad
    assert set(loss.last.terms) == TERMS | {"unimodal_per_modality", "total"}
    for name, value in loss.last.terms.items():
        assert value.shape == ((3,) if name == "unimodal_per_modality" else ()), name
        assert value.isfinite().all() and not value.requires_grad, name


def test_a_network_without_other_heads_costs_its_fused_prediction_and_leaves_no_entry_of_theirs():
    output, label = draw()
    loss = objective_of(fused=0.5)
    loss(output, label)
    total = loss(output._replace(auxiliary=[], unimodal=None), label)
    assert_close(total, 0.5 * task(output.fused.softmax(dim=1), label).mean())
    assert set(loss.last.terms) == {"fused", "total"}  # nor one of the call before
    total.backward()
    assert output.fused.grad.isfinite().all() and output.fused.grad.any()


@pytest.mark.parametrize(
    ("without", "names"),
    [
        ({"unimodal": None}, {"fused", "deep_supervision", "total"}),
        ({"auxiliary": []}, {"fused", "unimodal", "unimodal_per_modality", "total"}),
    ],
    ids=["no uni-modal heads", "no intermediate heads"],
)
def test_heads_that_a_network_lacks_leave_the_other_terms_as_they_are(without, names):
    output, label = draw()
    full, loss = objective_of(), objective_of()
    full(output, label)
    total = loss(output._replace(**without), label)
    assert set(loss.last.terms) == names
    for name in names - {"total"}:
        assert_close(loss.last.terms[name], full.last.terms[name], rtol=0, atol=0, equal_nan=True)
    assert_close(total.detach(), sum(loss.last.terms[name] for name in names & TERMS))


def test_terms_are_those_of_the_last_call():
    loss = objective_of()
    loss(*draw(seed=1))
    loss(*draw(seed=2))
    again = objective_of()
    again(*draw(seed=2))
    for name, value in loss.last.terms.items():
        assert_close(value, again.last.terms[name], rtol=0, atol=0, equal_nan=True)


def test_a_batch_without_any_modality_has_a_finite_loss_and_gradient():
    output, label = draw(acquired=[[False] * 3, [False] * 3])
    loss = objective_of()
    total = loss(output, label)
    total.backward()
    assert total.isfinite() and output.fused.grad.isfinite().all()
    assert loss.last.terms["unimodal"] == 0 and loss.last.terms["unimodal_per_modality"].isnan().all()


@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_certain_and_wrong_predictions_are_finite(scale):
    output, label = draw()
    wrong = torch.nn.functional.one_hot(label.squeeze(1), 3).movedim(-1, 1) * -scale
    logits = wrong.requires_grad_()
    total = objective_of()(output._replace(fused=logits), label)
    total.backward()
    assert total.isfinite() and logits.grad.isfinite().all()


def test_logits_of_reduced_precision_are_scored_in_float32():
    output, label = draw()
    half = output._replace(fused=output.fused.bfloat16(), auxiliary=[x.bfloat16() for x in output.auxiliary])
    rounded = half._replace(fused=half.fused.float(), auxiliary=[x.float() for x in half.auxiliary])
    assert torch.equal(objective_of()(half, label), objective_of()(rounded, label))


# --- alignment -----------------------------------------------------------------------------------


def aligned(output, features, anchors, mask):
    return output._replace(alignment=AlignmentOutput([features], [anchors], torch.tensor(mask)))


def test_alignment_is_the_mean_over_the_aligned_modalities_then_over_the_samples():
    output, label = draw()
    # distances from an anchor of zeros: half of 4, 16 and 36
    features = torch.tensor([2.0, 4.0, 6.0]).view(1, 3, 1, 1, 1).repeat(2, 1, 1, 1, 1)
    plain = objective_of()(output, label)
    loss = objective_of(alignment=0.5)
    total = loss(aligned(output, features, torch.zeros(2, 1, 1, 1), ACQUIRED), label)
    # {first, third}: (2 + 18) / 2; {third}: 18
    assert_close(loss.last.terms["alignment"], torch.tensor((10.0 + 18.0) / 2))
    assert_close(loss.last.terms["alignment_per_modality"], torch.tensor([2.0, math.nan, 18.0]), equal_nan=True)
    assert_close(total, plain + 0.5 * 14.0)


def test_a_sample_without_an_anchor_adds_nothing_and_says_nothing():
    output, label = draw()
    features = torch.full((2, 3, 1, 1, 1), 2.0, requires_grad=True)
    mask = [[True, False, True], [False] * 3]
    loss = objective_of()
    loss(aligned(output, features, torch.zeros(2, 1, 1, 1), mask), label).backward()
    assert_close(loss.last.terms["alignment"], torch.tensor((2.0 + 0.0) / 2))
    assert_close(loss.last.terms["alignment_per_modality"], torch.tensor([2.0, math.nan, 2.0]), equal_nan=True)
    assert features.grad.isfinite().all()
    assert torch.equal(features.grad.flatten(1) != 0, torch.tensor(mask))


def test_alignment_counts_only_where_there_is_one_and_where_it_weighs():
    output, label = draw()
    for loss, given in (
        (objective_of(), output),
        (objective_of(alignment=0.0), aligned(output, torch.ones(2, 3, 1, 1), torch.zeros(2, 1, 1), ACQUIRED)),
    ):
        total = loss(given, label)
        assert set(loss.last.terms) == {*TERMS, "unimodal_per_modality", "total"}
        assert_close(total, objective_of()(output, label))


def test_a_distance_that_is_not_a_number_is_not_hidden():
    output, label = draw()
    broken = aligned(output, torch.full((2, 3, 1, 1), math.nan), torch.zeros(2, 1, 1), ACQUIRED)
    assert objective_of()(broken, label).isnan()


# --- terms and paths -----------------------------------------------------------------------------


class Constant(Term):
    """A term that reads what it is told to and says the same of everything."""

    def __init__(self, paths, values, weight=1.0, applies=None):
        super().__init__(weight)
        self.paths, self.values, self.where = paths, values, applies

    def forward(self, output, label):
        return self.values

    def applies(self, output):
        return self.where


@pytest.mark.parametrize(
    ("weights", "paths"),
    [
        ({}, ["fused", "unimodal", "alignment"]),
        ({"unimodal": 0.0, "alignment": 0.0}, ["fused"]),
        ({"fused": 0.0, "deep_supervision": 0.0}, ["unimodal", "alignment"]),
        ({"pixel_distillation": 0.5}, ["fused", "unimodal", "students", "alignment"]),
        ({"pixel_distillation": 0.0, "alignment": 0.0}, ["fused", "unimodal"]),
        ({"semantic_distillation": 0.0}, ["fused", "unimodal", "students", "alignment"]),  # it measures
        ({"consistency": 10.0, "soft_distillation": 0.5}, ["fused", "unimodal", "narrowed", "teacher", "alignment"]),
    ],
)
def test_paths_are_what_terms_read_that_weigh_or_measure_something(weights, paths):
    assert objective_of(**weights).paths == paths


def test_a_term_of_samples_that_applies_to_some_counts_there_and_is_logged_of_these():
    output, label = draw()
    term = Constant((), torch.tensor([3.0, math.nan]), weight=2.0, applies=torch.tensor([True, False]))
    objective = Objective({"some": term})
    assert_close(objective(output, label), torch.tensor(2 * (3.0 + 0.0) / 2))
    assert objective.last.terms["some"] == 3.0


def test_a_term_of_modalities_counts_for_those_acquired():
    output, label = draw()
    objective = Objective({"each": Constant((), torch.tensor([[1.0, 9.0, 3.0], [9.0, 9.0, 5.0]]))})
    assert_close(objective(output, label), torch.tensor(((1.0 + 3.0) + 5.0) / 2))
    assert_close(objective.last.terms["each_per_modality"], torch.tensor([1.0, math.nan, 4.0]), equal_nan=True)


def test_null_in_the_place_of_a_term_leaves_it_out_and_without_any_there_is_no_objective():
    assert list(Objective({"fused": FusedTerm(), "unimodal": None}).terms) == ["fused"]
    with pytest.raises(ValueError, match="the objective has no terms; expected at least one. See `loss::terms`"):
        Objective({"fused": None})


def test_a_path_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match=r"the term `new` reads the paths \['depth'\]; expected names out of"):
        Objective({"new": Constant(("fused", "depth"), torch.zeros(2))})


def test_the_state_is_part_of_every_checkpoint_and_an_older_one_is_read():
    objective, other, old = objective_of(), objective_of(), objective_of()
    objective.state.coefficient, objective.state.shown = torch.tensor([0.5, 1.5]), torch.tensor([3.0, 2.0, 1.0])
    objective.state.completed_epochs = 7
    other.load_state_dict(objective.state_dict())
    assert torch.equal(other.state.coefficient, objective.state.coefficient) and other.state.completed_epochs == 7
    assert torch.equal(other.state.shown, objective.state.shown)
    old.load_state_dict({"_extra_state": {"coefficient": torch.tensor([2.0, 1.0]), "shown": None}})
    assert old.state.coefficient.tolist() == [2, 1] and old.state.completed_epochs == 0
