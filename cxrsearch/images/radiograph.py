"""Reading a radiograph: a PNG, JPEG or DICOM file becomes 8-bit grey pixels, or an error that says why not.

What a file is, its content decides, never its name. Higher is whiter is denser, everywhere.

PNG and JPEG: 8-bit grey is taken as it is. Colour channels must be equal, but for the noise that compression leaves; a
palette is looked up first; alpha says nothing about density and is left out. 16-bit grey is scaled from the full range
of the bit depth that its values need, of those that detectors have (8, 10, 12, 14, 15, 16), so that a 12-bit image in a
16-bit file is not nearly black and a copy of an 8-bit image in 16 bits is that image. Pillow keeps the upper 8 bits of
a 16-bit file with alpha or colour, which is refused where these do not hold all of the range. JPEG's orientation tag
is followed. DICOM: see `dicom`.
"""

import hashlib
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageOps, UnidentifiedImageError

from cxrsearch.errors import ImageError
from cxrsearch.images._checks import FIX, MAX_PIXELS, quietly, require_size, require_usable
from cxrsearch.images.dicom_tags import DicomTags
from cxrsearch.images.image_file import read_bytes

_BIT_DEPTHS = (8, 10, 12, 14, 15, 16)
_CHROMA_NOISE = 8  # grey levels between channels: 0 in a grey image saved as colour JPEG, over 100 in photographs


Picture = NDArray[np.uint8] | NDArray[np.uint16] | Image.Image
"""Pixels that somebody has decoded: uint8 or uint16 (height, width), or a grey image of Pillow."""

ImageLike = str | os.PathLike[str] | Picture
"""A PNG, JPEG or DICOM file, or its pixels."""


@dataclass(frozen=True)
class Radiograph:
    """Decoded pixels, and what they were read from.

    Attributes:
        pixels: uint8 (height, width).
        source_sha256: of the file's bytes.
        pixel_sha256: of height, width and pixels, so that a copy in another format is recognised.
        description: what was read, for people.
        tags: of a DICOM file; None for others.
    """

    pixels: NDArray[np.uint8]
    source_sha256: str
    pixel_sha256: str
    description: str
    tags: DicomTags | None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        height, width = self.pixels.shape
        return width, height


def read_radiograph(path: Path) -> Radiograph:
    """Read a file. Raises ImageError, as `decode_radiograph` does, or where it cannot be read at all."""
    return decode_radiograph(read_bytes(path), path.name)


def radiograph_of(image: ImageLike) -> Radiograph:
    """Read a file, or take pixels that are decoded already; their digest as a source is that of the pixels.

    Raises:
        ImageError: as `read_radiograph`; or pixels that no radiograph has.
    """
    if isinstance(image, str | os.PathLike):
        return read_radiograph(Path(image))
    name = name_of(image)
    pixels, description = _taken(image, name)
    height, width = pixels.shape
    require_size(height, width, name)
    require_usable(pixels, name)
    digest = _pixel_sha256(pixels)
    return Radiograph(pixels, digest, digest, f"{name}, {description}", None)


def _taken(image: object, name: str) -> tuple[NDArray[np.uint8], str]:
    """The grey pixels of an array or a picture, and what it was; nothing of the caller's is kept."""
    if isinstance(image, Image.Image):
        with quietly(name, "cannot be decoded"):
            require_size(image.height, image.width, name)
            pixels, read = _upright(image, name)
        return pixels.copy(), read
    what = type(image).__name__
    if isinstance(image, np.ndarray):
        if image.ndim == 2 and image.size and image.dtype in (np.uint8, np.uint16):
            return (image.copy(), "8-bit grey") if image.dtype == np.uint8 else _from_16_bit(image, name)
        what = f"{what} {image.dtype} {image.shape}"
    fix = "give a path, an array of uint8 or uint16 (height, width), or a grey image of Pillow"
    raise ImageError(f"{what} is no radiograph", fix)


def name_of(image: ImageLike) -> str:
    """What an answer calls an image: its path as it was given, or `array` or `picture`."""
    if isinstance(image, str | os.PathLike):
        return os.fspath(image)
    return "array" if isinstance(image, np.ndarray) else "picture"


def decode_radiograph(data: bytes, name: str) -> Radiograph:
    """Decode the bytes of a file; `name` is for messages.

    Raises:
        ImageError: empty, truncated or damaged; not PNG, JPEG or DICOM; in colour; over 64 megapixels, under 32 pixels
            on a side, or of one grey level only; a DICOM object that is no single chest radiograph.
    """
    tags = None
    if is_dicom(data):
        from cxrsearch.images._dicom import decode_dicom

        pixels, description, tags = decode_dicom(data, name)
    elif data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")):
        pixels, description = _decode_picture(data, name)
    else:
        what = f"is neither PNG, JPEG nor DICOM: it begins with {_readable(data[:8])}" if data else "is empty"
        raise ImageError(f"{name} {what}", FIX)
    require_usable(pixels, name)
    return Radiograph(pixels, hashlib.sha256(data).hexdigest(), _pixel_sha256(pixels), description, tags)


