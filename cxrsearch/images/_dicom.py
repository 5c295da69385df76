"""Read chest radiographs from DICOM: which files are accepted, and how their values become grey levels.

Accepted: one grey frame of modality CR, DX or RG, or of OT or SC (exports), or without a modality. A known body part
other than the chest is refused. A missing or unknown body part is accepted. A lateral view is accepted: its `view` is
None, and the description names it. Raw detector values (`FOR PROCESSING`) are refused, because they are not yet an
image for display.

Values go through the modality LUT or rescale (PS3.3, C.11.1), then through the first VOI LUT or window (C.11.2).
Without either, the range from minimum to maximum is stretched, as in MIMIC-CXR-JPG (Johnson et al., 2019). MONOCHROME1
is inverted. Padding becomes black.
"""

import io
from typing import Any, BinaryIO, Literal

import numpy as np
import pydicom
from numpy.typing import NDArray

from cxrsearch.arrays import Floats
from cxrsearch.errors import ImageError
from cxrsearch.images._checks import quietly, require_size
from cxrsearch.images._dicom_file import read_data_set, read_stored_values, require_decoder, require_frame_size
from cxrsearch.images.dicom_tags import DicomTags
from cxrsearch.images.tables import parse_age
from cxrsearch.words import printable

MODALITIES = frozenset({"CR", "DX", "RG", "OT", "SC", ""})
CHEST = ("CHEST", "THORAX", "TORAX", "LUNG")
ELSEWHERE = (
    *("ABDOMEN", "ANKLE", "ARM", "BLADDER", "BRAIN", "BREAST", "CALCANEUS", "CLAVICLE", "COCCYX", "COLON", "ELBOW"),
    *("EXTREMITY", "EYE", "FACE", "FEMUR", "FIBULA", "FINGER", "FOOT", "HAND", "HEAD", "HIP", "HUMERUS", "JAW"),
    *("KIDNEY", "KNEE", "LEG", "MANDIBLE", "MAXILLA", "NASAL", "NECK", "ORBIT", "PATELLA", "PELVIS", "RADIUS"),
    *("SCAPULA", "SHOULDER", "SINUS", "SKULL", "SPINE", "TEETH", "THIGH", "THUMB", "TIBIA", "TOE", "ULNA", "WRIST"),
)
"""Words in BodyPartExamined (PS3.16, annex L) that mean another part, unless it also contains a word of `CHEST`."""

_NOT_CHEST = "leave it out, or, if the tag is wrong, correct it or export the image as PNG"


def decode_dicom(data: bytes, name: str) -> tuple[NDArray[np.uint8], str, DicomTags]:
    """Decode a DICOM file. Messages use `name`.

    Returns:
        The grey pixels, uint8 (height, width), a description of what was read, and the tags.

    Raises:
        ImageError: the file is not a single chest radiograph as described above; is damaged; or uses a compression
            that no installed package decodes.
    """
    with quietly(name, "is a damaged DICOM file"):
        dataset = read_data_set(io.BytesIO(data), name)
        _require_radiograph(dataset, name)
        require_decoder(dataset, name)
        require_frame_size(dataset, name)
        tags, read = _read_tags(dataset), _describe(dataset)
    with quietly(name, f"cannot be decoded ({dataset.file_meta.TransferSyntaxUID.name})"):
        stored = read_stored_values(dataset, data)
    with quietly(name, "has grey levels that cannot be computed"):
        pixels, how = _to_grey(dataset, stored)
    return pixels, f"{read}, {how}", tags


def read_dicom_tags(file: BinaryIO, name: str) -> DicomTags:
    """Read the tags of an open DICOM file, but not its pixels. Raises ImageError if the file is damaged."""
    with quietly(name, "is a damaged DICOM file"):
        return _read_tags(read_data_set(file, name, stop_before_pixels=True))


