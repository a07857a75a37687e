# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What every network of configs/network_*.yaml promises, in 2D and 3D, for two to five modalities, aligned or not."""

from __future__ import annotations

from copy import deepcopy
from itertools import product
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser
from torch.testing import assert_close

from scripts.engines.case_evaluator import root_cause
from scripts.networks.outputs import DEFAULT_PATHS, MultiModalOutput
from scripts.networks.packing import pack
from scripts.networks.transformer import PositionalTables
from tests.objectives import WITH_STUDENTS, objective_of

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = sorted(path.stem.removeprefix("network_") for path in CONFIGS.glob("network_*.yaml"))
ANCHORS = ["adaptive", "normal", "b"]
CASES = [(*case, None) for case in product(NAMES, [2], [2, 5])]
CASES += [(*case, None) for case in product(NAMES, [3], [4])]
CASES += [(*case, anchor) for case, anchor in product(product(NAMES, [3], [3]), ANCHORS)]
CASES += [(name, 2, 4, "adaptive") for name in NAMES]
SIZES = {2: [20, 17], 3: [17, 18, 20]}  # voxels
NUM_CLASSES = 3
EXACT = {"rtol": 1e-7, "atol": 1e-7}  # in float64
CLOSE = {"rtol": 1e-3, "atol": 1e-3}  # of logits around 1; two voxels at the bottom of a network amplify rounding


def configured(name, spatial_dims, num_modalities, anchor=None):
    """Build the network of an overlay as a run does, the same every time, and as narrow as it allows.

    An anchor aligns it by ``method_medmap.yaml``; an adaptive one has learnt that modalities differ.
    """
    names = ["train.yaml", f"network_{name}.yaml"] + ["method_medmap.yaml"] * (anchor is not None)
    files = [str(CONFIGS / each) for each in names]
    settings = {
        "device": "cpu",
        "modalities": list("abcde"[:num_modalities]),
        "num_classes": NUM_CLASSES,
        "spatial_dims": spatial_dims,
        "patch_size": SIZES[spatial_dims],
    }
    for width in (4, 8):
        parser = ConfigParser(ConfigParser.load_config_files(files))
        more = {} if anchor is None else {"alignment::anchor": anchor}
        parser.update({**settings, "network_def::width": width, **more})
        torch.manual_seed(0)
        try:
            network = parser.get_parsed_content("network")
        except RuntimeError as error:  # that of MONAI around the one of the network
            refusal = error
            assert isinstance(root_cause(error), ValueError), error
            continue
        if anchor == "adaptive":
            network.alignment.theta.data = torch.linspace(-0.5, 1.0, num_modalities)
        return network
    raise refusal


def without_dropout(network):
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return network


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}d-{case[2]}-{case[3]}")
def network(request):
    return configured(*request.param)


@pytest.fixture
def image(network, request):
    """Three different samples with every modality: ``(3, M, *S)``."""
    spatial_dims = request.node.callspec.params["network"][1]
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, network.num_modalities, *SIZES[spatial_dims], generator=generator)


@pytest.fixture
def shown(network):
    """Three different subsets ``(3, M)``: all, all but the first, and the last or, of more than two, every other."""
    subsets = torch.ones(3, network.num_modalities, dtype=torch.bool)
    subsets[1, 0] = False
    subsets[2, 1::2] = False
    return subsets


def erased(image, subsets):
    """Fill with NaN what the rows ``(B, M)`` leave out."""
    absent = ~subsets.view(*subsets.shape, *[1] * (image.dim() - 2))
    return image.masked_fill(absent, float("nan"))


@torch.no_grad()
def test_evaluation_gives_finite_logits_and_absent_is_the_same_as_not_shown(network, image, shown):
    network.eval()
    absent = network(erased(image, shown))
    assert type(absent) is torch.Tensor and absent.dtype == torch.float32
    assert absent.shape == (3, NUM_CLASSES, *image.shape[2:]) and absent.isfinite().all()
    assert (absent.flatten(2).std(dim=2) > 1e-3).all()  # not one value everywhere
    assert_close(network(image, shown), absent, **CLOSE)
    assert (network(image) - absent).abs().flatten(1).amax(dim=1)[1:].min() > 1e-2  # what is absent makes a difference


@torch.no_grad()
def test_samples_with_different_modalities_do_not_touch_each_other(network, image, shown):
    network.eval()
    mixed = erased(image, shown)
    assert_close(network(mixed), torch.cat([network(sample) for sample in mixed.split(1)]), **CLOSE)


