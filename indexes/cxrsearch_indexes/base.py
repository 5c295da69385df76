"""The types that every index shares: metric, restriction, neighbours, and the protocol of an index."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol, Self, get_args

import numpy as np
from numpy.typing import NDArray

from cxrsearch_indexes.vectors import Vectors

Metric = Literal["l2", "ip", "cosine"]
METRICS: tuple[Metric, ...] = get_args(Metric)


class BackendUnavailable(ImportError):  # noqa: N818 - says what is the matter, not that it is an error
    """A library or a device that an index needs is missing; the message names the fix."""


@dataclass(frozen=True)
class Neighbours:
    """The neighbours of q queries, nearest first, equal distances ordered by row; never padded to k.

    Attributes:
        rows: int64 (m,), the neighbours of all queries in sequence; query i has `rows[offsets[i]:offsets[i + 1]]`.
        distances: float64 (m,), lower is nearer: L2 (not squared), negated inner product, or 1 - cosine.
        offsets: int64 (q + 1,), where the neighbours of each query begin and end.
    """

    rows: NDArray[np.int64]
    distances: NDArray[np.float64]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        """The number of queries."""
        return len(self.offsets) - 1

    def __getitem__(self, query: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The rows and distances of one query, counted from 0.

        Raises:
            IndexError: there is no such query.
        """
        if not 0 <= query < len(self):
            raise IndexError(f"query {query} of {len(self)}")
        part = slice(self.offsets[query], self.offsets[query + 1])
        return self.rows[part], self.distances[part]

    @property
    def counts(self) -> NDArray[np.int64]:
        """The number of neighbours of each query, int64 (q,)."""
        return np.diff(self.offsets)

    def part(self, queries: NDArray[np.int64]) -> Self:
        """The neighbours of some of the queries, int64 (p,), in that order."""
        counts = self.counts[queries]
        ends = np.cumsum(counts)
        at = np.arange(ends[-1] if len(ends) else 0) + np.repeat(self.offsets[queries] - (ends - counts), counts)
        return type(self)(self.rows[at], self.distances[at], np.concatenate(([0], ends)))

    @classmethod
    def concatenate(cls, parts: "Sequence[Neighbours]") -> "Neighbours":
        """Join the neighbours of one or more batches of queries, in their order."""
        counts = np.concatenate([part.counts for part in parts])
        offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        return cls(np.concatenate([p.rows for p in parts]), np.concatenate([p.distances for p in parts]), offsets)

    def last(self, k: int) -> NDArray[np.float64]:
        """The distance of each query to its k-th neighbour, float64 (q,); inf if it has fewer."""
        last = np.full(len(self), np.inf)
        full = self.counts >= k
        last[full] = self.distances[self.offsets[:-1][full] + k - 1]
        return last


@dataclass(frozen=True)
class Restriction:
    """Which rows may answer.

    Attributes:
        allowed: bool (n,), the rows that may answer at all; None means all rows.
        groups: int64 (n,), the group of each row, for example its patient.
        query_groups: int64 (q,), the group whose rows may not answer that query; -1 means none. Needs `groups`.
    """

    allowed: NDArray[np.bool_] | None = None
    groups: NDArray[np.int64] | None = None
    query_groups: NDArray[np.int64] | None = None

    def check(self, n: int, queries: int) -> None:
        """Raise ValueError unless the restriction fits n rows and this number of queries."""
        if (self.groups is None) != (self.query_groups is None):
            raise ValueError("a restriction has groups and query_groups together, or neither")
        for name, array, size in (
            ("allowed", self.allowed, n),
            ("groups", self.groups, n),
            ("query_groups", self.query_groups, queries),
        ):
            if array is not None and array.shape != (size,):
                raise ValueError(f"restriction: {name} has shape {array.shape}, not {(size,)}")
        if self.allowed is not None and self.allowed.dtype != np.bool_:
            raise ValueError(f"restriction: allowed is {self.allowed.dtype}, not bool")

    def part(self, queries: slice | NDArray[np.int64]) -> Self:
        """The same restriction for some of the queries."""
        query_groups = None if self.query_groups is None else self.query_groups[queries]
        return type(self)(self.allowed, self.groups, query_groups)

    def excluded(self, queries: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The pairs that groups exclude: allowed rows, ascending, and the query of each; int64 (m,) both."""
        if self.groups is None or self.query_groups is None:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        wanted = np.unique(self.query_groups)
        member = np.isin(self.groups, wanted[wanted >= 0])
        rows = np.flatnonzero(member if self.allowed is None else member & self.allowed)
        rows = rows[np.argsort(self.groups[rows], kind="stable")]
        first = np.searchsorted(self.groups[rows], self.query_groups)
        sizes = np.searchsorted(self.groups[rows], self.query_groups, side="right") - first
        of = np.repeat(np.arange(queries), sizes)
        rows = rows[np.arange(len(of)) + np.repeat(first - (np.cumsum(sizes) - sizes), sizes)]
        order = np.argsort(rows, kind="stable")
        return rows[order], of[order]


ANY_ROW = Restriction()


class VectorIndex(Protocol):
    """Finds the nearest of n vectors of dimension dim for each query.

    A kind of index is a class with this protocol.

    Attributes:
        kind: its name.
        approximate: whether it may miss neighbours.
        runs_on_gpu: whether it can search on a GPU.
    """

    kind: ClassVar[str]
    approximate: ClassVar[bool]
    runs_on_gpu: ClassVar[bool]
    metric: Metric
    n: int
    dim: int

    @classmethod
    def build(cls, vectors: Vectors, metric: Metric, *, seed: int, device: str) -> Self:
        """Index vectors; the same vectors and seed give the same index.

        Raises:
            BackendUnavailable: a library or the device is missing, or the kind does not run there.
        """
        ...

    @classmethod
    def load(cls, vectors: Vectors, metric: Metric, *, folder: Path, device: str) -> Self:
        """Open what `save` wrote into a folder, for the same vectors.

        Raises:
            OSError: the file is missing or cannot be read.
            ValueError: the file was not made from vectors of this number, dimension and metric.
            BackendUnavailable: as in `build`.
        """
        ...

    def search(self, queries: NDArray[np.float32], k: int, restriction: Restriction = ANY_ROW) -> Neighbours:
        """Find the k nearest rows that may answer each query.

        Args:
            queries: float32 (q, dim).
            k: at least 1; if fewer rows may answer, fewer are returned.
            restriction: which rows may answer which query.

        Raises:
            ValueError: k < 1, queries of another shape or not finite, or a restriction of another shape.
        """
        ...

    def search_all(
        self, k: int, groups: NDArray[np.int64] | None = None, report: Callable[[int], None] = lambda done: None
    ) -> Neighbours:
        """Find the k nearest rows of every row: the answer of `search` with the rows as queries, possibly faster.

        Args:
            k: at least 1; if fewer rows may answer, fewer are returned.
            groups: int64 (n,); rows of a row's own group may not answer it (-1: no group). None: all rows may answer,
                including the row itself.
            report: called with the work done so far, as a number of rows.

        Raises:
            ValueError: k < 1, or groups of another shape.
        """
        ...

    def save(self, folder: Path) -> list[Path]:
        """Write everything but the vectors into an existing folder, and return the files written.

        Raises:
            OSError: the disk is full or the folder cannot be written.
        """
        ...