def _require_radiograph(dataset: pydicom.Dataset, name: str) -> None:
    """Raise ImageError unless the data set is a single grey frame of a chest."""
    modality, part = _read_text(dataset, "Modality"), _read_text(dataset, "BodyPartExamined")
    if modality not in MODALITIES:
        raise ImageError(f"{name} has modality {modality}: it is not a radiograph (CR, DX)", "leave it out")
    if "PixelData" not in dataset:
        kind = printable(getattr(dataset.file_meta.get("MediaStorageSOPClassUID"), "name", "of unknown kind"))
        cut_short = "Rows" in dataset or not dataset  # pydicom drops all it has read if compressed pixels end early
        problem = "has lost its pixels: it was cut short" if cut_short else f"holds no image ({kind})"
        raise ImageError(f"{name} {problem}", "leave it out")
    if any(word in part for word in ELSEWHERE) and not any(word in part for word in CHEST):
        raise ImageError(f"{name} has body part {part}, not the chest", _NOT_CHEST)
    if _read_text(dataset, "PresentationIntentType") == "FOR PROCESSING":
        raise ImageError(f"{name} holds raw detector values (FOR PROCESSING)", "export the image for presentation")
    if (frames := int(dataset.get("NumberOfFrames") or 1)) > 1:
        raise ImageError(f"{name} holds {frames} frames, not one image", "leave it out")
    colours, samples = (
        _read_text(dataset, "PhotometricInterpretation") or "missing",
        int(dataset.get("SamplesPerPixel", 1)),
    )
    if samples != 1 or colours not in ("MONOCHROME1", "MONOCHROME2"):
        problem = f"is not grey: its photometric interpretation is {colours}, with {samples} sample(s) per pixel"
        raise ImageError(f"{name} {problem}", "leave it out")
    require_size(int(dataset.Rows), int(dataset.Columns), name)
    if int(dataset.BitsAllocated) not in (8, 16):
        raise ImageError(f"{name} has {dataset.BitsAllocated} bits per pixel, not 8 or 16", "leave it out")
    if (highest := int(dataset.get("HighBit", dataset.BitsStored - 1))) != dataset.BitsStored - 1:
        problem = f"has {dataset.BitsStored}-bit values that end at bit {highest}"
        raise ImageError(f"{name} {problem}", "export it with the values in the lowest bits")


def _describe(dataset: pydicom.Dataset) -> str:
    modality, view = _read_text(dataset, "Modality") or "without modality", _read_text(dataset, "ViewPosition")
    kind = f"DICOM {modality} {dataset.PhotometricInterpretation} {dataset.BitsStored}-bit"
    return f"{kind}, view {view}" if view else kind


def _to_grey(dataset: pydicom.Dataset, stored: NDArray[np.integer]) -> tuple[NDArray[np.uint8], str]:
    """Convert stored values (height, width) to grey levels, and describe how.

    The grey level of every value that the dtype can hold is computed once, then looked up for each pixel.
    """
    patterns = stored.view(f"u{stored.itemsize}")  # unsigned, so that negative values can index the table too
    every = np.arange(2 ** (8 * stored.itemsize), dtype=patterns.dtype).view(stored.dtype).astype(np.float64)
    padding = _find_padding(dataset, every)
    values = _apply_modality(dataset, every)
    if luts := dataset.get("VOILUTSequence"):
        share, how = _apply_lut(values, luts[0], dataset), "VOI LUT"
    elif (window := _read_window(dataset)) is not None:
        share, how = apply_window(values, *window), f"window {window[0]:g}/{window[1]:g}"
    else:
        share, how = _stretch_range(values, (np.bincount(patterns.ravel(), minlength=len(every)) > 0) & ~padding)
    if not np.isfinite(share).all():
        raise ValueError("its rescale or window is not a finite number")
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        share = 1 - share
    levels = np.where(padding, 0, np.round(255 * np.clip(share, 0, 1))).astype(np.uint8)
    return levels[patterns], how


def _apply_modality(dataset: pydicom.Dataset, stored: Floats) -> Floats:
    """Convert stored values to the values that windows refer to, by the modality LUT or rescale."""
    if luts := dataset.get("ModalityLUTSequence"):
        return _apply_lut(stored, luts[0], dataset, scaled=False)
    slope, intercept = _first_number(dataset.get("RescaleSlope")), _first_number(dataset.get("RescaleIntercept"))
    return stored * (1 if slope is None else slope) + (intercept or 0)


