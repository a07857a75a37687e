# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""One case followed through the training configuration, to the gradients."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from scripts.data.datalist import read_section
from scripts.tools.show_config import merge
from scripts.tools.trace_case import describe, gradients, main, trace

TRAIN = str(Path(__file__).parents[2] / "configs" / "train.yaml")
NAMES = ["flair", "t1ce", "t1", "t2"]


@pytest.fixture(scope="module")
def incomplete(phantoms):
    """Name of a training case that lacks a modality, and what it has."""
    entries = json.loads((phantoms / "datalist.json").read_text())["training"]
    return next((entry["case"], list(entry["images"])) for entry in entries if len(entry["images"]) < len(NAMES))


@pytest.fixture(scope="module")
def traced(tiny, incomplete):
    """Hops of an incomplete case, and the configuration whose network then has gradients."""
    parser, _ = merge([TRAIN], tiny)
    return list(trace(parser, incomplete[0])), parser


def test_hops_come_in_the_order_of_the_data(traced):
    hops, parser = traced
    transforms = [
        f"train::preprocessing::transforms::{n}" if isinstance(each, dict) else each.lstrip("@")
        for n, each in enumerate(parser["train::preprocessing::transforms"])
    ]
    rest = ["train::dataloader", "train::trainer::prepare_batch", "network", "loss"]
    assert [hop.id for hop in hops] == ["train::cases", *transforms, *rest]
    targets = {hop.id: parser["network_def" if hop.id == "network" else hop.id]["_target_"] for hop in hops}
    assert {hop.id: hop.kind for hop in hops} == {id: target.split(".")[-1] for id, target in targets.items()}


def test_terms_of_the_loss_are_finite(traced):
    loss = traced[0][-1].items
    assert all(math.isfinite(value) for value in loss.values() if value.ndim == 0) and loss["total"] > 0


def test_heads_that_a_network_lacks_are_not_listed(tiny):
    parser, _ = merge([TRAIN, str(Path(TRAIN).with_name("network_segresnet.yaml"))], tiny)
    network, loss = list(trace(parser))[-2:]
    assert list(network.items) == ["acquired", "available", "fused", "fused_features"]
    assert list(loss.items) == ["fused", "total"] and all(value.isfinite() for value in loss.items.values())
    parts = [part.id for part in gradients(parser.get_parsed_content("network"), NAMES)]
    assert parts == ["network.body", "network.head"]


def test_no_weight_moves(tiny):
    parser, _ = merge([TRAIN], tiny)
    network = parser.get_parsed_content("network")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    list(trace(parser))
    assert network.segment.weight.grad.abs().sum() > 0
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_encoder_of_an_absent_modality_has_no_gradient_and_the_others_have(traced, incomplete):
    _, parser = traced
    parts = list(gradients(parser.get_parsed_content("network"), NAMES))
    by_modality = {part.items["modality"]: part.items["gradient"] for part in parts if "modality" in part.items}
    assert list(by_modality) == NAMES
    for name, norm in by_modality.items():
        assert (norm is not None) == (name in incomplete[1])
        assert norm is None or (torch.isfinite(norm) and norm > 0)


def test_norm_of_a_part_is_that_of_all_its_parameters(traced):
    network = traced[1].get_parsed_content("network")
    single = list(gradients(network, NAMES, every_parameter=True))
    assert [hop.id for hop in single] == [f"network.{name}" for name, _ in network.named_parameters()]
    for part in gradients(network, NAMES):
        own = [hop.items for hop in single if hop.id.startswith(f"{part.id}.")]
        assert part.items["values"] == sum(items["values"] for items in own)
        if part.items["gradient"] is not None:
            squares = sum(float(items["gradient"]) ** 2 for items in own if items["gradient"] is not None)
            assert float(part.items["gradient"]) == pytest.approx(math.sqrt(squares), rel=1e-4)


def test_output_names_absent_modalities_and_says_which_encoder_learns_nothing(tiny, incomplete, capsys):
    case, acquired = incomplete
    absent = [name for name in NAMES if name not in acquired]
    main(TRAIN, case=case, **tiny)
    lines = capsys.readouterr().out.splitlines()
    loaded = next(line for line in lines if line.startswith("train::preprocessing::transforms::0 "))
    assert loaded.split()[1:3] == ["LoadCased", "image"] and loaded.endswith(f", absent: {'+'.join(absent)}")
    encoders = [line for line in lines if line.startswith("network.encoders.")]
    assert ["gradient                none" in line for line in encoders] == [name in absent for name in NAMES]
    flip = next(line for line in lines if "RandFlipd" in line)
    assert flip.endswith("no change of shape or range")


