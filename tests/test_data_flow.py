# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/explanation/data_flow.md, asserted on a phantom."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
from monai.engines.utils import IterationEvents

from scripts.tools.trace_case import gradients, trace

DOCUMENT = Path(__file__).parents[1] / "docs" / "explanation" / "data_flow.md"
HOPS, _, _ = DOCUMENT.read_text(encoding="utf-8").partition("## Who may import whom")
LINES = [line for line in HOPS.splitlines() if line.startswith("| `")]
CELLS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in LINES]
ROWS = [(id.strip("`"), kind.strip("`"), text, links) for id, kind, text, links in CELLS]
IDS = [row[0] for row in ROWS]
TENSOR = re.compile(r"`([\w.]+) \(([^)]*)\) (\w+)`")
SIZES = {"spacing": [10.0, 10.0, 10.0], "patch_size": [16, 16, 16]}  # of 8 mm phantoms, so that every hop changes them


@pytest.fixture(scope="module")
def flow(workflow, tmp_path_factory):
    """Run every hop once: id to what comes out, and the workflow."""
    folder = tmp_path_factory.mktemp("flow")
    places = {"output_dir": str(folder), "model_file": str(folder / "model.pt")}
    run = workflow("train.yaml", **places, **SIZES, max_epochs=1, val_interval=1)
    content = run.parser.get_parsed_content
    modalities = content("modalities")
    incomplete = next(each["case"] for each in content("train::cases") if len(each["images"]) < len(modalities))
    items = {hop.id: hop.items for hop in trace(run.parser, incomplete)}
    items["gradients"] = list(gradients(content("network"), modalities))
    items["before"] = {name: value.clone() for name, value in content("network").state_dict().items()}
    items["loaded"] = next(iter(content("train::dataloader")))
    items["validate::preprocessing"] = content("validate::dataset")[0]
    items["validate::dataloader"] = next(iter(content("validate::dataloader")))
    image = items["validate::dataloader"]["image"]
    items["validate::inferer"] = {"pred": content("validate::inferer")(image, content("network").eval())}
    evaluator = content("validate::evaluator")

    @evaluator.on(IterationEvents.MODEL_COMPLETED)
    def keep(engine):
        items["validate::postprocessing"] = {"pred": engine.state.output[0]["pred"]}

    run.run()
    return items, run.parser, folder


def bind(dimensions, shape, letters):
    """Give every letter of ``B, M, *P/2`` its number; a letter that has one already must agree."""
    names = [name.strip() for name in dimensions.split(",") if name.strip()]
    sizes = list(shape)
    for name in names:
        if name.startswith("*"):
            letter, _, divisor = name.partition("/")
            space, sizes = tuple(sizes), []
            if divisor:
                assert space == tuple(math.ceil(length / int(divisor)) for length in letters[letter])
            else:
                assert letters.setdefault(letter, space) == space, name
        else:
            size = sizes.pop(0)
            assert (int(name) if name.isdigit() else letters.setdefault(name, size)) == size, name
    assert sizes == []


@pytest.fixture(scope="module")
def letters(flow):
    """Check every tensor of the tables, and return what the letters stand for."""
    items, parser, _ = flow
    letters = {"M": len(parser["modalities"]), "C": parser["num_classes"], "B": parser["batch_size"]}
    letters.update({"*P": tuple(parser["patch_size"]), "F": parser["network_def::width"]})
    for id, _, text, _ in ROWS:
        for name, dimensions, dtype in TENSOR.findall(text):
            value = items[id][name]
            assert str(value.dtype) == f"torch.{dtype}", f"{id} {name}"
            bind(dimensions, value.shape, letters)
    return letters


def test_every_id_exists_and_stands_for_the_class_of_the_table(flow):
    _, parser, _ = flow
    for id, kind, _, _ in ROWS:
        raw = parser[id]
        target = raw["_target_"].split(".")[-1] if isinstance(raw, dict) else None
        assert kind == (target or type(parser.get_parsed_content(id)).__name__), id


def test_table_has_every_hop_of_the_training_data_in_order(flow):
    items, _, _ = flow
    traced = list(items)[: list(items).index("gradients")]
    assert [id for id in IDS if id in traced] == traced
    assert len(set(IDS)) == len(IDS)