def _apply_lut(values: Floats, lut: pydicom.Dataset, dataset: pydicom.Dataset, *, scaled: bool = True) -> Floats:
    """Look values up in a LUT (PS3.3, C.11.1.1 and C.11.2.1).

    The result is a share of the LUT's largest possible output if `scaled`, else the output itself. The descriptor gives
    the number of entries, the value of the first, and the bits per entry. Values beyond either end take the entry
    there. pydicom's `apply_voi` is not used: it wraps round if entries have 8 bits and values more.
    """
    entries, first, bits = (int(number) for number in lut.LUTDescriptor)
    entries = entries % 2**16 or 2**16  # 65,536 is written as 0, and a file may mark the unsigned number as signed
    table: Any = lut.LUTData
    if isinstance(table, bytes):
        order = "<" if dataset.original_encoding[1] else ">"
        table = np.frombuffer(table, f"{order}u2" if len(table) >= 2 * entries else "u1")
    table = np.atleast_1d(np.asarray(table, dtype=np.float64))
    if len(table) < entries or not table.max() < 2**bits <= 2**16:
        raise ValueError(f"{len(table)} LUT entries up to {table.max():g} are declared as {entries} of {bits} bits")
    looked_up: Floats = table[np.clip(np.round(values) - first, 0, entries - 1).astype(np.intp)]
    return looked_up / (2**bits - 1) if scaled else looked_up


def _stretch_range(values: Floats, used: NDArray[np.bool_]) -> tuple[Floats, str]:
    """Scale values linearly from the smallest to the largest value in use, 0 to 1, and describe the range."""
    low, high = (values[used].min(), values[used].max()) if used.any() else (0.0, 1.0)
    return (values - low) / max(high - low, 1e-12), f"all values from {low:g} to {high:g}"


def _read_window(dataset: pydicom.Dataset) -> tuple[float, float, str] | None:
    """Read centre, width and function of the first window; None if there is none or it is invalid."""
    centre, width = _first_number(dataset.get("WindowCenter")), _first_number(dataset.get("WindowWidth"))
    function = _read_text(dataset, "VOILUTFunction") or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise ValueError(f"the VOI LUT function {function} is unknown")
    if centre is None or width is None or width < (1 if function == "LINEAR" else 1e-12):
        return None
    return centre, width, function


def apply_window(values: Floats, centre: float, width: float, function: str = "LINEAR") -> Floats:
    """Convert values to a share of full white, 0 to 1, by DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3.

    LINEAR: (x - (c - 0.5)) / (w - 1) + 0.5; LINEAR_EXACT: (x - c) / w + 0.5; SIGMOID: 1 / (1 + exp(-4 (x - c) / w)).
    """
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))  # exp overflows just above 709
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1)
    if width == 1:  # the formula would divide by 0; the standard makes it a threshold
        return (values > centre - 0.5).astype(np.float64)
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


def _find_padding(dataset: pydicom.Dataset, stored: Floats) -> NDArray[np.bool_]:
    """Mark stored values that only fill the frame: PixelPaddingValue, or the range up to PixelPaddingRangeLimit."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, dtype=np.bool_)
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((int(value), int(value if limit is None else limit)))
    return np.asarray((stored >= low) & (stored <= high))


def _read_tags(dataset: pydicom.Dataset) -> DicomTags:
    views: dict[str, Literal["PA", "AP"]] = {"PA": "PA", "AP": "AP"}
    sexes: dict[str, Literal["M", "F"]] = {"M": "M", "F": "F"}
    try:
        age = parse_age(_read_text(dataset, "PatientAge"))
    except ValueError:
        age = None
    return DicomTags(
        patient_id=str(dataset.get("PatientID") or "").strip() or None,
        view=views.get(_read_text(dataset, "ViewPosition")),
        sex=sexes.get(_read_text(dataset, "PatientSex")),
        age=age,
    )


def _read_text(dataset: pydicom.Dataset, keyword: str) -> str:
    return printable(dataset.get(keyword) or "").upper()


def _first_number(value: Any) -> float | None:
    """Return the first of one or several numbers; None if the tag is missing or empty."""
    if isinstance(value, pydicom.multival.MultiValue):
        value = value[0] if value else None
    return None if value in (None, "") else float(value)
