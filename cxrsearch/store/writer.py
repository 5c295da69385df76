"""Write an index. Finished shards survive any interruption, and readers see either the old index or the new one.

    <index>.building/plan      a digest of all that decides a shard's bytes; work with another plan is discarded
    <index>.building/content/  the future generation: shards, their records, and finally the other files
    <index>/build.lock         held while a builder is at work; the system frees it when the process dies
    <index>/<generation>/...   the content, moved there by one rename
    <index>/manifest.json      replaced by one rename: the commit. Then the old generation is removed

The record of a shard is written last, and contains the digests of the shard's files. A shard without a record, or with
files that differ from it, is made again. After the first rename nothing needs more disk space.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from cxrsearch.errors import FormatVersionError, ImageError, LockedError, StoreError
from cxrsearch.files import (
    Json,
    canonical_json,
    digest_bytes,
    digest_file,
    digest_files,
    sync_folder,
    translated,
    write_array,
    write_bytes,
    write_json,
)
from cxrsearch.store.layout import EMBEDDINGS, LOCK, MANIFEST, PIXELS, RECORDS, SEARCH
from cxrsearch.store.manifest import FORMAT, FileEntry, Manifest, read_manifest, write_manifest


@dataclass(frozen=True)
class ShardRecord:
    """The images of a finished shard.

    Attributes:
        images: for each embedded image, in order: `row` of the plan, `source_sha256`, `pixel_sha256`, `description`.
        refused: for each refused image: `row` of the plan, `source_sha256` or None, `reason`.
    """

    images: list[Json]
    refused: list[Json]


class IndexWriter(AbstractContextManager["IndexWriter"]):
    """One builder of one index directory. Use it as a context manager: leaving it releases the lock.

    Args:
        folder: the index directory; made if it is missing.
        plan: everything that decides the bytes of a shard. Unfinished work with another plan is discarded.

    Raises:
        LockedError: another builder is at work.
        StoreError: the path is a file, or a folder that holds other files.
        WriteError: a folder cannot be made.
    """

    def __init__(self, folder: Path, plan: Mapping[str, Any]) -> None:
        self.folder = folder.resolve()
        self.staging = self.folder.with_name(self.folder.name + ".building")
        self.content = self.staging / "content"
        self.plan = digest_bytes(canonical_json(plan))
        _require_index_or_nothing(self.folder)
        _require_only(self.staging, {"plan", "content", MANIFEST})
        with translated("make the index directory", self.folder):
            self._made = not self.folder.exists()
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.folder / LOCK, timeout=0)
            try:
                self._lock.acquire()
            except Timeout:
                raise LockedError(
                    f"another build-index is at work on {folder}", "wait for it to end, or use another --index"
                ) from None
        try:
            self._prepare_staging()
        except BaseException:
            self._lock.release()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None and self._has_nothing(error):
                self._leave_nothing()
        finally:
            self._lock.release()

    def _has_nothing(self, error: BaseException) -> bool:
        """Whether the build left nothing to resume from, and no commit is waiting for its second rename.

        A finished shard whose images were all refused has only a record. That is enough to resume from after an
        interruption. It counts as nothing if the error is that no image is left.
        """
        kept = EMBEDDINGS if isinstance(error, ImageError) else RECORDS
        finished = any((self.content / kept).glob("*"))
        return self.content.is_dir() and not finished and not (self.staging / MANIFEST).exists()

    def _leave_nothing(self) -> None:
        """Remove everything that a failed build has made. A folder that existed before stays."""
        shutil.rmtree(self.staging, ignore_errors=True)
        if self._made:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def _prepare_staging(self) -> None:
        """Resume unfinished work with the same plan, else start from the present index of that plan, else from zero."""
        plan = self.staging / "plan"
        with translated("prepare", self.staging):
            self._finish_interrupted_commit()
            if not self.content.exists() or not plan.exists() or plan.read_text() != self.plan:
                shutil.rmtree(self.staging, ignore_errors=True)
                self._adopt_present_index()
            for name in (EMBEDDINGS, PIXELS, SEARCH, RECORDS):
                (self.content / name).mkdir(parents=True, exist_ok=True)
        write_bytes(plan, self.plan.encode())

    def _finish_interrupted_commit(self) -> None:
        """Do the second rename of a commit that was interrupted between its two renames."""
        waiting = read_present_manifest(self.staging)
        if waiting is not None and not self.content.exists() and (self.folder / waiting.generation).is_dir():
            self._make_current(waiting)

    def _adopt_present_index(self) -> None:
        """Link the shards of the present index, so that another `--kind` or corrected labels need no new embedding."""
        present = read_present_manifest(self.folder)
        if present is None or present.plan != self.plan:
            return
        for kind in (EMBEDDINGS, PIXELS, RECORDS):
            for name in present.names(f"{kind}/"):
                (self.content / kind).mkdir(parents=True, exist_ok=True)
                _link(present.path(self.folder, name), self.content / name)

    def read_finished_shard(self, number: int) -> ShardRecord | None:
        """Return the record of a finished shard after verifying its files; None if the shard must be made."""
        try:
            record = json.loads(self._record_path(number).read_bytes())
            digest = record.pop("digest")
            if digest_bytes(canonical_json(record)) != digest:
                return None
            if any(digest_file(self.content / name) != promised for name, promised in record["files"].items()):
                return None
        except (OSError, ValueError, KeyError, AttributeError):
            return None
        return ShardRecord(record["images"], record["refused"])

    def write_shard(
        self,
        number: int,
        record: ShardRecord,
        embeddings: Sequence[NDArray[np.float32]],
        pixels: Sequence[NDArray[np.uint8]],
    ) -> None:
        """Write the embeddings and pixels of a shard, and then its record.

        Args:
            number: of the shard, from 0.
            record: the shard's images.
            embeddings: batches, float32 (b, dim); none if all images were refused.
            pixels: one uint8 (side, side) per image, or none.

        Raises:
            WriteError: the disk is full or read-only.
        """
        arrays: dict[str, NDArray[Any]] = {}
        if embeddings:
            arrays[f"{EMBEDDINGS}/{number:05d}.npy"] = np.concatenate(embeddings)
        if pixels:
            arrays[f"{PIXELS}/{number:05d}.npy"] = np.stack(pixels)
        for name, array in arrays.items():
            write_array(self.content / name, array)
        files = {name: digest_file(self.content / name) for name in arrays}
        body = {"files": files, "images": record.images, "refused": record.refused}
        write_json(self._record_path(number), body | {"digest": digest_bytes(canonical_json(body))})

    def _record_path(self, number: int) -> Path:
        return self.content / RECORDS / f"{number:05d}.json"

    def blocks(self) -> list[NDArray[np.float32]]:
        """Memory-map the embeddings that are written so far: float32 (m, dim) shards, in order."""
        paths = sorted((self.content / EMBEDDINGS).glob("*.npy"))
        return [np.load(path, mmap_mode="r", allow_pickle=False) for path in paths]

    def commit(self, manifest: Manifest) -> Manifest:
        """Make the content the index, and return its manifest, completed with generation and files.

        Raises:
            WriteError: the disk is full or read-only. The old index is unchanged.
        """
        with translated("finish the index in", self.folder):
            for folder in [path for path in self.content.iterdir() if path.is_dir() and not any(path.iterdir())]:
                folder.rmdir()
            paths = sorted(path for path in self.content.rglob("*") if path.is_file())
            names = [path.relative_to(self.content).as_posix() for path in paths]
            entries = [FileEntry(p.stat().st_size, d) for p, d in zip(paths, digest_files(paths), strict=True)]
            manifest = manifest.with_files(dict(zip(names, entries, strict=True)))
            self._publish(manifest)
            shutil.rmtree(self.staging)
        return manifest

    def _publish(self, manifest: Manifest) -> None:
        target = self.folder / manifest.generation
        write_manifest(self.staging, manifest)  # before the first rename, so that a later build can finish the second
        present = read_present_manifest(self.folder)
        if present is not None and present.generation == manifest.generation:
            _replace_files(self.content, target)
        else:
            shutil.rmtree(target, ignore_errors=True)
            self.content.rename(target)
        sync_folder(self.folder)
        self._make_current(manifest)

    def _make_current(self, manifest: Manifest) -> None:
        (self.staging / MANIFEST).replace(self.folder / MANIFEST)
        sync_folder(self.folder)
        for path in self.folder.iterdir():
            if path.name != manifest.generation and _is_generation(path):
                shutil.rmtree(path)


def _require_index_or_nothing(folder: Path) -> None:
    """Refuse to build into a folder with other files of the user.

    Raises:
        StoreError: the path is a file, or a folder that is no index and holds more than an interrupted build leaves.
        FormatVersionError: the index was written by a newer cxrsearch.
    """
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} is a file, not an index directory", "name another --index")
    if read_present_manifest(folder) is None:
        damaged = (folder / MANIFEST).is_file() and FORMAT.encode() in (folder / MANIFEST).read_bytes()
        _require_only(folder, {MANIFEST} if damaged else set())


def _require_only(folder: Path, names: set[str]) -> None:
    """Refuse a folder that holds anything but files of these names, locks, temporary files and generations."""
    present = sorted(folder.iterdir()) if folder.is_dir() else []
    strange = [
        p.name for p in present if p.name not in names and p.suffix not in (".lock", ".tmp") and not _is_generation(p)
    ]
    if strange:
        raise StoreError(
            f"{folder} is not an index and holds other files ({', '.join(strange[:3])})",
            "name a new or empty folder with --index, or move these away",
        )


def _is_generation(path: Path) -> bool:
    """Whether a folder is a generation of an index, by its name and content."""
    return re.fullmatch("[0-9a-f]{16}", path.name) is not None and (path / EMBEDDINGS).is_dir()


def read_present_manifest(folder: Path) -> Manifest | None:
    """Read the manifest of the index in a folder; None if there is none or it is damaged. Raises FormatVersionError."""
    try:
        return read_manifest(folder)
    except FormatVersionError:  # an older program must not replace a newer index
        raise
    except StoreError:  # no index yet, or a damaged one, which may be replaced
        return None


def _link(source: Path, target: Path) -> None:
    """Hard-link a file that never changes, or copy it if the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _replace_files(source: Path, target: Path) -> None:
    """Move equal content over a generation in use, file by file. Readers notice nothing, and damage is repaired."""
    for path in [path for path in source.rglob("*") if path.is_file()]:
        destination = target / path.relative_to(source)
        destination.parent.mkdir(parents=True, exist_ok=True)
        path.replace(destination)