def test_tensors_have_the_shapes_and_types_of_the_table(letters):
    tensors = [found for row in ROWS for found in TENSOR.findall(row[2])]
    assert len(tensors) > 40
    assert {"*R", "*S", "*H", "*D", "*P", "*V", "*L", "K"} <= set(letters)


def test_sizes_follow_from_each_other_as_the_text_says(flow, letters):
    _, parser, _ = flow
    for files, resampled in zip(letters["*R"], letters["*S"], strict=True):
        assert abs(files * 8.0 - resampled * 10.0) <= 10.0  # mm; phantoms of 8 mm, `spacing` of 10 mm
    assert all(box <= whole for box, whole in zip(letters["*H"], letters["*S"], strict=True))
    assert letters["*D"] == tuple(map(max, letters["*H"], parser["patch_size"]))
    assert letters["K"] == 2 ** letters["M"] - 1  # the validation case is complete
    different = [letters[name] for name in ("*R", "*S", "*H", "*D", "*P")]
    assert len(set(different)) == len(different)


def test_real_loader_gives_what_the_trace_shows(flow):
    items, _, _ = flow
    for name in ("image", "label", "available"):
        real, traced = items["loaded"][name], items["train::dataloader"][name]
        assert (real.shape, real.dtype) == (traced.shape, traced.dtype)


def test_normalised_modalities_have_mean_0_and_deviation_1_and_the_background_stays_0(flow):
    items, _, _ = flow
    before, after = (items[f"train::preprocessing::transforms::{n}"]["image"].as_tensor() for n in (3, 4))
    for raw, normal in zip(before, after, strict=True):
        head = raw != 0
        assert bool(torch.isnan(raw).all()) == bool(torch.isnan(normal).all())
        if not torch.isnan(raw).any():
            assert normal[head].mean().abs() < 1e-4 and (normal[head].std(unbiased=False) - 1).abs() < 1e-3
            assert (normal[~head] == 0).all()


def test_absence_stays_a_channel_with_nan_up_to_the_network(flow):
    items, _, _ = flow
    available = items["train::missing"]["available"]
    assert 0 < available.sum() < len(available)
    for id in [id for id in IDS if id.startswith("train::preprocessing") or id in ("train::load", "train::crop")]:
        absent = torch.isnan(items[id]["image"].as_tensor()).flatten(1).any(dim=1)
        assert torch.equal(absent, ~available), id


def test_weights_with_a_gradient_move_and_stay_finite(flow):
    items, parser, _ = flow
    after = parser.get_parsed_content("network").state_dict()
    assert all(torch.isfinite(value).all() for value in after.values())
    for part in items["gradients"]:  # of one case; the other cases of the epoch move further ones
        if part.items["gradient"] is not None:
            names = [name for name in after if f"network.{name}".startswith(f"{part.id}.")]
            assert any(not torch.equal(after[name], items["before"][name]) for name in names), part.id


def test_what_is_kept_is_where_the_table_says(flow):
    _, parser, folder = flow
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"checkpoint_epoch=1.pt", "best.pt"}
    network = parser.get_parsed_content("network").state_dict()
    model = torch.load(folder / "model.pt", weights_only=True)
    assert set(model) == set(network) and all(torch.equal(model[name], network[name]) for name in network)
    metrics = parser.get_parsed_content("validate::evaluator").state.metrics
    subsets = {name for name in metrics if name.startswith("dice/")}
    assert len(subsets) == 15
    assert set(metrics) - subsets == {"mean_dice", *(f"dice_{region}" for region in parser["regions"])}
    assert all(0 <= value <= 1 for value in metrics.values())
    rate = parser.get_parsed_content("optimizer").param_groups[0]["lr"]
    assert rate == pytest.approx(0.0, abs=1e-12)  # learning_rate * (1 - 1/1) ** 0.9: the schedule has ended


def test_tests_that_the_table_names_exist():
    for id, _, _, links in ROWS:
        paths = re.findall(r"\]\(([^)]+)\)", links)
        assert paths and all((DOCUMENT.parent / path).is_file() for path in paths), id
