# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""DICOM series of a folder as NIfTI images, without anything that names the patient.

Headers are read by pydicom, voxels by dcm2niix. Of a patient's name, numbers, dates and physicians nothing leaves this
module: neither in an image, nor in a description, nor in a message, which is why messages name no file.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, MutableSequence, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ..utils.optional import require
from ..utils.quiet import quiet
from .sequences import Series, decide, taken

HOW = "install it by `make setup-prepare`"
NAMING = (  # attributes that name the patient or who was with them; their values are taken out of every text
    *("PatientName", "PatientID", "OtherPatientIDs", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName"),
    *("PatientBirthDate", "PatientAddress", "PatientTelephoneNumbers", "MedicalRecordLocator", "AccessionNumber"),
    *("ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName", "RequestingPhysician"),
)
READ = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber"),
    *("SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName", "ScanningSequence", "ImageType"),
    *("Modality", "BodyPartExamined", "RepetitionTime", "EchoTime", "InversionTime", "ContrastBolusAgent"),
    *("MRAcquisitionType", "DiffusionBValue", "AcquisitionDate", "AcquisitionTime", "SeriesDate", "SeriesTime"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "NumberOfFrames"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "EchoPulseSequence", "InversionRecovery"),
)
REMOVED = "[removed]"
DATES = r"\d{6,}|\d{4}([-./_ ])\d{1,2}\1\d{1,2}|\d{1,2}([-./_ ])\d{1,2}\2\d{2,4}"
PLANES = ("sagittal", "coronal", "axial")  # normal along x, y, z
UNEVEN = 0.05  # of the distance between slices
OFF_GRID = 0.25  # of a voxel; where rounding leaves no doubt


class Frame(NamedTuple):
    """One slice of a series.

    Attributes:
        file: that it lies in.
        number: of the frame in the file, from 1.
        shape: rows and columns.
        position: ``(3,)`` centre of the first pixel, LPS mm; empty where the header has none.
        orientation: ``(6,)`` directions in which columns and rows count up.
        spacing: ``(2,)`` mm between rows, and between columns.
    """

    file: Path
    number: int
    shape: tuple[int, int]
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]


@dataclass(frozen=True)
class DicomSeries:
    """One series, or one echo of it.

    Attributes:
        series: what its headers say.
        frames: its slices, in the order in which they lie.
    """

    series: Series
    frames: tuple[Frame, ...]

    @property
    def files(self) -> list[Path]:
        """Files of the series, each once."""
        return list(dict.fromkeys(frame.file for frame in self.frames))


@dataclass(frozen=True)
class DicomFolder:
    """What a folder holds.

    Attributes:
        series: all of them, in the order of their numbers.
        num_other: files that are no DICOM images.
        num_copies: files of an image that another file has too.
        num_damaged: files that begin as DICOM and cannot be read.
    """

    series: list[DicomSeries]
    num_other: int
    num_copies: int
    num_damaged: int

    def summary(self) -> str:
        """Say in a line what was found."""
        parts = [f"{len(self.series)} series"]
        parts += [f"{self.num_other} other files passed over"] if self.num_other else []
        parts += [f"{self.num_copies} copies passed over"] if self.num_copies else []
        parts += [f"{self.num_damaged} DICOM files cannot be read (damaged, or cut)"] if self.num_damaged else []
        return ", ".join(parts)


@dataclass(frozen=True)
class DicomPatient:
    """The images of a patient.

    Attributes:
        images: modality to image ``(X, Y, Z)``.
        sources: modality to the series that the image is of.
        decided: every series of the folder, with what it was taken for and why.
        summary: of the folder, in a line.
    """

    images: dict[str, nib.Nifti1Image]
    sources: dict[str, DicomSeries]
    decided: list[Series]
    summary: str


