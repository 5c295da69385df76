"""Read a radiograph: decode a PNG, JPEG or DICOM file to 8-bit grey pixels, or raise an error with the reason.

The content of a file decides its format; its name does not. A higher grey level is whiter and denser, everywhere.

PNG and JPEG:

- 8-bit grey is used unchanged.
- Colour channels must be equal, up to compression noise. A palette is converted to colour first. Alpha is ignored: it
  says nothing about density.
- 16-bit grey is scaled from a full bit depth to 0 to 255. The depth is the smallest of those detectors have (8, 10, 12,
  14, 15, 16) that holds the values. So a 12-bit image in a 16-bit file does not turn nearly black, and a 16-bit copy of
  an 8-bit image gives the same pixels.
- Pillow keeps only the upper 8 bits of a 16-bit file with alpha or colour. Such a file is refused if it is dark,
  because most of its grey levels would be lost.
- JPEG's orientation tag is applied.

`_dicom` handles DICOM.
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
"""Decoded pixels: a uint8 or uint16 array (height, width), or a grey Pillow image."""

ImageLike = str | os.PathLike[str] | Picture
"""The path of a PNG, JPEG or DICOM file, or its pixels."""


@dataclass(frozen=True)
class Radiograph:
    """Decoded pixels and facts about their source.

    Attributes:
        pixels: uint8 (height, width).
        source_sha256: sha256 of the file's bytes, 64 hex digits.
        pixel_sha256: sha256 of height, width and pixels. A copy in another file format has the same one.
        description: what was read, in words.
        tags: the tags of a DICOM file; None for other files.
    """

    pixels: NDArray[np.uint8]
    source_sha256: str
    pixel_sha256: str
    description: str
    tags: DicomTags | None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, in pixels."""
        height, width = self.pixels.shape
        return width, height


def read_radiograph(path: Path) -> Radiograph:
    """Read and decode a file. Raises ImageError if it cannot be read, and as `decode_radiograph`."""
    return decode_radiograph(read_bytes(path), path.name)


def load_radiograph(image: ImageLike) -> Radiograph:
    """Read a file, or check and copy pixels that are already decoded.

    Decoded pixels have no file, so `source_sha256` equals `pixel_sha256` for them.

    Raises:
        ImageError: as `read_radiograph`; or the pixels have a wrong type, shape, size or mode, or one grey level only.
    """
    if isinstance(image, str | os.PathLike):
        return read_radiograph(Path(image))
    name = name_image(image)
    pixels, description = _convert(image, name)
    height, width = pixels.shape
    require_size(height, width, name)
    require_usable(pixels, name)
    digest = _digest_pixels(pixels)
    return Radiograph(pixels, digest, digest, f"{name}, {description}", None)


def _convert(image: object, name: str) -> tuple[NDArray[np.uint8], str]:
    """Convert an array or a Pillow image to grey pixels, and describe it. The result is always a copy."""
    if isinstance(image, Image.Image):
        with quietly(name, "cannot be decoded"):
            require_size(image.height, image.width, name)
            pixels, read = _decode_upright(image, name)
        return pixels.copy(), read
    what = type(image).__name__
    if isinstance(image, np.ndarray):
        if image.ndim == 2 and image.size and image.dtype in (np.uint8, np.uint16):
            return (image.copy(), "8-bit grey") if image.dtype == np.uint8 else _scale_16_bit(image, name)
        what = f"{what} {image.dtype} {image.shape}"
    fix = "give a path, an array of uint8 or uint16 (height, width), or a grey Pillow image"
    raise ImageError(f"{what} is not a radiograph", fix)


def name_image(image: ImageLike) -> str:
    """Name an image for an answer: its path as the caller wrote it, or `array` or `picture`."""
    if isinstance(image, str | os.PathLike):
        return os.fspath(image)
    return "array" if isinstance(image, np.ndarray) else "picture"


def decode_radiograph(data: bytes, name: str) -> Radiograph:
    """Decode the bytes of a file. Messages use `name`.

    Raises:
        ImageError: the file is empty, truncated or damaged; is not PNG, JPEG or DICOM; or is in colour. Or it has over
            64 megapixels, under 32 pixels on a side, or one grey level only. Or it is a DICOM object other than a
            single chest radiograph.
    """
    tags = None
    if is_dicom(data):
        from cxrsearch.images._dicom import decode_dicom  # pydicom is slow to import, and most data sets are PNG

        pixels, description, tags = decode_dicom(data, name)
    elif data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")):
        pixels, description = _decode_picture(data, name)
    else:
        what = f"is neither PNG, JPEG nor DICOM: it begins with {_show_bytes(data[:8])}" if data else "is empty"
        raise ImageError(f"{name} {what}", FIX)
    require_usable(pixels, name)
    return Radiograph(pixels, hashlib.sha256(data).hexdigest(), _digest_pixels(pixels), description, tags)


