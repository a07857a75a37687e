# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Folders of DICOM series become images on their own grids, and the patient's data stay where they are."""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scripts.preparation import dicom
from scripts.preparation.dicom import convert, holds_dicom, read_folder, read_patient
from scripts.preparation.sequences import recognise
from scripts.tools.command_line import run_tool
from scripts.tools.list_series import main as list_series
from tests.preparation.dicoms import (
    FLAIR,
    FORBIDDEN,
    MODALITIES,
    SERIES,
    T1,
    T2,
    phantom,
    pydicom,
    turned,
    write_enhanced,
    write_patient,
    write_series,
)


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    """A folder with four series and what else lies in such folders; the images that were written."""
    folder = tmp_path_factory.mktemp("patient")
    images = write_patient(folder)
    (folder / "Zwetschgenbaum" / "readme.txt").write_text("a viewer")
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + bytes(100))
    return folder, images


@pytest.fixture(scope="module")
def volume():
    """A small volume without a brain: ``(12, 10, 16)`` voxels of 4 x 5 x 6 mm."""
    voxels = np.arange(12 * 10 * 16, dtype=np.int16).reshape(12, 10, 16)
    return nib.Nifti1Image(voxels, nib.affines.from_matvec(np.diag([-4.0, -5.0, 6.0]), [20, 30, -80]))


def assert_same(found, written, tolerance=1e-3):
    """Same voxels at the same places, however the axes run."""
    found, written = nib.as_closest_canonical(found), nib.as_closest_canonical(written)
    assert found.shape == written.shape
    np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(written.dataobj))
    np.testing.assert_allclose(found.affine, written.affine, atol=tolerance)


def test_four_series_in_three_planes_are_recognised_and_keep_voxels_and_places(patient):
    folder, written = patient
    result = read_patient(folder, MODALITIES)
    assert tuple(result.images) == MODALITIES
    for modality, image in result.images.items():
        assert_same(image, written[modality])
        assert result.sources[modality].series.number == SERIES[modality][0]
        assert result.sources[modality].series.plane == SERIES[modality][2]
        assert len(result.sources[modality].files) == written[modality].shape[2]
    assert [each.modality for each in result.decided] == ["flair", "t1", "t2", "t1ce"]  # by number
    assert result.summary == "4 series, 2 other files passed over"
    # oblique: the affine is none of the three planes
    assert np.abs(np.sin(np.deg2rad(12)) * 6 - np.abs(result.images["flair"].affine[2, 1])) < 1e-3


def test_a_name_given_by_the_user_wins(patient):
    folder, written = patient
    result = read_patient(folder, MODALITIES, {"t1ce": 4, "t1": "none"})
    assert set(result.images) == {"flair", "t1ce", "t2"}
    assert_same(result.images["t1ce"], written["t1"])


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
@pytest.mark.parametrize("tilt", [0.0, 25.0])
def test_a_grid_of_three_different_spacings_is_kept(volume, plane, tilt, tmp_path):
    image = turned(volume, plane, tilt)
    write_series(tmp_path, image, 1, "T2", T2)
    (found,) = read_folder(tmp_path).series
    assert found.series.thickness == pytest.approx(nib.affines.voxel_sizes(image.affine)[2])
    assert found.series.coverage == pytest.approx(found.series.thickness * (image.shape[2] - 1))
    assert_same(convert(found), image)


def test_headers_are_read_as_they_stand(volume, tmp_path):
    headers = {**FLAIR, "ProtocolName": "head", "SequenceName": "*tir2d1_16", "MRAcquisitionType": "2D"}
    write_series(tmp_path, volume, 12, "dark-fluid", {**headers, "ContrastBolusAgent": "Dotarem"})
    series = read_folder(tmp_path).series[0].series
    assert (series.number, series.description, series.protocol, series.sequence) == (
        *(12, "dark-fluid"),
        *("head", "*tir2d1_16"),
    )
    assert (series.repetition, series.echo, series.inversion) == (9000, 110, 2500)
    assert series.scanning == ("SE", "IR") and series.three_dimensional is False and series.agent == "Dotarem"
    assert (series.pixel, series.num_images, series.plane) == (5.0, 16, "axial")


def test_an_enhanced_image_is_read_slice_by_slice(tmp_path):
    images, _ = phantom()
    image = turned(images["t2"], "sagittal", 15.0)
    write_enhanced(tmp_path, image, 4, "Series A", 5000, 95.0)
    result = read_patient(tmp_path, MODALITIES)
    assert_same(result.images["t2"], image)
    assert result.decided[0].reason.startswith("by its times (TR 5000, TE 95 ms)")
    assert len(result.sources["t2"].files) == 1 and len(result.sources["t2"].frames) == image.shape[2]