def read_patient(
    folder: str | Path, modalities: Sequence[str], chosen: str | Mapping[str, str | int] | None = None
) -> DicomPatient:
    """Read the images of one patient from a folder of DICOM series.

    Args:
        folder: with the series, in any sub-folders, other files among them.
        modalities: names that are wanted.
        chosen: which series the user says is which, see ``sequences.decide``.

    Raises:
        ValueError: if a package is missing, the folder holds no DICOM series or those of several patients, a series
            cannot be read, or it is not clear which is which.
    """
    found = read_folder(folder)
    decided = decide([each.series for each in found.series], modalities, chosen)
    which = taken(decided)
    sources = {name: found.series[decided.index(which[name])] for name in modalities if name in which}
    images = {modality: convert(source) for modality, source in sources.items()}
    return DicomPatient(images, sources, decided, found.summary())


def holds_dicom(folder: str | Path) -> bool:
    """Tell whether a folder has a DICOM file anywhere, by its first bytes; needs no package."""
    return any(_begins_as_dicom(file) for file in _files(Path(folder)))


def read_folder(folder: str | Path) -> DicomFolder:
    """Find the series of a folder by the headers of its files.

    Args:
        folder: with the series of one patient, in any sub-folders, other files among them.

    Raises:
        ValueError: if pydicom is missing, the folder is none or holds no DICOM series, or those of several patients.
    """
    pydicom = require("pydicom", "Reading DICOM", HOW)
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"`{folder}` is no folder; expected one that holds the DICOM series of a patient.")
    headers: dict[str, tuple[Path, Any]] = {}
    num_other = num_copies = num_damaged = 0
    with silent():
        for file in _files(root):
            header = _read_header(pydicom, file)
            if header is not None:
                num_copies += str(header.SOPInstanceUID) in headers
                headers.setdefault(str(header.SOPInstanceUID), (file, header))
            elif _begins_as_dicom(file) and file.name.upper() != "DICOMDIR":
                num_damaged += 1
            else:
                num_other += 1
        if not headers:
            damaged = f", of which {num_damaged} begin as DICOM but cannot be read" if num_damaged else ""
            raise ValueError(
                f"`{folder}` holds no DICOM image among its {num_other + num_damaged} files{damaged}; expected the "
                "series of a patient, in any sub-folders."
            )
        _refuse_several_patients(folder, [header for _, header in headers.values()])
        return DicomFolder(_group(list(headers.values())), num_other, num_copies, num_damaged)


def convert(source: DicomSeries) -> nib.Nifti1Image:
    """Make a NIfTI image ``(X, Y, Z)`` of a series by dcm2niix; its header has the grid and no text.

    Args:
        source: of ``read_folder``.

    Raises:
        ValueError: if dcm2niix is missing, cannot read the series, or gives it another grid than the headers do.
    """
    binary = require("dcm2niix", "Reading DICOM", HOW).bin
    name = f"series {source.series.name}"
    if source.series.problem:
        raise ValueError(f"{name} is no volume: {source.series.problem}.")
    with tempfile.TemporaryDirectory() as temporary:
        inputs, outputs = Path(temporary, "in"), Path(temporary, "out")
        inputs.mkdir()
        outputs.mkdir()
        for number, file in enumerate(source.files):  # names may come twice, or name the patient
            _link(file, inputs / f"{number:05d}.dcm")
        options = ["-g", "i", "-b", "n", "-ba", "y", "-c", "", "-z", "n", "-m", "y", "-f", "image", "-o", str(outputs)]
        ended = subprocess.run([binary, *options, str(inputs)], capture_output=True, check=False)
        made = sorted(outputs.glob("*.nii"))
        if ended.returncode or len(made) != 1:
            raise ValueError(
                f"{name} gave {len(made)} images (dcm2niix ended with status {ended.returncode}); expected one. Are "
                f"its {len(source.files)} files whole, and of one series?"
            )
        image = nib.Nifti1Image.from_filename(made[0])
        voxels = np.array(np.asanyarray(image.dataobj))  # read before the folder goes
    if voxels.dtype == np.float64:
        voxels = voxels.astype(np.float32)
    try:
        place_frames(source, image.affine, voxels.shape)
    except ValueError as error:
        raise ValueError(f"{name}: dcm2niix gives it another grid than its headers: {error}") from error
    result = nib.Nifti1Image(voxels, image.affine)
    result.header.set_xyzt_units("mm")
    return result


