# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The objective with students."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from scripts.losses.pixel_distillation import PixelDistillation
from scripts.losses.preference import RelativePreference
from scripts.losses.prototype_distillation import PrototypeDistillation, SemanticDistillationTerm
from scripts.networks.rfnet import RFNet
from tests.objectives import WITH_STUDENTS, objective_of

WEIGHTS = {"pixel_distillation": 0.5, "semantic_distillation": 0.1}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return RFNet(num_modalities=3, num_classes=3, width=4).train()


@pytest.fixture
def batch(hide):
    """Two samples, the first without its second modality, the second with its third one only; and their labels."""
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(2, 3, 12, 12, 12, generator=generator)
    image = torch.cat([hide(image[:1], "101"), hide(image[1:], "001")])
    return image, torch.randint(3, (2, 1, 12, 12, 12), generator=generator)


def test_terms_are_those_of_each_student_and_nothing_for_a_single_modality(network, batch):
    image, label = batch
    output = network(image, paths=WITH_STUDENTS)
    objective = objective_of(**WEIGHTS)
    objective(output, label)
    assert output.students.available.tolist() == [[True, False, True], [False, False, False]]
    pixel, size = PixelDistillation(), [12, 12, 12]
    students = output.students
    for row, m in enumerate((0, 2)):
        expected = pixel(students.logits[row][None, None], output.fused[:1])
        for level, (logits, teacher) in enumerate(zip(students.auxiliary, output.auxiliary, strict=True), start=1):
            expected = expected + 0.5**level * pixel(logits[row][None, None], teacher[:1], size)
        prototype = PrototypeDistillation(3)(students.features[row][None, None], output.fused_features[:1], label[:1])
        seen = 1 if m == 0 else 2  # the second sample has the third modality too, and costs nothing
        assert_close(objective.last.terms["pixel_distillation_per_modality"][m], expected.detach()[0, 0] / seen)
        assert_close(
            objective.last.terms["semantic_distillation_per_modality"][m], prototype.loss.detach()[0, 0] / seen
        )
        assert_close(objective.last.distance[0, m], prototype.distance[0, 0])
    assert objective.last.distance.isnan().tolist() == [[False, True, False], [True, True, True]]


def test_a_modality_that_is_alone_has_no_distance_or_that_of_the_release(network, batch):
    image, label = batch
    output = network(image, paths=WITH_STUDENTS)
    distances = {}
    for word in ("none", "zero"):
        objective = objective_of(**WEIGHTS)
        objective.terms["semantic_distillation"] = SemanticDistillationTerm(0.1, distance_alone=word)
        total = objective(output, label)
        distances[word] = objective.last.distance
        assert total.isfinite()
    assert distances["none"][1].isnan().all()
    assert distances["zero"].isnan().tolist()[1] == [True, True, False] and distances["zero"][1, 2] == 0
    assert_close(distances["none"][0], distances["zero"][0], equal_nan=True)
    with pytest.raises(ValueError, match="`distance_alone` is `nothing`; expected `none` or `zero`"):
        SemanticDistillationTerm(distance_alone="nothing")


def test_a_modality_that_is_often_alone_is_not_preferred_for_it(network, batch):
    image, label = batch
    preferences = {}
    for word in ("none", "zero"):
        objective = objective_of(**WEIGHTS)
        objective.terms["semantic_distillation"] = SemanticDistillationTerm(0.1, distance_alone=word)
        objective(network(image, paths=WITH_STUDENTS), label)
        means = RelativePreference(objective.state, 3)
        means.begin()
        means.collect(objective.last.acquired, torch.where(objective.last.distance > 0, 0.5, objective.last.distance))
        preferences[word] = means.end(0).preference
    # all that was compared is at 0.5; with the zero the third is at (0.5 + 0) / 2, and the mean of those seen at 0.375
    assert_close(preferences["none"], torch.zeros(3))
    assert_close(preferences["zero"], torch.tensor([-1 / 3, 0.0, 1 / 3]))


