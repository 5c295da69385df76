"""The part of searching that all kinds share: checking queries, splitting them into batches, joining the answers."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_info, threadpool_limits

from cxrsearch_indexes.base import ANY_ROW, Metric, Neighbours, Restriction
from cxrsearch_indexes.frame import Float32
from cxrsearch_indexes.metric import joined
from cxrsearch_indexes.vectors import Vectors, check_queries

_QUERIES_AT_ONCE = 512
_ROWS_AT_ONCE = 4096
# With fewer queries per core than this, one product of all queries on all cores is faster.
_FEWEST_AT_ONCE = 64


class Searcher(ABC):
    """The base class of every kind; a subclass adds how a batch is answered."""

    kind: ClassVar[str]
    side_by_side: ClassVar[bool] = False
    """Whether batches are answered side by side, one a core, or one after the other, each by all cores."""

    def __init__(self, vectors: Vectors, metric: Metric) -> None:
        self.vectors, self.metric, self.n, self.dim = vectors, metric, vectors.n, vectors.dim

    def search(self, queries: Float32, k: int, restriction: Restriction = ANY_ROW) -> Neighbours:
        """See `VectorIndex.search`."""
        queries = check_queries(queries, self.dim, k)
        restriction.check(self.n, len(queries))
        k = min(k, self.n)
        many = self.side_by_side and len(queries) > _FEWEST_AT_ONCE
        cores = blas_threads() if many else 1  # asking takes milliseconds
        parts = _batches(len(queries), cores)

        def answer(part: NDArray[np.int64]) -> tuple[NDArray[np.int64], Neighbours]:
            return part, self._search(queries[part], k, restriction.part(part))

        if cores == 1 or len(parts) == 1:
            return joined([answer(part) for part in parts], len(queries), k)
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(min(cores, len(parts))) as threads:
            return joined(list(threads.map(answer, parts)), len(queries), k)

    def search_all(
        self, k: int, groups: NDArray[np.int64] | None = None, report: Callable[[int], None] = lambda done: None
    ) -> Neighbours:
        """See `VectorIndex.search_all`."""
        Restriction(groups=groups, query_groups=groups).check(self.n, self.n)
        answer = self._search_rows(np.arange(self.n), k, groups, report)
        report(self.n)
        return answer

    def _search_rows(
        self,
        rows: NDArray[np.int64],
        k: int,
        groups: NDArray[np.int64] | None,
        report: Callable[[int], None] = lambda done: None,
    ) -> Neighbours:
        """The neighbours of some rows outside their groups; rows are searched in batches, to copy few vectors."""
        parts = []
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            report(start)
            some = rows[start : start + _ROWS_AT_ONCE]
            others = ANY_ROW if groups is None else Restriction(groups=groups, query_groups=groups[some])
            parts.append(self.search(self.vectors.take(some), k, others))
        return Neighbours.concatenate(parts)

    @abstractmethod
    def _search(self, queries: Float32, k: int, restriction: Restriction) -> Neighbours:
        """Answer a batch of checked queries, float32 (q, dim); k is at most n."""


def blas_threads() -> int:
    """The number of threads that BLAS would use, within the limits of the caller and the environment."""
    return max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=1)


def _batches(queries: int, cores: int) -> list[NDArray[np.int64]]:
    """Split the numbers of the queries into batches of about equal size; many queries give a multiple of the cores."""
    count = -(-queries // _QUERIES_AT_ONCE)
    if queries >= _FEWEST_AT_ONCE * cores:
        count = -(-count // cores) * cores
    return np.array_split(np.arange(queries), max(1, count))


def asked_again(
    answer: Neighbours, k: int, open_queries: NDArray[np.int64], ask: Callable[[NDArray[np.int64]], Neighbours]
) -> Neighbours:
    """Replace the answers of open queries by those of `ask`, which gets their numbers; not called if there are none."""
    if not len(open_queries):
        return answer
    settled = np.setdiff1d(np.arange(len(answer)), open_queries)
    return joined([(settled, answer.part(settled)), (open_queries, ask(open_queries))], len(answer), k)