def place_frames(source: DicomSeries, affine: NDArray, shape: Sequence[int]) -> NDArray:
    """Find the voxels of an image that the pixels of each frame are.

    Args:
        source: the series, of ``N`` frames.
        affine: ``(4, 4)`` of the image, index to RAS mm; its axes may run in any order and direction.
        shape: ``(X, Y, Z)`` of the image.

    Returns:
        ``(N, 3, 3)`` integers: voxel of the first pixel, step to the next row, and to the next column.

    Raises:
        ValueError: if pixels and voxels are not the same, one to one.
    """
    to_index = np.linalg.inv(affine)
    steps = []
    for frame in source.frames:
        right, down = np.split(np.array(frame.orientation), 2)
        vectors = np.array([frame.position, down * frame.spacing[0], right * frame.spacing[1]])
        vectors[:, :2] *= -1  # LPS to RAS
        steps.append(vectors @ to_index[:3, :3].T + np.array([to_index[:3, 3], np.zeros(3), np.zeros(3)]))
    found = np.array(steps)
    whole = np.rint(found).astype(int)
    extent = np.array([1, *source.frames[0].shape])[:, None]  # what an error of a step grows by, up to the last pixel
    off = np.abs((found - whole) * extent).sum(axis=1).max()
    rows, columns = source.frames[0].shape
    last = whole[:, 0] + (rows - 1) * whole[:, 1] + (columns - 1) * whole[:, 2]
    ends = np.stack([whole[:, 0], last])
    if len(shape) != 3 or len(source.frames) * rows * columns != np.prod(shape):
        raise ValueError(
            f"the image is {' x '.join(map(str, shape))} voxels, the series {len(source.frames)} slices of "
            f"{rows} x {columns}; expected the grid of the series."
        )
    if off > OFF_GRID or (ends < 0).any() or (ends >= shape).any() or len(np.unique(whole[:, 0], axis=0)) < len(whole):
        raise ValueError(
            f"pixels of the series lie up to {off:.2f} voxels beside those of the image, or outside; expected the grid "
            "of the series."
        )
    return whole


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names))


