"""Files appear whole or not at all, and their digest finds every changed byte."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrsearch import files
from cxrsearch.errors import WriteError


@pytest.mark.parametrize("content", [b"", b"a", b"x" * 100_000])
def test_digest_is_xxh3_128_of_the_bytes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert files.digest_file(path) == xxhash.xxh3_128(content).hexdigest() == files.digest_bytes(content)
    assert files.digest_files([path, path]) == [files.digest_bytes(content)] * 2


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
@pytest.mark.parametrize("shape", [(3, 4), (0, 4), (2, 3, 5)])
def test_an_array_reads_back_and_is_numpys_own_file(tmp_path: Path, shape: tuple[int, ...], dtype: Any) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    files.write_array(tmp_path / "a.npy", array)
    np.save(tmp_path / "b.npy", array)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


def test_nothing_is_left_behind_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail() -> None:
        with files.written_atomically(path) as file:
            file.write(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(WriteError, match=r"cannot write .*file: No space left on device"):
        fail()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_missing_folder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="No such file or directory — check the folder"):
        files.write_bytes(tmp_path / "absent" / "file", b"")


def test_a_really_full_disk_is_reported(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full on this system")
    with pytest.raises(WriteError, match="No space left"), files.translated("write", full), full.open("wb", 0) as file:
        file.write(b"x")


@settings(deadline=None)
@given(
    st.dictionaries(st.text(), st.integers() | st.text() | st.none() | st.floats(allow_nan=False, allow_infinity=False))
)
def test_equal_objects_have_equal_json(value: dict[str, Any]) -> None:
    assert files.canonical_json(value) == files.canonical_json(dict(reversed(value.items())))