@torch.no_grad()
def test_a_sample_without_any_modality_is_finite_and_leaves_the_others_as_they_are(network, image):
    network.eval()
    nothing = torch.full_like(image[:1], float("nan"))
    mixed = network(torch.cat([image[:1], nothing]))
    assert mixed.isfinite().all() and network(nothing).isfinite().all()
    assert_close(mixed[:1], network(image[:1]), **CLOSE)


def test_training_gives_what_the_losses_need_and_finite_gradients(network, image, shown):
    shown[:, 0] = False  # a modality that no sample has
    shown[1] = False  # and a sample that has none
    drawn = shown.clone()
    drawn[0, -1] = network.num_modalities == 2  # acquired, but not shown to the fusion
    network.train().zero_grad()
    output = network(erased(image, shown), drawn)
    label = torch.randint(NUM_CLASSES, (3, 1, *image.shape[2:]), generator=torch.Generator().manual_seed(2))
    loss = objective_of()(output, label)
    loss.backward()
    check_shapes(output, image)
    assert torch.equal(output.acquired, shown) and torch.equal(output.available, drawn)
    assert loss.isfinite()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert any(gradient.any() for gradient in gradients.values())
    if output.unimodal is not None:  # a network of encoders
        assert torch.equal(output.unimodal.flatten(2).any(dim=2), shown)
        assert_close(output.unimodal.sum(dim=2).flatten(2).mean(dim=2), shown.float())
        assert trained_encoders(network, gradients) == shown.any(dim=0).tolist()


def check_shapes(output, image):
    batch, size = list(image.shape[:2]), list(image.shape[2:])
    assert type(output) is MultiModalOutput
    assert list(output.fused.shape) == [batch[0], NUM_CLASSES, *size] and output.fused.isfinite().all()
    if output.unimodal is not None:
        assert list(output.unimodal.shape) == [*batch, NUM_CLASSES, *size]
    assert [output.fused_features.shape[0], *output.fused_features.shape[2:]] == [batch[0], *size]
    for logits in output.auxiliary:
        assert list(logits.shape[:2]) == [batch[0], NUM_CLASSES]
        assert len(logits.shape[2:]) == len(size) and all(a <= b for a, b in zip(logits.shape[2:], size, strict=True))
        size = logits.shape[2:]  # finest first


def trained_encoders(network, gradients):
    """Tell for each modality whether its encoder got gradients; positions do not count, which absent ones have too."""
    positions = [f"{name}." for name, module in network.named_modules() if isinstance(module, PositionalTables)]
    names = [name for name in gradients if not name.startswith(tuple(positions))]
    return [any(name.startswith(f"encoders.{m}.") for name in names) for m in range(network.num_modalities)]


@torch.no_grad()
def test_one_encoding_is_fused_for_any_subset_and_alone_as_under_each_row_of_the_identity(network, image, shown):
    network.eval()
    image, shown = image[:2], shown[1:]  # two different subsets, neither of them complete
    features = network.encode(image, torch.ones_like(shown))
    assert_close(network.fuse(network.align(features, shown), shown), network(image, shown), **CLOSE)
    students = network.fuse_alone(features, shown)
    sample, modality = shown.nonzero().t()
    assert students.logits.shape == (len(sample), NUM_CLASSES, *image.shape[2:])
    assert students.features.shape[::2] == students.logits.shape[::2]
    for m, row in enumerate(torch.eye(network.num_modalities, dtype=torch.bool)):
        alone = row.expand(2, -1)
        packed = pack(network.align(features, alone), network.alignment.available_to_fusion(alone))
        expected, auxiliary, _ = network.decode(*packed)
        assert expected.isfinite().all() and len(auxiliary) == len(students.auxiliary)
        rows, samples = modality == m, sample[modality == m]
        assert_close(students.logits[rows], expected[samples], **CLOSE)
        for found, level in zip(students.auxiliary, auxiliary, strict=True):
            assert_close(found[rows], level[samples], **CLOSE)


def test_without_the_uni_modal_heads_nothing_else_changes(network, image, shown):
    network = without_dropout(deepcopy(network))  # fewer encoders draw fewer numbers
    whole = network.train()(image, shown)
    without = network(image, shown, paths=["fused", "alignment"])
    assert without.unimodal is None
    assert_close(without.fused, whole.fused, rtol=0, atol=0)
    for found, expected in zip(without.auxiliary, whole.auxiliary, strict=True):
        assert_close(found, expected, rtol=0, atol=0)
    network.zero_grad()
    without.fused.sum().backward()
    heads = [value.grad for name, value in network.named_parameters() if name.startswith("unimodal_decoder.")]
    assert heads == [None] * len(heads)


