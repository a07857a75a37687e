# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What a client of MONAI Label gets: models, label maps, labels kept, training, and the weights it leaves."""

from __future__ import annotations

import gzip
import json
from contextlib import ExitStack
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import torch

from scripts.records.side_files import sha256
from tests_label.serving import MODALITIES, NAME, ROOT, files_of, stack

SHIPPED = sha256(ROOT / "models" / "model.pt")
METADATA = json.loads((ROOT / "configs" / "metadata.json").read_text())
VALUES = {int(value): name for value, name in METADATA["network_data_format"]["outputs"]["pred"]["channel_def"].items()}
LABELS = {name.lower(): value for value, name in VALUES.items() if value}
CASE3 = "&image=case3"


def values_of(image):
    return set(np.unique(np.asarray(image.dataobj)).tolist())


def check(answer, expected, values=frozenset(VALUES)):
    """Compare a label map of the server with that of the bundle itself, voxel by voxel and corner by corner."""
    found = nib.load(answer)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.affine, expected.affine, rtol=0, atol=1e-4)  # mm; ITK keeps a quaternion
    assert {0} < values_of(found) <= set(values), "something was found, and has a name"
    np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(expected.dataobj))


# --- models ----------------------------------------------------------------------------------------


def test_the_three_labels_are_offered_by_name(server):
    model = server("GET", "/info/").json()["models"][NAME]
    assert model["type"] == "segmentation"
    assert model["labels"] == LABELS
    assert len(LABELS) == 3
    assert model["version"] == METADATA["version"]


def test_whoever_asks_for_the_models_is_told_what_the_weights_are_for(server):
    info = server("GET", "/info/").json()
    for shown in (info["models"][NAME], info["trainers"][NAME]):
        assert "trained on synthetic images only; not for clinical use" in shown["description"]


def test_a_client_is_shown_what_it_may_change(server):
    config = server("GET", "/info/").json()["models"][NAME]["config"]
    shown = {"subset": "all", "channels": ",".join(MODALITIES), "result_label_convention": "brats2023"}
    assert config.items() >= {**shown, "result_extension": ".nii.gz", "model_filename": "model.pt"}.items()
    assert NAME in server("GET", "/info/").json()["trainers"]


# --- inference -------------------------------------------------------------------------------------


@pytest.mark.parametrize("time", ["first", "second"])  # MONAI Label imports the bundle anew for each request
def test_a_stacked_file_is_segmented_as_by_the_bundle_itself(server, studies, segmented, time):
    expected = segmented({"image": str(studies / "case3.nii.gz"), "channels": MODALITIES})
    assert nib.aff2axcodes(expected.affine) != ("R", "A", "S"), "the axes are not those of the network"
    check(server.infer(CASE3), expected)


@pytest.mark.parametrize(("item", "case", "names"), [("case4", 4, ["flair", "t2"]), ("case5", 5, MODALITIES)])
def test_a_folder_is_one_patient_of_whatever_files_it_has(server, studies, phantoms, segmented, item, case, names):
    expected = segmented({"images": files_of(phantoms, f"phantom_000{case}", names)})
    check(server.infer(f"&image={item}"), expected)
    check(server.infer(f"&image={studies / item}.mri"), expected)


def test_a_file_may_come_with_the_request(server, studies, segmented):
    file = studies / "case3.nii.gz"
    with file.open("rb") as content:
        answer = server.infer(files={"file": ("mine.nii.gz", content)})
    check(answer, segmented({"image": str(file), "channels": MODALITIES}))


def test_a_session_holds_the_files_of_one_patient(server, phantoms, segmented):
    images = files_of(phantoms, "phantom_0005", ["t1ce", "t2"])
    with ExitStack() as opened:
        files = [("files", (Path(file).name, opened.enter_context(open(file, "rb")))) for file in images.values()]
        session = server("PUT", "/session/", files=files).json()["session_id"]
    check(server.infer(f"&session_id={session}"), segmented({"images": images}))
    server("DELETE", f"/session/{session}")
    server("GET", f"/session/{session}", status=404)


