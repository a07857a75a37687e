# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Latent features of the cases of an evaluation, by hand."""

from __future__ import annotations

import json
import math
from inspect import signature

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader
from monai.engines.utils import IterationEvents
from torch import nn
from torch.nn.functional import avg_pool2d, avg_pool3d

from scripts.engines.batches import prepare_case
from scripts.engines.case_evaluator import CaseDataset, CaseEvaluator
from scripts.evaluation.store import SCORES, CaseStore
from scripts.handlers.latent_features import LatentFeaturesHandler
from scripts.inferers.sliding_window import SubsetSlidingWindowInferer
from scripts.metrics.modality_gap import ModalityGap, modality_gap
from scripts.metrics.paired_gap import PairedGap, paired_gap
from scripts.networks.early_fusion import EarlyFusionSegResNet
from scripts.networks.m2ftrans import M2FTrans
from scripts.networks.mmformer import MMFormer
from scripts.networks.rfnet import RFNet
from scripts.networks.unet import MultiEncoderUNet

NAMES = ["flair", "t2"]


class Toy(nn.Module):
    """A network by hand: level 0 is the image, level 1 the image and its square at half the size."""

    level_channels = (1, 2)

    def __init__(self):
        super().__init__()
        self.encoded = 0

    def encode(self, x, available):
        self.encoded += 1
        x = x.masked_fill(~available.reshape(*available.shape, *[1] * (x.dim() - 2)), 0.0)
        half = {4: avg_pool2d, 5: avg_pool3d}[x.dim()](x, 2)
        return [x.unsqueeze(2), torch.stack([half, half**2], dim=2)]

    def align(self, features, available):
        return [level + 100 for level in features]  # what comes after encoding must not count

    def fuse(self, features, available):
        return features[0][:, :, 0]  # two modalities serve as logits of two classes


def cases(size=(12, 8, 8)):
    """Three cases of random images; the second lacks T2."""
    images = torch.randn(3, 2, *size, generator=torch.Generator().manual_seed(0))
    images[1, 1] = math.nan
    return [{"case": f"case_{n}", "image": image} for n, image in enumerate(images)]


def evaluate(folder, data=None, level=-1, network=None, before=None, roi_size=(4, 8, 8), **settings):
    """Run an evaluation in windows that do not overlap: the engine and what it wrote."""
    inferer = SubsetSlidingWindowInferer(roi_size, NAMES, overlap=0.0, **settings)
    data = cases() if data is None else data
    store = CaseStore(str(folder), [{"label": "", **case} for case in data], {})
    engine = CaseEvaluator(
        device="cpu",
        val_data_loader=DataLoader(CaseDataset(data), batch_size=1, num_workers=0),
        network=network or Toy(),
        inferer=inferer,
        prepare_batch=prepare_case,
        val_handlers=[store, LatentFeaturesHandler(inferer, NAMES, store, level)],
    )
    if before is not None:
        before(engine)

    @engine.on(IterationEvents.MODEL_COMPLETED)
    def score(engine):
        store.write(engine.state.batch[0]["case"], SCORES, {})

    engine.run()
    with np.load(folder / "features.npz", allow_pickle=False) as file:
        return engine, {name: file[name] for name in file.files}


def test_features_are_means_over_all_windows_and_voxels(tmp_path):
    _, written = evaluate(tmp_path, level=0)
    images = torch.stack([case["image"] for case in cases()])
    expected = images.mean(dim=(2, 3, 4))[..., None]  # windows that do not overlap cover every voxel once
    assert written["features"].dtype == np.float32 and written["features"].shape == (3, 2, 1)
    np.testing.assert_allclose(written["features"], expected, rtol=1e-5, atol=1e-6)
    assert np.isnan(written["features"]).any(axis=2).tolist() == [[False, False], [False, True], [False, False]]
    assert written["cases"].tolist() == ["case_0", "case_1", "case_2"]
    assert written["modalities"].tolist() == NAMES


def test_the_deepest_level_is_the_default_and_comes_before_any_alignment(tmp_path):
    _, written = evaluate(tmp_path)
    half = avg_pool3d(cases()[0]["image"], 2)
    expected = torch.stack([half.mean(dim=(1, 2, 3)), (half**2).mean(dim=(1, 2, 3))], dim=1)
    np.testing.assert_allclose(written["features"][0], expected, rtol=1e-5, atol=1e-6)
    assert written["level"] == 1


