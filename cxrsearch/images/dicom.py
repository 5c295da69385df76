"""Reading chest radiographs from DICOM: what to accept, and how its values become grey levels.

Accepted: one grey frame of modality CR, DX or RG, or of OT or SC (exports), or without a modality, whose body part is
the chest or is not named. Values pass through the modality LUT or rescale (PS3.3, C.11.1), then the first VOI LUT or
window (C.11.2), or, without one, from their minimum to their maximum; MONOCHROME1 is inverted, padding is black.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels.processing import apply_modality_lut, apply_voi

from cxrsearch.errors import ImageError
from cxrsearch.images.radiograph import DicomTags, require_size
from cxrsearch.images.tables import parse_age

MODALITIES = frozenset({"CR", "DX", "RG", "OT", "SC", ""})
CHEST_WORDS = ("CHEST", "THORA", "THORX", "TORAX", "LUNG", "RIB", "HEART")

_FIX = "mend the file or leave it out"
_NOT_CHEST = "leave it out; if the tag is wrong, correct it or export the image as PNG"


def decode_dicom(data: bytes, name: str) -> tuple[NDArray[np.uint8], str, DicomTags]:
    """The grey pixels of a DICOM file, uint8 (height, width), what was read, and its tags.

    Raises:
        ImageError: no single chest radiograph, as described above; damaged; in a compression nothing here can undo.
    """
    with _quietly(name, "is a damaged DICOM file"):
        dataset = pydicom.dcmread(io.BytesIO(data))
        _require_radiograph(dataset, name)
    with _quietly(name, f"cannot be decoded ({_syntax(dataset)})"):
        stored = dataset.pixel_array
    with _quietly(name, "has grey levels that cannot be made out"):
        pixels, how = _grey(dataset, stored)
    modality = _text(dataset, "Modality") or "without modality"
    kind = f"DICOM {modality} {dataset.PhotometricInterpretation} {dataset.get('BitsStored')}-bit, {how}"
    return pixels, kind, _tags(dataset)


def read_dicom_tags(path: Path) -> DicomTags:
    """The tags of a DICOM file, without its pixels. Raises ImageError for a damaged one."""
    with _quietly(path.name, "is a damaged DICOM file"):
        return _tags(pydicom.dcmread(path, stop_before_pixels=True))


@contextmanager
def _quietly(name: str, problem: str) -> Iterator[None]:
    """Turn whatever pydicom and its decoders throw at a damaged file into one line, and keep their warnings back."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ImageError:
        raise
    except Exception as error:  # they throw anything: struct.error, KeyError, RuntimeError, AttributeError, ...
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ImageError(f"{name} {problem}: {reason}", _FIX) from error


def _require_radiograph(dataset: pydicom.Dataset, name: str) -> None:
    """Refuse what is no single grey frame of a chest. Raises ImageError."""
    modality, part = _text(dataset, "Modality"), _text(dataset, "BodyPartExamined")
    if modality not in MODALITIES:
        raise ImageError(f"{name} has modality {modality}, and is no radiograph (CR, DX)", "leave it out")
    if "PixelData" not in dataset:
        raise ImageError(f"{name} holds no image ({dataset.get('SOPClassUID', 'no SOP class')})", "leave it out")
    if part and not any(word in part for word in CHEST_WORDS):
        raise ImageError(f"{name} has body part {part}, not the chest", _NOT_CHEST)
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise ImageError(f"{name} holds {frames} frames, not one image", "leave it out")
    colours = _text(dataset, "PhotometricInterpretation")
    if int(dataset.get("SamplesPerPixel", 1)) != 1 or colours not in ("MONOCHROME1", "MONOCHROME2"):
        raise ImageError(
            f"{name} is not grey: its photometric interpretation is {colours or 'missing'}", "leave it out"
        )
    require_size(int(dataset.Rows), int(dataset.Columns), name)


def _grey(dataset: pydicom.Dataset, stored: NDArray[Any]) -> tuple[NDArray[np.uint8], str]:
    """Stored values (height, width) to grey levels, and how."""
    padding = _padding(dataset, stored)
    values = np.asarray(apply_modality_lut(stored, dataset))
    if dataset.get("VOILUTSequence"):
        depth = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        share, how = apply_voi(values, dataset).astype(np.float64) / (2**depth - 1), "VOI LUT"
    elif (window := _window(dataset)) is not None:
        share, how = windowed(values, *window), f"window {window[0]:g}/{window[1]:g}"
    else:
        shown = values[~padding] if not padding.all() else values
        low, high = float(shown.min()), float(shown.max())
        share, how = (values - low) / max(high - low, 1e-12), f"all values from {low:g} to {high:g}"
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        share = 1 - share
    return np.where(padding, 0, np.round(255 * np.clip(share, 0, 1))).astype(np.uint8), how


def _window(dataset: pydicom.Dataset) -> tuple[float, float, str] | None:
    """Centre, width and function of the first window, or None where there is none that can be meant."""
    centre, width = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
    function = _text(dataset, "VOILUTFunction") or "LINEAR"
    if centre is None or width is None or width < (1 if function == "LINEAR" else 1e-12):
        return None
    return centre, width, function


def windowed(values: NDArray[Any], centre: float, width: float, function: str = "LINEAR") -> NDArray[np.float64]:
    """Values to the share of full white, 0 to 1, by DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3.

    LINEAR: (x - (c - 0.5)) / (w - 1) + 0.5; LINEAR_EXACT: (x - c) / w + 0.5; SIGMOID: 1 / (1 + exp(-4 (x - c) / w)).
    """
    x = values.astype(np.float64)
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (x - centre) / width, -700, 700)))
    if function == "LINEAR_EXACT":
        return np.clip((x - centre) / width + 0.5, 0, 1)
    if width == 1:  # a threshold
        return (x > centre - 0.5).astype(np.float64)
    return np.clip((x - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


def _padding(dataset: pydicom.Dataset, stored: NDArray[Any]) -> NDArray[np.bool_]:
    """Which stored values only fill the frame: PixelPaddingValue, up to the range limit where there is one."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, dtype=np.bool_)
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((int(value), int(value if limit is None else limit)))
    return np.asarray((stored >= low) & (stored <= high))


def _tags(dataset: pydicom.Dataset) -> DicomTags:
    views: dict[str, Literal["PA", "AP"]] = {"PA": "PA", "AP": "AP"}
    sexes: dict[str, Literal["M", "F"]] = {"M": "M", "F": "F"}
    try:
        age = parse_age(_text(dataset, "PatientAge"))
    except ValueError:
        age = None
    return DicomTags(
        patient_id=str(dataset.get("PatientID") or "").strip() or None,
        view=views.get(_text(dataset, "ViewPosition")),
        sex=sexes.get(_text(dataset, "PatientSex")),
        age=age,
    )


def _text(dataset: pydicom.Dataset, keyword: str) -> str:
    return str(dataset.get(keyword) or "").strip().upper()


def _first(value: Any) -> float | None:
    """The first of one or several numbers."""
    if value is None or value == "":
        return None
    several = isinstance(value, pydicom.multival.MultiValue | list | tuple)
    return float(value[0]) if several and len(value) else None if several else float(value)


def _syntax(dataset: pydicom.Dataset) -> str:
    meta = getattr(dataset, "file_meta", {})
    return str(getattr(meta.get("TransferSyntaxUID"), "name", "unknown transfer syntax"))
