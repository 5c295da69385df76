"""Files on disk: written whole or not at all, and known by their digest.

The digest is xxh3-128: it finds every accidental change at the speed of memory. It is no protection against somebody
who means to forge a file.
"""

import json
import mmap
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from cxrsearch.errors import WriteError

Json = dict[str, Any]


def digest_bytes(data: bytes) -> str:
    """The xxh3-128 of some bytes, 32 hex digits."""
    return xxhash.xxh3_128_hexdigest(data)


def digest_file(path: Path) -> str:
    """The xxh3-128 of a file's bytes, 32 hex digits.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:  # which mmap refuses
            return digest_bytes(b"")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return xxhash.xxh3_128_hexdigest(data)


def digest_files(paths: Iterable[Path]) -> list[str]:
    """The digests of many files, computed in threads (hashing releases the interpreter's lock)."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(digest_file, paths))


@contextmanager
def translated(action: str, path: Path) -> Iterator[None]:
    """Turn an OSError inside the block into one line that says which file and why.

    Raises:
        WriteError: for any OSError.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        fix = "check the folder's permissions and free space"
        raise WriteError(f"cannot {action} {path}: {reason}", fix) from error


@contextmanager
def written_atomically(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that appears under `path` when the block ends well, on disk, and leaves nothing behind otherwise.

    Raises:
        WriteError: the folder is missing or read-only, or the disk is full.
    """
    with translated("write", path):
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def require_folder(path: Path) -> None:
    """Raise WriteError unless a file's folder can be written to, which a caller may want to know before the work."""
    if not path.absolute().parent.is_dir():
        raise WriteError(f"cannot write {path}: no folder {path.parent}", "make the folder first")
    with translated("write", path), TemporaryFile(dir=path.absolute().parent):
        pass


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically. Raises WriteError."""
    with written_atomically(path) as file:
        file.write(data)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write an object as canonical, readable JSON, atomically. Raises WriteError."""
    write_bytes(path, canonical_json(value))


def canonical_json(value: Mapping[str, Any]) -> bytes:
    """The same bytes for the same object: sorted keys, two spaces, ASCII, a newline at the end."""
    return (json.dumps(value, sort_keys=True, indent=2, allow_nan=False) + "\n").encode()


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as .npy, atomically.

    `np.save` would report a full disk without its reason, so the data go through the file's own `write`.

    Raises:
        WriteError: as `written_atomically`.
    """
    array = np.ascontiguousarray(array)
    with written_atomically(path) as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data.cast("B") if array.size else b"")


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
