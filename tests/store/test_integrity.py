"""No byte of an index is used unchecked."""

import os
from pathlib import Path

import pytest

from cxrsearch.errors import IntegrityError
from cxrsearch.files import digest_bytes
from cxrsearch.store.integrity import check_files, list_unlisted_files
from cxrsearch.store.manifest import FileEntry, Manifest
from tests.store.test_manifest import MANIFEST

CONTENT = {"a.npy": b"first file", "search/b.faiss": b"second", "empty": b""}


@pytest.fixture
def index(tmp_path: Path) -> tuple[Path, Manifest]:
    entries = {name: FileEntry(len(data), digest_bytes(data)) for name, data in CONTENT.items()}
    manifest = MANIFEST.with_files(entries)
    for name, data in CONTENT.items():
        path = manifest.path(tmp_path, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path, manifest


def test_an_untouched_index_passes(index: tuple[Path, Manifest]) -> None:
    check_files(*index)
    assert list_unlisted_files(*index) == []


@pytest.mark.parametrize("name", ["a.npy", "search/b.faiss"])
def test_a_flipped_byte_is_found_even_after_a_check_and_with_the_old_time(
    index: tuple[Path, Manifest], name: str
) -> None:
    folder, manifest = index
    path = manifest.path(folder, name)
    for position in range(len(CONTENT[name])):
        check_files(folder, manifest)
        content = bytearray(CONTENT[name])
        content[position] ^= 1
        before = path.stat()
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
        with pytest.raises(IntegrityError, match=f"{path.name} is damaged"):
            check_files(folder, manifest)
        path.write_bytes(CONTENT[name])


def test_again_finds_what_the_times_hide(index: tuple[Path, Manifest]) -> None:
    folder, manifest = index
    check_files(folder, manifest)
    path = manifest.path(folder, "a.npy")
    before = path.stat()
    path.write_bytes(b"first fILE")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(IntegrityError):
        check_files(folder, manifest, again=True)


def test_missing_truncated_and_swapped_files_are_named(index: tuple[Path, Manifest]) -> None:
    folder, manifest = index
    path = manifest.path(folder, "a.npy")
    path.write_bytes(b"first")
    with pytest.raises(IntegrityError, match=r"a.npy has 5 bytes instead of 10"):
        check_files(folder, manifest)
    path.unlink()
    with pytest.raises(IntegrityError, match=r"a.npy is missing"):
        check_files(folder, manifest)
    with pytest.raises(IntegrityError, match=r"other is not in the index's manifest"):
        check_files(folder, manifest, ["other"])


def test_only_the_named_files_are_read(index: tuple[Path, Manifest]) -> None:
    folder, manifest = index
    manifest.path(folder, "a.npy").unlink()
    check_files(folder, manifest, ["search/b.faiss"])


def test_strange_files_are_listed_but_locks(index: tuple[Path, Manifest]) -> None:
    folder, manifest = index
    for name in ("build.lock", "manifest.json", "notes.txt"):
        (folder / name).touch()
    assert list_unlisted_files(folder, manifest) == ["notes.txt"]
