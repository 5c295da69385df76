"""What every source of images can do: list images, and open and digest one by its name."""

import hashlib
import os
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import BinaryIO

from cxrsearch.errors import ImageError
from cxrsearch.images.image_file import read_bounded


class ImageSource(ABC):
    """Images by name. A source can be pickled, because decoding processes read from it.

    A name is the image's path below the location, with `/`, and valid UTF-8. It is the `path` of a catalogue. `str()`
    of a source is what messages call it.
    """

    @classmethod
    @abstractmethod
    def at(cls, location: str | os.PathLike[str]) -> "ImageSource | None":
        """The source at a location; None if another kind of source is meant."""

    @property
    @abstractmethod
    def location(self) -> str:
        """Where the images are, as an index records it; `open_source` opens it again."""

    @abstractmethod
    def names(self) -> list[str]:
        """The names of all images, in ascending order.

        Raises:
            CatalogueError: the source cannot be read.
        """

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether there is an image of this name, inside the location and nowhere else."""

    @abstractmethod
    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        """The bytes of one image, as a seekable file.

        Raises:
            ImageError: there is no such image, or it cannot be read.
        """

    def read(self, name: str) -> bytes:
        """The bytes of one image. Raises ImageError as `open`, and for more bytes than any image has."""
        with self.open(name) as file:
            return read_bounded(file, name.rpartition("/")[2])

    def digest(self, name: str) -> str:
        """The sha256 of an image's bytes, 64 hex digits. Raises ImageError as `read`."""
        return hashlib.sha256(self.read(name)).hexdigest()

    def is_unchanged(self, name: str, sha256: str | None) -> bool:
        """Whether an image still has this digest; None stands for an image that could not be read."""
        try:
            return self.digest(name) == sha256
        except ImageError:
            return sha256 is None
