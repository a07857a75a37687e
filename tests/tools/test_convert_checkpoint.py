# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import pickle
from pathlib import Path

import fire
import pytest
import torch
from torch.testing import assert_close

from scripts.networks.mmformer import MMFormer
from scripts.networks.reference_mmformer import mmformer_name
from scripts.networks.reference_rfnet import rfnet_name
from scripts.networks.rfnet import RFNet
from scripts.networks.transformer import TransformerSettings
from scripts.tools.convert_checkpoint import ConvertCheckpoint, read_state_dict

MARKER = "executed"


class Malicious:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.fixture(scope="module")
def reference(reference_state_dict):
    return reference_state_dict("rfnet")


@pytest.fixture
def convert(tmp_path):
    """Save content as a checkpoint, convert it, and load what came out into a network."""

    def _convert(content, into=None, **arguments):
        torch.save(content, tmp_path / "published.pth")
        output = ConvertCheckpoint(str(tmp_path / "published.pth"), str(tmp_path / "model.pt"), **arguments).write()
        into = into or RFNet(num_modalities=4, num_classes=4)
        into.load_state_dict(torch.load(output, weights_only=True))
        return into.eval()

    return _convert


@pytest.fixture
def image():
    return torch.randn(1, 4, 16, 16, 16, generator=torch.Generator().manual_seed(1))


def published_names(network, names, modalities):
    """Rename the parameters of a network here as the published implementation would have them."""
    state, renamed = network.state_dict(), {}
    for name in names:
        value = state.get(rfnet_name(name, modalities))
        if value is not None:
            renamed[name] = value[(...,) + (None,) * (network.segment.weight.dim() - 2)] if value.dim() == 2 else value
    assert len(renamed) == len(state)
    return renamed


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
@torch.no_grad()
def test_converted_weights_segment_the_same_however_they_were_saved(convert, reference, image, capsys, wrapper, prefix):
    state = {prefix + name: value for name, value in reference.items()}
    content = {"epoch": 299, wrapper: state, "optim_dict": {"lr": 2e-4}} if wrapper else state
    expected = convert(reference)(image)
    assert torch.equal(convert(content)(image), expected)
    printed = capsys.readouterr().out
    assert "Read 288 tensors of RFNet (2381792 parameters)" in printed
    assert "Modalities of the weights:    flair, t1ce, t1, t2" in printed
    assert "Network: num_classes 4, width 8, spatial_dims 3" in printed and "model.pt" in printed


@torch.no_grad()
def test_weights_in_another_order_of_modalities_segment_the_same(convert, reference, image, capsys):
    expected = convert(reference)(image)
    other = convert(reference, modalities="t2,flair,t1,t1ce")
    assert_close(other(image[:, [3, 0, 2, 1]]), expected, rtol=1e-4, atol=1e-4)
    printed = capsys.readouterr().out
    assert "Modalities of the checkpoint: flair, t1ce, t1, t2" in printed
    assert "Modalities of the weights:    t2, flair, t1, t1ce" in printed


@torch.no_grad()
def test_classes_width_and_dimensions_are_read_from_the_shapes(convert, reference):
    names = [name for name in reference if not name.startswith(("t1ce_", "t1_"))]
    small = RFNet(2, 3, spatial_dims=2, width=4).eval()
    state = published_names(small, names, ["flair", "t2"])
    again = convert(state, RFNet(2, 3, spatial_dims=2, width=4), modalities=["flair", "t2"])
    x = torch.randn(1, 2, 20, 17)
    assert torch.equal(again(x), small(x))


@pytest.fixture
def small_mmformer(reference_state_dict):
    """A small mmFormer of two modalities in 2D, and its checkpoint as the published implementation would write it."""
    torch.manual_seed(0)
    network = MMFormer(2, 3, 48, 2, 4, TransformerSettings(16, 24))
    for encoder in network.encoders:
        torch.nn.init.normal_(encoder.positions.table)
    state = network.state_dict()
    names = {name: mmformer_name(name, ["flair", "t2"]) for name in reference_state_dict("mmformer")}
    return network.eval(), {f"module.{name}": state[here] for name, here in names.items() if here is not None}


@pytest.mark.parametrize("patch_size", [48, 32])
@torch.no_grad()
def test_mmformer_is_converted_by_its_shapes_and_loads_for_any_patch(convert, small_mmformer, capsys, patch_size):
    network, checkpoint = small_mmformer
    into = MMFormer(2, 3, patch_size, 2, 4, TransformerSettings(16, 24))
    again = convert({"state_dict": checkpoint}, into, network="mmformer", modalities="flair,t2")
    x = torch.randn(1, 2, 32, 32)  # for which a network trained with patches of 48 interpolates the positions
    assert_close(again(x), network(x), rtol=1e-4, atol=1e-4)
    printed = capsys.readouterr().out
    assert f"Read {len(checkpoint)} tensors of MMFormer" in printed
    assert "Network: num_classes 3, width 4, spatial_dims 2, patch_size 48, transformer TransformerSettings(" in printed


def test_mmformer_in_another_order_of_modalities_is_refused_in_words(small_mmformer, tmp_path):
    torch.save(small_mmformer[1], tmp_path / "published.pth")
    places = str(tmp_path / "published.pth"), str(tmp_path / "model.pt")
    with pytest.raises(SystemExit, match="No checkpoint converted: the modalities of a MMFormer cannot be reordered"):
        ConvertCheckpoint(*places, network="mmformer", modalities="t2,flair")()
    assert not (tmp_path / "model.pt").exists()


