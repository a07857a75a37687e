# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Small networks, and how networks of the published size are compared with the reference numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from scripts.losses.preference import lagging
from scripts.losses.segmentation import SegmentationLoss
from scripts.networks.reference_checkpoint import convert_state_dict
from scripts.networks.rfnet import RFNet
from tests.objectives import WITH_STUDENTS, objective_of


@pytest.fixture
def build_rfnet():
    """Build the narrowest RFNet, the same for the same seed."""

    def _build(num_modalities=4, num_classes=3, spatial_dims=3, seed=0):
        torch.manual_seed(seed)
        return RFNet(num_modalities, num_classes, spatial_dims, width=4)

    return _build


@pytest.fixture
def learn():
    """One backward pass of the plain objective; gives the gradients by parameter, without those that are ``None``."""

    def _learn(network, image, available=None, label_seed=5):
        network.train().zero_grad()
        generator = torch.Generator().manual_seed(label_seed)
        label = torch.randint(network.num_classes, (1, 1, *image.shape[2:]), generator=generator)
        loss = objective_of()(network(image, available), label.expand(len(image), -1, *image.shape[2:]))
        loss.backward()
        return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}

    return _learn


@pytest.fixture(scope="session")
def load_reference(reference_state_dict, modalities):
    """Give a network of the published size the parameters of the recipe, and take its dropout away."""

    def _load(name, network):
        network.load_state_dict(convert_state_dict(reference_state_dict(name), network, modalities))
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        return network

    return _load


@pytest.fixture
def check_inference(golden, reference_case, hide):
    """Compare the segmentation of one subset with the reference numbers."""

    @torch.no_grad()
    def _check(name, network, mask):
        expected = golden(f"{name}_forward")
        k = expected["masks"].tolist().index(mask)
        image, _ = reference_case
        np.testing.assert_array_equal(image.flatten()[:16], expected["input_first16"])
        probabilities = network.eval()(hide(image, mask)).softmax(dim=1)[0].flatten(1)
        check_probabilities(probabilities[:, expected["voxel_indices"]], expected["probs"][k])
        np.testing.assert_allclose(probabilities.double().mean(dim=1), expected["mean"][k], rtol=1e-5)
        np.testing.assert_allclose(probabilities.double().std(dim=1), expected["std"][k], rtol=1e-5)
        counts = torch.bincount(probabilities.argmax(dim=0), minlength=4)
        np.testing.assert_allclose(counts, expected["argmax_counts"][k], rtol=0, atol=20)  # of 512000; near-ties round

    return _check


@pytest.fixture
def check_training(golden, reference_case, hide):
    """Compare a training pass and its objective with the reference numbers; ``deviating`` modalities only in part."""

    @torch.no_grad()
    def _check(name, network, acquired, shown, entries, deviating=()):
        expected = golden(f"{name}_train")
        image, label = reference_case
        available = torch.tensor([[flag == "1" for flag in shown]])
        output = network.train()(hide(image, acquired), available, paths=WITH_STUDENTS)
        objective = objective_of()
        found = plain_terms(output, objective, label)
        probabilities = output.fused.softmax(dim=1)[0].flatten(1)[:, expected["voxel_indices"]]
        for entry in entries:  # what PASSION leaves as it is stands in its entries too
            check_probabilities(probabilities, expected[f"{entry}/prob"])
            for term, value in found.items():
                if "plain" in entry or term not in ("obj_sep", "obj_loss"):  # which PASSION weighs anew
                    numbers = expected[f"{entry}/{term}"].flatten()
                    np.testing.assert_allclose(value.flatten(), numbers, rtol=1e-5, err_msg=f"{entry}/{term}")
            if "passion" in entry:
                check_passion(output, label, expected, entry, deviating)
        assert objective.last.terms["unimodal_per_modality"].isnan().tolist() == [flag == "0" for flag in acquired]

    return _check


def check_passion(output, label, expected, entry, deviating):
    """Compare distillation, distance, gates and objective; not of modalities whose student deviates on purpose."""
    objective = objective_of(pixel_distillation=0.5, semantic_distillation=0.1, task_wise=True)
    objective.state.coefficient = torch.from_numpy(expected["beta"])
    objective.state.modality_weight = torch.from_numpy(expected["modal_weight"]) if "idt" in entry else None
    total, terms = objective(output, label), objective.last.terms
    kept = [m for m in range(4) if m not in deviating]
    rows = {
        "kl_loss": terms["pixel_distillation_per_modality"],
        "proto_loss": terms["semantic_distillation_per_modality"],
        "dist": objective.last.distance[0],
    }
    for key, row in rows.items():
        found, numbers = row.nan_to_num(nan=0.0), expected[f"{entry}/{key}"].flatten()
        np.testing.assert_allclose(found[kept], numbers[kept], rtol=1e-4, atol=1e-7, err_msg=f"{entry}/{key}")
    if not any(output.acquired[0, m] for m in deviating):
        gate = lagging(objective.last.distance, output.acquired)[0]
        assert gate.tolist() == expected[f"{entry}/obj_rp_mask"].astype(bool).tolist()
        np.testing.assert_allclose(total, expected[f"{entry}/obj_loss"], rtol=1e-5)


def plain_terms(output, objective, label):
    """The objective and its terms under the names of the reference numbers."""
    total, terms = objective(output._replace(students=None), label), objective.last.terms
    fused = SegmentationLoss()(output.fused.softmax(dim=1)[:, None], label)
    return {
        "prm_loss": terms["deep_supervision"],
        "obj_prm": terms["deep_supervision"],
        "sep_loss": terms["unimodal_per_modality"].nan_to_num(nan=0.0),
        "obj_fuse_ce_bs": fused.cross_entropy,
        "obj_fuse_dice_bs": fused.dice,
        "obj_fuse": terms["fused"],
        "obj_sep": terms["unimodal"],
        "obj_loss": total,
    }


def check_probabilities(found, expected):
    """The criterion of the reference: other hardware differs by less, another formula by more."""
    difference = np.abs(found.numpy() - expected)
    assert difference.max() < 5e-5 and difference.mean() < 2e-6