def _begins_as_dicom(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


@contextmanager
def silent() -> Iterator[None]:
    """Keep what pydicom says of odd values to ourselves: it says the values."""
    with warnings.catch_warnings(), quiet(50, "pydicom"), quiet(50, "highdicom"):
        warnings.simplefilter("ignore")
        yield


def _read_header(pydicom: Any, file: Path) -> Any | None:
    """Read what ``Series`` and ``Frame`` are made of; ``None`` if the file is no image of a series."""
    tags = [*READ, *NAMING]
    try:
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags, force=True)
        for tag in list(header.keys()):
            _drop_if_odd(header, tag)
        whole = all(header.get(name) for name in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID"))
    except Exception:  # of many kinds, for bytes that are no DICOM; their messages have the bytes
        return None
    return header if whole else None


def _drop_if_odd(header: Any, tag: Any) -> None:
    """Take an element away whose value is none of its kind, such as a number that is text."""
    try:
        header[tag]
    except Exception:  # of many kinds; their messages have the value
        header.pop(tag)


def _refuse_several_patients(folder: str | Path, headers: Iterable[Any]) -> None:
    patients = {str(header.get("PatientID") or header.get("PatientName") or "").strip() for header in headers} - {""}
    if len(patients) > 1:
        raise ValueError(
            f"`{folder}` holds series of {len(patients)} patients, by their numbers in the headers; expected those of "
            "one. Give the folder of each patient by itself."
        )


def _group(headers: Sequence[tuple[Path, Any]]) -> list[DicomSeries]:
    """Sort files into series, and the echoes of one into series of their own."""
    by_series: dict[str, list[tuple[Path, Any]]] = defaultdict(list)
    for file, header in headers:
        by_series[str(header.SeriesInstanceUID)].append((file, header))
    starts = {uid: min(_when(header) for _, header in members) for uid, members in by_series.items()}
    order = {uid: position for position, uid in enumerate(sorted(starts, key=lambda uid: starts[uid]))}
    studies: dict[str, int] = {}
    for uid in order:
        studies.setdefault(str(by_series[uid][0][1].get("StudyInstanceUID", "")), len(studies) + 1)
    names = _identifying([header for _, header in headers])
    found = []
    for uid, members in by_series.items():
        echoes: dict[float | None, list[tuple[Path, Any]]] = defaultdict(list)
        for file, header in members:
            echoes[_echo(header)].append((file, header))
        study = studies[str(members[0][1].get("StudyInstanceUID", ""))]
        for number, echo in enumerate(sorted(echoes, key=lambda each: each or 0.0), 1):
            place = {"study": study, "order": order[uid], "echo_number": number if len(echoes) > 1 else None}
            found.append(_describe(echoes[echo], names, place))
    return sorted(found, key=lambda each: (each.series.study, each.series.number or 0, each.series.echo_number or 0))


def _describe(members: Sequence[tuple[Path, Any]], names: Sequence[str], place: Mapping[str, Any]) -> DicomSeries:
    """Put together what the headers of one series say."""
    header = members[0][1]
    frames = [frame for file, each in members for frame in _frames(file, each)]
    problem, frames, distances = _volume(frames)
    orientation = np.array(frames[0].orientation) if frames else np.zeros(0)
    normal = np.cross(orientation[:3], orientation[3:]) if len(orientation) == 6 else None
    series = Series(
        number=_integer(header.get("SeriesNumber")),
        description=_text(header.get("SeriesDescription"), names),
        protocol=_text(header.get("ProtocolName"), names),
        sequence=_text(header.get("SequenceName") or header.get("PulseSequenceName"), names),
        scanning=_scanning(header),
        image_type=tuple(_text(each, names).upper() for each in _several(header.get("ImageType"))),
        kind=_text(header.get("Modality"), names),
        body_part=_text(header.get("BodyPartExamined"), names),
        repetition=_number(_value(header, "RepetitionTime")),
        echo=_echo(header),
        inversion=_number(_value(header, "InversionTime", "InversionTimes")),
        agent=_text(header.get("ContrastBolusAgent"), names),
        b_value=_number(_value(header, "DiffusionBValue")),
        three_dimensional={"3D": True, "2D": False}.get(str(header.get("MRAcquisitionType", ""))),
        thickness=float(np.median(distances)) if len(distances) else None,
        pixel=max(frames[0].spacing, default=None) if frames else None,
        plane=None if normal is None else PLANES[int(np.abs(normal).argmax())],
        coverage=float(np.sum(distances)) if len(distances) else None,
        num_images=len(frames),
        problem=problem,
        **place,
    )
    return DicomSeries(series, tuple(frames))


def _volume(frames: Sequence[Frame]) -> tuple[str | None, list[Frame], NDArray]:
    """Put slices in the order in which they lie; the problem, if they are no volume, and the distances between them."""
    none = np.zeros(0)
    if any(len(f.position) != 3 or len(f.orientation) != 6 or len(f.spacing) != 2 for f in frames):
        return "its images say no position", list(frames), none
    if len({frame.shape for frame in frames}) > 1:
        return "its images are of several sizes", list(frames), none
    orientations = np.array([frame.orientation for frame in frames])
    spacings = np.array([frame.spacing for frame in frames])
    if np.ptp(orientations, axis=0).max() > 1e-3:
        turned = len(np.unique(np.round(orientations, 2), axis=0))
        return f"its images are in {max(turned, 2)} orientations, as those of a localiser", list(frames), none
    if np.ptp(spacings, axis=0).max() > 1e-3:
        return "its images have several pixel sizes", list(frames), none
    along = np.array([frame.position for frame in frames]) @ np.cross(orientations[0][:3], orientations[0][3:])
    order = np.argsort(along, kind="stable")
    ordered, distances = [frames[i] for i in order], np.diff(along[order])
    if len(frames) < 2:
        return "it is a single image", ordered, none
    if distances.min() < 0.01:
        positions = 1 + int((distances >= 0.01).sum())
        return f"it has {len(frames)} images at {positions} positions, as a dynamic series has", ordered, none
    if np.ptp(distances) > UNEVEN * np.median(distances):
        words = f"its slices lie {distances.min():.3g} to {distances.max():.3g} mm apart; is one missing?"
        return words, ordered, none
    return None, ordered, distances


def _frames(file: Path, header: Any) -> list[Frame]:
    """Slices of one file: one, or as many as an enhanced image has."""
    shape = (_integer(header.get("Rows")) or 0, _integer(header.get("Columns")) or 0)
    groups = list(header.get("PerFrameFunctionalGroupsSequence") or [])
    shared = _first(header.get("SharedFunctionalGroupsSequence"))
    frames = []
    for number, group in enumerate(groups or [header], 1):
        position = _in_groups("ImagePositionPatient", group, shared)
        orientation = _in_groups("ImageOrientationPatient", group, shared)
        spacing = _in_groups("PixelSpacing", group, shared)
        numbers = (tuple(map(float, _several(each))) for each in (position, orientation, spacing))
        frames.append(Frame(file, number, shape, *numbers))
    return frames


def _in_groups(name: str, *groups: Any) -> Any:
    """Find an attribute in a dataset, or in the sequences of its functional groups."""
    for group in groups:
        if group is None:
            continue
        if name in group:
            return group.get(name)
        inner = [_first(element.value) for element in group if element.VR == "SQ"]
        found = [each.get(name) for each in inner if each is not None and name in each]
        if found:
            return found[0]
    return None


def _value(header: Any, *names: str) -> Any:
    """Find an attribute in the header, or in the functional groups of an enhanced image."""
    shared = _first(header.get("SharedFunctionalGroupsSequence"))
    frame = _first(header.get("PerFrameFunctionalGroupsSequence"))
    for name in names:
        value = header.get(name)
        value = _in_groups(name, shared, frame) if value in (None, "") else value
        if value not in (None, ""):
            return value
    return None


def _echo(header: Any) -> float | None:
    echo = _number(_value(header, "EchoTime", "EffectiveEchoTime"))
    return None if echo is None else round(echo, 2)


def _scanning(header: Any) -> tuple[str, ...]:
    """Scanning sequence; an enhanced image says it in other words."""
    if header.get("ScanningSequence"):
        return tuple(str(each).upper() for each in _several(header.get("ScanningSequence")))
    named = {"SPIN": ("SE",), "GRADIENT": ("GR",), "BOTH": ("SE", "GR")}
    inverted = ("IR",) if str(header.get("InversionRecovery", "")).upper() == "YES" else ()
    return named.get(str(header.get("EchoPulseSequence", "")).upper(), ()) + inverted


def _when(header: Any) -> str:
    """Date and time, for nothing but the order of acquisition."""
    parts = (("AcquisitionDate", "SeriesDate"), ("AcquisitionTime", "SeriesTime"))
    return " ".join(str(next((header.get(name) for name in names if header.get(name)), "")) for names in parts)


def _identifying(headers: Sequence[Any]) -> list[str]:
    """Patterns of what may name the patient: the values of ``NAMING`` and their words, the longest first."""
    values = {str(value) for header in headers for name in NAMING for value in _several(header.get(name))}
    values |= {str(header.get("PatientBirthDate") or "")[:4] for header in headers}  # the year alone
    parts = {part for value in values for part in (value, *re.split(r"[\s^=,;._-]+", value))}
    words = sorted((each for each in parts if len(each) > (1 if each.isalpha() else 2)), key=len, reverse=True)
    # a short one may be a part of another word
    return [re.escape(each) if len(each) > 3 else rf"(?<![^\W_]){re.escape(each)}(?![^\W_])" for each in words]


def _text(value: Any, names: Sequence[str]) -> str:
    """Text of a header without what may name the patient, on one line."""
    text = " ".join(str(value or "").split())
    for name in (*names, DATES):
        text = re.sub(name, REMOVED, text, flags=re.IGNORECASE)
    return "".join(each for each in text if each.isprintable())


def _several(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, (MutableSequence, tuple)) else [value]  # a PersonName iterates over letters


def _first(sequence: Any) -> Any | None:
    return sequence[0] if sequence else None


def _number(value: Any) -> float | None:
    try:
        return float(_several(value)[0])
    except (IndexError, TypeError, ValueError):
        return None


def _integer(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _link(file: Path, link: Path) -> None:
    """Let a file be read under another name."""
    try:
        link.symlink_to(file.resolve())
    except OSError:  # where links are not allowed
        shutil.copyfile(file, link)
