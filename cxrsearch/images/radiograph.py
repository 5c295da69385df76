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
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageOps, UnidentifiedImageError

from cxrsearch.errors import CatalogueError, ImageError

MAX_PIXELS = 64_000_000
MAX_BYTES = 8 * MAX_PIXELS  # 16-bit RGBA without compression
MIN_SIDE = 32
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".dcm", ".dicom", ".gif", ".bmp", ".tif", ".tiff", ".webp"})
"""What passes for an image by its name. The last five are never read, but refused with the reason, not passed over."""

_BIT_DEPTHS = (8, 10, 12, 14, 15, 16)
_CHROMA_NOISE = 8  # grey levels between channels: 0 in a grey image saved as colour JPEG, over 100 in photographs
_FIX = "mend the file or leave it out"


Picture = NDArray[np.uint8] | NDArray[np.uint16] | Image.Image
"""Pixels that somebody has decoded: uint8 or uint16 (height, width), or a grey image of Pillow."""

ImageLike = str | os.PathLike[str] | Picture
"""A PNG, JPEG or DICOM file, or its pixels."""


@dataclass(frozen=True)
class DicomTags:
    """What a DICOM header says of the image; None where it says nothing usable.

    Attributes:
        patient_id: PatientID as it is written.
        view: `PA` or `AP`.
        sex: `M` or `F`.
        age: years.
    """

    patient_id: str | None
    view: Literal["PA", "AP"] | None
    sex: Literal["M", "F"] | None
    age: int | None


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


def read_bytes(path: Path) -> bytes:
    """A file's bytes. Raises ImageError where it cannot be read, or is larger than any image that would be decoded."""
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_BYTES:
            limit = f"{MAX_BYTES // 1_000_000} MB"
            raise ImageError(f"{path.name} has {size // 1_000_000} MB, over the limit of {limit}", _FIX)
        return file.read()


def require_readable(path: Path) -> None:
    """Refuse a file that cannot be opened. Raises ImageError."""
    with _opened(path):
        pass


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A file to read from. Raises ImageError for whatever stands in the way."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise ImageError(f"{path} is a folder or a device, not a file", "name an image file")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}", "check the path and its permissions") from error


def decode_radiograph(data: bytes, name: str) -> Radiograph:
    """Decode the bytes of a file; `name` is for messages.

    Raises:
        ImageError: empty, truncated or damaged; not PNG, JPEG or DICOM; in colour; over 64 megapixels, under 32 pixels
            on a side, or of one grey level only; a DICOM object that is no single chest radiograph.
    """
    tags = None
    if is_dicom(data):
        from cxrsearch.images.dicom import decode_dicom  # pydicom is slow to import, and PNG does without it

        pixels, description, tags = decode_dicom(data, name)
    elif data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")):
        pixels, description = _decode_picture(data, name)
    else:
        what = f"is neither PNG, JPEG nor DICOM: it begins with {_readable(data[:8])}" if data else "is empty"
        raise ImageError(f"{name} {what}", _FIX)
    require_usable(pixels, name)
    return Radiograph(pixels, hashlib.sha256(data).hexdigest(), _pixel_sha256(pixels), description, tags)


def _readable(data: bytes) -> str:
    """The text that bytes begin with, where it is any, else the bytes in hexadecimal."""
    text = re.match(rb"[ -~]{3,}", data)
    return f"'{text[0].decode()}'" if text else data.hex(" ")


def read_tags(path: Path) -> DicomTags:
    """A DICOM file's tags, without reading its pixels.

    Raises:
        ImageError: not a DICOM file, or a damaged one.
    """
    with _opened(path) as file:
        dicom = is_dicom(file.read(132))
    if not dicom:
        raise ImageError(f"{path.name} is not a DICOM file", _FIX)
    from cxrsearch.images.dicom import read_dicom_tags

    return read_dicom_tags(path)


def is_dicom(data: bytes) -> bool:
    """Whether bytes begin as a DICOM file does (PS3.10, section 7.1)."""
    return data[128:132] == b"DICM"


