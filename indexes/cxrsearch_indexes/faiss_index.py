"""What the FAISS kinds share: centred vectors, the file, the restriction, and the check of FAISS's proposals."""

from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cxrsearch_indexes import backend
from cxrsearch_indexes.base import Metric, Neighbours, Restriction
from cxrsearch_indexes.exact import ExactIndex
from cxrsearch_indexes.frame import Float32
from cxrsearch_indexes.metric import dots
from cxrsearch_indexes.searcher import Searcher, asked_again
from cxrsearch_indexes.shortlist import Shortlist, refine, shortlist_size
from cxrsearch_indexes.vectors import Vectors

_ROWS_AT_ONCE = 16384

Proposals = tuple[Float32, NDArray[np.int64]]


class FaissIndex(Searcher):
    """FAISS proposes rows. An exact index of the same vectors measures them, and answers queries that FAISS cannot.

    FAISS holds the rows in the coordinates of the exact index's frame (centred, and of unit length for cosine), in
    which float32 is most accurate. The file also holds the centre.
    """

    def __init__(self, exact: ExactIndex, wrapped: Any, gpu: int | None) -> None:
        super().__init__(exact.vectors, exact.metric)
        self._exact, self._wrapped, self._on_gpu = exact, wrapped, gpu is not None
        self._frame = replace(exact.frame, raw=False)
        self._index = backend.unwrap(wrapped)[0]
        if gpu is not None:
            self._index, self._resources = backend.to_gpu(self._index, gpu)

    @classmethod
    def build(cls, vectors: Vectors, metric: Metric, *, seed: int, device: str) -> Self:
        """Index vectors; the same blocks and seed give the same bytes, for any number of threads."""
        gpu = cls._gpu(device)
        exact = ExactIndex(vectors, metric)
        index = cls._empty(vectors.dim, metric, seed)
        with backend.repeatable_threads():
            for rows in exact.centred(_ROWS_AT_ONCE):
                index.add(rows)
        return cls(exact, backend.wrap(index, exact.frame.centre), gpu)

    @classmethod
    def load(cls, vectors: Vectors, metric: Metric, *, folder: Path, device: str) -> Self:
        """Read the file that `save` wrote into a folder, for the same vectors.

        Raises:
            OSError: the file is missing.
            ValueError: the file was not made from vectors of this number, dimension and metric.
        """
        gpu = cls._gpu(device)
        wrapped = backend.read(cls._file(folder), cls._empty(vectors.dim, metric, 0), vectors.n)
        return cls(ExactIndex(vectors, metric, centre=backend.unwrap(wrapped)[1]), wrapped, gpu)

    def save(self, folder: Path) -> list[Path]:
        """See `VectorIndex.save`."""
        backend.write(self._wrapped, self._file(folder))
        return [self._file(folder)]

    @staticmethod
    def _gpu(device: str) -> int | None:
        """The GPU to search on, None for the CPU; raises BackendUnavailable if there is no such GPU."""
        ordinal = backend.gpu_ordinal(device)
        if ordinal is not None:
            backend.require_gpu(ordinal)
        return ordinal

    @staticmethod
    @abstractmethod
    def _empty(dim: int, metric: Metric, seed: int) -> Any:
        """Make FAISS's index of this kind, without rows."""

    @abstractmethod
    def _propose(self, p: Float32, size: int, allowed: NDArray[np.bool_] | None) -> Proposals | None:
        """FAISS's `size` best allowed rows for p, float32 (q, dim); None if the exact index should answer instead."""

    @classmethod
    def _file(cls, folder: Path) -> Path:
        return folder / f"{cls.kind}.faiss"

    def _search(self, queries: Float32, k: int, restriction: Restriction) -> Neighbours:
        """Ask FAISS for enough rows that those of an excluded group can be dropped, and check its answer."""
        struck = np.bincount(restriction.excluded(len(queries))[1], minlength=len(queries))
        size = min(self.n, shortlist_size(k) + int(struck.max(initial=0)))
        p = self._frame.queries(queries)
        proposals = self._propose(p, size, restriction.allowed)
        if proposals is None:
            return self._exact.search(queries, k, restriction)
        shortlist = self._shortlist(p, proposals, restriction)
        answer, limits = refine(shortlist, self.vectors, self._frame, queries, k)
        eligible = self.n if restriction.allowed is None else np.count_nonzero(restriction.allowed)
        short = np.flatnonzero(answer.counts < np.minimum(k, eligible - struck))

        def exactly(some: NDArray[np.int64]) -> Neighbours:
            return self._exact.search(queries[some], k, restriction.part(some))

        return asked_again(answer, k, np.union1d(short, shortlist.unsettled(limits)), exactly)

    def _shortlist(self, p: Float32, proposals: Proposals, restriction: Restriction) -> Shortlist:
        """FAISS's distances as scores; inf if it found no row (-1), or if the row's group is excluded."""
        scores, rows = proposals[0].astype(np.float64), proposals[1]
        if self.metric == "ip":
            scores = -scores
        else:
            exact = p.astype(np.float64)
            scores = (scores - dots(exact, exact)[:, None]) / 2
        scores[rows < 0] = np.inf
        cut = scores[:, -1].copy()
        if restriction.groups is not None and restriction.query_groups is not None:
            of = restriction.query_groups[:, None]
            scores[(of >= 0) & (restriction.groups[rows] == of)] = np.inf
        return Shortlist(scores, rows, cut)
