"""Image files on disk: opened and read, or an error that says why not."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cxrsearch.errors import ImageError
from cxrsearch.images._checks import FIX, MAX_PIXELS

MAX_BYTES = 8 * MAX_PIXELS  # 16-bit RGBA without compression


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """A file to read from. Raises ImageError where it cannot be opened."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise ImageError(f"{path} is a folder or a device, not a file", "name an image file")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}", "check the path and its permissions") from error


def read_bytes(path: Path) -> bytes:
    """A file's bytes. Raises ImageError where it cannot be read, or is larger than any image that would be decoded."""
    with open_file(path) as file:
        return read_bounded(file, path.name)


def read_bounded(file: BinaryIO, name: str) -> bytes:
    """The bytes of an open file. Raises ImageError for more than any image that would be decoded."""
    size = file.seek(0, os.SEEK_END)
    if size > MAX_BYTES:
        limit = f"{MAX_BYTES // 1_000_000} MB"
        raise ImageError(f"{name} has {size // 1_000_000} MB, over the limit of {limit}", FIX)
    file.seek(0)
    return file.read()


def require_readable(path: Path) -> None:
    """Refuse a file that cannot be opened. Raises ImageError."""
    with open_file(path):
        pass
