"""Search an index: choose the rows that may answer, and find neighbours among them with a vector index."""

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
    """Which indexed images may answer a query. An image must pass every filter that is set.

    Attributes:
        view: `PA` or `AP`.
        sex: `F` or `M`.
        age: youngest and oldest age in years, both included. Images without an age are left out.
        present: findings that an image must have, all of them.
        absent: findings of which an image must have none.
    """

    view: str | None = None
    sex: str | None = None
    age: tuple[int, int] | None = None
    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    def rows(self, catalogue: Catalogue) -> NDArray[np.bool_] | None:
        """Mark the rows that may answer, bool (n,); None if all may.

        Raises:
            UsageError: an unknown value or finding, or a filter on findings if the catalogue's are unknown.
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
        present, absent = (_find_columns(catalogue, names) for names in (self.present, self.absent))
        both = [catalogue.vocabulary.findings[column] for column in sorted(set(present) & set(absent))]
        _require(not both, f"with and without {', '.join(both)}", "ask for one of the two")
        if catalogue.labels is not None:
            masks += [catalogue.labels[:, column] for column in present]
            masks += [~catalogue.labels[:, column] for column in absent]
        return np.logical_and.reduce(masks) if masks else None


def parse_years(text: str | None) -> tuple[int, int] | None:
    """Parse youngest and oldest age from a text such as `40-60`. Raises UsageError for any other text."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,3})-([0-9]{1,3})", text)
    if not match:
        raise UsageError(f"invalid age: {text!r}", "give the years as 40-60")
    return int(match[1]), int(match[2])


def _require(condition: bool, got: str, fix: str) -> None:
    if not condition:
        raise UsageError(f"invalid filter: {got}", fix)


def _find_columns(catalogue: Catalogue, names: Sequence[str]) -> list[int]:
    """Find the label columns of these findings. Raises UsageError for unknown names, or without labels."""
    _require(
        not names or catalogue.labels is not None,
        "filter by findings: those of this index's images are not known",
        "build it with --labels to filter by them",
    )
    return [catalogue.vocabulary.findings.index(catalogue.vocabulary.resolve(name)) for name in names]


def _choose_device(kind: str, device: str) -> str:
    """Choose where a kind searches. `device` is meant for the encoder, and most kinds cannot search on a GPU."""
    runs_on_gpu = kind in vectors.KINDS and vectors.KINDS[kind].runs_on_gpu
    return device if runs_on_gpu and device.startswith("cuda") else "cpu"


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Translate the vector layer's BackendUnavailable to MissingDependencyError."""
    try:
        yield
    except vectors.BackendUnavailable as error:
        raise MissingDependencyError(str(error)) from error


def require_kind(kind: str, metric: vectors.Metric, device: str) -> None:
    """Refuse a kind that cannot be built here, before hours are spent on its embeddings.

    Raises:
        UsageError: an unknown kind or metric.
        MissingDependencyError: FAISS is not installed, or has no such device.
    """
    with _translate_errors():
        try:  # building a tiny index is the only test that covers the installed package and its device
            vectors.build(kind, [np.ones((1, 2), dtype=np.float32)], metric, device=_choose_device(kind, device))
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
    with _translate_errors():
        index = vectors.build(kind, blocks, metric, device=_choose_device(kind, device))
        try:
            index.save(folder)
        except OSError as error:
            raise WriteError(f"cannot write {folder}: {error}", "check free space and permissions") from error
    progress("building the search structure", 1, 1)
    return index


def open_vectors(stored: StoredIndex, device: str) -> vectors.VectorIndex:
    """Open the search structure of an index.

    Raises:
        MissingDependencyError: FAISS is not installed, or has no such device.
        StoreError: the structure does not belong to the embeddings.
    """
    manifest = stored.manifest
    vector_device = _choose_device(manifest.kind, device)
    with _translate_errors():
        try:
            return vectors.load(
                manifest.kind, stored.search_folder, stored.blocks, manifest.metric, device=vector_device
            )
        except ValueError as error:
            raise StoreError(
                f"the search structure of {stored.folder} cannot be used: {error}", "build the index again"
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
    """Find the neighbours of many indexed images. Their embeddings are read in pieces, to bound the memory.

    Args:
        stored: the index that holds the images.
        index: the vector index that is searched.
        rows: the query images, int64 (m,).
        k: neighbours per image.
        restriction: which rows may answer each of these m queries.
        stage: the name of the work, for `progress`.
        progress: called before each piece and at the end.

    Returns:
        The neighbours of the m images, in the order of `rows`.
    """
    neighbours = []
    for start in range(0, max(1, len(rows)), _ROWS_AT_ONCE):
        progress(stage, start, len(rows))
        part = np.arange(start, min(start + _ROWS_AT_ONCE, len(rows)))
        neighbours.append(index.search(stored.vectors.take(rows[part]), k, restriction.part(part)))
    progress(stage, len(rows), len(rows))
    return vectors.Neighbours.concatenate(neighbours)
