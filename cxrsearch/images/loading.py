"""One image, from its name to what the index keeps and the network sees: the work of a decoding process."""

import hashlib
from dataclasses import dataclass

from cxrsearch.errors import ImageError
from cxrsearch.images.pixel_cache import PixelCache, StoredImage
from cxrsearch.images.preprocess import Pixels, Preprocess
from cxrsearch.images.radiograph import decode_radiograph
from cxrsearch.images.sources.source import ImageSource


@dataclass(frozen=True)
class LoadedImage:
    """An image ready for the network.

    Attributes:
        stored: what caches and indexes keep of it.
        network: uint8 (size, size), the network's input.
    """

    stored: StoredImage
    network: Pixels


@dataclass(frozen=True)
class RefusedImage:
    """An image that cannot be used, why, and the sha256 of its file where that could be read."""

    reason: str
    source_sha256: str | None


def load_image(
    source: ImageSource, name: str, preprocess: Preprocess, cache: PixelCache | None = None
) -> LoadedImage | RefusedImage:
    """Read one image, from the cache where it is there; a file that cannot be used is returned as such, not raised."""
    sha256 = None
    try:
        data = source.read(name)
        sha256 = hashlib.sha256(data).hexdigest()
        stored = cache.get(sha256) if cache is not None else None
        stored = stored or _decoded(data, name.rpartition("/")[2], preprocess)
        return LoadedImage(stored, preprocess.network_pixels(stored.pixels))
    except ImageError as error:
        return RefusedImage(str(error), sha256)


def _decoded(data: bytes, name: str, preprocess: Preprocess) -> StoredImage:
    radiograph = decode_radiograph(data, name)
    return StoredImage(
        preprocess.stored_pixels(radiograph.pixels),
        radiograph.source_sha256,
        radiograph.pixel_sha256,
        radiograph.description,
    )
