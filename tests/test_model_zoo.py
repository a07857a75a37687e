# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Every network, aligned or not, passes MONAI's checks, and what is exported says what the network says.

Exports as ONNX take long, so most of them run by `make export-test` alone.
"""

from __future__ import annotations

from copy import deepcopy
from itertools import product
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser, ckpt_export, onnx_export, verify_net_in_out
from monai.networks.utils import convert_to_onnx
from torch.testing import assert_close

from scripts.engines.case_evaluator import root_cause
from scripts.modalities import modality_subsets

CONFIGS = Path(__file__).parents[1] / "configs"
META = CONFIGS / "metadata.json"
NETWORKS = sorted(path.name for path in CONFIGS.glob("network_*.yaml"))
ALIGNMENT = "method_medmap.yaml"
VARIANTS = list(product(NETWORKS, (False, True)))
LENGTH = 32  # voxels along each axis, the shortest image of the metadata
SUBSETS = modality_subsets(4)
EXACT = {"rtol": 1e-6, "atol": 1e-6}  # in float64
ROUNDING = 1e-4  # in probabilities, in float32
TIMES = 10  # how far an export may be off, in what the network itself is off in float32: a few voxels at its deepest
# level magnify rounding when they are normalised
QUICK = "network_segresnet.yaml"  # the export of which takes seconds


def name_of(variant):
    network, aligned = variant
    return network.removeprefix("network_").removesuffix(".yaml") + ("-aligned" if aligned else "")


@pytest.fixture(scope="module", params=VARIANTS, ids=name_of)
def variant(request, tmp_path_factory):
    return make_variant(*request.param, tmp_path_factory.mktemp("model"))


def make_variant(network, aligned, folder):
    """Build a narrow network by its overlays, write its weights: network, files of its configuration, overrides."""
    files = [str(CONFIGS / name) for name in ["inference.yaml", network] + [ALIGNMENT] * aligned]
    overrides = {"device": "cpu", "patch_size": [LENGTH] * 3}
    for width in (4, 8):  # the narrowest that the network allows
        overrides["network_def#width"] = width
        parser = ConfigParser(ConfigParser.load_config_files(files))
        parser.update(overrides)
        torch.manual_seed(0)
        try:
            built = parser.get_parsed_content("network_def").eval()
            break
        except RuntimeError as error:
            assert width == 4 and isinstance(root_cause(error), ValueError), error
    if aligned:
        built.alignment.theta.data = torch.linspace(-0.5, 1.0, 4)  # it has learnt that modalities differ
    torch.save(built.state_dict(), folder / "model.pt")
    return built, files, overrides, folder


@pytest.fixture(scope="module")
def image():
    return torch.randn(1, 4, LENGTH, LENGTH, LENGTH, generator=torch.Generator().manual_seed(1))


def erased(image, subset):
    return image.masked_fill(~subset[None, :, None, None, None], float("nan"))


@torch.no_grad()
def test_the_network_definition_takes_and_gives_what_the_metadata_says(variant):
    _, files, overrides, _ = variant
    # MONAI's own function; the shortest image that the metadata allow
    verify_net_in_out(net_id="network_def", meta_file=str(META), config_file=files, n=1, **overrides)


@pytest.fixture(scope="module")
def answers(variant):
    """What a network says of every subset by itself, exactly: images, the complete one, logits ``(15, C, *S)``."""
    generator = torch.Generator().manual_seed(1)
    length = max(9, variant[0].smallest_size)
    image = torch.randn(1, 4, length + 1, length, length, generator=generator, dtype=torch.float64)
    images = torch.cat([erased(image, subset) for subset in SUBSETS])
    network = deepcopy(variant[0]).double()
    with torch.no_grad():
        logits = torch.cat([network(each) for each in images.split(1)])
    assert logits.isfinite().all()
    return network, images, image.expand_as(images), logits


@pytest.mark.long
@torch.no_grad()
def test_torchscript_says_what_the_network_says_of_every_subset(variant, answers):
    _, files, overrides, folder = variant
    _, images, complete, expected = answers
    paths = {"filepath": str(folder / "model.ts"), "ckpt_file": str(folder / "model.pt"), "meta_file": str(META)}
    ckpt_export(net_id="network_def", config_file=files, **paths, **overrides)
    exported = torch.jit.load(folder / "model.ts").eval().double()
    with torch.jit.optimized_execution(False):
        assert_close(torch.cat([exported(each) for each in images.split(1)]), expected, **EXACT)
        assert_close(exported(complete, SUBSETS), expected, **EXACT)


@torch.no_grad()
def test_one_graph_of_all_modalities_says_what_the_network_says_of_every_subset(answers, monkeypatch):
    # what an export as ONNX is made of, run as it stands
    network, images, complete, expected = answers
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert_close(network(images), expected, **EXACT)
    assert_close(network(complete, SUBSETS), expected, **EXACT)
    assert network(torch.full_like(images[:1], float("nan"))).isfinite().all()


def check_onnx(network, files, overrides, folder, image):
    """Export twice, by MONAI's command and with the optional argument; compare both for every subset."""
    onnxruntime = pytest.importorskip("onnxruntime")
    paths = {"filepath": str(folder / "model.onnx"), "ckpt_file": str(folder / "model.pt"), "meta_file": str(META)}
    onnx_export(net_id="network_def", config_file=files, **paths, **overrides)
    exported = onnxruntime.InferenceSession(folder / "model.onnx")
    everything, exactly = torch.ones(1, 4, dtype=torch.bool), deepcopy(network).double()
    model = convert_to_onnx(network, [image, everything], use_trace=False)
    narrowed = onnxruntime.InferenceSession(model.SerializeToString())
    assert [len(session.get_inputs()) for session in (exported, narrowed)] == [1, 2]
    for subset in SUBSETS:
        with torch.no_grad():
            exact = exactly(erased(image, subset).double()).softmax(dim=1)
            own = (network(erased(image, subset)).softmax(dim=1) - exact).abs().max().item()
        absent, shown = [erased(image, subset)], [image, subset[None]]
        for session, inputs in ((exported, absent), (narrowed, shown), (narrowed, [*absent, everything])):
            names = [each.name for each in session.get_inputs()]
            (logits,) = session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})
            found = torch.from_numpy(logits).double().softmax(dim=1)
            assert_close(found, exact, rtol=0, atol=max(ROUNDING, TIMES * own))


@pytest.mark.long
def test_onnx_says_what_the_network_says_of_every_subset(image, tmp_path):
    check_onnx(*make_variant(QUICK, True, tmp_path), image)


@pytest.mark.exports
def test_onnx_of_every_network_says_what_the_network_says_of_every_subset(variant, image):
    check_onnx(*variant, image)