def test_a_checkpoint_of_another_network_is_refused_in_words(reference, small_mmformer, convert):
    with pytest.raises(ValueError, match="is not in the checkpoint, .* expected one of MMFormer. See `--network`"):
        convert(reference, network="mmformer")
    with pytest.raises(ValueError, match="does not fit RFNet with modalities .*`flair_pos` is not known"):
        convert(small_mmformer[1], modalities="flair,t2")
    without = {name: x for name, x in small_mmformer[1].items() if not name.endswith("_pos")}
    with pytest.raises(ValueError, match="`<modality>_pos` is not in the checkpoint"):
        convert(without, network="mmformer", modalities="flair,t2")


def test_output_is_a_flat_state_dict_and_nothing_else_is_written(convert, reference, tmp_path):
    convert({"state_dict": reference})
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert set(state) == set(RFNet(4, 4).state_dict())
    assert all(type(value) is torch.Tensor for value in state.values())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pt", "published.pth"]


def test_command_line_takes_names_joined_by_commas(reference, tmp_path, capsys):
    torch.save(reference, tmp_path / "published.pth")
    options = f"--checkpoint {tmp_path}/published.pth --output {tmp_path}/deep/model.pt --modalities t2,t1,t1ce,flair"
    fire.Fire(ConvertCheckpoint, command=options.split())
    assert "Modalities of the weights:    t2, t1, t1ce, flair" in capsys.readouterr().out
    assert (tmp_path / "deep" / "model.pt").is_file()


def test_a_checkpoint_that_does_not_fit_is_refused_by_key_and_the_old_weights_stay(reference, tmp_path):
    changed = {name: value for name, value in reference.items() if name != "decoder_sep.seg_layer.bias"}
    torch.save({"state_dict": {**changed, "gate.weight": torch.zeros(1)}}, tmp_path / "published.pth")
    (tmp_path / "model.pt").write_text("old")
    with pytest.raises(SystemExit, match="No checkpoint converted: the checkpoint does not fit RFNet") as error:
        ConvertCheckpoint(str(tmp_path / "published.pth"), str(tmp_path / "model.pt"))()
    assert "`gate.weight` is not known" in str(error.value)
    assert "nothing found for `unimodal_decoder.segment.bias`" in str(error.value)
    assert (tmp_path / "model.pt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({}, "holds dict without parameters; expected a state dict"),
        ([torch.zeros(1)], "holds list without parameters"),
        ({"epoch": 3, "weights": {"a": torch.zeros(1)}}, "holds 2 entries that are not tensors: epoch, weights"),
        ({"encoder.weight": torch.zeros(1)}, r"first keys are \['encoder.weight'\]; expected one of RFNet"),
        ({"decoder_fuse.seg_layer.weight": torch.zeros(4, 8)}, r"has shape \(4, 8\); expected that of a convolution"),
        ({"decoder_fuse.seg_layer.weight": torch.zeros(4, 6, 1, 1, 1)}, "`width` is 6; RFNet needs a"),
    ],
)
def test_content_that_is_no_such_state_dict_is_refused_in_words(convert, tmp_path, content, text):
    with pytest.raises(ValueError, match=text):
        convert(content)
    assert not (tmp_path / "model.pt").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_that_would_run_code_is_refused_and_does_not_run(reference, tmp_path, zipped):
    path, marker = tmp_path / "published.pth", tmp_path / MARKER
    torch.save({"state_dict": {**reference, "extra": Malicious(marker)}}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(SystemExit, match="which could run code when it is loaded, so it was not loaded") as error:
        ConvertCheckpoint(str(path), str(tmp_path / "model.pt"))()
    assert "weights_only" not in str(error.value)  # PyTorch's own text advises to load it all the same
    assert not marker.exists() and not (tmp_path / "model.pt").exists()


def test_a_bare_pickle_that_would_run_code_does_not_run(tmp_path):
    path, marker = tmp_path / "published.pth", tmp_path / MARKER
    path.write_bytes(pickle.dumps(Malicious(marker)))
    with pytest.raises(ValueError, match="published.pth"):
        read_state_dict(path)
    assert not marker.exists()


def test_settings_of_a_training_script_kept_as_an_object_are_named(reference, tmp_path):
    torch.save({"state_dict": reference, "args": argparse.Namespace(lr=1)}, tmp_path / "published.pth")
    with pytest.raises(ValueError, match="holds `argparse.Namespace`.* Save `network.state_dict\\(\\)` alone"):
        read_state_dict(tmp_path / "published.pth")


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 cut"], ids=["empty", "text", "cut"])
def test_a_damaged_file_is_refused_in_words(tmp_path, content):
    (tmp_path / "published.pth").write_bytes(content)
    with pytest.raises(ValueError, match="published.pth` is not a checkpoint of PyTorch, or is damaged: .+") as error:
        read_state_dict(tmp_path / "published.pth")
    assert "weights_only" not in str(error.value)


def test_a_truncated_checkpoint_is_refused_in_words(tmp_path):
    torch.save({"a": torch.zeros(1000)}, tmp_path / "published.pth")
    whole = (tmp_path / "published.pth").read_bytes()
    (tmp_path / "published.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is not a checkpoint of PyTorch, or is damaged"):
        read_state_dict(tmp_path / "published.pth")


def test_a_missing_file_and_an_unknown_network_are_refused_in_words(tmp_path):
    with pytest.raises(SystemExit, match="nothing.pth` is not a file; expected a checkpoint written by PyTorch"):
        ConvertCheckpoint(str(tmp_path / "nothing.pth"), str(tmp_path / "model.pt"))()
    with pytest.raises(SystemExit, match=r"`network` is unet; expected one of \[.*'mmformer', 'rfnet'\]"):
        ConvertCheckpoint(str(tmp_path / "nothing.pth"), str(tmp_path / "model.pt"), network="unet")()
