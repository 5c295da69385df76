"""Write files completely or not at all, and compute their digests.

The digest is xxh3-128. It detects accidental changes at the speed of memory. It does not protect against deliberate
forgery.
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
    """Compute the xxh3-128 of some bytes, 32 hex digits."""
    return xxhash.xxh3_128_hexdigest(data)


def digest_file(path: Path) -> str:
    """Compute the xxh3-128 of a file's bytes, 32 hex digits.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:  # mmap refuses an empty file
            return digest_bytes(b"")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return xxhash.xxh3_128_hexdigest(data)


def digest_files(paths: Iterable[Path]) -> list[str]:
    """Compute the digests of many files, in threads (hashing releases the interpreter's lock).

    Raises:
        OSError: a file cannot be read.
    """
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
    """Open a binary file that appears under `path`, synced to disk, if the block succeeds. If not, nothing remains.

    Raises:
        WriteError: the folder is missing or read-only, or the disk is full.
    """
    with translated("write", path):
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # beside it: a rename cannot change disks
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def require_folder(path: Path) -> None:
    """Raise WriteError if the folder of a file cannot be written to. Call it before the work that makes the file."""
    if not path.absolute().parent.is_dir():
        raise WriteError(f"cannot write {path}: no folder {path.parent}", "make the folder first")
    with translated("write", path), TemporaryFile(dir=path.absolute().parent):
        pass


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically. Raises WriteError as `written_atomically`."""
    with written_atomically(path) as file:
        file.write(data)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write an object as canonical JSON, atomically. Raises WriteError, and ValueError for NaN or infinity."""
    write_bytes(path, canonical_json(value))


def canonical_json(value: Mapping[str, Any]) -> bytes:
    """Encode an object as JSON. Equal objects give equal bytes: sorted keys, two spaces, ASCII, a final newline."""
    return (json.dumps(value, sort_keys=True, indent=2, allow_nan=False) + "\n").encode()


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as .npy, atomically.

    `np.save` reports a full disk without the reason, so the data are written by the file's `write`.

    Raises:
        WriteError: as `written_atomically`.
    """
    array = np.ascontiguousarray(array)
    with written_atomically(path) as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data.cast("B") if array.size else b"")


def sync_folder(folder: Path) -> None:
    """Sync a folder to disk, so that renames inside it survive a power cut. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
