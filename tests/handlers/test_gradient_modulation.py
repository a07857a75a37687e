# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""OGM-GE: coefficients against numbers made by hand, and what happens to gradients."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from monai.utils.enums import CommonKeys
from torch import nn

from scripts.handlers.gradient_modulation import GradientModulationHandler, class_scores, discrepancy
from scripts.networks.outputs import MultiModalOutput
from tests.objectives import objective_of

NAMES = ["flair", "t1ce"]


class Network(nn.Module):
    def __init__(self, modalities=2):
        super().__init__()
        self.encoders = nn.ModuleList(nn.Linear(40, 50) for _ in range(modalities))
        self.rest = nn.Linear(3, 3)


def output_of(truth, acquired, label):
    """Uni-modal heads that give ``truth[b][m]`` to the true class everywhere, of two classes."""
    at_truth = torch.tensor(truth, dtype=torch.float32)[:, :, None, None]
    right = (torch.arange(2)[None, None, :, None] == label[:, :, None]).float()  # (B, 1, 2, V)
    probabilities = torch.where(right == 1, at_truth, 1 - at_truth)
    mask = torch.tensor(acquired)
    return MultiModalOutput(mask, mask, unimodal=probabilities * mask[:, :, None, None])


LABEL = torch.tensor([[[0, 0, 0, 1]]])


def handler_of(network=None, names=NAMES, loss=None, **options):
    settings = {"strength": 0.3, "noise": False, **options}
    return GradientModulationHandler(loss or objective_of(), network or Network(len(names)), names, **settings)


def coefficients(output, label, names=NAMES, strength=0.3):
    """What the gradients of the encoders are multiplied by."""
    network = Network(len(names))
    before = with_gradients(network)
    modulate(handler_of(network, names, strength=strength), output, label)
    ratios = [(p.grad / before[name]) for name, p in network.named_parameters() if name.startswith("encoders")]
    assert all(float(each.max() - each.min()) < 1e-5 for each in ratios)
    return [float(each.mean()) for each in ratios[::2]]


def modulate(handler, output, label, iteration=1, epoch=1):
    state = SimpleNamespace(
        output={CommonKeys.PRED: output, CommonKeys.LABEL: label}, iteration=iteration, epoch=epoch, metrics={}
    )
    handler._modulate(SimpleNamespace(state=state))


def with_gradients(network, value=None):
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator) if value is None else parameter * 0 + value
    return {name: parameter.grad.clone() for name, parameter in network.named_parameters()}


def test_the_modality_ahead_alone_is_slowed_down_by_the_papers_coefficient():
    found = coefficients(output_of([[0.8, 0.4]], [[True, True]], LABEL), LABEL)
    assert found == [pytest.approx(1 - math.tanh(0.3 * 2)), 1]


def test_of_several_modalities_each_is_compared_with_the_mean_of_the_others():
    names = ["flair", "t1ce", "t1", "t2"]
    found = coefficients(output_of([[0.9, 0.5, 0.3, 0.1]], [[True] * 4], LABEL), LABEL, names, 0.5)
    expected = [1 - math.tanh(0.5 * 3), 1 - math.tanh(0.5 * 0.5 / (1.3 / 3)), 1, 1]
    assert found == pytest.approx(expected)


def test_samples_with_one_modality_and_absent_ones_have_no_part_in_it():
    label = LABEL.expand(3, -1, -1)
    alone = output_of([[0.8, 0.4], [0.1, 0.9], [0.9, 0.2]], [[True, True], [True, False], [False, True]], label)
    pair = discrepancy(output_of([[0.8, 0.4]], [[True, True]], LABEL), LABEL)
    assert discrepancy(alone, label).tolist() == pair.tolist() == pytest.approx([2, 0.5])
    nobody = output_of([[0.8, 0.4]], [[True, False]], LABEL)
    assert discrepancy(nobody, LABEL).tolist() == [1, 1] and coefficients(nobody, LABEL) == [1, 1]


def test_gradients_of_the_encoder_ahead_are_scaled_and_all_others_left_exactly():
    network = Network()
    before = with_gradients(network)
    network.encoders[0].bias.grad = None
    modulate(handler_of(network), output_of([[0.8, 0.4]], [[True, True]], LABEL), LABEL)
    assert network.encoders[0].bias.grad is None
    coefficient = torch.tensor(1 - math.tanh(0.3 * 2))
    torch.testing.assert_close(network.encoders[0].weight.grad, coefficient * before["encoders.0.weight"])
    for name in ("encoders.1.weight", "encoders.1.bias", "rest.weight", "rest.bias"):
        assert torch.equal(dict(network.named_parameters())[name].grad, before[name])