def find_images(folder: Path) -> list[Path]:
    """The image files of a folder and its sub-folders, by relative path.

    These are the files with one of `SUFFIXES`, in any case, and all others that begin as DICOM does. Hidden files and
    folders are passed over; links to folders are followed, each folder once.

    Raises:
        CatalogueError: no such folder, or one in it that cannot be read.
    """
    if not folder.is_dir():
        what = f"{folder} is a file, not a folder" if folder.exists() else f"no folder {folder}"
        raise CatalogueError(what, "name the folder that holds the images")
    return sorted(_walk(folder), key=lambda path: path.relative_to(folder).as_posix())


def _walk(folder: Path) -> Iterator[Path]:
    seen = set()
    for root, folders, files in os.walk(folder, followlinks=True, onerror=_unreadable):
        if Path(root).resolve() in seen:
            folders.clear()
            continue
        seen.add(Path(root).resolve())
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            path = Path(root, name)
            if not name.startswith(".") and (path.suffix.lower() in SUFFIXES or _bare_dicom(path)):
                yield path


def _unreadable(error: OSError) -> NoReturn:
    message = f"cannot read the folder {error.filename}: {error.strerror}"
    raise CatalogueError(message, "check its permissions, or leave it out") from error


def _bare_dicom(path: Path) -> bool:
    """Whether a file of any other name is a DICOM file: scanners write IM0001, 1.2.840.113619.2, x.ima and more."""
    try:
        with _opened(path) as file:
            return is_dicom(file.read(132))
    except ImageError:
        return False


@contextmanager
def quietly(name: str, problem: str) -> Iterator[None]:
    """Turn whatever a decoder throws at a damaged file into one line, and keep its warnings back."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # decoders throw anything: struct.error, KeyError, SyntaxError, RuntimeError, ...
        raise ImageError(f"{name} {problem}: {printable(error) or type(error).__name__}", _FIX) from error


def printable(text: object) -> str:
    """A text from a file, fit for one line of a message."""
    return "".join(character if character.isprintable() else " " for character in str(text)).strip()


def require_size(height: int, width: int, name: str) -> None:
    """Refuse, before anything is decoded, what would not fit. Raises ImageError."""
    if height * width > MAX_PIXELS:
        raise ImageError(
            f"{name} has {width} x {height} pixels, over the limit of {MAX_PIXELS // 1_000_000} megapixels",
            "reduce it to 4,096 pixels or fewer on a side",
        )
    if min(height, width) < MIN_SIDE:
        raise ImageError(f"{name} has {width} x {height} pixels, fewer than {MIN_SIDE} on a side", _FIX)


def require_usable(pixels: NDArray[np.uint8], name: str) -> None:
    """Refuse an image that shows nothing. Raises ImageError."""
    if pixels.min() == pixels.max():
        raise ImageError(f"{name} shows nothing: every pixel has the grey level {pixels.min()}", _FIX)


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
        raise ImageError(f"{name} holds {frames} frames, not one image", _FIX)
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
        raise ImageError(f"{name} is truncated or damaged: its header cannot be read", _FIX) from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} is over the limit of {MAX_PIXELS // 1_000_000} megapixels", _FIX) from error


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
        raise ImageError(f"{name} is in colour: its channels differ by up to {largest} grey levels", _FIX)
    raise ImageError(f"{name} is no 8- or 16-bit grey image: its mode is {image.mode!r}", "save it as 8-bit grey PNG")


def _from_16_bit(values: NDArray[np.integer], name: str) -> tuple[NDArray[np.uint8], str]:
    """Scale the full range of the values' own bit depth to 0 to 255."""
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0 or highest >= 2**16:
        raise ImageError(f"{name} has grey levels of {lowest} to {highest}, not of 0 to 65535", "scale them to 16 bits")
    bits = next(depth for depth in _BIT_DEPTHS if highest < 2**depth)
    levels = np.round(np.arange(2**bits) * (255 / (2**bits - 1))).astype(np.uint8)
    return levels[values], f"16-bit grey, {bits} bits used"