def test_two_echoes_of_a_series_are_two_images(volume, tmp_path):
    first, second = volume, nib.Nifti1Image(np.asarray(volume.dataobj) + 7, volume.affine)
    write_series(tmp_path / "a", first, 5, "Ax PD/T2", {**T2, "EchoTime": 14, "SeriesInstanceUID": "1.2.3"})
    write_series(tmp_path / "b", second, 5, "Ax PD/T2", {**T2, "SeriesInstanceUID": "1.2.3"})
    result = read_patient(tmp_path, MODALITIES)
    assert [each.name for each in result.decided] == ["5.1", "5.2"]
    assert [each.modality for each in result.decided] == [None, "t2"]
    assert_same(result.images["t2"], second)


def test_scaled_values_are_those_of_the_scanner(volume, tmp_path):
    write_series(tmp_path, volume, 1, "T2", {**T2, "RescaleSlope": "0.5", "RescaleIntercept": "3"})
    image = convert(read_folder(tmp_path).series[0])
    assert image.get_data_dtype() == np.float32
    assert_same(image, nib.Nifti1Image(np.asarray(volume.dataobj) * 0.5 + 3, volume.affine))


def test_compressed_slices_are_read(volume, tmp_path):
    if not hasattr(pydicom.Dataset, "compress"):
        pytest.skip("this pydicom cannot write compressed slices")
    write_series(tmp_path, volume, 1, "T2", T2, wrap=lambda dataset: dataset.compress(pydicom.uid.RLELossless))
    assert pydicom.dcmread(read_folder(tmp_path).series[0].files[0]).file_meta.TransferSyntaxUID.is_compressed
    assert_same(convert(read_folder(tmp_path).series[0]), volume)


# --- the patient's data ------------------------------------------------------------------------------


def everything(folder):
    """Bytes of all files below a folder, with their names."""
    return b"\n".join(str(f.relative_to(folder)).encode() + f.read_bytes() for f in folder.rglob("*") if f.is_file())


def assert_nobody(text):
    """Nothing of the patient is in a text, in whatever case and encoding."""
    text = text.encode() if isinstance(text, str) else text
    lower = text.lower()
    assert [each for each in FORBIDDEN if each.encode() in lower or each.encode("utf-16-le") in lower] == []


def test_nothing_that_is_written_logged_or_printed_names_the_patient(patient, tmp_path, caplog, capfd, recwarn):
    folder, _ = patient
    assert FORBIDDEN[0].encode() in everything(folder).lower()  # it is in what is read
    with caplog.at_level(logging.DEBUG):
        result = read_patient(folder, MODALITIES)
        for modality, image in result.images.items():
            nib.save(image, tmp_path / f"{modality}.nii")
        list_series(str(folder))
    assert_nobody(everything(tmp_path))
    assert_nobody("\n".join([caplog.text, *capfd.readouterr(), *(str(each.message) for each in recwarn)]))
    assert_nobody(repr(result.decided) + result.summary)
    assert result.decided[-1].description == "SAG T1 MPRAGE [removed]"


@pytest.mark.parametrize(
    "description",
    [
        "T2 ZWETSCHGENBAUM",
        "T2 Ottokar Z.",
        "T2 for Dr Mirabelle",
        "T2 PID-7731-XQ",
        "T2 29.02.1948",
        "T2 19480229",
        "T2 1948-02-29 head",
        "T2_ACC-QX-55",
        "T2 29_02_1948",
        "T2 29 Feb 1948",
    ],
)
def test_what_names_the_patient_is_taken_out_of_a_description(volume, tmp_path, description):
    write_series(tmp_path, volume, 1, description, {**T2, "ProtocolName": description})
    series = read_folder(tmp_path).series[0].series
    assert_nobody(repr(series))
    assert series.description.startswith("T2") and "[removed]" in series.description
    assert "48" not in series.description
    assert recognise(series, MODALITIES).candidate == "t2"


def test_any_date_is_taken_out_of_a_description(volume, tmp_path):
    for number, date in enumerate(("15.03.2021", "2021-3-15", "15_03_21", "150321", "15/03/2021"), 1):
        write_series(tmp_path / str(number), volume, number, f"T2 {date} 3D 1 2", T2)
    assert {each.series.description for each in read_folder(tmp_path).series} == {"T2 [removed] 3D 1 2"}


def test_an_odd_value_is_not_shown_in_a_warning(volume, tmp_path, recwarn, caplog):
    uid = write_series(tmp_path, volume, 1, "T2", T2)[0].StudyInstanceUID.encode()
    for file in tmp_path.iterdir():  # a UID made of the patient's number is none: pydicom warns of it with the value
        file.write_bytes(file.read_bytes().replace(uid, uid[:-7] + b"7731-XQ"))
    with caplog.at_level(logging.DEBUG):
        series = read_folder(tmp_path).series[0].series
    said = "\n".join([caplog.text, repr(series), *(str(each.message) for each in recwarn)])
    assert_nobody(said)
    assert "Invalid value" not in said