def test_students_are_the_modalities_that_the_fusion_did_not_see_alone(network, image, shown):
    drawn = torch.zeros_like(shown)
    drawn[:, -1] = True
    drawn[0] = True
    output = network.train()(image, drawn, paths=WITH_STUDENTS)
    taught = torch.ones_like(shown)
    taught[1:, -1] = False  # its student would be the teacher
    assert torch.equal(output.students.available, taught)
    assert network(image, drawn).students is None
    only = torch.full_like(image, float("nan"))
    only[:, 0] = image[:, 0]
    nothing = network(only, paths=WITH_STUDENTS).students
    assert not nothing.available.any() and len(nothing.logits) == len(nothing.features) == 0


@pytest.mark.parametrize("anchor", [None, "adaptive", "b"])
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_single_modalities_in_one_batch_give_what_they_give_one_at_a_time(name, anchor, monkeypatch):
    network = without_dropout(configured(name, 3, 3, anchor)).train()  # the batch is what a GPU gets
    image = torch.randn(2, 3, *SIZES[3], generator=torch.Generator().manual_seed(1))
    image[1, 0] = float("nan")
    one_at_a_time = network(image, paths=WITH_STUDENTS)
    monkeypatch.setattr(type(network), "_one_at_a_time", lambda self, features: False)
    together = network(image, paths=WITH_STUDENTS)
    if together.unimodal is not None:
        assert_close(together.unimodal, one_at_a_time.unimodal, **CLOSE)
    assert len(together.students.logits) == 5
    for found, expected in zip(together.students, one_at_a_time.students, strict=True):
        assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize("anchor", [None, *ANCHORS])
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_scripted_network_agrees(name, anchor):
    network = configured(name, spatial_dims=3, num_modalities=4, anchor=anchor).eval().double()
    image, subsets = torch.randn(2, 4, *SIZES[3]).double(), torch.tensor([[1, 0, 1, 1], [0, 1, 0, 0]]).bool()
    with torch.jit.optimized_execution(False):
        scripted = torch.jit.script(network)
        assert_close(scripted(erased(image, subsets)), network(image, subsets), **EXACT)
        assert_close(scripted(image[:1], subsets[1:]), network(image[:1], subsets[1:]), **EXACT)


@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("name", NAMES)
def test_alignment_is_pulled_by_what_is_acquired_and_fills_by_what_is_shown(name, anchor):
    network = without_dropout(configured(name, 3, 4, anchor)).train()
    image = torch.randn(2, 4, *SIZES[3], generator=torch.Generator().manual_seed(1))
    image[1, 1:3] = float("nan")
    acquired = torch.tensor([[True] * 4, [True, False, False, True]])
    drawn = torch.tensor([[False, True, False, True], [True, False, False, False]])
    output = network(image, drawn)
    aligned = acquired if anchor != "b" else torch.tensor([[True] * 4, [False] * 4])
    assert torch.equal(output.alignment.available, aligned)
    loss = objective_of()
    label = torch.randint(NUM_CLASSES, (2, 1, *SIZES[3]), generator=torch.Generator().manual_seed(2))
    loss(output, label)
    assert torch.equal(loss.last.terms["alignment_per_modality"].isnan(), ~aligned.any(dim=0))
    features = network.encode(image, acquired)
    assert_close(network.eval()(image, drawn), output.fused, **CLOSE)  # absence is treated as in training
    [deepest] = output.alignment.features
    assert_close(deepest, features[-1], **CLOSE)
    _, index, shown = network._aligned(features, drawn)
    assert index.shape == (2, 4), "the fusion gets every modality"
    assert torch.equal(
        shown, torch.ones(2, 4, dtype=torch.bool) if anchor != "b" else torch.stack([shown[0], drawn[1]])
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_second_path_is_the_network_under_a_narrower_availability(name):
    network = without_dropout(configured(name, 3, 3, "adaptive")).train()
    image = torch.randn(2, 3, *SIZES[3], generator=torch.Generator().manual_seed(1))
    image[1, 0] = float("nan")
    narrowed = torch.tensor([[True, False, True], [True, True, False]])
    output = network(image, paths=[*DEFAULT_PATHS, "narrowed"], narrowed_available=narrowed)
    assert torch.equal(output.available, torch.tensor([[True] * 3, [False, True, True]]))
    seen = torch.tensor([[True, False, True], [False, True, False]])
    assert torch.equal(output.narrowed.available, seen)
    alone = network(image, seen)
    assert_close(output.narrowed.logits, alone.fused, **CLOSE)
    assert (output.fused - alone.fused).abs().max() > 1e-2
    if output.bottleneck is not None:
        assert_close(output.narrowed.bottleneck, alone.bottleneck, **CLOSE)
        assert output.bottleneck.shape[1] == network.level_channels[-1]
    assert network(image).narrowed is None