def _readable(data: bytes) -> str:
    """The text that bytes begin with, where it is any, else the bytes in hexadecimal."""
    text = re.match(rb"[ -~]{3,}", data)
    return f"'{text[0].decode()}'" if text else data.hex(" ")


def read_tags(file: BinaryIO, name: str) -> DicomTags:
    """The tags of an open DICOM file, without its pixels; `name` is for messages.

    Raises:
        ImageError: not a DICOM file, or a damaged one.
    """
    if not is_dicom(file.read(132)):
        raise ImageError(f"{name} is not a DICOM file", FIX)
    from cxrsearch.images._dicom import read_dicom_tags

    return read_dicom_tags(file, name)


def load_decoders() -> None:
    """Import the decoders of DICOM now, so that the first file does not wait for them."""
    import cxrsearch.images._dicom  # noqa: F401


def is_dicom(data: bytes) -> bool:
    """Whether bytes begin as a DICOM file does (PS3.10, section 7.1)."""
    return data[128:132] == b"DICM"


def _pixel_sha256(pixels: NDArray[np.uint8]) -> str:
    height, width = pixels.shape
    digest = hashlib.sha256(f"{height}x{width}\n".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def _decode_picture(data: bytes, name: str) -> tuple[NDArray[np.uint8], str]:
    """The grey pixels of a PNG or JPEG and what was read."""
    with quietly(name, "is truncated or damaged"):
        image = _open(data, name)
        require_size(image.height, image.width, name)
        if image.format == "PNG":
            _open(data, name).verify()  # the checksums, which `load` does not check
        pixels, read = _upright(image, name)
    return pixels, f"{image.format} {read}"


def _upright(image: Image.Image, name: str) -> tuple[NDArray[np.uint8], str]:
    """The grey pixels of one picture as it is to be looked at, and what it was."""
    sixteen = any("16" in str(tile[3]) for tile in getattr(image, "tile", ()))  # until it is loaded, it says of what
    if (frames := getattr(image, "n_frames", 1)) > 1:
        raise ImageError(f"{name} holds {frames} frames, not one image", FIX)
    image.load()
    pixels, read = _grey(ImageOps.exif_transpose(image) if image.format == "JPEG" else image, name)
    halved = sixteen and image.mode in ("RGB", "RGBA")
    if halved and pixels.max() < 128:
        problem = f"{name} would lose most of its grey levels: it is a 16-bit file with alpha or colour, and dark"
        raise ImageError(problem, "save it as 16-bit grey PNG")
    return pixels, f"{read}{', upper half of 16 bits' if halved else ''}"


def _open(data: bytes, name: str) -> Image.Image:
    """Read the header of a PNG or JPEG."""
    try:
        return Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is truncated or damaged: its header cannot be read", FIX) from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} is over the limit of {MAX_PIXELS // 1_000_000} megapixels", FIX) from error


def _grey(image: Image.Image, name: str) -> tuple[NDArray[np.uint8], str]:
    """Grey pixels by Pillow's mode of the image, and the mode in words."""
    if image.mode == "L":
        return np.asarray(image), "8-bit grey"
    if image.mode == "LA":
        return np.asarray(image.getchannel("L")), "8-bit grey with alpha"
    if image.mode.startswith("I"):
        return _from_16_bit(np.asarray(image), name)
    if image.mode == "P":
        return _grey(image.convert("RGB"), name)[0], "palette"
    if image.mode in ("RGB", "RGBA"):
        red, green, blue = image.split()[:3]
        differences = (ImageChops.difference(red, other) for other in (green, blue))
        largest = max(int(difference.getextrema()[1]) for difference in differences)  # type: ignore[arg-type]
        if largest <= _CHROMA_NOISE:
            equal = "equal channels" if largest == 0 else f"channels equal within {largest} grey levels"
            return np.asarray(image.convert("L") if largest else red), f"8-bit {image.mode}, {equal}"
        raise ImageError(f"{name} is in colour: its channels differ by up to {largest} grey levels", FIX)
    raise ImageError(f"{name} is no 8- or 16-bit grey image: its mode is {image.mode!r}", "save it as 8-bit grey PNG")


def _from_16_bit(values: NDArray[np.integer], name: str) -> tuple[NDArray[np.uint8], str]:
    """Scale the full range of the values' own bit depth to 0 to 255."""
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0 or highest >= 2**16:
        raise ImageError(f"{name} has grey levels of {lowest} to {highest}, not of 0 to 65535", "scale them to 16 bits")
    bits = next(depth for depth in _BIT_DEPTHS if highest < 2**depth)
    levels = np.round(np.arange(2**bits) * (255 / (2**bits - 1))).astype(np.uint8)
    return levels[values], f"16-bit grey, {bits} bits used"
