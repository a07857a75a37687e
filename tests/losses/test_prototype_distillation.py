# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from scripts.losses.prototype_distillation import PrototypeDistillation


def features_of(rows):
    """Features by voxel, ``(voxels, features)``, as one sample ``(1, F, 1, voxels)``."""
    return torch.tensor(rows).t()[None, :, None]


def label_of(classes):
    """Classes by voxel as ``(1, 1, 1, voxels)``."""
    return torch.tensor(classes)[None, None, None]


def draw(num_samples=2, num_modalities=3, num_classes=4, size=(5, 4, 3), dtype=torch.float32, seed=0):
    """Students ``(B, M, 6, *S)``, a teacher ``(B, 6, *S)`` and a label."""
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(num_samples, num_modalities, 6, *size, generator=generator)
    teacher = torch.randn(num_samples, 6, *size, generator=generator)
    label = torch.randint(num_classes, (num_samples, 1, *size), generator=generator)
    return student.to(dtype), teacher.to(dtype), label


def formula(student, teacher, label, classes=None):
    """Loss and distance of one student of one sample, ``(F, *S)`` each, as they are defined, for the given classes."""
    label = label.flatten()
    maps = []
    for features in (student.flatten(1), teacher.flatten(1)):
        rows = []
        for c in label.unique() if classes is None else classes:
            prototype = features[:, label == c].sum(dim=1) / ((label == c).sum() + 1e-5)
            norms = features.norm(dim=0).clamp(min=1e-5) * prototype.norm().clamp(min=1e-5)
            rows.append(prototype @ features / norms)
        maps.append(torch.stack(rows))
    difference = maps[0] - maps[1]
    return difference.square().mean(), difference.abs().mean()


def reference_inputs(golden, case):
    """Stored numbers, features of a student and of a teacher ``(2, 8, 12, 12, 12)``, and the label of a case."""
    stored = golden("losses")
    label = torch.from_numpy(stored[f"in/label_{case}"]).unsqueeze(1)
    return stored, *(torch.from_numpy(stored[f"in/feat_{x}"]).requires_grad_() for x in "st"), label


# --- reference numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize("case", "ABCD")
def test_values_of_samples_on_their_own_reproduce_the_reference(golden, case):
    stored, student, teacher, label = reference_inputs(golden, case)
    terms = PrototypeDistillation(4)(student.unsqueeze(1), teacher, label)
    for i, values in enumerate(terms):
        expected = np.concatenate([stored[f"out/proto_single/{case}/b{b}#{i}"] for b in range(2)])
        np.testing.assert_allclose(values.detach(), expected, rtol=1e-5)


@pytest.mark.parametrize("case", "ABCD")
def test_values_of_a_batch_reproduce_the_reference_where_its_samples_have_the_same_classes(golden, case):
    stored, student, teacher, label = reference_inputs(golden, case)
    terms = PrototypeDistillation(4)(student.unsqueeze(1), teacher, label)
    has_all = [set(sample.unique().tolist()) <= set(label[1 - b].unique().tolist()) for b, sample in enumerate(label)]
    assert has_all == [case != "B", True]  # sample 0 of B has a class that sample 1 lacks
    for i, values in enumerate(terms):
        agrees = np.isclose(values.detach(), stored[f"out/proto/{case}#{i}"], rtol=1e-5).ravel()
        assert agrees.tolist() == has_all


@pytest.mark.parametrize("case", "ABCD")
def test_gradients_reproduce_the_reference_where_samples_have_the_same_classes(golden, case):
    stored, student, teacher, label = reference_inputs(golden, case)
    loss = PrototypeDistillation(4)(student.unsqueeze(1), teacher, label).loss
    (loss[0, 0] + 0.5 * loss[1, 0]).backward()
    close = is_close(student.grad, stored[f"grad/proto/{case}#0"])
    assert close[1].all()
    assert close[0].all() == (case != "B")
    assert student.grad.isfinite().all()
    assert teacher.grad is None  # the reference stores one, and detaches the teacher before it trains


@pytest.mark.parametrize("case", "ABCD")
def test_the_formula_reproduces_the_reference_with_the_classes_that_all_samples_have(golden, case):
    stored, student, teacher, label = reference_inputs(golden, case)
    student, teacher = (x.detach().double().requires_grad_() for x in (student, teacher))
    common = sorted(set(label[0].unique().tolist()) & set(label[1].unique().tolist()))
    terms = [formula(student[b], teacher[b], label[b], common) for b in range(2)]
    for i in range(2):
        values = [terms[b][i].item() for b in range(2)]
        np.testing.assert_allclose(values, stored[f"out/proto/{case}#{i}"].ravel(), rtol=1e-5)
    (terms[0][0] + 0.5 * terms[1][0]).backward()
    assert is_close(student.grad, stored[f"grad/proto/{case}#0"]).all()