def _show_bytes(data: bytes) -> str:
    """Return the printable text that bytes begin with, or else the bytes in hexadecimal."""
    text = re.match(rb"[ -~]{3,}", data)
    return f"'{text[0].decode()}'" if text else data.hex(" ")


def read_tags(file: BinaryIO, name: str) -> DicomTags:
    """Read the tags of an open DICOM file, but not its pixels. Messages use `name`.

    Raises:
        ImageError: the file is not DICOM, or is damaged.
    """
    if not is_dicom(file.read(132)):
        raise ImageError(f"{name} is not a DICOM file", FIX)
    from cxrsearch.images._dicom import read_dicom_tags

    return read_dicom_tags(file, name)


def load_decoders() -> None:
    """Import the DICOM decoders now, so that the first file does not wait for them."""
    import cxrsearch.images._dicom  # noqa: F401


def is_dicom(data: bytes) -> bool:
    """Whether bytes begin like a DICOM file (PS3.10, section 7.1)."""
    return data[128:132] == b"DICM"


def _digest_pixels(pixels: NDArray[np.uint8]) -> str:
    height, width = pixels.shape
    digest = hashlib.sha256(f"{height}x{width}\n".encode())  # the shape too: 2 x 8 pixels are not 4 x 4
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def _decode_picture(data: bytes, name: str) -> tuple[NDArray[np.uint8], str]:
    """Decode a PNG or JPEG to grey pixels, and describe what was read."""
    with quietly(name, "is truncated or damaged"):
        image = _open(data, name)
        require_size(image.height, image.width, name)
        if image.format == "PNG":
            _open(data, name).verify()  # checks what `load` does not, and leaves its image unusable: hence a second one
        pixels, read = _decode_upright(image, name)
    return pixels, f"{image.format} {read}"


def _decode_upright(image: Image.Image, name: str) -> tuple[NDArray[np.uint8], str]:
    """Decode one picture to upright grey pixels, and describe what was read."""
    sixteen = any("16" in str(tile[3]) for tile in getattr(image, "tile", ()))  # `load` clears the tiles
    if (frames := getattr(image, "n_frames", 1)) > 1:
        raise ImageError(f"{name} holds {frames} frames, not one image", FIX)
    image.load()
    pixels, read = _to_grey(ImageOps.exif_transpose(image) if image.format == "JPEG" else image, name)
    halved = sixteen and image.mode in ("RGB", "RGBA")
    if halved and pixels.max() < 128:
        problem = f"{name} would lose most of its grey levels: it is a 16-bit file with alpha or colour, and dark"
        raise ImageError(problem, "save it as 16-bit grey PNG")
    return pixels, f"{read}{', upper half of 16 bits' if halved else ''}"


def _open(data: bytes, name: str) -> Image.Image:
    """Read the header of a PNG or JPEG. Raises ImageError if it is damaged or promises too many pixels."""
    try:
        return Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is truncated or damaged: its header cannot be read", FIX) from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} is over the limit of {MAX_PIXELS // 1_000_000} megapixels", FIX) from error


def _to_grey(image: Image.Image, name: str) -> tuple[NDArray[np.uint8], str]:
    """Convert a Pillow image to grey pixels according to its mode, and describe the mode."""
    if image.mode == "L":
        return np.asarray(image), "8-bit grey"
    if image.mode == "LA":
        return np.asarray(image.getchannel("L")), "8-bit grey with alpha"
    if image.mode.startswith("I"):
        return _scale_16_bit(np.asarray(image), name)
    if image.mode == "P":
        return _to_grey(image.convert("RGB"), name)[0], "palette"
    if image.mode in ("RGB", "RGBA"):
        red, green, blue = image.split()[:3]
        differences = (ImageChops.difference(red, other) for other in (green, blue))
        largest = max(int(difference.getextrema()[1]) for difference in differences)  # type: ignore[arg-type]
        if largest <= _CHROMA_NOISE:
            equal = "equal channels" if largest == 0 else f"channels equal within {largest} grey levels"
            return np.asarray(image.convert("L") if largest else red), f"8-bit {image.mode}, {equal}"
        raise ImageError(f"{name} is in colour: its channels differ by up to {largest} grey levels", FIX)
    raise ImageError(f"{name} is not 8- or 16-bit grey: its mode is {image.mode!r}", "save it as 8-bit grey PNG")


def _scale_16_bit(values: NDArray[np.integer], name: str) -> tuple[NDArray[np.uint8], str]:
    """Scale the full range of the values' bit depth to 0 to 255."""
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0 or highest >= 2**16:
        raise ImageError(f"{name} has grey levels of {lowest} to {highest}, not of 0 to 65535", "scale them to 16 bits")
    bits = next(depth for depth in _BIT_DEPTHS if highest < 2**depth)
    # The table has at most 65,536 entries, so it is much cheaper than scaling every pixel in floating point.
    levels = np.round(np.arange(2**bits) * (255 / (2**bits - 1))).astype(np.uint8)
    return levels[values], f"16-bit grey, {bits} bits used"