def test_paths_on_the_server_are_recognised_by_name_or_named(server, phantoms, segmented):
    images = files_of(phantoms, "phantom_0004", ["t1ce", "t1", "t2"])
    expected = segmented({"images": images})
    check(server.infer(CASE3, {"image": list(reversed(images.values()))}), expected)
    check(server.infer(CASE3, {"image": images}), expected)
    check(server.infer(CASE3, images), expected)


@pytest.mark.parametrize(("subset", "used"), [("t2", ["t2"]), ("t2+flair", ["flair", "t2"]), ("all", MODALITIES)])
def test_a_request_may_name_the_modalities_to_use(server, phantoms, segmented, subset, used):
    expected = segmented({"images": files_of(phantoms, "phantom_0005", used)})
    check(server.infer("&image=case5", {"subset": subset}), expected)


@pytest.mark.parametrize("channels", ["t2,flair", "t2,none,flair", "flair"])
def test_a_request_may_name_the_channels_of_its_file(server, phantoms, segmented, tmp_path, channels):
    names = channels.split(",")
    images = files_of(phantoms, "phantom_0004", [name if name in MODALITIES else "t1" for name in names])
    if len(names) > 1:
        file = tmp_path / "stacked.nii.gz"
        stack(images.values(), file)
    else:
        file = Path(images["flair"])  # one volume, as a viewer sends it
    listed = [name if name in MODALITIES else None for name in names]
    expected = segmented({"image": str(file), "channels": listed})
    check(server.infer(f"&image={file}", {"channels": channels}), expected)


