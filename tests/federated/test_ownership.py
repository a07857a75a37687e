# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Which weights only one modality trains, of every network of configs/network_*.yaml."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from torch.testing import assert_close

from scripts.federated.ownership import SHARED, find_owners
from tests.objectives import objective_of

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = sorted(path.stem.removeprefix("network_") for path in CONFIGS.glob("network_*.yaml"))
EARLY_FUSION = ("dynunet", "segresnet")
MODALITIES = ["a", "b", "c"]


def configured(name, anchor=None, modalities=MODALITIES):
    """Build the narrow network of an overlay for 2D, as a run does."""
    files = ["train.yaml", f"network_{name}.yaml"] + ["method_medmap.yaml"] * (anchor is not None)
    parser = ConfigParser(ConfigParser.load_config_files([str(CONFIGS / file) for file in files]))
    changes = {"device": "cpu", "modalities": modalities, "spatial_dims": 2, "patch_size": [18, 18]}
    changes |= {"network_def::width": 4} | ({} if anchor is None else {"alignment::anchor": anchor})
    parser.update(changes)
    torch.manual_seed(0)
    return parser.get_parsed_content("network")


@cache
def owners_of(name):
    return find_owners(configured(name), 2)


def test_looking_for_owners_leaves_the_network_as_it_is():
    network, untouched = configured("segresnet"), configured("segresnet")
    find_owners(network.eval(), 2)
    assert_close(network.state_dict(), untouched.state_dict())
    assert not network.training and all(value.grad is None for value in network.parameters())
    assert str(network) == str(untouched)


@pytest.mark.parametrize("name", NAMES)
def test_every_modality_owns_as_much_as_the_others(name):
    state, owners = configured(name).state_dict(), owners_of(name)
    assert list(owners) == list(state)
    assert all(owner.shape in ((), tuple(state[key].shape)) for key, owner in owners.items())
    sizes = [
        {
            key: int((owner == m).sum()) * (state[key].numel() if owner.shape == () else 1)
            for key, owner in owners.items()
        }
        for m in range(len(MODALITIES))
    ]
    assert sum(sizes[0].values()) == sum(sizes[1].values()) == sum(sizes[2].values()) > 0
    for key, owner in owners.items():  # within a tensor that is not one modality's, all have equal parts
        if owner.shape != ():
            assert sizes[0][key] == sizes[1][key] == sizes[2][key] > 0, key


@pytest.mark.parametrize("name", [name for name in NAMES if name not in EARLY_FUSION])
def test_the_encoder_of_a_modality_is_its_own(name):
    owners = owners_of(name)
    for m in range(len(MODALITIES)):
        of_m = [owner for key, owner in owners.items() if key.startswith(f"encoders.{m}.")]
        assert of_m and all(owner.shape == () and owner == m for owner in of_m)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_without_a_modality_moves_nothing_that_it_owns(name):
    network, owners = configured(name).train(), owners_of(name)
    image = torch.randn(2, len(MODALITIES), 18, 18, generator=torch.Generator().manual_seed(5))
    image[:, 1] = float("nan")
    label = torch.randint(4, (2, 1, 18, 18), generator=torch.Generator().manual_seed(6))
    objective_of()(network(image), label).backward()
    moved = 0
    for key, value in network.named_parameters():
        gradient = np.zeros(value.shape) if value.grad is None else value.grad.numpy()
        mine = np.broadcast_to(owners[key] == 1, gradient.shape)
        if ".positions." not in key:  # within an encoder, but read in the place of absent tokens too
            assert not gradient[mine].any(), key
        moved += int((gradient[~mine] != 0).sum())
    assert moved > 0


def test_columns_of_a_convolution_over_all_modalities_are_owned_block_by_block():
    owner = owners_of("rfnet")["stages.0.head.mix.conv.weight"]  # (O, M * F, 1, 1)
    blocks = np.repeat([0, 1, 2], owner.shape[1] // 3)
    assert (owner == blocks[None, :, None, None]).all()


def test_input_channels_of_early_fusion_are_owned_one_by_one():
    owner = owners_of("segresnet")["body.convInit.conv.weight"]  # (O, M, 3, 3)
    assert (owner == np.arange(3)[None, :, None, None]).all()


def test_parts_of_m2ftrans_outside_the_encoders_are_owned_too():
    owners = owners_of("m2ftrans")
    assert owners["bottom_fusion.attend.0.keys.maps.2.mix.weight"] == 2
    table = owners["bottleneck.positions.table"]  # (M + 1, N, F), the last row of the fusion tokens
    assert [set(np.unique(row)) for row in table] == [{0}, {1}, {2}, {SHARED}]


def test_a_decoder_that_takes_the_mean_of_what_is_there_belongs_to_all():
    owners = owners_of("unet")
    assert all((owner == SHARED).all() for key, owner in owners.items() if key.startswith("decoder."))


def test_where_an_anchor_stands_in_for_absent_modalities_all_sites_train_the_fusion():
    owners = find_owners(configured("rfnet", anchor="adaptive"), 2)
    assert (owners["stages.0.head.mix.conv.weight"] == SHARED).all()
    assert owners["alignment.theta"].tolist() == [0, 1, 2]
    assert owners["encoders.1.first.0.conv.weight"] == 1


def test_of_a_single_modality_the_encoder_is_owned_and_nothing_else():
    owners = find_owners(configured("rfnet", modalities=["a"]), 2)
    assert all((owner == 0) == key.startswith("encoders.0.") for key, owner in owners.items())