def test_disabled_transform_is_passed_over(tiny):
    parser, _ = merge([TRAIN], {**tiny, "train::preprocessing::transforms::8::_disabled_": True})
    ids = [hop.id for hop in trace(parser)]
    assert "train::preprocessing::transforms::8" not in ids and "train::preprocessing::transforms::9" in ids


def test_a_crop_that_gives_several_patches_makes_a_batch_of_them(tiny):
    crop = {"_target_": "RandSpatialCropSamplesd", "keys": ["image", "label"], "roi_size": [20, 20, 20]}
    parser, _ = merge([TRAIN], {**tiny, "train::crop": {**crop, "num_samples": 2, "random_size": False}})
    items = {hop.id: hop.items for hop in trace(parser)}
    assert items["train::crop"]["image"].shape == (4, 20, 20, 20)
    assert items["train::dataloader"]["image"].shape == (2, 4, 20, 20, 20)


def test_failing_hop_is_named_with_its_case_and_reason(tiny, phantoms, tmp_path):
    entry = read_section(phantoms / "datalist.json", "training")[0]
    case = entry["case"]
    place = rf"`train::preprocessing::transforms::0` \(LoadCased\) failed: case `{case}`"
    settings = {**tiny, "dataset_dir": str(tmp_path)}
    for change, message in (
        ({"label_convention": "msd"}, rf"the label has the values .* \(file: .*{case}_seg.nii.gz\)"),  # 4 is none of it
        ({"images": {"t1": "nowhere.nii.gz"}}, r"the file does not exist.* \(file: .*nowhere.nii.gz\)"),
    ):
        (tmp_path / "datalist.json").write_text(json.dumps({"training": [{**entry, **change}]}))
        with pytest.raises(SystemExit, match=f"{place}: {message}"):
            main(TRAIN, **settings)


@pytest.mark.parametrize(
    ("file", "options", "message"),
    [
        ("inference.yaml", {}, "has no `train::trainer`; expected one that trains"),
        ("train.yaml", {"case": "nobody"}, r"no training case is called `nobody`; expected one of \['phantom_0000'"),
        ("train.yaml", {"dataset_dir": "/nowhere"}, "no datalist at /nowhere/datalist.json"),
        ("train.yaml", {"network_def::width": 5}, "`width` is 5; RFNet needs a positive multiple of 4"),
    ],
)
def test_what_cannot_be_traced_is_refused_with_the_reason(tiny, file, options, message):
    settings = {name: value for name, value in tiny.items() if file != "inference.yaml"}
    with pytest.raises(SystemExit, match=f"Cannot trace: .*{message}"):
        main(str(Path(TRAIN).with_name(file)), **{**settings, **options})


def test_tensors_are_described_by_shape_type_and_range():
    image = torch.tensor([[[0.0, 1.5]], [[torch.nan] * 2]]).repeat(1, 5, 1)  # (2, 5, 2)
    assert describe(image, ["a", "b"]) == "(2, 5, 2) float32 0 to 1.5, absent: b"
    assert describe(image[None], ["a", "b"], channel_dim=1) == "(1, 2, 5, 2) float32 0 to 1.5, absent: b"
    assert describe(image) == "(2, 5, 2) float32 0 to 1.5, NaN in 10 of 20"
    assert describe(torch.arange(12) % 3) == "(12,) int64 values 0 1 2"
    assert describe(torch.tensor([True, False])) == "(2,) bool 1 0"
    assert describe(torch.tensor([torch.nan, 2.0]), ["a", "b"]) == "(2,) float32 nan 2, absent: a"
    assert describe(torch.tensor(torch.nan), ["a", "b"]) == "() float32 nan, NaN in 1 of 1"
    assert describe(torch.full((3, 4), torch.nan), ["a"]) == "(3, 4) float32, NaN in 12 of 12"
    assert describe({"a": "x.nii", "b": "y.nii"}) == "a+b" and describe("text") == "text"
