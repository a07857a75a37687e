# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""A label map as a DICOM-SEG object, on the slices of the series that it was made of, by highdicom.

Segments are coded by DICOM's context group 7168, brain lesion segmentation types with necrosis.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ..data.label_conventions import get_convention, to_internal
from ..utils.files import replacing
from ..utils.optional import require
from .dicom import HOW, NAMING, DicomSeries, place_frames, silent

METADATA = Path(__file__).resolve().parents[2] / "configs" / "metadata.json"
REQUIRED = (  # of every DICOM object, but may be empty
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime"),
    *("AccessionNumber", "ReferringPhysicianName"),
)
FURTHER = (  # beside these and those of NAMING, what else says who the patient is
    *(
        "PatientAge",
        "PatientSize",
        "PatientWeight",
        "PatientComments",
        "EthnicGroup",
        "Occupation",
        "IssuerOfPatientID",
    ),
    *("AdditionalPatientHistory", "StudyDescription", "OtherPatientIDsSequence", "NameOfPhysiciansReadingStudy"),
    *("PhysiciansOfRecord", "ConsultingPhysicianName", "ReferencedStudySequence", "ReferencedPatientSequence"),
    *("ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID"),
)
SERIES_NUMBER = 900  # beyond those that scanners give


class Concept(NamedTuple):
    """A code of a terminology: its value, the scheme's designator, and its meaning."""

    value: str
    scheme: str
    meaning: str


CATEGORY = Concept("49755003", "SCT", "Morphologically Abnormal Structure")
BRAIN = Concept("12738006", "SCT", "Brain")
NEOPLASM = Concept("108369006", "SCT", "Neoplasm")  # of a region that is several classes
TYPES = {  # by the names of classes in data/label_conventions.yaml
    "necrotic core": Concept("6574001", "SCT", "Necrosis"),
    "edema": Concept("79654002", "SCT", "Edema"),
    "enhancing tumor": Concept("C113842", "NCIt", "Enhancing Lesion"),
}
LEARNT = Concept("123110", "DCM", "Artificial Intelligence")


def write_segmentation(
    label_map: nib.spatialimages.SpatialImage,
    source: DicomSeries,
    path: str | Path,
    convention: str,
    regions: Mapping[str, Sequence[int]] | None = None,
    keep_patient: bool = False,
) -> Path:
    """Write a label map as a binary DICOM-SEG, one segment for each class, that refers to the slices of its series.

    Args:
        label_map: ``(X, Y, Z)`` integers on the grid of the series, as ``dicom.convert`` gives it; its axes may run in
            any order and direction.
        source: the series.
        path: of the file.
        convention: of the label map, a name in ``data/label_conventions.yaml``. The segments are numbered from 1 in the
            order of its values.
        regions: a segment for each of these in place of the classes: name to internal classes; they may overlap.
        keep_patient: copy name, number and the like from the series. A hospital's archive files the object by them;
            without, they are empty.

    Returns:
        the path.

    Raises:
        ValueError: if highdicom is missing, the label map is not on the grid of the series, it has a class that has no
            code, or the headers of the series do not suffice.
    """
    highdicom = require("highdicom", "Writing DICOM-SEG", HOW)
    name = f"series {source.series.name}"
    try:
        frames, masks, named = _masks(label_map, source, convention, regions)
    except ValueError as error:
        raise ValueError(f"no DICOM-SEG of {name}: {error}") from error
    with silent():
        headers = _headers(frames, keep_patient)
        if any(not header.get("FrameOfReferenceUID") for header in headers):
            raise ValueError(f"no DICOM-SEG of {name}: its headers name no frame of reference, which is needed.")
        try:
            made = _segmentation(highdicom, headers, masks, named)
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # its words may have the patient's data
            raise ValueError(
                f"no DICOM-SEG of {name}: highdicom cannot use its headers ({type(error).__name__}); expected those of "
                "a whole MR series."
            ) from None
        with replacing(path) as temporary:
            made.save_as(temporary)
    return Path(path)


def _masks(
    label_map: nib.spatialimages.SpatialImage,
    source: DicomSeries,
    convention: str,
    regions: Mapping[str, Sequence[int]] | None,
) -> tuple[list[Any], NDArray, dict[str, Concept]]:
    """Cut the label map into frames and segments: frames, ``(N, rows, columns, segments)`` uint8, and what they are."""
    chosen = get_convention(convention)
    kinds = {label: chosen.class_names.get(label, f"class {label}") for label in chosen.write if label}
    unknown = [kind for kind in kinds.values() if kind not in TYPES]
    if unknown:
        raise ValueError(f"label convention `{convention}` has {unknown}; codes are known of {list(TYPES)}.")
    by_value = sorted(kinds, key=lambda label: chosen.write[label])
    segments = dict(regions) if regions else {kinds[label]: [label] for label in by_value}
    codes = {each: TYPES[kinds[labels[0]]] if len(labels) == 1 else NEOPLASM for each, labels in segments.items()}
    classes = to_internal(np.asarray(label_map.dataobj), convention)
    places = place_frames(source, label_map.affine, classes.shape)
    # an enhanced image counts its frames by itself
    order = sorted(range(len(places)), key=lambda i: source.frames[i].number)  # stable: files stay in their order
    frames = [source.frames[i] for i in order]
    rows, columns = (np.arange(length)[..., None] for length in frames[0].shape)
    cut = []
    for start, down, right in places[order]:
        index = start + (rows * down)[:, None] + (columns * right)[None]  # (rows, columns, 3)
        cut.append(classes[tuple(np.moveaxis(index, -1, 0))])
    stacked = np.stack(cut)
    masks = np.stack([np.isin(stacked, labels) for labels in segments.values()], axis=-1).astype(np.uint8)
    return frames, masks, codes


def _headers(frames: Sequence[Any], keep_patient: bool) -> list[Any]:
    """Read the headers that the object refers to, one of each file, and empty what names the patient."""
    pydicom = require("pydicom", "Writing DICOM-SEG", HOW)
    headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in dict.fromkeys(each.file for each in frames)]
    for header in headers:
        for attribute in () if keep_patient else (*REQUIRED, *NAMING, *FURTHER):
            if attribute in header:
                delattr(header, attribute)
        for attribute in REQUIRED:
            if attribute not in header:
                setattr(header, attribute, "")
    return headers


def _segmentation(highdicom: Any, headers: Sequence[Any], masks: NDArray, named: Mapping[str, Concept]) -> Any:
    metadata = json.loads(METADATA.read_text(encoding="utf-8"))
    algorithm = highdicom.AlgorithmIdentificationSequence(
        metadata["name"], _code(highdicom, LEARNT), metadata["version"]
    )
    descriptions = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=_code(highdicom, CATEGORY),
            segmented_property_type=_code(highdicom, concept),
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
            anatomic_regions=[_code(highdicom, BRAIN)],
        )
        for number, (label, concept) in enumerate(named.items(), 1)
    ]
    return highdicom.seg.Segmentation(
        source_images=headers,
        pixel_array=masks,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions,
        series_instance_uid=highdicom.UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer=metadata["authors"],
        manufacturer_model_name=metadata["name"],
        software_versions=metadata["version"],
        device_serial_number="none",
        series_description="Segmentation of brain tumour, for research",
    )


def _code(highdicom: Any, concept: Concept) -> Any:
    return highdicom.sr.CodedConcept(concept.value, concept.scheme, concept.meaning)