def is_close(found, expected):
    """Tell of each voxel of ``(B, F, *S)`` whether its gradients agree: those of zero vectors are 1e5 times larger."""
    difference, size = ((x.double().norm(dim=1)) for x in (found - expected, torch.from_numpy(expected)))
    return difference <= 1e-4 * size + 1e-8


# --- by hand -------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_classes", [2, 3])
def test_two_voxels_of_two_classes_by_hand_whatever_classes_the_sample_lacks(num_classes):
    student = features_of([[1.0, 0.0], [0.6, 0.8]]).unsqueeze(1)
    teacher = features_of([[5.0, 0.0], [0.0, 2.0]])
    terms = PrototypeDistillation(num_classes)(student, teacher, label_of([0, 1]))
    # a voxel is the prototype of its class: similarities are 1, and to the other class 0.6 and 0
    assert_close(terms.loss, torch.tensor([[(0 + 0.6**2 + 0.6**2 + 0) / 4]]))
    assert_close(terms.distance, torch.tensor([[(0 + 0.6 + 0.6 + 0) / 4]]))


def test_two_voxels_of_background_by_hand():
    student = features_of([[1.0, 0.0], [0.0, 1.0]]).unsqueeze(1)
    teacher = features_of([[1.0, 0.0], [3.0, 0.0]])
    terms = PrototypeDistillation(4)(student, teacher, label_of([0, 0]))
    # the prototype of the student lies between its voxels, at 45 degrees of both; those of the teacher agree
    difference = 1 - math.sqrt(0.5)
    assert_close(terms.loss, torch.tensor([[difference**2]]))
    assert_close(terms.distance, torch.tensor([[difference]]))


def test_opposite_voxels_of_one_class_are_the_furthest_apart_by_hand():
    student = features_of([[1.0, 0.0], [-0.5, 0.0]]).unsqueeze(1)  # prototype (0.25, 0)
    teacher = features_of([[-0.5, 0.0], [1.0, 0.0]])
    terms = PrototypeDistillation(2)(student, teacher, label_of([1, 1]))
    assert_close(terms.loss, torch.tensor([[4.0]]))
    assert_close(terms.distance, torch.tensor([[2.0]]))


# --- the formula in double precision -------------------------------------------------------------


def test_values_and_gradients_are_those_of_the_formula():
    student, teacher, label = draw(dtype=torch.float64)
    label[1] = label[1].clamp(max=1)  # this sample lacks two of four classes
    teacher[0, :, 0] = 0
    gradients = []
    for loss in (PrototypeDistillation(4), each_on_its_own):
        leaf = student.clone().requires_grad_()
        values = loss(leaf, teacher, label)
        (values[0] * torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])).sum().backward()
        gradients.append((values[0].detach(), values[1].detach(), leaf.grad))
    assert_close(gradients[0], gradients[1])
    assert gradients[0][2].flatten(2).any(dim=2).all()


def each_on_its_own(student, teacher, label):
    """Loss and distance of every sample and student by the formula: ``(B, M)`` each."""
    rows = [[formula(m, teacher[b], label[b]) for m in each] for b, each in enumerate(student)]
    return [torch.stack([torch.stack([terms[i] for terms in row]) for row in rows]) for i in range(2)]


def test_gradients_agree_with_finite_differences_in_double_precision():
    student, teacher, label = draw(size=(3, 2), num_modalities=2, num_classes=3, dtype=torch.float64)
    loss = PrototypeDistillation(3)
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher, label).loss, (student.requires_grad_(),))


# --- properties ----------------------------------------------------------------------------------


def test_students_at_once_equal_one_sample_and_one_student_at_a_time():
    student, teacher, label = draw()
    label[1] = label[1].clamp(max=1)
    together = PrototypeDistillation(4)(student, teacher, label)
    assert together.loss.shape == together.distance.shape == (2, 3)
    for b in range(2):
        for m in range(3):
            alone = PrototypeDistillation(4)(student[b : b + 1, m : m + 1], teacher[b : b + 1], label[b : b + 1])
            for found, expected in zip(alone, together, strict=True):
                assert_close(found[0, 0], expected[b, m])


def test_a_class_that_a_sample_lacks_changes_nothing_for_another_sample():
    student, teacher, label = draw()
    before = PrototypeDistillation(4)(student, teacher, label)
    label[1] = label[1].clamp(max=2)
    after = PrototypeDistillation(4)(student, teacher, label)
    for old, new in zip(before, after, strict=True):
        assert torch.equal(new[0], old[0])
        assert new.isfinite().all() and (new[1] != old[1]).all()


def test_a_value_depends_on_its_own_student_only():
    student, teacher, label = draw()
    student.requires_grad_()
    PrototypeDistillation(4)(student, teacher, label).loss[1, 2].backward()
    assert student.grad.isfinite().all()
    assert student.grad.flatten(2).any(dim=2).tolist() == [[False] * 3, [False, False, True]]


