"""Read the data set and the stored values of a DICOM file, whatever its bytes are.

Files come from anywhere, and a damaged one must cause one line of error and nothing worse. gdcm is the only decoder of
lossless JPEG and JPEG-LS here. Some damaged data makes it end the process; otherwise it ignores libjpeg's complaints.
So it runs in a separate process, and the image is refused if anything was written to stderr. Deflated files are
unpacked within bounds.
"""

import io
import struct
import subprocess
import sys
import zlib
from typing import Any, BinaryIO

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import generate_frames
from pydicom.filereader import read_dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from cxrsearch.errors import ImageError
from cxrsearch.images._checks import FIX, MAX_PIXELS
from cxrsearch.words import printable

MAX_UNPACKED = 3 * MAX_PIXELS
"""In bytes: 16 bits per pixel, and half as much again for everything else."""

_SAFE = ("pydicom", "pylibjpeg", "pillow")
_DECODE_APART = """
import io, sys, numpy, pydicom
values = pydicom.dcmread(io.BytesIO(sys.stdin.buffer.read())).pixel_array
numpy.save(npy := io.BytesIO(), values)
sys.stdout.buffer.write(npy.getvalue())
"""
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}


def read_data_set(file: BinaryIO, name: str, **options: Any) -> pydicom.Dataset:
    """Read the data set of a DICOM file; `options` are those of pydicom's `dcmread`.

    Raises:
        ImageError: the file is deflated, and has over `MAX_UNPACKED` bytes when unpacked.
        Exception: whatever pydicom raises for a damaged file.
    """
    # `dcmread` inflates a file without any limit, so the transfer syntax is read by hand first.
    file.seek(132)
    meta = read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag.group != 2)
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        _require_bounded(file.read(), name)
    file.seek(0)
    return pydicom.dcmread(file, **options)


def _require_bounded(deflated: bytes, name: str) -> None:
    inflater, unpacked = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while deflated:
        unpacked += len(inflater.decompress(deflated, 2**20))
        deflated = inflater.unconsumed_tail
        if unpacked > MAX_UNPACKED:
            raise ImageError(f"{name} unpacks to over {MAX_UNPACKED // 1_000_000} MB", "leave it out")


def require_decoder(dataset: pydicom.Dataset, name: str) -> None:
    """Raise ImageError if no installed package decodes the compression."""
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        if get_decoder(syntax).is_available:
            return
        fix = "install pylibjpeg-openjpeg (JPEG 2000) and python-gdcm (other kinds of JPEG)"
    except NotImplementedError:
        fix = "export it without compression"
    raise ImageError(f"{name} is compressed as {printable(syntax.name)}, which no installed package decodes", fix)


def require_frame_size(dataset: pydicom.Dataset, name: str) -> None:
    """Refuse compressed pixels whose header gives another size than the tags.

    They would be scrambled, or would exhaust the memory. RLE has no such header.

    Raises:
        ImageError: the sizes differ.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated or syntax == RLELossless:
        return
    height, width = _read_frame_size(next(generate_frames(dataset.PixelData, number_of_frames=1)))
    if (height, width) != (dataset.Rows, dataset.Columns):
        sizes = f"tags say {dataset.Columns} x {dataset.Rows} pixels, and its compressed image {width} x {height}"
        raise ImageError(f"{name} contradicts itself: its {sizes}", FIX)


def _read_frame_size(frame: bytes) -> tuple[int, int]:
    """Read height and width from the header of a compressed image.

    They are in the SIZ segment of JPEG 2000 (ISO 15444-1, A.5.1), or in the frame header of JPEG (ISO 10918-1, B.2.2)
    or JPEG-LS.
    """
    if not frame.startswith(b"\xff\xd8"):
        right, bottom, left, top = struct.unpack_from(">4I", frame, frame.index(b"\xff\x4f\xff\x51") + 8)
        return bottom - top, right - left
    at = 2
    while frame[at + 1] not in _FRAME_HEADERS:
        at += 2 + int.from_bytes(frame[at + 2 : at + 4])
    height, width = struct.unpack_from(">HH", frame, at + 5)
    return height, width


def read_stored_values(dataset: pydicom.Dataset, data: bytes) -> NDArray[np.integer]:
    """Decode the stored values of a data set.

    Args:
        dataset: the data set, with its pixels.
        data: the bytes of the file it was read from, for a decoder in a separate process.

    Returns:
        uint8, int8, uint16 or int16 (rows, columns).

    Raises:
        Exception: whatever the decoders raise for damaged pixels.
    """
    plugins = get_decoder(dataset.file_meta.TransferSyntaxUID).available_plugins
    safe = [plugin for plugin in _SAFE if plugin in plugins]
    if plugins and not safe:
        return _decode_apart(data)
    values: NDArray[np.integer] = pixel_array(dataset, decoding_plugin=safe[0] if safe else "")
    return values


def _decode_apart(data: bytes) -> NDArray[np.integer]:
    """Decode the file in another process. An empty stderr is the only sign of success that gdcm gives."""
    command = [sys.executable, "-W", "ignore", "-c", _DECODE_APART]
    child = subprocess.run(command, input=data, capture_output=True, check=False)
    if child.returncode or child.stderr:
        raise ValueError("the compressed pixels are damaged")
    values: NDArray[np.integer] = np.load(io.BytesIO(child.stdout), allow_pickle=False)
    return values