def test_3d_slicer_gets_an_nrrd_with_consecutive_values_and_may_ask_for_others(server, segmented, studies):
    expected = segmented({"image": str(studies / "case3.nii.gz"), "channels": MODALITIES})
    sent = {"result_extension": ".nrrd", "result_dtype": "uint8"}
    answer = SimpleITK.ReadImage(server.infer(CASE3, sent))
    assert answer.GetPixelIDTypeAsString() == "8-bit unsigned integer"
    found = SimpleITK.GetArrayFromImage(answer).T
    assert found.max() == 3
    np.testing.assert_array_equal(found, np.asarray(expected.dataobj))
    other = SimpleITK.ReadImage(server.infer(CASE3, {**sent, "result_label_convention": "brats2021"}))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(other).T, np.where(found == 3, 4, found))
    corner = answer.TransformIndexToPhysicalPoint((0, 0, 0))  # ITK's world points left and back
    np.testing.assert_allclose(corner * np.array([-1, -1, 1]), expected.affine[:3, 3], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"subset": "flare"}, "subset `flare` names ['flare']; expected one or more of"),
        ({"channels": "flair,t2"}, "the file has 4 channels"),
        ({"image": ["nothing.nii.gz"]}, "there is no such file"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_in_words_and_the_next_one_is(server, params, reason):
    form = {"params": json.dumps({"device": "cpu", **params})}
    seen = len(server.log())
    server("POST", f"/infer/{NAME}?image=case3&output=image", status=500, data=form)
    server.wait_until(lambda: reason in server.log()[seen:])
    assert {0} < values_of(nib.load(server.infer(CASE3)))


def test_a_folder_cannot_be_downloaded_by_a_viewer(server):
    server("GET", "/datastore/image?image=case3")
    server("GET", "/datastore/image?image=case4", status=404)


# --- labels and training ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def labelled(server, phantoms, studies):
    """Send labels of all three patients: one numbered as 3D Slicer does, two with the values that it was shown."""
    labels = {
        item: nib.load(phantoms / f"phantom_000{item[-1]}" / f"phantom_000{item[-1]}_seg.nii.gz") for item in ITEMS
    }
    turned = labels["case3"].as_reoriented([[0, -1], [2, -1], [1, -1]])
    values = np.asarray(turned.dataobj)
    labels["case3"] = nib.Nifti1Image(np.where(values == 4, 3, values), turned.affine)
    for item, label in labels.items():
        sent = {"label": ("label.nii.gz", gzip.compress(label.to_bytes()))}
        server("PUT", f"/datastore/label?image={item}", files=sent)
    return labels


ITEMS = ("case3", "case4", "case5")


def test_a_label_is_kept_as_final(server, labelled, studies):
    objects = server("GET", "/datastore/?output=all").json()["objects"]
    assert {item for item, entry in objects.items() if "final" in entry["labels"]} == set(ITEMS)
    for item, label in labelled.items():
        kept = nib.load(studies / "labels" / "final" / f"{item}.nii.gz")
        np.testing.assert_array_equal(np.asarray(kept.dataobj), np.asarray(label.dataobj))


def asked_by_slicer(server):
    """Make the request of 3D Slicer: all options that it is shown, the first choice of each."""
    config = server("GET", "/info/").json()["trainers"][NAME]["config"]
    return {key: value[0] if isinstance(value, list) else value for key, value in config.items()}


@pytest.mark.parametrize("by_slicer", [True, False], ids=["options of 3D Slicer", "no case to validate"])
@pytest.mark.usefixtures("labelled")
def test_training_leaves_weights_that_inference_takes_up(server, bundle, weights, studies, segmented, by_slicer):
    request = asked_by_slicer(server) if by_slicer else {"val_split": 0, "device": "cpu"}
    server.infer(CASE3)
    before, reloads = weights(), server.log().count("Reload model from cache")
    server("POST", f"/train/{NAME}", json={**request, "max_epochs": 1})
    server.wait_for("/train/")
    after = weights()
    assert after.keys() == before.keys()
    assert all(torch.isfinite(value).all() for value in after.values())
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert len(moved) > len(before) / 2
    assert sha256(ROOT / "models" / "model.pt") == SHIPPED, "the copy that is served is trained, and nothing else"
    distance = max(float((after[name] - before[name]).abs().max()) for name in before)
    assert distance < 0.01, "it went on from the weights that were there, by steps of 2e-4"
    state = torch.load(bundle / "runs" / "train" / "checkpoints" / "checkpoint_epoch=1.pt", weights_only=True)
    assert (state["best"]["best_epoch"] == 1) is by_slicer, "one case of three is validated"
    assert json.loads((bundle / "runs" / "train" / "run.json").read_text())["data"] == {"cases": 2 if by_slicer else 3}
    assert not (bundle / "data").exists(), "no phantoms were made"
    check(server.infer(CASE3), segmented({"image": str(studies / "case3.nii.gz"), "channels": MODALITIES}))
    assert server.log().count("Reload model from cache") == reloads + 1


def test_a_batch_segments_every_patient_into_the_data_store(server, phantoms, studies, segmented):
    request = {"device": "cpu", "multi_gpu": False, "max_workers": 1}  # several at once get in each other's way
    server("POST", f"/batch/infer/{NAME}?images=all", json=request)
    server.wait_for("/batch/infer")
    entries = {"case3": {"image": str(studies / "case3.nii.gz"), "channels": MODALITIES}}
    entries["case4"] = {"images": files_of(phantoms, "phantom_0004", ["flair", "t2"])}
    entries["case5"] = {"images": files_of(phantoms, "phantom_0005")}
    for item in ITEMS:
        check(studies / "labels" / "original" / f"{item}.nii.gz", segmented(entries[item]))


@pytest.mark.usefixtures("labelled")
def test_a_training_can_be_stopped_and_leaves_nothing_behind(server):
    alone = len(server.started())
    server("POST", f"/train/{NAME}", json={"max_epochs": 10000, "val_split": 0, "device": "cpu"})
    server.wait_until(lambda: server("GET", "/train/").json()["status"] == "RUNNING")
    assert len(server.started()) > alone
    server("DELETE", "/train/")
    assert server("GET", "/train/").json()["status"] == "STOPPED"
    server.wait_until(lambda: len(server.started()) == alone)