def test_values_follow_the_order_of_the_modalities():
    student, teacher, label = draw()
    order = [2, 0, 1]
    before = PrototypeDistillation(4)(student, teacher, label)
    after = PrototypeDistillation(4)(student[:, order], teacher, label)
    for old, new in zip(before, after, strict=True):
        assert_close(new, old[:, order])


def test_the_teacher_and_the_distance_have_no_gradient_and_the_student_has():
    student, teacher, label = draw()
    for leaf in (student, teacher):
        leaf.requires_grad_()
    terms = PrototypeDistillation(4)(student, teacher, label)
    assert terms.loss.requires_grad and not terms.distance.requires_grad
    terms.loss.sum().backward()
    assert teacher.grad is None
    assert student.grad.isfinite().all() and student.grad.any()


def test_a_student_equal_to_the_teacher_costs_nothing_and_learns_nothing():
    _, teacher, label = draw()
    student = teacher.unsqueeze(1).repeat(1, 3, 1, 1, 1, 1).requires_grad_()
    terms = PrototypeDistillation(4)(student, teacher, label)
    assert_close(terms.loss, torch.zeros(2, 3), rtol=0, atol=1e-12)
    assert_close(terms.distance, torch.zeros(2, 3), rtol=0, atol=1e-6)
    terms.loss.sum().backward()
    assert student.grad.isfinite().all() and student.grad.abs().max() < 1e-7


def test_the_length_of_feature_vectors_does_not_matter_but_that_of_one_voxel_moves_a_prototype():
    student, teacher, label = draw()
    before = PrototypeDistillation(4)(student, teacher, label)
    scaled = PrototypeDistillation(4)(30 * student, 0.2 * teacher, label)
    for old, new in zip(before, scaled, strict=True):
        assert_close(new, old, rtol=1e-4, atol=1e-6)
    student[..., 0, 0, 0] *= 30
    moved = PrototypeDistillation(4)(student, teacher, label)
    for old, new in zip(before, moved, strict=True):
        assert new.isfinite().all() and (new != old).all()


def test_order_of_voxels_and_names_of_classes_do_not_matter():
    student, teacher, label = draw()
    before = PrototypeDistillation(4)(student, teacher, label)
    order = torch.randperm(60)
    shuffled = [x.flatten(-3)[..., order] for x in (student, teacher, label)]
    for after in (PrototypeDistillation(4)(*shuffled), PrototypeDistillation(4)(student, teacher, (label + 2) % 4)):
        for old, new in zip(before, after, strict=True):
            assert_close(new, old)


def test_slices_are_compared_as_volumes_are():
    student, teacher, label = draw(size=(6, 5))
    flat = PrototypeDistillation(4)(student, teacher, label)
    deep = PrototypeDistillation(4)(student.unsqueeze(3), teacher.unsqueeze(2), label.unsqueeze(2))
    for found, expected in zip(flat, deep, strict=True):
        assert_close(found, expected)


@pytest.mark.parametrize("where", ["one voxel", "one class", "everywhere"])
@pytest.mark.parametrize("whose", ["student", "teacher", "both"])
def test_features_of_zero_give_finite_values_and_gradients(whose, where):
    student, teacher, label = draw()
    hidden = {"one voxel": torch.arange(60).reshape(5, 4, 3) == 7, "one class": label == 2, "everywhere": label >= 0}
    if whose != "teacher":
        student.masked_fill_(hidden[where] if where == "one voxel" else hidden[where].unsqueeze(1), 0)
    if whose != "student":
        teacher.masked_fill_(hidden[where], 0)
    student.requires_grad_()
    terms = PrototypeDistillation(4)(student, teacher, label)
    assert all(values.isfinite().all() for values in terms)
    terms.loss.sum().backward()
    assert student.grad.isfinite().all()
    assert bool(terms.distance.any()) == ((whose, where) != ("both", "everywhere"))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float32])
def test_label_may_have_any_number_type(dtype):
    student, teacher, label = draw()
    expected = PrototypeDistillation(4)(student, teacher, label)
    for found, value in zip(PrototypeDistillation(4)(student, teacher, label.to(dtype)), expected, strict=True):
        assert torch.equal(found, value)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_features_of_reduced_precision_are_compared_in_float32(dtype):
    student, teacher, label = draw()
    student, teacher = student.to(dtype).requires_grad_(), teacher.to(dtype)
    terms = PrototypeDistillation(4)(student, teacher, label)
    for found, value in zip(terms, PrototypeDistillation(4)(student.float(), teacher.float(), label), strict=True):
        assert found.dtype == torch.float32 and found.isfinite().all()
        assert torch.equal(found, value)
    terms.loss.sum().backward()
    assert student.grad.dtype == dtype and student.grad.isfinite().all() and student.grad.any()
