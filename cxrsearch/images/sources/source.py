"""The interface of a source of images: list images, and open or digest one by its name."""

import hashlib
import os
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import BinaryIO

from cxrsearch.errors import ImageError
from cxrsearch.images.image_file import read_bounded


class ImageSource(ABC):
    """Images by name. A source must be picklable, because decoding processes read from it.

    A name is the image's path below the location, with `/`, and valid UTF-8. It is the `path` in a catalogue. Messages
    call a source by its `str()`.
    """

    @classmethod
    @abstractmethod
    def at(cls, location: str | os.PathLike[str]) -> "ImageSource | None":
        """Return the source at a location; None if the location is for another kind of source."""

    @property
    @abstractmethod
    def location(self) -> str:
        """Where the images are, as an index records it. `open_source` can open it again."""

    @abstractmethod
    def names(self) -> list[str]:
        """List the names of all images, in ascending order.

        Raises:
            CatalogueError: the source cannot be read.
        """

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether an image of this name exists inside the location. Names that lead outside give False."""

    @abstractmethod
    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        """Open one image as a seekable binary file.

        Raises:
            ImageError: there is no such image, or it cannot be read.
        """

    def read(self, name: str) -> bytes:
        """Read the bytes of one image. Raises ImageError as `open`, and for over `MAX_BYTES` bytes."""
        with self.open(name) as file:
            return read_bounded(file, name.rpartition("/")[2])

    def digest(self, name: str) -> str:
        """Compute the sha256 of an image's bytes, 64 hex digits. Raises ImageError as `read`."""
        return hashlib.sha256(self.read(name)).hexdigest()

    def is_unchanged(self, name: str, sha256: str | None) -> bool:
        """Whether an image still has this digest. None means that it could not be read before."""
        try:
            return self.digest(name) == sha256
        except ImageError:
            return sha256 is None
