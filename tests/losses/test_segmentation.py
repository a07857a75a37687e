# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from scripts.losses.segmentation import MIN_PROBABILITY, SegmentationLoss
from scripts.networks.convolution import upsample


def probabilities_of(rows):
    """Probabilities by voxel, ``(voxels, classes)``, as one prediction ``(1, 1, C, 1, voxels)``."""
    return torch.tensor(rows).t()[None, None, :, None]


def label_of(classes):
    """Classes by voxel as ``(1, 1, 1, voxels)``."""
    return torch.tensor(classes)[None, None, None]


def draw(num_samples=2, num_modalities=3, num_classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    size = (5, 4, 3)
    logits = 2 * torch.randn(num_samples, num_modalities, num_classes, *size, generator=generator)
    return logits, torch.randint(num_classes, (num_samples, 1, *size), generator=generator)


# --- reference numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize("case", "ABCD")
@pytest.mark.parametrize("upsampled", [False, True])
@pytest.mark.parametrize("term", ["cross_entropy", "dice"])
def test_values_and_gradients_reproduce_the_reference(golden, term, upsampled, case):
    stored = golden("losses")
    logits = torch.from_numpy(stored["in/logit_s6" if upsampled else "in/logit_s"]).requires_grad_()
    label = torch.from_numpy(stored[f"in/label_{case}"]).unsqueeze(1)
    probabilities = upsample(logits.softmax(dim=1), [12, 12, 12])
    value = getattr(SegmentationLoss()(probabilities.unsqueeze(1), label), term)
    name = {"cross_entropy": "wce", "dice": "dice"}[term] + ("_up/" if upsampled else "/") + case
    np.testing.assert_allclose(value.detach(), stored[f"out/{name}"], rtol=1e-5, atol=1e-7)
    (value[0, 0] + 0.5 * value[1, 0]).backward()
    expected = stored[f"grad/{name}#0"]
    np.testing.assert_allclose(logits.grad, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_probabilities_of_zero_reproduce_the_reference(golden):
    stored = golden("losses")
    label = torch.from_numpy(stored["in/label_A"]).unsqueeze(1)
    zeros = torch.zeros(2, 1, 4, 12, 12, 12, requires_grad=True)
    terms = SegmentationLoss()(zeros, label)
    np.testing.assert_allclose(terms.cross_entropy.detach(), stored["out/wce_zero_prob"], rtol=1e-5)
    np.testing.assert_allclose(terms.dice.detach(), stored["out/dice_zero_prob"], rtol=1e-5)
    sum(term.sum() for term in terms).backward()
    assert zeros.grad.isfinite().all()


# --- by hand -------------------------------------------------------------------------------------


def test_two_voxels_of_two_classes_by_hand():
    terms = SegmentationLoss()(probabilities_of([[0.75, 0.25], [0.4, 0.6]]), label_of([0, 1]))
    # either class has one of two voxels, so w = 1 - 1/2
    assert_close(terms.cross_entropy, torch.tensor([[-(0.5 * math.log(0.75) + 0.5 * math.log(0.6)) / 2]]))
    # class 0: 2 * 0.75 / (1.15 + 1), class 1: 2 * 0.6 / (0.85 + 1)
    assert_close(terms.dice, torch.tensor([[1 - (1.5 / 2.15 + 1.2 / 1.85) / 2]]))


def test_rare_class_weighs_more_by_hand():
    certain = [0.9, 0.1]
    terms = SegmentationLoss()(probabilities_of([certain, certain, certain, [0.5, 0.5]]), label_of([0, 0, 0, 1]))
    # w = 1 - 3/4 for the three voxels of class 0, 1 - 1/4 for the one of class 1
    expected = -(3 * 0.25 * math.log(0.9) + 0.75 * math.log(0.5)) / 4
    assert_close(terms.cross_entropy, torch.tensor([[expected]]))


def test_a_class_that_the_sample_lacks_costs_a_constant_share_of_the_dice_loss_by_hand():
    two = SegmentationLoss()(probabilities_of([[0.75, 0.25], [0.4, 0.6]]), label_of([0, 1]))
    three = SegmentationLoss()(probabilities_of([[0.75, 0.25, 0.0], [0.4, 0.6, 0.0]]), label_of([0, 1]))
    assert_close(three.cross_entropy, two.cross_entropy)
    # two of three classes score as before and the third scores 0: 1 - 2/3 (1 - dice)
    assert_close(three.dice, 1 - 2 / 3 * (1 - two.dice))


def test_dice_gradient_of_a_class_that_the_sample_lacks_is_zero():
    probabilities = probabilities_of([[0.5, 0.2, 0.3], [0.1, 0.6, 0.3]]).requires_grad_()
    SegmentationLoss()(probabilities, label_of([0, 1])).dice.sum().backward()
    assert not probabilities.grad[0, 0, 2].any()
    assert probabilities.grad[0, 0, :2].all()


def test_a_perfect_prediction_costs_nothing():
    terms = SegmentationLoss()(probabilities_of([[1.0, 0.0], [0.0, 1.0]]), label_of([0, 1]))
    assert_close(terms.cross_entropy, torch.zeros(1, 1))
    assert_close(terms.dice, torch.zeros(1, 1), atol=1e-6, rtol=0)


def test_a_sample_of_one_class_has_no_cross_entropy_and_no_gradient_of_it():
    logits, _ = draw()
    logits.requires_grad_()
    terms = SegmentationLoss()(logits.softmax(dim=2), torch.full((2, 1, 5, 4, 3), 2))
    assert not terms.cross_entropy.any()
    terms.cross_entropy.sum().backward()
    assert logits.grad.isfinite().all() and not logits.grad.any()


@pytest.mark.parametrize(("p", "learns"), [(0.0, False), (0.0049, False), (0.0051, True), (1.0, True)])
def test_cross_entropy_is_cut_and_learns_nothing_below_the_smallest_probability(p, learns):
    probabilities = probabilities_of([[p, 1 - p], [0.5, 0.5]]).requires_grad_()
    value = SegmentationLoss()(probabilities, label_of([0, 1])).cross_entropy
    # w = 1/2 for both voxels
    expected = -(0.5 * math.log(max(p, 0.005)) + 0.5 * math.log(0.5)) / 2
    assert MIN_PROBABILITY == 0.005
    assert_close(value, torch.tensor([[expected]]))
    value.sum().backward()
    # -(1/2 voxels) w / p where it is not cut
    assert probabilities.grad[0, 0, 0, 0, 0].item() == pytest.approx(-0.25 / p if learns else 0)


# --- properties ----------------------------------------------------------------------------------


def test_all_predictions_at_once_equal_one_sample_and_one_modality_at_a_time():
    logits, label = draw()
    together = SegmentationLoss()(logits.softmax(dim=2), label)
    for b in range(2):
        for m in range(3):
            alone = SegmentationLoss()(logits[b : b + 1, m : m + 1].softmax(dim=2), label[b : b + 1])
            for name in ("cross_entropy", "dice"):
                assert_close(getattr(together, name)[b, m], getattr(alone, name)[0, 0])


def test_a_value_depends_on_its_own_prediction_only():
    logits, label = draw()
    logits.requires_grad_()
    terms = SegmentationLoss()(logits.softmax(dim=2), label)
    (terms.cross_entropy + terms.dice)[1, 2].backward()
    touched = logits.grad.flatten(2).any(dim=2)
    assert touched.tolist() == [[False] * 3, [False, False, True]]


def test_order_of_voxels_and_names_of_classes_do_not_matter():
    logits, label = draw()
    before = SegmentationLoss()(logits.softmax(dim=2), label)
    order = torch.randperm(60)
    shuffled = SegmentationLoss()(logits.softmax(dim=2).flatten(3)[..., order], label.flatten(2)[..., order])
    renamed = SegmentationLoss()(logits.softmax(dim=2)[:, :, [2, 3, 0, 1]], (label + 2) % 4)
    for after in (shuffled, renamed):
        assert_close(after.cross_entropy, before.cross_entropy)
        assert_close(after.dice, before.dice)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float32])
def test_label_may_have_any_number_type(dtype):
    logits, label = draw()
    expected = SegmentationLoss()(logits.softmax(dim=2), label)
    assert torch.equal(SegmentationLoss()(logits.softmax(dim=2), label.to(dtype)).cross_entropy, expected.cross_entropy)


def test_gradients_agree_with_finite_differences():
    logits, label = draw(num_samples=1, num_modalities=2)
    logits = logits[..., :2, :2, :2].double().requires_grad_()  # mild enough that no probability is cut
    label = label[..., :2, :2, :2]

    def total(x):
        return sum(SegmentationLoss()((0.5 * x).softmax(dim=2), label))

    assert torch.autograd.gradcheck(total, logits)


def test_gradients_are_those_of_the_formula_in_double_precision():
    logits, label = draw(num_samples=2, num_modalities=2, num_classes=3)
    logits = (0.3 * logits).double().requires_grad_()  # all probabilities stay above the threshold of the logarithm
    assert logits.softmax(dim=2).min() > 2 * MIN_PROBABILITY
    assert torch.autograd.gradcheck(lambda x: tuple(SegmentationLoss()(x.softmax(dim=2), label)), (logits,))