def test_noise_has_the_deviation_of_the_gradient_and_is_that_of_seed_and_iteration():
    network = Network()
    even = output_of([[0.5, 0.5]], [[True, True]], LABEL)

    def noisy(**options):
        before = with_gradients(network)
        modulate(handler_of(network, noise=True, seed=options.pop("seed", 7)), even, LABEL, **options)
        return {name: p.grad - before[name] for name, p in network.named_parameters()}, before

    noise, before = noisy()
    for m in range(2):
        drawn, deviation = noise[f"encoders.{m}.weight"], float(before[f"encoders.{m}.weight"].std())  # of 2000 numbers
        assert bool(drawn.isfinite().all())
        assert abs(float(drawn.mean())) < 4 * deviation / 2000**0.5
        assert float(drawn.std()) == pytest.approx(deviation, rel=4 / 4000**0.5)
    assert float(noise["rest.weight"].abs().sum()) == 0
    assert all(torch.equal(each, noise[name]) for name, each in noisy()[0].items())
    for other in ({"iteration": 2}, {"seed": 8}):
        assert not torch.equal(noisy(**other)[0]["encoders.0.weight"], noise["encoders.0.weight"])


def test_nothing_changes_after_the_last_epoch_of_modulation():
    network = Network()
    before = with_gradients(network)
    modulate(handler_of(network, epochs=3), output_of([[0.8, 0.4]], [[True, True]], LABEL), LABEL, epoch=4)
    assert torch.equal(network.encoders[0].weight.grad, before["encoders.0.weight"])
    modulate(handler_of(network, epochs=3), output_of([[0.8, 0.4]], [[True, True]], LABEL), LABEL, epoch=3)
    assert not torch.equal(network.encoders[0].weight.grad, before["encoders.0.weight"])


def test_a_score_is_the_mean_over_classes_however_large_they_are():
    probabilities = torch.tensor([[0.9, 0.9, 0.9, 0.2], [0.1, 0.1, 0.1, 0.8]])[None, None].expand(1, 2, 2, 4)
    assert class_scores(probabilities, LABEL).tolist() == [[pytest.approx((0.9 + 0.8) / 2)] * 2]
    background = torch.zeros_like(LABEL)
    assert class_scores(probabilities, background).tolist() == [[pytest.approx((3 * 0.9 + 0.2) / 4)] * 2]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"network": nn.Linear(1, 1)},
            "Linear has no encoder for each of .*flair.*another network than an early fusion",
        ),
        ({"network": Network(3)}, "no encoder for each"),
        ({"strength": -1}, "`strength` is -1; expected at least 0"),
        ({"accumulation_steps": 2}, "`accumulation_steps` is 2; expected 1"),
    ],
)
def test_what_cannot_be_modulated_is_refused_in_words(options, reason):
    with pytest.raises(ValueError, match=reason):
        handler_of(**options)


def test_an_objective_that_does_not_read_the_unimodal_heads_is_refused_before_the_run():
    with pytest.raises(ValueError, match="which no term of .*fused.* reads; expected `loss::terms::unimodal::weight`"):
        handler_of(loss=objective_of(unimodal=0.0))


def test_it_rests_while_the_objective_warms_up():
    network, loss = Network(), objective_of()
    before = with_gradients(network)
    loss.state.warming_up = True
    handler = handler_of(network, loss=loss, noise=True)
    modulate(handler, output_of([[0.8, 0.4]], [[True, True]], LABEL), LABEL)
    assert all(torch.equal(p.grad, before[name]) for name, p in network.named_parameters())
    assert handler.metrics(None) == {}


def test_the_metrics_of_an_epoch_are_the_mean_ratios_and_coefficients():
    handler = handler_of()
    handler.begin(None)
    for truth in ([[0.8, 0.4]], [[0.5, 0.5]]):
        modulate(handler, output_of(truth, [[True, True]], LABEL), LABEL)
    assert handler.metrics(None) == {
        "discrepancy/flair": pytest.approx(1.5),
        "discrepancy/t1ce": pytest.approx(0.75),
        "modulation/flair": pytest.approx(1 - math.tanh(0.6) / 2),
        "modulation/t1ce": 1,
    }
