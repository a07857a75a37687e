# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""A teacher: its weights are those of the file and stay so."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from scripts.networks.alignment import AnchorAlignment
from scripts.networks.early_fusion import EarlyFusionSegResNet
from scripts.networks.mmformer import MMFormer
from scripts.networks.teacher import FrozenTeacher, load_teacher
from scripts.networks.unet import MultiEncoderUNet

NAMES = ["a", "b", "c"]


def build(seed=0, width=4, num_classes=2, anchor=None):
    torch.manual_seed(seed)
    alignment = AnchorAlignment(NAMES, anchor) if anchor else None
    return MultiEncoderUNet(len(NAMES), num_classes, spatial_dims=2, width=width, alignment=alignment)


def saved(network, folder):
    torch.save(network.state_dict(), folder / "teacher.pt")
    return str(folder / "teacher.pt")


@pytest.mark.parametrize("anchor", [None, "adaptive", "b"])
def test_the_weights_are_those_of_the_file_and_ask_for_no_gradient(tmp_path, anchor):
    trained = build(seed=1, anchor=anchor)
    teacher = load_teacher(build(seed=2, anchor=anchor), saved(trained, tmp_path))
    for name, value in trained.state_dict().items():
        assert torch.equal(teacher.network.state_dict()[name], value), name
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())


@pytest.mark.parametrize("anchor", [None, "adaptive", "normal", "b"])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_complete_sample_is_seen_and_another_one_left_out(anchor, precision):
    teacher = FrozenTeacher(build(anchor=anchor))
    image = torch.randn(3, 3, 20, 17, generator=torch.Generator().manual_seed(3))
    image[1, 2] = torch.nan
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
        path, complete = teacher(image), teacher(image[[0, 2]])
        with torch.no_grad():
            expected = teacher.network(image[[0, 2]])
    assert path.available.tolist() == [[True] * 3, [False] * 3, [True] * 3]
    assert (path.alignment is None) == (anchor is None)
    if anchor is not None:
        assert torch.equal(path.alignment.available, path.available)
        assert all(each.isfinite().all() for each in path.alignment.anchors)
    assert path.logits.isfinite().all() and path.bottleneck.isfinite().all()
    assert_close(complete.logits, expected)
    assert path.logits.dtype == precision
    if precision == torch.float32:  # in bfloat16, rounding depends on the batch
        assert_close(path.logits[[0, 2]], expected, rtol=1e-3, atol=1e-3)


def test_a_batch_without_any_complete_sample_teaches_nothing():
    image = torch.randn(2, 3, 20, 17)
    image[:, 0] = torch.nan
    path = FrozenTeacher(build())(image)
    assert not path.available.any() and path.logits.isfinite().all()


def test_early_fusion_teaches_without_a_bottleneck():
    path = FrozenTeacher(EarlyFusionSegResNet(3, 2, spatial_dims=2, width=8))(torch.randn(1, 3, 16, 16))
    assert path.bottleneck is None and path.logits.isfinite().all()


def test_whoever_holds_a_teacher_cannot_train_it():
    torch.manual_seed(0)
    teacher = FrozenTeacher(MMFormer(3, 2, spatial_dims=2, width=8, patch_size=[32, 32]))  # it has dropout
    holder = nn.Linear(1, 1)
    holder.teacher = teacher
    holder.train()
    assert not any(module.training for module in teacher.network.modules())
    assert set(holder.state_dict()) == {"weight", "bias"} and len(list(holder.parameters())) == 2
    image = torch.randn(1, 3, 32, 32)
    assert torch.equal(teacher(image).logits, teacher(image).logits)


def test_a_missing_file_says_how_to_train_a_teacher(tmp_path):
    missing = tmp_path / "teacher.pt"
    with pytest.raises(FileNotFoundError) as caught:
        load_teacher(build(), str(missing))
    for part in (str(missing), "--teacher_file", "configs/method_kd_teacher.yaml", "monai.bundle run training"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("trained", "found"),
    [
        ({"width": 8}, r"\d+ of another shape, such as encoders\.0\S+ \[8, 1, 3, 3\] for \[4, 1, 3, 3\],"),
        ({"num_classes": 5}, r": 2 of another shape, such as decoder\.\S+ \[5, "),
        ({"anchor": "adaptive"}, r": 1 unknown, such as alignment\.theta\. Expected the overlays and options"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, trained, found):
    file = saved(build(**trained), tmp_path)
    with pytest.raises(ValueError, match=rf"weights in {file} are of another network or alignment.*{found}"):
        load_teacher(build(), file)


@pytest.mark.parametrize(
    ("anchor", "found"),
    [
        (None, "1 missing, such as alignment.theta"),
        ("normal", "1 missing, such as alignment.theta; 1 unknown, such as alignment.mixture"),
    ],
)
def test_weights_of_another_alignment_are_refused(tmp_path, anchor, found):
    with pytest.raises(ValueError, match=f"of another network or alignment: {found}.*See .*`alignment`"):
        load_teacher(build(anchor="adaptive"), saved(build(anchor=anchor), tmp_path))


@pytest.mark.parametrize("anchor", ["normal", "a"])
def test_weights_of_another_fixed_anchor_are_refused(tmp_path, anchor):
    with pytest.raises(ValueError, match="alignment.mixture is .* trained with another anchor"):
        load_teacher(build(anchor="b"), saved(build(anchor=anchor), tmp_path))


def test_a_checkpoint_to_resume_from_is_no_teacher(tmp_path):
    torch.save({"model": build().state_dict(), "optimizer": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="it holds other things than tensors, such as model, optimizer"):
        load_teacher(build(), str(tmp_path / "checkpoint.pt"))


def test_a_student_is_not_written_over_its_teacher(tmp_path):
    file = saved(build(), tmp_path)
    with pytest.raises(ValueError, match="`model_file` and `teacher_file` are both .*without method_kd_teacher.yaml"):
        load_teacher(build(), file, model_file=str(tmp_path / "x" / ".." / "teacher.pt"))
    assert isinstance(load_teacher(build(), file, model_file=str(tmp_path / "model.pt")), FrozenTeacher)


def test_loading_executes_nothing(tmp_path):
    torch.save({"weights": print}, tmp_path / "teacher.pt")
    with pytest.raises(ValueError, match="it holds print, which could run code and is not loaded"):
        load_teacher(build(), str(tmp_path / "teacher.pt"))
