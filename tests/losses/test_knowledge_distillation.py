# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What a student learns from its teacher."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from scripts.networks.outputs import AlignmentOutput, MultiModalOutput, PathOutput
from tests.objectives import objective_of

TERMS = {"soft_distillation": 0.5, "latent_distillation": 0.1}
ALL, NONE = [True, True], [False, False]


def output(fused, bottleneck, teacher=None, alignment=None, acquired=(True, False)):
    """What a student says that sees one of two modalities."""
    acquired = torch.tensor(acquired).expand(len(fused), 2)
    return MultiModalOutput(
        acquired, acquired, fused, fused_features=fused, bottleneck=bottleneck, alignment=alignment, teacher=teacher
    )


def draw(*seen, num_classes=3):
    """Student and teacher of one 4 x 4 image for each row of ``seen``, what the teacher saw; and a label."""
    generator, batch = torch.Generator().manual_seed(0), len(seen)

    def randn(*shape):
        return torch.randn(batch, *shape, generator=generator).requires_grad_()

    teacher = PathOutput(torch.tensor(seen), randn(num_classes, 4, 4), randn(5, 2, 2))
    label = torch.randint(num_classes, (batch, 1, 4, 4), generator=generator)
    return output(randn(num_classes, 4, 4), randn(5, 2, 2), teacher), label


def test_two_voxels_by_hand():
    # first voxel: teacher (3/4, 1/4) at T = 2, student (1/2, 1/2); second voxel: both (1/2, 1/2)
    divergence = (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)) / 2
    logits = torch.tensor([[2 * math.log(3), 0.0], [0.0, 0.0]]).reshape(1, 2, 1, 2)
    # latent: (1 - 2)^2 and (3 - 0)^2
    ours, theirs = (torch.tensor(values).reshape(1, 2, 1, 1) for values in ([1.0, 3.0], [2.0, 0.0]))
    student = output(torch.zeros(1, 2, 1, 2), ours, PathOutput(torch.tensor([ALL]), logits, theirs))
    loss = objective_of(fused=0, unimodal=0, **{**TERMS, "soft_distillation": 3.0})
    loss.terms["soft_distillation"].temperature = 2.0
    found = loss(student, torch.zeros(1, 1, 1, 2, dtype=torch.long))
    assert_close(loss.last.terms["soft_distillation"], torch.tensor(2**2 * divergence))
    assert_close(loss.last.terms["latent_distillation"], torch.tensor((1.0 + 9.0) / 2))
    assert_close(found, torch.tensor(3 * 4 * divergence + 0.1 * 5.0))


def test_it_is_the_sum_over_classes_in_torch_too():
    student, label = draw(ALL)
    loss = objective_of(**TERMS)
    loss(student, label)
    soft = [(each / 4).log_softmax(dim=1) for each in (student.fused, student.teacher.logits)]
    expected = 16 * torch.nn.functional.kl_div(*soft, reduction="sum", log_target=True) / 16
    assert_close(loss.last.terms["soft_distillation"], expected.detach())


def test_a_student_that_says_what_its_teacher_says_has_only_the_task_left():
    student, label = draw(ALL, ALL)
    same = student._replace(fused=student.teacher.logits, bottleneck=student.teacher.bottleneck)
    loss = objective_of(**TERMS)
    assert torch.equal(loss(same, label), objective_of()(same, label))
    assert {name: float(loss.last.terms[name]) for name in TERMS} == dict.fromkeys(TERMS, 0.0)


def test_the_student_gets_gradients_and_the_teacher_none():
    student, label = draw(ALL)
    objective_of(fused=0.0, **TERMS)(student, label).backward()
    for each in (student.fused, student.bottleneck):
        assert each.grad.isfinite().all() and each.grad.any()
    assert student.teacher.logits.grad is None and student.teacher.bottleneck.grad is None


@pytest.mark.parametrize("seen", [NONE, [True, False]])
def test_a_sample_of_which_the_teacher_has_not_seen_all_has_the_task_alone(seen):
    student, label = draw(ALL, seen)
    loss, alone = objective_of(**TERMS), objective_of(**TERMS)
    total = loss(student, label)
    first = MultiModalOutput(*(x[:1] if isinstance(x, torch.Tensor) else x for x in student))
    first = first._replace(teacher=PathOutput(*[x[:1] for x in student.teacher[:3]]))
    taught = alone(first, label[:1])
    second = objective_of()(first._replace(fused=student.fused[1:]), label[1:])
    assert_close(total, (taught + second) / 2)
    for name in TERMS:
        assert_close(loss.last.terms[name], alone.last.terms[name])  # logged of the samples that were taught
        assert alone.last.terms[name] > 0
    total.backward()
    assert student.bottleneck.grad[0].any() and not student.bottleneck.grad[1].any()


def test_bfloat16_is_compared_in_float32():
    student, label = draw(ALL)
    low = student._replace(
        fused=student.fused.bfloat16(), teacher=student.teacher._replace(logits=student.teacher.logits.bfloat16())
    )
    high = low._replace(fused=low.fused.float(), teacher=low.teacher._replace(logits=low.teacher.logits.float()))
    loss, expected = objective_of(**TERMS), objective_of(**TERMS)
    for objective, output in ((loss, low), (expected, high)):
        objective(output, label)
    assert loss.last.terms["soft_distillation"].dtype == torch.float32
    assert torch.equal(loss.last.terms["soft_distillation"], expected.last.terms["soft_distillation"])


@pytest.mark.parametrize("name", sorted(TERMS))
def test_a_term_of_weight_zero_is_left_out(name):
    student, label = draw(ALL)
    loss = objective_of(**{**TERMS, name: 0.0})
    assert loss(student, label).isfinite()
    assert set(TERMS) & set(loss.last.terms) == set(TERMS) - {name}


def test_a_network_without_bottleneck_has_no_latent_term():
    student, label = draw(ALL)
    loss = objective_of(**TERMS)
    loss(student._replace(bottleneck=None, teacher=student.teacher._replace(bottleneck=None)), label)
    assert set(TERMS) & set(loss.last.terms) == {"soft_distillation"}


def test_an_output_without_teacher_is_refused():
    student, label = draw(ALL)
    with pytest.raises(ValueError, match=r"`soft_distillation` reads .*the output has no \['teacher'\]"):
        objective_of(**TERMS)(student._replace(teacher=None), label)


# --- alignment -------------------------------------------------------------------------------------


def aligned_to(anchor, aligned):
    """Features 1 and 3 of two modalities, in every sample, and their anchor in each."""
    features = torch.tensor([1.0, 3.0]).reshape(1, 2, 1, 1).expand(len(anchor), -1, -1, -1)
    return AlignmentOutput([features], [torch.tensor(anchor).reshape(-1, 1, 1)], torch.tensor(aligned))


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        # (1 - 5)^2 / 2 to the teacher's anchor in the first sample, (1 - 2)^2 / 2 to its own in the second
        ([[True, False], [True, False]], [8.0, 0.5]),
        # no anchor of its own: still pulled to the teacher's; with neither, not at all
        ([NONE, NONE], [8.0, 0.0]),
    ],
)
def test_features_are_pulled_to_the_teachers_anchor_where_it_has_one(own, expected):
    student, label = draw(ALL, NONE)
    theirs = aligned_to([5.0, 7.0], [ALL, NONE])
    student = student._replace(
        alignment=aligned_to([2.0, 2.0], own), teacher=student.teacher._replace(alignment=theirs)
    )
    loss = objective_of(**TERMS)
    assert loss(student, label).isfinite()
    assert_close(loss.last.terms["alignment"], torch.tensor(expected).mean())
