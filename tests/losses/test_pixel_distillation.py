# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from scripts.losses.pixel_distillation import MIN_PROBABILITY, PixelDistillation
from scripts.networks.convolution import upsample


def logits_of(rows):
    """Probabilities by voxel, ``(voxels, classes)``, as logits of one sample ``(1, C, 1, voxels)``."""
    return torch.tensor(rows).log().t()[None, :, None]


def draw(num_samples=2, num_modalities=3, num_classes=4, size=(5, 4, 3), spread=2.0, dtype=torch.float32, seed=0):
    """Students ``(B, M, C, *S)`` and a teacher ``(B, C, *S)``."""
    generator = torch.Generator().manual_seed(seed)
    student = spread * torch.randn(num_samples, num_modalities, num_classes, *size, generator=generator)
    teacher = spread * torch.randn(num_samples, num_classes, *size, generator=generator)
    return student.to(dtype), teacher.to(dtype)


def formula(student, teacher, temperature, size=None):
    """The divergence of one student, ``(B, C, *S)`` each, as it is defined: ``(B,)``."""

    def soften(logits):
        probabilities = (logits / temperature).softmax(dim=1)
        return (probabilities if size is None else upsample(probabilities, size)).clamp(MIN_PROBABILITY, 1)

    s, t = soften(student), soften(teacher)
    return temperature**2 * (t * (t.log() - s.log())).flatten(1).mean(dim=1)


# --- reference numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1, 4])
@pytest.mark.parametrize("upsampled", [False, True])
def test_values_and_gradients_reproduce_the_reference(golden, upsampled, temperature):
    stored = golden("losses")
    student, teacher = (torch.from_numpy(stored[f"in/logit_{x}{'6' * upsampled}"]).requires_grad_() for x in "st")
    value = PixelDistillation(temperature)(student.unsqueeze(1), teacher, [12, 12, 12])
    name = f"kl_T{temperature}" + "_up" * upsampled
    np.testing.assert_allclose(value.detach(), stored[f"out/{name}"], rtol=1e-5)
    (value[0, 0] + 0.5 * value[1, 0]).backward()
    expected = stored[f"grad/{name}#0"]
    np.testing.assert_allclose(student.grad, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    assert teacher.grad is None  # the reference stores one, and detaches the teacher before it trains


def test_a_student_equal_to_the_teacher_reproduces_the_reference(golden):
    stored = golden("losses")
    student = torch.from_numpy(stored["in/logit_s"]).requires_grad_()
    value = PixelDistillation()(student.unsqueeze(1), student.detach())
    np.testing.assert_allclose(value.detach(), stored["out/kl_T4_same"], atol=1e-7)
    (value[0, 0] + 0.5 * value[1, 0]).backward()
    np.testing.assert_allclose(student.grad, stored["grad/kl_T4_same#0"], atol=1e-9)


# --- by hand -------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_two_voxels_of_two_classes_by_hand(temperature):
    student = temperature * logits_of([[0.5, 0.5], [0.2, 0.8]])  # softened, these are the probabilities
    teacher = temperature * logits_of([[0.75, 0.25], [0.2, 0.8]])
    value = PixelDistillation(temperature)(student.unsqueeze(1), teacher)
    # the second voxel agrees; the mean is over two classes and two voxels
    expected = temperature**2 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)) / 4
    assert_close(value, torch.tensor([[expected]]))


def test_probabilities_of_student_and_teacher_are_cut_by_hand():
    value = PixelDistillation(1.0)(logits_of([[0.002, 0.998]]).unsqueeze(1), logits_of([[0.999, 0.001]]))
    expected = (0.999 * math.log(0.999 / 0.005) + 0.005 * math.log(0.005 / 0.998)) / 2
    assert MIN_PROBABILITY == 0.005
    assert_close(value, torch.tensor([[expected]]))


@pytest.mark.parametrize(("p", "learns"), [(0.0049, False), (0.0051, True)])
def test_a_voxel_learns_nothing_from_a_class_below_the_smallest_probability(p, learns):
    student = logits_of([[p, 1 - p]]).requires_grad_()
    PixelDistillation(1.0)(student.unsqueeze(1), logits_of([[0.4, 0.6]])).sum().backward()
    # by probability: -t / (2 s) for each of two classes, none where it is cut; by logit, through the softmax
    by_probability = torch.tensor([-0.4 / p if learns else 0.0, -0.6 / (1 - p)]) / 2
    probabilities = torch.tensor([p, 1 - p])
    expected = probabilities * (by_probability - probabilities @ by_probability)
    assert_close(student.grad.flatten(), expected)


# --- the formula in double precision -------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("size", [None, [6, 7, 4]])
def test_values_and_gradients_are_those_of_the_formula_even_where_probabilities_are_cut(size, temperature):
    student, teacher = draw(spread=12.0, dtype=torch.float64)
    assert ((student / temperature).softmax(dim=2) < MIN_PROBABILITY).any()
    gradients = []
    for loss in (PixelDistillation(temperature), lambda s, t, n: formula(s[:, 0], t, temperature, n)):
        leaf = student[:, :1].clone().requires_grad_()
        value = loss(leaf, teacher, size).flatten()
        (value[0] + 3 * value[1]).backward()
        gradients.append((value.detach(), leaf.grad))
    assert_close(gradients[0], gradients[1])
    assert gradients[0][1].any()