@pytest.mark.parametrize("sw_batch_size", [1, 3])
def test_voxels_are_those_of_the_image_the_same_of_every_modality_however_windows_are_batched(tmp_path, sw_batch_size):
    data = cases()
    for case in data:
        case["image"][0] = torch.arange(case["image"][0].numel()).reshape(case["image"][0].shape) / 1024
        case["image"][1] = case["image"][0] + (5 if case["case"] != "case_1" else math.nan)
    _, written = evaluate(tmp_path / "one", data, level=0, sw_batch_size=sw_batch_size)
    voxels = written["voxels"]
    assert voxels.shape == (3, 32, 2, 1) and voxels.dtype == np.float32
    assert np.isnan(voxels).all(axis=(1, 3)).tolist() == [[False, False], [False, True], [False, False]]
    np.testing.assert_allclose(voxels[[0, 2], :, 1], voxels[[0, 2], :, 0] + 5, rtol=1e-4)
    assert len(np.unique(voxels[0, :, 0])) > 20  # spread over the case, 48 of 768 drawn and 32 of these
    assert voxels[0, :, 0].max() > 0.5 > 0.25 > voxels[0, :, 0].min()
    _, again = evaluate(tmp_path / "two", data, level=0, sw_batch_size=2)
    np.testing.assert_array_equal(again["voxels"], voxels)


def test_cases_of_an_earlier_version_are_left_out_of_the_paired_measures_with_a_word(tmp_path, caplog):
    def forget(engine):
        @engine.on(Events.ITERATION_COMPLETED(once=1))
        def remove(engine):
            next(tmp_path.rglob("*voxels.json")).unlink()

    _, written = evaluate(tmp_path, before=forget)
    assert "1 of 3 cases were evaluated by an earlier version" in caplog.text
    assert np.isnan(written["voxels"][0]).all() and np.isfinite(written["voxels"][2]).all()


@pytest.mark.parametrize("sw_batch_size", [1, 2, 3])
def test_a_voxel_counts_in_every_window_it_lies_in_however_windows_are_batched(tmp_path, sw_batch_size):
    # 10 voxels in windows of 4: at 0, 4 and, moved back to fit, 6
    data = cases((10, 8, 8))[:1]
    _, written = evaluate(tmp_path, data, level=0, sw_batch_size=sw_batch_size)
    expected = torch.stack([data[0]["image"][:, n : n + 4].mean(dim=(1, 2, 3)) for n in (0, 4, 6)]).mean(dim=0)
    np.testing.assert_allclose(written["features"][0, :, 0], expected, rtol=1e-5, atol=1e-6)


def test_nothing_is_encoded_for_the_features_alone(tmp_path):
    network = Toy()
    evaluate(tmp_path, network=network)
    assert network.encoded == 3 * 3  # cases, windows


def test_stacks_are_encoded_slice_by_slice(tmp_path):
    data = cases((8, 8, 3))
    _, written = evaluate(tmp_path, data, roi_size=(8, 8, 1), spatial_dims=2)
    half = avg_pool2d(data[2]["image"].movedim(-1, 0), 2)  # (3, 2, 4, 4): slices first
    expected = torch.stack([half.mean(dim=(0, 2, 3)), (half**2).mean(dim=(0, 2, 3))], dim=1)
    np.testing.assert_allclose(written["features"][2], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [EarlyFusionSegResNet, M2FTrans, MMFormer, MultiEncoderUNet, RFNet])
@pytest.mark.parametrize("level", [0, -1])
def test_every_network_has_the_levels_it_names(tmp_path, kind, level):
    options = {"patch_size": [32, 32]} if "patch_size" in signature(kind).parameters else {}
    network = kind(num_modalities=2, num_classes=3, spatial_dims=2, width=4, **options)
    _, written = evaluate(tmp_path, cases((32, 32)), level, network, roi_size=(32, 32))
    assert written["features"].shape == (3, 2, network.level_channels[level])
    assert np.isfinite(written["features"]).all(axis=2).tolist() == [[True, True], [True, False], [True, True]]


