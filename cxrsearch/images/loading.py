"""Load one image: from its name to its stored pixels and the network's input. Decoding processes run this."""

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
        stored: what caches and indexes keep of the image.
        network: the network's input, uint8 (size, size).
    """

    stored: StoredImage
    network: Pixels


@dataclass(frozen=True)
class RefusedImage:
    """An image that cannot be used.

    Attributes:
        reason: one line that says why.
        source_sha256: sha256 of the file's bytes, 64 hex digits; None if they could not be read.
    """

    reason: str
    source_sha256: str | None


def load_image(
    source: ImageSource, name: str, preprocess: Preprocess, cache: PixelCache | None = None
) -> LoadedImage | RefusedImage:
    """Read one image, from the cache if it is there.

    A file that cannot be used gives a `RefusedImage`; ImageError is not raised. One bad file must not stop a batch.
    """
    sha256 = None
    try:
        data = source.read(name)
        sha256 = hashlib.sha256(data).hexdigest()
        stored = cache.get(sha256) if cache is not None else None
        stored = stored or _decode(data, name.rpartition("/")[2], preprocess)
        return LoadedImage(stored, preprocess.network_pixels(stored.pixels))
    except ImageError as error:
        return RefusedImage(str(error), sha256)


def _decode(data: bytes, name: str, preprocess: Preprocess) -> StoredImage:
    radiograph = decode_radiograph(data, name)
    return StoredImage(
        preprocess.stored_pixels(radiograph.pixels),
        radiograph.source_sha256,
        radiograph.pixel_sha256,
        radiograph.description,
    )
