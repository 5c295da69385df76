"""Searching an index: which rows may answer, and the vector index that finds them."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import cxrsearch_indexes as vectors
from cxrsearch.errors import MissingDependencyError, StoreError, UsageError, WriteError
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.progress import Progress, silent
from cxrsearch.store.reader import StoredIndex

_ROWS_AT_ONCE = 2048


@dataclass(frozen=True)
class Filters:
    """Which indexed images may answer a query; everything given must hold.

    Attributes:
        view: `PA` or `AP`.
        sex: `F` or `M`.
        age: youngest and oldest age in years, both included; images without an age are left out.
        present: findings an image must have, all of them.
        absent: findings it must not have, none of them.
    """

    view: str | None = None
    sex: str | None = None
    age: tuple[int, int] | None = None
    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    def rows(self, catalogue: Catalogue) -> NDArray[np.bool_] | None:
        """The rows that may answer, bool (n,), or None where all may.

        Raises:
            UsageError: an unknown value or finding, or a filter on findings where they are not known.
        """
        for names in (self.present, self.absent):
            _require(not isinstance(names, str), f"findings {names!r}", 'give several names, as ("Effusion",)')
        masks = []
        for column, value, allowed in (("view", self.view, ("PA", "AP")), ("sex", self.sex, ("F", "M"))):
            if value is not None:
                _require(value in allowed, f"{column} {value!r}", f"use {' or '.join(allowed)}")
                masks.append(catalogue.frame[column].eq(value).fillna(False).to_numpy(dtype=bool))
        if self.age is not None:
            _require(0 <= self.age[0] <= self.age[1], f"age {self.age[0]}-{self.age[1]}", "use --age 40-60")
            masks.append(catalogue.frame["age"].between(*self.age).fillna(False).to_numpy(dtype=bool))
        present, absent = (_columns(catalogue, names) for names in (self.present, self.absent))
        both = [catalogue.vocabulary.findings[column] for column in sorted(set(present) & set(absent))]
        _require(not both, f"with and without {', '.join(both)}", "ask for one of the two")
        if catalogue.labels is not None:
            masks += [catalogue.labels[:, column] for column in present]
            masks += [~catalogue.labels[:, column] for column in absent]
        return np.logical_and.reduce(masks) if masks else None


def years(text: str | None) -> tuple[int, int] | None:
    """Youngest and oldest age from a text such as `40-60`. Raises UsageError for any other text."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,3})-([0-9]{1,3})", text)
    if not match:
        raise UsageError(f"an age that cannot be meant: {text!r}", "give the years as 40-60")
    return int(match[1]), int(match[2])


def _require(condition: bool, got: str, fix: str) -> None:
    if not condition:
        raise UsageError(f"a filter that cannot be meant: {got}", fix)


def _columns(catalogue: Catalogue, names: Sequence[str]) -> list[int]:
    """Where the labels hold these findings."""
    _require(
        not names or catalogue.labels is not None,
        "filter by findings: those of this index's images are not known",
        "build it with --labels to filter by them",
    )
    return [catalogue.vocabulary.findings.index(catalogue.vocabulary.asked(name)) for name in names]


def _vector_device(kind: str, device: str) -> str:
    """Where a kind searches: `device` is the encoder's in the first place, and most kinds have no GPU form."""
    runs_on_gpu = kind in vectors.KINDS and vectors.KINDS[kind].runs_on_gpu
    return device if runs_on_gpu and device.startswith("cuda") else "cpu"


@contextmanager
def _backend_errors() -> Iterator[None]:
    """The vector layer's errors, in the library's words."""
    try:
        yield
    except vectors.BackendUnavailable as error:
        raise MissingDependencyError(str(error)) from error


def require_kind(kind: str, metric: vectors.Metric, device: str) -> None:
    """Refuse a kind that could not be built here, before hours are spent on embeddings for it.

    Raises:
        UsageError: an unknown kind or metric.
        MissingDependencyError: FAISS is not installed, or has no such device.
    """
    with _backend_errors():
        try:
            vectors.build(kind, [np.ones((1, 2), dtype=np.float32)], metric, device=_vector_device(kind, device))
        except ValueError as error:
            raise UsageError(str(error), "see `cxrsearch build-index --help`") from error


def build_vectors(
    kind: str,
    blocks: Sequence[NDArray[np.float32]],
    metric: vectors.Metric,
    folder: Path,
    device: str,
    progress: Progress = silent,
) -> vectors.VectorIndex:
    """Build the search structure over embeddings and write its files into `folder`.

    Raises:
        MissingDependencyError: FAISS is not installed, or has no such device.
        WriteError: the disk is full or read-only.
    """
    progress("building the search structure", 0, 1)
    with _backend_errors():
        index = vectors.build(kind, blocks, metric, device=_vector_device(kind, device))
        try:
            index.save(folder)
        except OSError as error:
            raise WriteError(f"cannot write {folder}: {error}", "check free space and permissions") from error
    progress("building the search structure", 1, 1)
    return index


def open_vectors(stored: StoredIndex, device: str) -> vectors.VectorIndex:
    """The search structure of an index.

    Raises:
        MissingDependencyError: FAISS is not installed, or has no such device.
        StoreError: the structure does not belong to the embeddings.
    """
    manifest = stored.manifest
    place = _vector_device(manifest.kind, device)
    with _backend_errors():
        try:
            return vectors.load(manifest.kind, stored.search_folder, stored.blocks, manifest.metric, device=place)
        except ValueError as error:
            raise StoreError(
                f"the search structure of {stored.folder} cannot be used: {error}", "build it anew"
            ) from error


def search_rows(
    stored: StoredIndex,
    index: vectors.VectorIndex,
    rows: NDArray[np.int64],
    k: int,
    restriction: vectors.Restriction,
    stage: str,
    progress: Progress,
) -> vectors.Neighbours:
    """The neighbours of many indexed images, whose embeddings are read in pieces.

    Args:
        stored: holds the images.
        index: is searched.
        rows: int64 (m,), whose neighbours are wanted.
        k: how many.
        restriction: of these m queries.
        stage: what the work is called.
        progress: called after each piece.
    """
    found = []
    for start in range(0, max(1, len(rows)), _ROWS_AT_ONCE):
        progress(stage, start, len(rows))
        part = np.arange(start, min(start + _ROWS_AT_ONCE, len(rows)))
        found.append(index.search(stored.vectors.take(rows[part]), k, restriction.part(part)))
    progress(stage, len(rows), len(rows))
    return vectors.Neighbours.concatenate(found)