def test_features_in_bfloat16_are_averaged_in_float32(tmp_path):
    class Half(Toy):
        def encode(self, x, available):
            return [level.bfloat16() for level in super().encode(x, available)]

    _, full = evaluate(tmp_path)
    _, half = evaluate(tmp_path, network=Half())
    np.testing.assert_allclose(half["features"], full["features"], atol=2e-3)
    assert (half["features"] != full["features"]).any()
    rounded = torch.from_numpy(half["features"]).bfloat16().float().numpy()
    assert (half["features"] != rounded)[np.isfinite(rounded)].any(), "the mean was rounded too"


def test_the_gap_is_published_and_written_with_what_it_is_made_of(tmp_path):
    engine, written = evaluate(tmp_path)
    expected = modality_gap(written["features"])
    assert math.isfinite(expected.gap) and engine.state.metrics["modality_gap"] == expected.gap
    report = json.loads((tmp_path / "modality_gap.json").read_text())
    paired = paired_gap(written["voxels"])
    assert math.isfinite(paired.voxel_correlation) and math.isfinite(paired.matched_ratio)
    assert report == {
        **expected._asdict(),
        **{name: None if math.isnan(value) else value for name, value in paired._asdict().items()},
        "num_cases": 3,
        "level": 1,
    }
    assert {file.name for file in tmp_path.iterdir()} == {
        "cases",
        "evaluation.json",
        "features.npz",
        "modality_gap.json",
    }


def test_a_gap_that_is_not_defined_is_null_in_the_file(tmp_path):
    engine, _ = evaluate(tmp_path, cases()[1:2])  # one case with one modality
    assert math.isnan(engine.state.metrics["modality_gap"])
    report = json.loads((tmp_path / "modality_gap.json").read_text())
    assert report.pop("num_cases") == 1 and report.pop("level") == 1
    assert set(report) == {*ModalityGap._fields, *PairedGap._fields} and set(report.values()) == {None}


@pytest.mark.parametrize("event", [Events.ITERATION_STARTED, IterationEvents.MODEL_COMPLETED])
def test_a_case_that_fails_is_left_out_and_the_others_are_as_without_it(tmp_path, event):
    def fail_once(engine):
        @engine.on(event)
        def fail(engine):
            if event is IterationEvents.MODEL_COMPLETED and engine.state.iteration == 1:
                raise ValueError("cannot be scored")

    data = cases()
    if event is Events.ITERATION_STARTED:
        data[0] = {"case": "case_0", "failure": "cannot be loaded"}
    engine, written = evaluate(tmp_path, data, before=fail_once)
    assert list(engine.failures) == ["case_0"]
    assert written["cases"].tolist() == ["case_1", "case_2"]
    np.testing.assert_array_equal(written["features"], evaluate(tmp_path)[1]["features"][1:])


def test_a_run_without_any_result_replaces_the_files_of_an_earlier_one(tmp_path):
    evaluate(tmp_path)
    engine, written = evaluate(tmp_path, [{"case": "case_0", "failure": "cannot be loaded"}])
    assert written["features"].shape == (0, 2, 2) and written["cases"].shape == (0,)
    assert math.isnan(engine.state.metrics["modality_gap"])


def test_a_second_run_of_the_evaluator_starts_anew(tmp_path):
    engine, first = evaluate(tmp_path)
    engine.run()
    with np.load(tmp_path / "features.npz", allow_pickle=False) as second:
        np.testing.assert_array_equal(second["features"], first["features"])


@pytest.mark.parametrize("level", [2, -3])
def test_a_level_that_the_network_lacks_is_refused_at_once(tmp_path, level):
    message = rf"`level` is {level}, but the encoders of Toy have 2 levels; expected -2 to 1. See `latent_level`"
    with pytest.raises(ValueError, match=message):
        evaluate(tmp_path, level=level)


def test_features_of_a_network_that_diverged_are_called_so(tmp_path, caplog):
    class Diverged(Toy):
        def encode(self, x, available):
            return [level * math.inf for level in super().encode(x, available)]

        def fuse(self, features, available):  # finite, otherwise the case fails before
            return super().fuse([level.nan_to_num(0, 0, 0) for level in features], available)

    _, written = evaluate(tmp_path, network=Diverged())
    assert "case case_0 has latent features that are not finite" in caplog.text
    assert np.isnan(written["features"][1, 1]).all()
