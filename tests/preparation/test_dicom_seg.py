# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""A label map becomes a DICOM-SEG with the same voxels at the same places, referring to the slices it is of."""

from __future__ import annotations

import json
import sys

import nibabel as nib
import numpy as np
import pytest

from scripts.data.label_conventions import from_internal
from scripts.preparation.dicom import convert, read_folder
from scripts.preparation.dicom_seg import METADATA, write_segmentation
from tests.preparation.dicoms import FORBIDDEN, SECRETS, T1, phantom, pydicom, turned, write_enhanced, write_series

highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed: make setup-prepare")

CODES = [("6574001", "SCT", "Necrosis"), ("79654002", "SCT", "Edema"), ("C113842", "NCIt", "Enhancing Lesion")]


@pytest.fixture(scope="module", params=["axial", "sagittal", "coronal"])
def patient(request, tmp_path_factory):
    """One series in one plane, oblique; its datasets; the label map ``(X, Y, Z)`` as it was written, and as dcm2niix
    would have it."""
    folder = tmp_path_factory.mktemp("dicom")
    images, label = phantom()
    image, label = (turned(each, request.param, 9.0) for each in (images["t1"], label))
    slices = write_series(folder, image, 4, "T1", T1)
    (source,) = read_folder(folder).series
    grid = convert(source)
    return source, slices, label, as_on(label, grid)


def as_on(label, grid):
    """Let the axes of a label map run as those of another image on the same grid."""
    turn = nib.orientations.ornt_transform(nib.io_orientation(label.affine), nib.io_orientation(grid.affine))
    moved = label.as_reoriented(turn)
    np.testing.assert_allclose(moved.affine, grid.affine, atol=1e-3)
    return nib.Nifti1Image(np.asarray(moved.dataobj), grid.affine)


def labels_by_instance(path):
    """Read a segmentation by pydicom alone: SOP instance to its slice, ``(rows, columns)`` segment numbers."""
    dataset = pydicom.dcmread(path)
    found = {}
    for frame, group in zip(dataset.pixel_array, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        (image,) = group.DerivationImageSequence[0].SourceImageSequence
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        position = tuple(group.PlanePositionSequence[0].ImagePositionPatient)
        slice_, _ = found.setdefault(image.ReferencedSOPInstanceUID, (np.zeros(frame.shape, int), position))
        assert not (slice_[frame > 0] > 0).any()  # segments of a label map do not overlap
        slice_[frame > 0] = number
    return found


def test_every_slice_has_its_voxels_its_position_and_its_reference(patient, tmp_path):
    source, slices, label, on_grid = patient
    path = write_segmentation(on_grid, source, tmp_path / "seg.dcm", "brats2023")
    found = labels_by_instance(path)
    voxels = np.asarray(label.dataobj)
    assert len(found) == int((voxels > 0).any(axis=(0, 1)).sum()) > 3
    for index, dataset in enumerate(slices):
        written, position = found.get(dataset.SOPInstanceUID, (np.zeros((dataset.Rows, dataset.Columns)), None))
        np.testing.assert_array_equal(written, voxels[:, :, index].T)
        if position is not None:
            np.testing.assert_allclose(position, [float(each) for each in dataset.ImagePositionPatient], atol=1e-3)
    segmentation = pydicom.dcmread(path)
    (series,) = segmentation.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == slices[0].SeriesInstanceUID
    referenced = {each.ReferencedSOPInstanceUID for each in series.ReferencedInstanceSequence}
    assert referenced == {each.SOPInstanceUID for each in slices}
    assert segmentation.StudyInstanceUID == slices[0].StudyInstanceUID
    assert segmentation.FrameOfReferenceUID == slices[0].FrameOfReferenceUID


def test_frames_of_an_enhanced_image_are_referred_to_by_number(tmp_path):
    images, label = phantom()
    image, label = (turned(each, "coronal", 9.0) for each in (images["t1"], label))
    enhanced = write_enhanced(tmp_path / "in", image, 4, "T1", 500, 10.0)
    (source,) = read_folder(tmp_path / "in").series
    path = write_segmentation(as_on(label, convert(source)), source, tmp_path / "seg.dcm", "brats2023")
    dataset, voxels = pydicom.dcmread(path), np.asarray(label.dataobj)
    found = np.zeros_like(voxels)
    for frame, group in zip(dataset.pixel_array, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        (reference,) = group.DerivationImageSequence[0].SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == enhanced.SOPInstanceUID
        index = voxels.shape[2] - int(reference.ReferencedFrameNumber)  # frames run from the last slice to the first
        found[:, :, index][frame.T > 0] = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
    np.testing.assert_array_equal(found, voxels)


def test_the_volume_that_highdicom_reads_is_the_label_map(patient, tmp_path):
    source, _, label, on_grid = patient
    path = write_segmentation(on_grid, source, tmp_path / "seg.dcm", "brats2023")
    volume = highdicom.seg.segread(path).get_volume(combine_segments=True)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0])
    found = nib.as_closest_canonical(nib.Nifti1Image(np.asarray(volume.array), lps @ volume.affine))
    wanted = nib.as_closest_canonical(label)
    corner = np.rint(np.linalg.inv(wanted.affine) @ found.affine)  # slices without a segment are left out
    np.testing.assert_allclose(wanted.affine @ corner, found.affine, atol=1e-3)
    start = corner[:3, 3].astype(int)
    part = tuple(slice(first, first + length) for first, length in zip(start, found.shape, strict=True))
    np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(wanted.dataobj)[part])
    assert np.count_nonzero(found.dataobj) == np.count_nonzero(wanted.dataobj)