def test_gradients_agree_with_finite_differences_in_double_precision():
    student, teacher = draw(size=(3, 2), num_classes=3, num_modalities=2, spread=0.5, dtype=torch.float64)
    assert student.softmax(dim=2).min() > 2 * MIN_PROBABILITY
    loss = PixelDistillation(1.5)
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher), (student.requires_grad_(),))
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher, [5, 3]), (student,))


# --- properties ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [None, [6, 7, 4]])
def test_students_at_once_equal_one_sample_and_one_student_at_a_time(size):
    student, teacher = draw()
    together = PixelDistillation()(student, teacher, size)
    assert together.shape == (2, 3)
    for b in range(2):
        for m in range(3):
            alone = PixelDistillation()(student[b : b + 1, m : m + 1], teacher[b : b + 1], size)
            assert_close(alone[0, 0], together[b, m])


def test_a_value_depends_on_its_own_student_only():
    student, teacher = draw()
    student.requires_grad_()
    PixelDistillation()(student, teacher)[1, 2].backward()
    assert student.grad.isfinite().all()
    assert student.grad.flatten(2).any(dim=2).tolist() == [[False] * 3, [False, False, True]]


def test_another_sample_changes_nothing():
    student, teacher = draw()
    other_student, other_teacher = draw(seed=1)
    before = PixelDistillation()(student, teacher)
    student[1], teacher[1] = other_student[1], other_teacher[1]
    after = PixelDistillation()(student, teacher)
    assert torch.equal(after[0], before[0])
    assert after.isfinite().all() and (after[1] != before[1]).all()


def test_the_teacher_gets_no_gradient_and_the_student_does():
    student, teacher = draw()
    for leaf in (student, teacher):
        leaf.requires_grad_()
    PixelDistillation()(student, teacher, [6, 7, 4]).sum().backward()
    assert teacher.grad is None
    assert student.grad.isfinite().all() and student.grad.any()


def test_a_student_equal_to_the_teacher_costs_nothing_and_learns_nothing():
    _, teacher = draw(spread=0.5)
    student = teacher.unsqueeze(1).repeat(1, 3, 1, 1, 1, 1).requires_grad_()
    assert teacher.softmax(dim=1).min() > MIN_PROBABILITY
    value = PixelDistillation(1.0)(student, teacher)
    assert_close(value, torch.zeros(2, 3), rtol=0, atol=1e-7)
    value.sum().backward()
    # what would be 1 / (voxels * classes) if the two sides of the gradient did not cancel
    assert student.grad.abs().max() < 1e-6 / 240


def test_a_temperature_divides_the_logits_and_multiplies_the_value_by_its_square():
    student, teacher = draw()
    expected = 9 * PixelDistillation(1.0)(student / 3, teacher / 3)
    assert_close(PixelDistillation(3.0)(student, teacher), expected)
    assert_close(PixelDistillation()(student, teacher), PixelDistillation(4.0)(student, teacher), rtol=0, atol=0)


def test_adding_a_number_to_all_logits_of_a_voxel_changes_nothing():
    student, teacher = draw()
    shifted = PixelDistillation()(student + torch.randn(2, 3, 1, 5, 4, 3), teacher + torch.randn(2, 1, 5, 4, 3))
    assert_close(shifted, PixelDistillation()(student, teacher))


def test_the_size_at_hand_asks_for_no_upsampling():
    student, teacher = draw()
    assert torch.equal(PixelDistillation()(student, teacher, [5, 4, 3]), PixelDistillation()(student, teacher))


def test_slices_are_compared_as_volumes_are():
    student, teacher = draw(size=(6, 5))
    flat = PixelDistillation()(student, teacher)
    assert_close(flat, PixelDistillation()(student.unsqueeze(3), teacher.unsqueeze(2)))
    expected = torch.stack([formula(student[:, m], teacher, 4.0, [12, 10]) for m in range(3)], dim=1)
    assert_close(PixelDistillation()(student, teacher, [12, 10]), expected)


def test_no_student_gives_no_value_and_a_gradient_of_nothing():
    student, teacher = draw()
    student = student[:, :0].requires_grad_()
    value = PixelDistillation()(student, teacher)
    assert value.shape == (2, 0)
    value.sum().backward()
    assert student.grad.shape == student.shape


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_logits_of_reduced_precision_are_compared_in_float32(dtype):
    student, teacher = (x.to(dtype) for x in draw())
    student.requires_grad_()
    value = PixelDistillation()(student, teacher, [6, 7, 4])
    assert value.dtype == torch.float32 and value.isfinite().all()
    assert torch.equal(value, PixelDistillation()(student.float(), teacher.float(), [6, 7, 4]))
    value.sum().backward()
    assert student.grad.dtype == dtype and student.grad.isfinite().all() and student.grad.any()


@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_certain_and_opposite_predictions_are_finite(scale):
    student, teacher = draw()
    student = (scale * student).requires_grad_()
    value = PixelDistillation()(student, 1e4 * teacher)
    value.sum().backward()
    assert value.isfinite().all() and student.grad.isfinite().all()
