"""Check the files of an index against its manifest before any of them is used.

FAISS and numpy silently accept nearly every flipped bit, and then give wrong answers. So every byte of a generation is
hashed once per process, in threads, before the first answer.
"""

from collections.abc import Iterable
from pathlib import Path

from cxrsearch.errors import IntegrityError
from cxrsearch.files import digest_files
from cxrsearch.store.layout import MANIFEST
from cxrsearch.store.manifest import Manifest

_Seen = tuple[str, int, int, int, str]
_verified: set[_Seen] = set()  # files this process has hashed, by path, inode, size, time and digest
_FIX = "restore the file from a copy, or build the index again with `cxrsearch build-index`"


def check_files(folder: Path, manifest: Manifest, names: Iterable[str] | None = None, *, again: bool = False) -> None:
    """Check that files exist and have the size and digest in the manifest.

    Args:
        folder: the index directory.
        manifest: the manifest, already checked.
        names: files to check, relative to the generation's folder; None means all.
        again: also hash files that this process has already hashed and that have not changed since.

    Raises:
        IntegrityError: a file is missing, truncated or altered; the message names the first one.
    """
    wanted = list(manifest.files) if names is None else [f"{manifest.generation}/{name}" for name in names]
    seen = {name: _identify(folder, manifest, name) for name in wanted}
    todo = [name for name in wanted if again or seen[name] not in _verified]
    for name, digest in zip(todo, _compute_digests(folder, todo), strict=True):
        if digest != manifest.files[name].digest:
            raise IntegrityError(f"{folder / name} is damaged: its bytes are not those that were written", _FIX)
        _verified.add(seen[name])


def _identify(folder: Path, manifest: Manifest, name: str) -> _Seen:
    if name not in manifest.files:
        raise IntegrityError(f"{folder / name} is not in the index's manifest", _FIX)
    promised = manifest.files[name]
    try:
        status = (folder / name).stat()
    except FileNotFoundError:
        raise IntegrityError(f"{folder / name} is missing", _FIX) from None
    except OSError as error:
        raise IntegrityError(f"cannot read {folder / name}: {error.strerror}", _FIX) from error
    if status.st_size != promised.size:
        raise IntegrityError(f"{folder / name} has {status.st_size} bytes instead of {promised.size}", _FIX)
    # With inode and time, so that a file that was replaced since is hashed again.
    return (str(folder / name), status.st_ino, status.st_size, status.st_mtime_ns, promised.digest)


def _compute_digests(folder: Path, names: list[str]) -> list[str]:
    try:
        return digest_files(folder / name for name in names)
    except OSError as error:
        raise IntegrityError(f"cannot read {error.filename}: {error.strerror}", _FIX) from error


def list_unlisted_files(folder: Path, manifest: Manifest) -> list[str]:
    """List files in the directory that the manifest does not name, relative to it. `*.lock` files do not count."""
    present = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    return sorted(
        name for name in present if name not in manifest.files and name != MANIFEST and not name.endswith(".lock")
    )