def test_axes_of_the_label_map_may_run_in_any_order(patient, tmp_path):
    source, _, _, on_grid = patient
    first = labels_by_instance(write_segmentation(on_grid, source, tmp_path / "a.dcm", "brats2023"))
    canonical = nib.as_closest_canonical(on_grid)
    other = labels_by_instance(write_segmentation(canonical, source, tmp_path / "b.dcm", "brats2023"))
    assert first.keys() == other.keys()
    assert all(np.array_equal(first[uid][0], other[uid][0]) for uid in first)


@pytest.mark.parametrize("convention", ["brats2021", "brats2023", "msd"])
def test_segments_have_names_codes_and_who_made_them(patient, convention, tmp_path):
    source, _, _, on_grid = patient
    written = nib.Nifti1Image(from_internal(np.asarray(on_grid.dataobj), convention), on_grid.affine)
    path = write_segmentation(written, source, tmp_path / "seg.dcm", convention)
    dataset, metadata = pydicom.dcmread(path), json.loads(METADATA.read_text())
    order = [1, 0, 2] if convention == "msd" else [0, 1, 2]  # by the values of the convention
    for number, (segment, kind) in enumerate(zip(dataset.SegmentSequence, order, strict=True), 1):
        assert (segment.SegmentNumber, segment.SegmentAlgorithmType) == (number, "AUTOMATIC")
        assert segment.SegmentLabel == ["necrotic core", "edema", "enhancing tumor"][kind]
        code = segment.SegmentedPropertyTypeCodeSequence[0]
        assert (code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning) == CODES[kind]
        assert segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
        algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == (metadata["name"], metadata["version"])
    assert (dataset.Modality, dataset.SegmentationType) == ("SEG", "BINARY")
    edema = sum((slice_ == order.index(1) + 1).sum() for slice_, _ in labels_by_instance(path).values())
    assert edema == (np.asarray(on_grid.dataobj) == 2).sum()


def test_codes_are_those_of_the_standard():
    from pydicom.sr.codedict import codes

    group = codes.cid7168
    assert [tuple(getattr(group, name))[:3] for name in ("Necrosis", "Edema", "EnhancingLesion")] == CODES


