# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Writes DICOM series of phantoms, as scanners do, with a patient whose data must not be found anywhere."""

from __future__ import annotations

import shutil
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scripts.phantom.dataset import PhantomSettings, make_phantom

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed: make setup-prepare")
pytest.importorskip("dcm2niix", reason="dcm2niix is not installed: make setup-prepare")

from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.uid import ExplicitVRLittleEndian, generate_uid  # noqa: E402

MODALITIES = ("flair", "t1ce", "t1", "t2")
SECRETS = {  # attributes that no output may have, and the parts of them that are looked for
    "PatientName": "Zwetschgenbaum^Ottokar^Q",
    "PatientID": "PID-7731-XQ",
    "PatientBirthDate": "19480229",
    "OtherPatientNames": "Alias^Quittenbrot",
    "PatientAddress": "Holunderweg 77",
    "AccessionNumber": "ACC-QX-55",
    "ReferringPhysicianName": "Dr^Mirabelle",
    "PatientComments": "Kommentar-Schlehe",
    "ImageComments": "Bildtext-Schlehe",
}
FORBIDDEN = (
    "zwetschgenbaum",
    "ottokar",
    "7731-xq",
    "19480229",
    "quittenbrot",
    "holunder",
    "acc-qx",
    "mirabelle",
    "schlehe",
)
# how the axes of a volume run: columns, rows, slices
AXES = {"axial": ("L", "P", "S"), "sagittal": ("P", "I", "L"), "coronal": ("L", "I", "P")}
SPIN_ECHO, INVERSION = {"ScanningSequence": "SE"}, {"ScanningSequence": ["SE", "IR"]}
FLAIR = {"RepetitionTime": 9000, "EchoTime": 110, "InversionTime": 2500, **INVERSION}
T1 = {"RepetitionTime": 500, "EchoTime": 10, **SPIN_ECHO}
T2 = {"RepetitionTime": 5000, "EchoTime": 95, **SPIN_ECHO}
SERIES = {  # what four vendors might say
    "flair": (3, "t2_tirm_tra_dark-fluid", "axial", FLAIR),
    "t1ce": (7, "SAG T1 MPRAGE Zwetschgenbaum", "sagittal", {**T1, "ContrastBolusAgent": "Gadovist 8 ml"}),
    "t1": (4, "T1W_SE", "axial", T1),
    "t2": (5, "Cor T2 FSE", "coronal", T2),
}


@lru_cache(maxsize=1)
def phantom(spacing_mm=6.0):
    """Make a coarse phantom: images by modality, and the label map, as NIfTI."""
    made = make_phantom(PhantomSettings(spacing_mm, modalities=MODALITIES), 0)
    images = {name: nib.Nifti1Image(image, made.affine) for name, image in zip(MODALITIES, made.images, strict=True)}
    return images, nib.Nifti1Image(made.label, made.affine)


def turned(image, plane, tilt_degrees=0.0):
    """Let the axes of an image run as those of a plane; then tilt all of it."""
    wanted = nib.orientations.axcodes2ornt(AXES[plane])
    image = image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(image.affine), wanted))
    angle = np.deg2rad(tilt_degrees)
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return nib.Nifti1Image(np.asarray(image.dataobj), tilt @ image.affine)