def test_a_number_that_is_none_is_as_if_absent(volume, tmp_path):
    write_series(tmp_path, volume, 12, "T2", {**T2, "EchoTime": 97.5, "DiffusionBValue": 3.0})
    eight, six = b"FD\x08\x00" + np.float64(3.0).tobytes(), b"FD\x06\x00" + bytes(6)  # bytes of a number
    for file in tmp_path.iterdir():
        written = file.read_bytes().replace(b"97.5", b"Otto").replace(b"IS\x02\x0012", b"IS\x02\x00XQ")
        assert eight in written
        file.write_bytes(written.replace(eight, six))
    series = read_folder(tmp_path).series[0].series
    assert (series.number, series.name, series.echo, series.repetition) == (None, "?", None, 5000)
    assert series.b_value is None
    assert_same(read_patient(tmp_path, MODALITIES).images["t2"], volume)


def test_no_message_names_the_patient_or_a_file(volume, tmp_path, monkeypatch):
    write_series(tmp_path / "Zwetschgenbaum", volume, 1, "Foo Zwetschgenbaum", T2 | {"ScanningSequence": "RM"})
    with pytest.raises(ValueError, match="none of the 1 series is recognised") as caught:
        read_patient(tmp_path, MODALITIES)
    assert_nobody(str(caught.value))
    monkeypatch.setattr(dicom.subprocess, "run", lambda *_, **__: dicom.subprocess.CompletedProcess([], 2))
    with pytest.raises(ValueError, match="gave 0 images .*status 2") as caught:
        convert(read_folder(tmp_path).series[0])
    assert_nobody(str(caught.value))


# --- what cannot be read -----------------------------------------------------------------------------


def test_a_folder_that_is_none_or_empty_or_without_dicom_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"is no folder; expected one that holds the DICOM series"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"holds no DICOM image among its 0 files; expected"):
        read_folder(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "image.nii").write_bytes(bytes(1000))
    with pytest.raises(ValueError, match=r"holds no DICOM image among its 2 files; expected"):
        read_folder(tmp_path)
    (tmp_path / "IM1").write_bytes(bytes(128) + b"DICM" + b"\xff" * 40)
    with pytest.raises(ValueError, match=r"of which 1 begin as DICOM but cannot be read"):
        read_folder(tmp_path)


def test_a_folder_is_known_as_dicom_by_its_first_bytes(patient, tmp_path):
    assert holds_dicom(patient[0])
    (tmp_path / "a.dcm").write_text("not so")
    assert not holds_dicom(tmp_path) and not holds_dicom(tmp_path / "nowhere")


def test_a_damaged_file_is_counted_and_its_slice_missed(volume, tmp_path):
    write_series(tmp_path, volume, 1, "T2", T2)
    next(tmp_path.glob("*_14")).write_bytes(bytes(128) + b"DICM" + b"\xff" * 40)
    found = read_folder(tmp_path)
    assert "1 DICOM files cannot be read" in found.summary()
    assert found.series[0].series.problem == "its slices lie 6 to 12 mm apart; is one missing?"
    with pytest.raises(ValueError, match="series 1 is no volume: its slices lie 6 to 12 mm apart"):
        convert(found.series[0])


def test_a_file_that_was_cut_is_refused(volume, tmp_path):
    write_series(tmp_path, volume, 1, "T2", T2)
    file = next(tmp_path.glob("*_14"))
    file.write_bytes(file.read_bytes()[:-90])
    with pytest.raises(ValueError, match="series 1"):
        convert(read_folder(tmp_path).series[0])


def test_a_single_image_is_no_volume(volume, tmp_path):
    write_series(tmp_path, volume.slicer[:, :, :1], 1, "T2", T2)
    assert read_folder(tmp_path).series[0].series.problem == "it is a single image"
    with pytest.raises(ValueError, match=r"none of the 1 series is recognised .*left out: it is a single image"):
        read_patient(tmp_path, MODALITIES)


def test_a_localiser_in_three_planes_and_a_dynamic_series_are_no_volumes(volume, tmp_path):
    for plane in ("axial", "sagittal", "coronal"):
        cube = nib.Nifti1Image(np.asarray(volume.dataobj)[:10, :10, :10], np.diag([6.0, 6.0, 6.0, 1.0]))
        write_series(tmp_path / "a" / plane, turned(cube, plane), 1, "T2", {**T2, "SeriesInstanceUID": "1.2.1"})
    for time in ("first", "second"):
        write_series(tmp_path / "b" / time, volume, 2, "T1", {**T1, "SeriesInstanceUID": "1.2.2"})
    problems = [each.series.problem for each in read_folder(tmp_path).series]
    assert problems[0] == "its images are in 3 orientations, as those of a localiser"
    assert problems[1] == "it has 32 images at 16 positions, as a dynamic series has"