def test_regions_may_overlap(patient, tmp_path):
    source, _, _, on_grid = patient
    regions = {"wt": [1, 2, 3], "tc": [1, 3], "et": [3]}
    path = write_segmentation(on_grid, source, tmp_path / "seg.dcm", "brats2023", regions=regions)
    volume = highdicom.seg.segread(path).get_volume()
    counts = np.asarray(volume.array).sum(axis=(0, 1, 2)).tolist()
    assert counts == [int(np.isin(on_grid.dataobj, classes).sum()) for classes in regions.values()]
    dataset = pydicom.dcmread(path)
    assert [each.SegmentLabel for each in dataset.SegmentSequence] == ["wt", "tc", "et"]
    meanings = [each.SegmentedPropertyTypeCodeSequence[0].CodeMeaning for each in dataset.SegmentSequence]
    assert meanings == ["Neoplasm", "Neoplasm", "Enhancing Lesion"]


def test_a_patient_without_a_tumour_has_an_empty_segmentation(patient, tmp_path):
    source, slices, _, on_grid = patient
    empty = nib.Nifti1Image(np.zeros(on_grid.shape, np.uint8), on_grid.affine)
    path = write_segmentation(empty, source, tmp_path / "seg.dcm", "brats2023")
    dataset = pydicom.dcmread(path)
    assert len(dataset.SegmentSequence) == 3 and not dataset.pixel_array.any()


def test_the_patient_is_named_only_on_request(patient, tmp_path):
    source, _, _, on_grid = patient
    path = write_segmentation(on_grid, source, tmp_path / "seg.dcm", "brats2023")
    assert [each for each in FORBIDDEN if each.encode() in path.read_bytes().lower()] == []
    dataset = pydicom.dcmread(path)
    assert (str(dataset.PatientName), dataset.PatientID, dataset.PatientBirthDate, dataset.StudyDate) == (
        "",
        "",
        "",
        "",
    )
    kept = pydicom.dcmread(write_segmentation(on_grid, source, path, "brats2023", keep_patient=True))
    assert (str(kept.PatientName), kept.PatientID) == (SECRETS["PatientName"], SECRETS["PatientID"])


def test_what_cannot_be_written_is_said(patient, tmp_path):
    source, _, _, on_grid = patient
    path = tmp_path / "seg.dcm"
    shift = nib.affines.from_matvec(np.eye(3), [3.0, 3.0, 3.0])
    shifted = nib.Nifti1Image(np.asarray(on_grid.dataobj), shift @ on_grid.affine)
    with pytest.raises(ValueError, match=r"no DICOM-SEG of series 4: pixels of the series lie up to"):
        write_segmentation(shifted, source, path, "brats2023")
    with pytest.raises(ValueError, match=r"no DICOM-SEG of series 4: the label has the values .*`brats2021`"):
        write_segmentation(on_grid, source, path, "brats2021")
    with pytest.raises(ValueError, match=r"`myops2020` has .*myocard.*; codes are known of"):
        write_segmentation(on_grid, source, path, "myops2020")
    assert list(tmp_path.iterdir()) == []


def test_a_series_without_a_frame_of_reference_is_refused_without_the_patients_data(tmp_path):
    image = nib.Nifti1Image(np.zeros((4, 5, 20), np.int16), np.diag([5.0, 5.0, 5.0, 1.0]))
    write_series(tmp_path / "in", image, 4, "T1", T1, wrap=lambda dataset: dataset.__delattr__("FrameOfReferenceUID"))
    (source,) = read_folder(tmp_path / "in").series
    label = nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine)
    with pytest.raises(ValueError, match="no DICOM-SEG of series 4: its headers name no frame of reference"):
        write_segmentation(label, source, tmp_path / "seg.dcm", "brats2023")


def test_without_highdicom_one_line_says_how_to_get_it(patient, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(
        ValueError, match="Writing DICOM-SEG needs the package `highdicom`.*make setup-prepare"
    ) as caught:
        write_segmentation(patient[3], patient[0], tmp_path / "seg.dcm", "brats2023")
    assert "\n" not in str(caught.value)