def write_series(folder, image, number, description, headers=None, secrets=True, study="1", wrap=None):
    """Write an image ``(X, Y, Z)``: a file for each slice along Z, X runs along rows; the datasets in that order.

    Args:
        folder: is made.
        image: integers.
        number: of the series.
        description: of the series.
        headers: further attributes.
        secrets: whether the patient's data are there.
        study: any text that tells studies apart.
        wrap: changes each dataset before it is written.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    voxels, affine = np.asarray(image.dataobj), np.diag([-1, -1, 1, 1]) @ image.affine
    sizes = nib.affines.voxel_sizes(affine)
    series_uid, written = generate_uid(), []
    for index in range(voxels.shape[2]):
        dataset = Dataset()
        dataset.update(SECRETS if secrets else {"PatientID": "nobody"})
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        dataset.SOPInstanceUID = generate_uid()
        dataset.StudyInstanceUID = generate_uid(entropy_srcs=["study", study])
        dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame", study])
        dataset.SeriesInstanceUID = series_uid
        dataset.StudyID, dataset.StudyDate, dataset.StudyTime = "1", "20200102", "101112"
        dataset.SeriesDate, dataset.SeriesTime = "20200102", f"1011{number:02d}"
        dataset.SeriesNumber, dataset.InstanceNumber = number, voxels.shape[2] - index
        dataset.SeriesDescription, dataset.Modality = description, "MR"
        dataset.Manufacturer, dataset.ImageType = "SIEMENS", ["ORIGINAL", "PRIMARY", "M"]
        dataset.PatientSex, dataset.PatientPosition, dataset.Laterality = "O", "HFS", ""
        dataset.ImagePositionPatient = [f"{value:.10g}" for value in affine[:3, :3] @ [0, 0, index] + affine[:3, 3]]
        directions = np.concatenate([affine[:3, 0] / sizes[0], affine[:3, 1] / sizes[1]])
        dataset.ImageOrientationPatient = [f"{value:.10g}" for value in directions]
        dataset.PixelSpacing = [f"{sizes[1]:.10g}", f"{sizes[0]:.10g}"]
        dataset.SliceThickness = f"{sizes[2]:.10g}"
        dataset.Rows, dataset.Columns = voxels.shape[1], voxels.shape[0]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
        dataset.PixelData = voxels[:, :, index].T.astype(np.int16).tobytes()
        for name, value in (headers or {}).items():
            setattr(dataset, name, value)
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        if wrap is not None:
            wrap(dataset)
        dataset.save_as(Path(folder, f"IM{(7 * index) % voxels.shape[2]:04d}_{index}"), **SAVE)
        written.append(dataset)
    return written


# pydicom 3 has another word for "as a file with its preamble"
SAVE = {"enforce_file_format": True} if int(pydicom.__version__.split(".")[0]) >= 3 else {"write_like_original": False}


def write_patient(folder):
    """Write four series in three planes, in nested folders named by the patient; the images that they are of."""
    images, _ = phantom()
    written = {}
    for modality, (number, description, plane, headers) in SERIES.items():
        tilt = 12.0 if modality == "flair" else 0.0
        written[modality] = turned(images[modality], plane, tilt)
        write_series(Path(folder, "Zwetschgenbaum", f"S{number}"), written[modality], number, description, headers)
    return written


def item(**attributes):
    """Make a dataset of attributes."""
    made = Dataset()
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def write_enhanced(folder, image, number, description, repetition, echo):
    """Write an image ``(X, Y, Z)`` as one enhanced MR file, its slices from the last to the first; the dataset."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    slices = write_series(Path(folder, "single"), image, number, description)
    slices.reverse()
    first = slices[0]
    dataset = Dataset()
    dataset.update(first)
    moved = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "InstanceNumber")
    for name in moved:
        delattr(dataset, name)
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4.1", generate_uid()
    dataset.InstanceNumber, dataset.NumberOfFrames = 1, len(slices)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "NONE"]
    dataset.EchoPulseSequence, dataset.InversionRecovery, dataset.MRAcquisitionType = "SPIN", "NO", "2D"
    dimension = generate_uid()
    dataset.DimensionOrganizationSequence = [item(DimensionOrganizationUID=dimension)]
    dataset.DimensionIndexSequence = [
        item(DimensionOrganizationUID=dimension, DimensionIndexPointer=0x00200032, FunctionalGroupPointer=0x00209113)
    ]
    measures = item(PixelSpacing=first.PixelSpacing, SliceThickness=first.SliceThickness)
    shared = item(
        PixelMeasuresSequence=[measures],
        PlaneOrientationSequence=[item(ImageOrientationPatient=first.ImageOrientationPatient)],
        MRTimingAndRelatedParametersSequence=[item(RepetitionTime=repetition)],
        MREchoSequence=[item(EffectiveEchoTime=echo)],
    )
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [
        item(
            FrameContentSequence=[item(DimensionIndexValues=[index], InStackPositionNumber=index, StackID="1")],
            PlanePositionSequence=[item(ImagePositionPatient=each.ImagePositionPatient)],
        )
        for index, each in enumerate(slices, 1)
    ]
    dataset.PixelData = b"".join(each.PixelData for each in slices)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    shutil.rmtree(Path(folder, "single"))
    dataset.save_as(Path(folder, "enhanced"), **SAVE)
    return dataset