def test_copies_of_files_are_passed_over(volume, tmp_path):
    write_series(tmp_path / "a", volume, 1, "T2", T2)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    found = read_folder(tmp_path)
    assert found.summary() == "1 series, 16 copies passed over"
    assert_same(convert(found.series[0]), volume)


def test_a_series_may_lie_in_two_folders_with_the_same_names_of_files(volume, tmp_path):
    for part, slices in (("a", slice(0, 8)), ("b", slice(8, 16))):
        write_series(tmp_path / part, volume.slicer[:, :, slices], 1, "T2", {**T2, "SeriesInstanceUID": "1.2.3"})
    assert {file.name for file in (tmp_path / "a").iterdir()} == {file.name for file in (tmp_path / "b").iterdir()}
    assert_same(convert(read_folder(tmp_path).series[0]), volume)


def test_two_patients_in_a_folder_are_refused_without_their_numbers(volume, tmp_path):
    write_series(tmp_path / "a", volume, 1, "T2", T2)
    write_series(tmp_path / "b", volume, 2, "T1", T1, secrets=False)
    with pytest.raises(ValueError, match=r"holds series of 2 patients") as caught:
        read_folder(tmp_path)
    assert_nobody(str(caught.value))


def test_two_studies_of_one_patient_are_told_apart(volume, tmp_path):
    write_series(tmp_path / "a", volume, 1, "T2", T2, study="1")
    write_series(tmp_path / "b", volume, 1, "T1", T1, study="2")
    assert [each.series.study for each in read_folder(tmp_path).series] == [1, 2]
    with pytest.raises(ValueError, match="the series are of 2 studies"):
        read_patient(tmp_path, MODALITIES)


def test_another_grid_than_that_of_the_headers_is_refused(volume, tmp_path):
    write_series(tmp_path, volume, 1, "T2", T2)
    (found,) = read_folder(tmp_path).series
    image = convert(found)
    shifted = image.affine.copy()
    shifted[0, 3] += 2.0  # half a voxel
    with pytest.raises(ValueError, match=r"up to 0\.50 voxels beside"):
        dicom.place_frames(found, shifted, image.shape)
    shifted[0, 3] += 2.0  # a whole one: outside
    with pytest.raises(ValueError, match="or outside"):
        dicom.place_frames(found, shifted, image.shape)
    with pytest.raises(ValueError, match=r"the image is 12 x 10 x 15 voxels, the series 16 slices of 10 x 12"):
        dicom.place_frames(found, image.affine, (12, 10, 15))


@pytest.mark.parametrize("package", ["pydicom", "dcm2niix"])
def test_a_missing_package_is_one_line_that_says_how(patient, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf"Reading DICOM needs the package `{package}`.*make setup-prepare") as caught:
        read_patient(patient[0], MODALITIES)
    assert "\n" not in str(caught.value)


# --- the tool ----------------------------------------------------------------------------------------


def test_the_tool_lists_every_series_with_decision_and_reason(patient, capsys):
    run_tool(list_series, ["--folder", str(patient[0]), "--series", "t1=none"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:5]] == [["3", "flair"], ["4", "-"], ["5", "t2"], ["7", "t1ce"]]
    assert "none is wanted" in lines[2] and "TR 9000, TE 110, TI 2500 ms" in lines[1]
    assert lines[-3:] == [
        "4 series, 2 other files passed over",
        "Images: flair is series 3, t1ce is series 7, t2 is series 5",
        "Absent: t1",
    ]


def test_the_tool_ends_in_one_line_where_it_is_not_clear_which_to_take(volume, tmp_path, capsys):
    for number, name in ((1, "T2 a"), (2, "T2 b")):
        write_series(tmp_path / name, volume, number, name, T2)
    with pytest.raises(SystemExit, match=r"nothing in the headers tells which series to take .*`T2 a`.*`T2 b`"):
        run_tool(list_series, ["--folder", str(tmp_path)])
    assert "T2 b" in capsys.readouterr().out
    run_tool(list_series, ["--folder", str(tmp_path), "--series", "t2=2"])
    assert "Images: t2 is series 2" in capsys.readouterr().out


def test_a_copy_of_the_folder_elsewhere_gives_the_same(patient, tmp_path):
    copied = Path(shutil.copytree(patient[0], tmp_path / "copy"))
    assert read_patient(copied, MODALITIES).decided == read_patient(patient[0], MODALITIES).decided
