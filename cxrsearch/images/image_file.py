"""Open and read image files on disk, or raise an error with the reason."""

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
    """Open a file for reading. Raises ImageError if it cannot be opened."""
    try:
        if path.exists() and not path.is_file():  # opening a pipe would block until somebody writes to it
            raise ImageError(f"{path} is a folder or a device, not a file", "name an image file")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}", "check the path and its permissions") from error


def read_bytes(path: Path) -> bytes:
    """Read the bytes of a file. Raises ImageError if it cannot be read or has over `MAX_BYTES` bytes."""
    with open_file(path) as file:
        return read_bounded(file, path.name)


def read_bounded(file: BinaryIO, name: str) -> bytes:
    """Read the bytes of an open file. Raises ImageError for over `MAX_BYTES`, more than any accepted image needs."""
    size = file.seek(0, os.SEEK_END)
    if size > MAX_BYTES:
        limit = f"{MAX_BYTES // 1_000_000} MB"
        raise ImageError(f"{name} has {size // 1_000_000} MB, over the limit of {limit}", FIX)
    file.seek(0)
    return file.read()


def require_readable(path: Path) -> None:
    """Raise ImageError if a file cannot be opened."""
    with open_file(path):
        pass
