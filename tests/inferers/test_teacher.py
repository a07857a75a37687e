# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Teacher and student side by side on one image."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from scripts.inferers.training import TrainingInferer
from scripts.networks.rfnet import RFNet
from scripts.networks.teacher import FrozenTeacher

SEEN = torch.tensor([[True, False, True], [False, True, False]])


def with_teacher(teacher, *paths, **options):
    """The inferer of a student whose objective reads what the teacher says."""
    return TrainingInferer(["fused", "unimodal", "teacher", *paths], teacher=teacher, **options)


def build(seed):
    torch.manual_seed(seed)
    return RFNet(num_modalities=3, num_classes=2, spatial_dims=2, width=4)


@pytest.fixture
def student():
    return build(0).train()


@pytest.fixture
def teacher():
    return FrozenTeacher(build(1))


@pytest.fixture
def image():
    """Two samples: a complete one, and one that lacks the first modality."""
    x = torch.randn(2, 3, 20, 17, generator=torch.Generator().manual_seed(2))
    x[1, 0] = torch.nan
    return x


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_teacher_says_of_the_whole_image_what_it_says_by_itself(student, teacher, image, precision):
    inferer = with_teacher(teacher, precision=precision)
    with torch.no_grad():
        alone = TrainingInferer([], precision)(image[:1], teacher.network)
    assert_close(inferer(image[:1], student, available=SEEN[:1]).teacher.logits, alone)
    path = inferer(image, student, available=SEEN).teacher
    assert path.available.tolist() == [[True] * 3, [False] * 3]
    if precision == "float32":  # in bfloat16, rounding depends on the batch
        assert_close(path.logits[:1], alone, rtol=1e-3, atol=1e-3)
    assert not path.logits.requires_grad and not path.bottleneck.requires_grad
    assert path.logits.isfinite().all() and path.bottleneck.isfinite().all()


def test_the_student_says_what_it_says_of_an_image_without_the_hidden_modalities(student, teacher, image):
    found = with_teacher(teacher)(image, student, available=SEEN)
    hidden = image.masked_fill(~SEEN[:, :, None, None], torch.nan)
    expected = student(hidden)
    assert torch.equal(found.acquired, SEEN) and torch.equal(found.available, SEEN)
    for name in ("fused", "unimodal", "bottleneck"):
        assert torch.equal(getattr(found, name), getattr(expected, name))


def test_nothing_of_a_hidden_modality_reaches_the_student(student, teacher, image):
    other = torch.where(SEEN[:, :, None, None], image, image + 3)
    one, two = (with_teacher(teacher)(x, student, available=SEEN) for x in (image, other))
    assert torch.equal(one.fused, two.fused) and torch.equal(one.unimodal, two.unimodal)
    assert not torch.allclose(one.teacher.logits[0], two.teacher.logits[0]), "the teacher does see it"


def test_the_image_itself_stays_as_it_is(student, teacher, image):
    before = image.clone()
    with_teacher(teacher)(image, student, available=SEEN)
    assert_close(image, before, rtol=0, atol=0, equal_nan=True)


def test_without_a_choice_the_student_sees_all_that_is_there(student, teacher, image):
    found = with_teacher(teacher)(image, student)
    assert found.available.tolist() == [[True] * 3, [False, True, True]]


def test_students_of_single_modalities_are_asked_for_as_ever(student, teacher, image):
    found = with_teacher(teacher, "students")(image, student, available=SEEN)
    assert found.students.available.tolist() == [[True, False, True], [False] * 3]  # the second saw only one anyway


def test_an_objective_that_reads_a_teacher_needs_one():
    with pytest.raises(ValueError, match="read what a `teacher` says, and there is none; expected one. See configs/m"):
        TrainingInferer(["fused", "teacher"])