def test_total_is_the_sum_of_its_weighted_terms(network, batch):
    image, label = batch
    output = network(image, paths=WITH_STUDENTS)
    objective = objective_of(**WEIGHTS)
    total = objective(output, label)
    terms = objective.last.terms
    plain = terms["fused"] + terms["deep_supervision"] + terms["unimodal"]
    assert_close(total.detach(), plain + 0.5 * terms["pixel_distillation"] + 0.1 * terms["semantic_distillation"])
    assert_close(objective_of()(output._replace(students=None), label).detach(), plain)


def test_gate_coefficient_and_weight_meet_each_term_once(network, batch):
    image, label = batch
    output = network(image[:1], paths=WITH_STUDENTS)
    objective = objective_of(**WEIGHTS, task_wise=True)
    objective.state.coefficient, objective.state.modality_weight = torch.tensor([2.0, 1, 3]), torch.tensor([5.0, 1, 7])
    total = objective(output, label[:1])
    terms, far = objective.last.terms, objective.last.distance[0].nan_to_num().argmax()
    gate = torch.zeros(3)
    gate[far] = 1  # of two modalities the one that is further away
    both = objective.state.coefficient * objective.state.modality_weight
    values = {name: terms[f"{name}_per_modality"].nan_to_num() for name in (*WEIGHTS, "unimodal")}
    expected = terms["fused"] + terms["deep_supervision"] + (gate * both * values["unimodal"]).sum()
    expected = expected + 0.5 * (both * values["pixel_distillation"]).sum()
    expected = expected + 0.1 * (gate * objective.state.modality_weight * values["semantic_distillation"]).sum()
    assert_close(total.detach(), expected)


def test_while_warming_up_only_the_unimodal_heads_count(network, batch):
    image, label = batch
    output = network(image, paths=WITH_STUDENTS)
    objective = objective_of(**WEIGHTS, task_wise=True)
    objective.state.warming_up = True
    total = objective(output, label)
    assert_close(total.detach(), objective.last.terms["unimodal"])
    total.backward()
    assert network.segment.weight.grad is None
    gradient = network.unimodal_decoder.segment.weight.grad
    assert gradient.isfinite().all() and gradient.any()


def test_students_teach_the_shared_decoder_and_leave_the_teacher_alone(network, batch):
    image, label = batch
    output = network(image[:1], paths=WITH_STUDENTS)
    objective_of(fused=0, deep_supervision=0, unimodal=0, **WEIGHTS)(output, label[:1]).backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert gradients["stages.0.merge.0.conv.weight"].any() and gradients["encoders.0.first.0.conv.weight"].any()
    assert not any(name.startswith("encoders.1.") for name in gradients)


def test_distance_alone_costs_no_gradient(network, batch):
    image, label = batch
    output = network(image[:1], paths=WITH_STUDENTS)
    objective = objective_of(fused=0, deep_supervision=0, unimodal=0, semantic_distillation=0, task_wise=True)
    total = objective(output, label[:1])
    assert total == 0 and objective.last.distance.nansum() > 0
    assert "pixel_distillation" not in objective.last.terms


def test_gates_without_a_term_that_measures_distances_are_refused(network, batch):
    image, label = batch
    with pytest.raises(ValueError, match="none of the terms .*'fused'.* measures them; expected `semantic"):
        objective_of(task_wise=True)(network(image), label)


def test_coefficients_are_part_of_the_state():
    objective, other = objective_of(), objective_of()
    objective.state.coefficient = torch.tensor([0.5, 1.5])
    other.load_state_dict(objective.state_dict())
    assert torch.equal(other.state.coefficient, objective.state.coefficient)


def test_an_output_without_the_students_that_a_term_reads_is_refused(network, batch):
    image, label = batch
    with pytest.raises(ValueError, match=r"`pixel_distillation` reads .*the output has no \['students'\]; expected"):
        objective_of(pixel_distillation=0.5)(network(image), label)
